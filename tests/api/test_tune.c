/*
 * The search for a way to sample: the same on any number of threads, within its evaluations, judged
 * by what sumi_eval says, stopped with nothing lost, and refused in one line.
 */
#include "base/temp_folder.h"

#include <math.h>

#include "api/api.h"
#include "eval/tune.h"
#include "io/io.h"
#include "models/models.h"

enum { SIDE = 8, IMAGES = 200, EVALUATIONS = 3, COUNT = 150 };

typedef struct {
    sumi_context *ctx;
    sumi_dataset *set;
    sumi_classifier *evaluator;
    sumi_model *model;
    sumi_tune_config config;
    int64_t calls, stop_at;
} fixture;

static void write_images(const char *path)
{
    sumi_npy array = {.dtype = SUMI_NPY_U8, .rank = 4, .shape = {IMAGES, SIDE, SIDE, 1}};
    array.count = IMAGES * SIDE * SIDE;
    uint8_t *pixels = malloc(array.count);
    assert_non_null(pixels);
    for (int i = 0; i < IMAGES; i++)
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) {
                const sumi_random at = {3, SUMI_STREAM_USER, 0, (uint64_t)i};
                int inside = abs(y - 1 - i % 6) + abs(x - 1 - i / 6 % 6) < 3;
                pixels[(i * SIDE + y) * SIDE + x] =
                    (uint8_t)(inside * 180 + sumi_random_below(&at, (uint64_t)(y * SIDE + x), 60));
            }
    array.data = pixels;
    assert_int_equal(sumi_npy_write(path, &array, NULL), SUMI_OK);
    free(pixels);
}

static int see(void *user, const sumi_progress_t *progress)
{
    fixture *f = user;
    assert_int_equal(progress->phase, SUMI_PHASE_SAMPLE);
    assert_true(progress->step <= progress->step_count);
    return f->stop_at > 0 && ++f->calls >= f->stop_at;
}

static void open_fixture(fixture *f, temp_folder *temp, int threads)
{
    sumi_classifier_config shape = SUMI_CLASSIFIER_CONFIG_INIT;
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    memset(f, 0, sizeof *f);
    f->ctx = api_context(NULL, threads);
    write_images(temp_path(temp, "set.npy"));
    api_ok(f->ctx, sumi_dataset_open(f->ctx, temp_path(temp, "set.npy"), NULL, &f->set));
    shape.shape = "random-conv";
    api_ok(f->ctx, sumi_classifier_train(f->ctx, f->set, NULL, &shape, &f->evaluator));
    config.base_channels = 4;
    config.time_dim = 8;
    config.timesteps = 20;
    config.seed = 1;
    api_ok(f->ctx, sumi_model_create(f->ctx, &config, &f->model));
    f->config = (sumi_tune_config)SUMI_TUNE_CONFIG_INIT;
    f->config.training = f->set;
    f->config.evaluator = f->evaluator;
    f->config.evaluations = EVALUATIONS;
    f->config.n = COUNT;
    f->config.height = f->config.width = SIDE;
    f->config.quick = true;
    f->config.progress = see;
    f->config.user = f;
}

static void close_fixture(fixture *f)
{
    sumi_model_free(f->model);
    sumi_classifier_free(f->evaluator);
    sumi_dataset_free(f->set);
    sumi_context_free(f->ctx);
}

/* The candidates of a report: none takes more evaluations, those with most images come first and
 * fall in order, and the first of them is the best. */
static void check_report(const char *text, int candidates)
{
    json_t *json = json_loads(text, 0, NULL), *each;
    size_t i;
    double before = 0, images = 1e9;
    const json_t *list = json_object_get(json, "candidates");
    assert_int_equal(json_array_size(list), candidates);
    assert_true(candidates > 20);
    json_array_foreach(list, i, each)
    {
        const json_t *distance = json_object_get(each, "frechet");
        double n = json_number_value(json_object_get(each, "n"));
        assert_true(json_integer_value(json_object_get(each, "evaluations")) <= EVALUATIONS);
        assert_true(n <= images && n >= 160);
        assert_true(n < images || json_number_value(distance) >= before || json_is_null(distance));
        before = json_number_value(distance);
        images = n;
    }
    const char *best = json_string_value(json_object_get(json_object_get(json, "best"), "name"));
    assert_string_equal(best, json_string_value(json_object_get(json_array_get(list, 0), "name")));
    json_decref(json);
}

static void test_same_on_any_threads(void **state)
{
    fixture f;
    sumi_tune_result_t first = SUMI_TUNE_RESULT_INIT;
    for (int threads = 1; threads <= 3; threads += 2) {
        sumi_sample_config best = SUMI_SAMPLE_CONFIG_INIT;
        sumi_tune_result_t result = SUMI_TUNE_RESULT_INIT;
        open_fixture(&f, *state, threads);
        api_ok(f.ctx, sumi_tune(f.ctx, f.model, &f.config, &best, &result));
        if (threads == 1) {
            first = result;
            check_report(result.json, result.candidates);
            assert_true(result.evaluations <= EVALUATIONS && result.n == COUNT);
            /* ddpm at all 20 steps is how it was sampled. */
            assert_true(result.former_own && result.former_evaluations == 20);
            assert_non_null(strstr(result.table, "before"));
            /* Kept as the model's own, it is what sumi_eval draws by, images 0 to n - 1. */
            sumi_eval_config config = SUMI_EVAL_CONFIG_INIT;
            sumi_eval_result_t eval = SUMI_EVAL_RESULT_INIT;
            config.model = f.model;
            config.training = f.set;
            config.evaluator = f.evaluator;
            config.n = COUNT;
            f.model->info.height = f.model->info.width = SIDE;
            api_ok(f.ctx, sumi_model_set_sampling(f.ctx, f.model, &best));
            api_ok(f.ctx, sumi_eval(f.ctx, &config, &eval));
            assert_true(eval.frechet.value == result.frechet.value);
            assert_true(eval.frechet.low == result.frechet.low);
            sumi_eval_result_free(&eval);
        } else {
            assert_string_equal(first.json, result.json);
            assert_string_equal(first.table, result.table);
            sumi_tune_result_free(&result);
        }
        close_fixture(&f);
    }
    sumi_tune_result_free(&first);
}

/* ---- With a limit ---------------------------------------------------------------------------- */

enum { WORK = 12000, MOST = 6 };

static const sumi_sample_config *own_way(void)
{
    static sumi_sample_config own = SUMI_SAMPLE_CONFIG_INIT;
    own.solver = "dpmpp-2m";
    own.spacing = "karras";
    own.steps = 3;
    own.guidance = 3;
    return &own;
}

static void open_labelled(fixture *f, temp_folder *temp, int threads)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    open_fixture(f, temp, threads);
    sumi_model_free(f->model);
    assert_int_equal(sumi_model_config_net(&config, "unet"), SUMI_OK);
    config.base_channels = 4;
    config.time_dim = 8;
    config.timesteps = 20;
    config.objective = "v";
    config.schedule = "cosine";
    config.multipliers[2] = config.blocks[2] = 0;
    config.classes = 3;
    api_ok(f->ctx, sumi_model_create(f->ctx, &config, &f->model));
    api_ok(f->ctx, sumi_model_set_sampling(f->ctx, f->model, own_way()));
    f->config.evaluations = MOST;
    f->config.work = WORK;
    f->config.reference = 150;
}

static float number_in(const json_t *sampling, const char *name, double initial)
{
    const json_t *value = json_object_get(sampling, name);
    return (float)(value ? json_number_value(value) : initial);
}

/* What a candidate is said to take is what an image of it takes. */
static void check_evaluations(fixture *f, const json_t *candidate)
{
    const json_t *of = json_object_get(candidate, "sampling");
    sumi_sample_config sample = SUMI_SAMPLE_CONFIG_INIT;
    int32_t labels[] = {0, 2};
    int taken[2];
    float out[2 * SIDE * SIDE];
    sample.count = 2;
    sample.height = sample.width = SIDE;
    sample.solver = json_string_value(json_object_get(of, "solver"));
    sample.spacing = json_string_value(json_object_get(of, "spacing"));
    sample.steps = (int)json_integer_value(json_object_get(of, "steps"));
    sample.guidance = number_in(of, "guidance", 1);
    sample.guidance_from = number_in(of, "guidance_from", 0);
    sample.guidance_to = number_in(of, "guidance_to", 1e30);
    sample.labels = labels;
    sample.evaluations = taken;
    api_ok(f->ctx, sumi_sample(f->ctx, f->model, &sample, out, 2 * SIDE * SIDE));
    for (int i = 0; i < 2; i++)
        assert_int_equal(taken[i], json_integer_value(json_object_get(candidate, "evaluations")));
}

/* Both figures are of the first look: fewer images have a larger distance, and one way may have had
 * more than the other. */
static void check_compared_alike(const json_t *json, const sumi_tune_result_t *result)
{
    static const char *const which[] = {"best", "former"};
    const double figures[] = {result->frechet.value, result->former_frechet.value};
    int64_t most = 0, same = 0, found = 0;
    size_t i;
    json_t *each;
    assert_int_equal(result->n, 160);
    json_array_foreach(json_object_get(json, "candidates"), i, each)
    {
        int64_t n = json_integer_value(json_object_get(each, "n"));
        most = n > most ? n : most;
        for (int k = 0; k < 2; k++) {
            const json_t *judged = json_object_get(json, which[k]);
            if (!json_equal(json_object_get(judged, "name"), json_object_get(each, "name")) ||
                !json_equal(json_object_get(judged, "sampling"), json_object_get(each, "sampling")))
                continue;
            double distance = json_real_value(json_object_get(each, "frechet"));
            found++;
            same += n == 160;
            assert_true(figures[k] > distance * (n == 160 ? 1 - 1e-6 : 1 + 1e-6));
            assert_true(n > 160 || figures[k] < distance * (1 + 1e-6));
        }
    }
    const json_t *former = json_object_get(json, "former");
    assert_true(number_in(json_object_get(former, "sampling"), "guidance", 1) == 3);
    assert_int_equal(result->former_evaluations,
                     json_integer_value(json_object_get(former, "evaluations")));
    assert_true(result->former_own);
    assert_int_equal(found, 2);
    assert_true(most > 160 && same < 2);
}

/* Within its work, guidance among what is looked at, and the same on any number of threads. */
static void test_limited(void **state)
{
    char *first = NULL;
    for (int threads = 1; threads <= 3; threads += 2) {
        fixture f;
        sumi_sample_config best = SUMI_SAMPLE_CONFIG_INIT;
        sumi_tune_result_t result = SUMI_TUNE_RESULT_INIT;
        open_labelled(&f, *state, threads);
        api_ok(f.ctx, sumi_tune(f.ctx, f.model, &f.config, &best, &result));
        json_t *json = json_loads(result.json, 0, NULL), *each;
        int64_t work = 0, guided = 0;
        size_t i;
        json_array_foreach(json_object_get(json, "candidates"), i, each)
        {
            int64_t evaluations = json_integer_value(json_object_get(each, "evaluations"));
            assert_true(evaluations <= MOST);
            work += evaluations * json_integer_value(json_object_get(each, "n"));
            guided += json_object_get(json_object_get(each, "sampling"), "guidance") != NULL;
            check_evaluations(&f, each);
        }
        assert_true(work <= WORK && work > WORK / 2);
        assert_true(guided >= 1 && guided < (int64_t)i);
        assert_true(isnan(result.frechet.low) && result.frechet.value > 0);
        assert_non_null(strstr(result.table, "first look, 160 images each"));
        check_compared_alike(json, &result);
        if (first != NULL)
            assert_string_equal(first, result.json);
        free(first);
        first = strdup(result.json);
        f.config.work = 160 * (result.former_evaluations + 4) - 1; /* 4: .7 of MOST */
        sumi_tune_result_t none = SUMI_TUNE_RESULT_INIT;
        api_fails(f.ctx, sumi_tune(f.ctx, f.model, &f.config, &best, &none), SUMI_EINVAL,
                  "two ways take ");
        json_decref(json);
        sumi_tune_result_free(&result);
        close_fixture(&f);
    }
    free(first);
}

/* Of a model that knows nothing without a label, the only way with guidance is its own. */
static void test_unguided(void **state)
{
    for (int unguided = 0; unguided < 2; unguided++) {
        fixture f;
        sumi_sample_config best = SUMI_SAMPLE_CONFIG_INIT;
        sumi_tune_result_t result = SUMI_TUNE_RESULT_INIT;
        open_labelled(&f, *state, 2);
        f.config.unguided = unguided;
        api_ok(f.ctx, sumi_tune(f.ctx, f.model, &f.config, &best, &result));
        json_t *json = json_loads(result.json, 0, NULL), *each;
        int guided = 0;
        size_t i;
        json_array_foreach(json_object_get(json, "candidates"), i, each) guided +=
            json_object_get(json_object_get(each, "sampling"), "guidance") != NULL;
        assert_true(unguided ? guided == 1 : guided > 1);
        json_decref(json);
        sumi_tune_result_free(&result);
        close_fixture(&f);
    }
}

/* A model's own guidance counts in its scores, whoever asks. */
static void test_guidance_scored(void **state)
{
    sumi_sample_config ways[] = {*own_way(), *own_way()};
    double distances[3];
    fixture f;
    ways[1].guidance = 1;
    open_labelled(&f, *state, 2);
    /* A new network's last convolution is zero, and says the same of every label. */
    sumi_params *params = &f.model->graph.params;
    for (size_t i = 0; i < params->value_count; i++)
        params->values[i] += .1f * sinf((float)i);
    for (int i = 0; i < 3; i++) {
        sumi_eval_config config = SUMI_EVAL_CONFIG_INIT;
        sumi_eval_result_t eval = SUMI_EVAL_RESULT_INIT;
        if (i < 2) {
            ways[i].height = ways[i].width = SIDE;
            config.sample = &ways[i];
        }
        f.model->info.height = f.model->info.width = SIDE;
        config.model = f.model;
        config.training = f.set;
        config.evaluator = f.evaluator;
        config.n = 200;
        api_ok(f.ctx, sumi_eval(f.ctx, &config, &eval));
        distances[i] = eval.frechet.value;
        assert_non_null(strstr(eval.json, i == 1 ? "dpmpp-2m, 3 evaluations an image, each label"
                                                 : "dpmpp-2m, 6 evaluations an image, each label"));
        sumi_eval_result_free(&eval);
    }
    assert_true(distances[2] == distances[0]);
    assert_true(distances[2] != distances[1]);
    close_fixture(&f);
}

/* Which of some ways with so many images is taken: evaluations, distance, guided; the first case's
 * last way had fewer images. */
static void test_choice(void **state)
{
    (void)state;
    enum { WAYS = 4 };
    static const struct {
        struct {
            int64_t n;
            int evaluations;
            double distance;
            bool guided;
        } ways[WAYS];
        int taken;
    } cases[] = {
        {{{300, 20, 1, 0}, {300, 14, 1.02, 0}, {300, 10, 1.04, 0}, {160, 5, .5, 0}}, 1},
        {{{300, 16, .92, 1}, {300, 20, .93, 0}, {300, 12, .94, 1}, {300, 9, .94, 0}}, 2},
        {{{300, 16, .88, 1}, {300, 15, .89, 1}, {300, 20, 1, 0}, {300, 10, 1.01, 0}}, 1},
        {{{300, 10, 1, 0}, {300, 11, 1.02, 1}, {300, 9, 1.02, 0}, {160, 10, .9, 1}}, 1},
        {{{300, 10, 1, 0}, {300, 9, 1.02, 0}, {300, 8, 1.09, 1}, {160, 7, 1, 1}}, 2},
        {{{300, 10, 1, 0}, {300, 9, 1.02, 0}, {300, 8, 1.11, 1}, {160, 7, 1, 1}}, 1},
    };
    sumi_tune_space *space = calloc(1, sizeof *space);
    assert_non_null(space);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        space->count = WAYS;
        for (int i = 0; i < WAYS; i++) {
            space->list[i] = (sumi_tune_candidate){.way = SUMI_SAMPLE_CONFIG_INIT};
            space->list[i].way.seed = (uint64_t)i;
            space->list[i].way.guidance = cases[k].ways[i].guided ? 1.5f : 1;
            space->list[i].n = cases[k].ways[i].n;
            space->list[i].evaluations = cases[k].ways[i].evaluations;
            space->list[i].distance = cases[k].ways[i].distance;
        }
        sumi_tune_choose(space);
        assert_int_equal(space->list[0].way.seed, cases[k].taken);
        int sum = 0;
        for (int i = 0; i < WAYS; i++)
            sum += 1 << space->list[i].way.seed;
        assert_int_equal(sum, (1 << WAYS) - 1); /* none is lost */
    }
    free(space);
}

/* Wherever it is stopped the model is as it was, and what was found so far is told. */
static void test_cancelled(void **state)
{
    static const int64_t places[] = {1, 40};
    static const char *const texts[] = {"before it had a figure", "so far is "};
    fixture f;
    open_fixture(&f, *state, 2);
    for (int i = 0; i < 2; i++) {
        sumi_sample_config best = SUMI_SAMPLE_CONFIG_INIT, own = SUMI_SAMPLE_CONFIG_INIT;
        sumi_tune_result_t result = SUMI_TUNE_RESULT_INIT;
        f.calls = 0;
        f.stop_at = places[i];
        api_fails(f.ctx, sumi_tune(f.ctx, f.model, &f.config, &best, &result), SUMI_CANCELLED,
                  texts[i]);
        assert_null(best.solver);
        assert_null(result.json);
        assert_int_equal(sumi_model_get_sampling(f.model, &own), SUMI_OK);
        assert_null(own.solver);
    }
    close_fixture(&f);
}

static void test_refused(void **state)
{
    fixture f;
    sumi_sample_config best = SUMI_SAMPLE_CONFIG_INIT;
    sumi_tune_result_t result = SUMI_TUNE_RESULT_INIT;
    temp_folder *temp = *state;
    open_fixture(&f, temp, 1);
    sumi_tune_config good = f.config, bad = good;
    bad.evaluations = 21;
    api_fails(f.ctx, sumi_tune(f.ctx, f.model, &bad, &best, &result), SUMI_EINVAL,
              "evaluations is 21, expected 0 to 20");
    bad = good;
    bad.n = 128;
    api_fails(f.ctx, sumi_tune(f.ctx, f.model, &bad, &best, &result), SUMI_EINVAL,
              "n is 128, expected more than the 128");
    bad = good;
    bad.evaluator = NULL;
    api_fails(f.ctx, sumi_tune(f.ctx, f.model, &bad, &best, &result), SUMI_EINVAL,
              "evaluator is NULL");
    bad = good;
    bad.height = 4;
    api_fails(f.ctx, sumi_tune(f.ctx, f.model, &bad, &best, &result), SUMI_ESHAPE, "pictures of");
    api_fails(f.ctx, sumi_tune(f.ctx, NULL, &good, &best, &result), SUMI_EINVAL, "model is NULL");
    api_fails(f.ctx, sumi_tune(f.ctx, f.model, NULL, &best, &result), SUMI_EINVAL, "config");
    sumi_dataset_config size = SUMI_DATASET_CONFIG_INIT;
    sumi_dataset *other;
    size.height = size.width = 9;
    api_ok(f.ctx, sumi_dataset_open(f.ctx, temp_path(temp, "set.npy"), &size, &other));
    bad = good;
    bad.training = other;
    api_fails(f.ctx, sumi_tune(f.ctx, f.model, &bad, &best, &result), SUMI_ESHAPE, "9x9");
    sumi_dataset_free(other);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_on_any_threads, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_unguided, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_guidance_scored, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_limited, temp_setup, temp_teardown),
        cmocka_unit_test(test_choice),
        cmocka_unit_test_setup_teardown(test_cancelled, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_refused, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
