/* Guidance: what two predictions become, where, and what is refused. */
#include "cpu/cpu_test.h"
#include "sample/sample.h"
#include "train/train_test.h"

#include <math.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE, COUNT = 5, ALL = COUNT * PIXELS, CLASSES = 4 };

typedef struct {
    sumi_runtime runtime;
    sumi_model *model, *guide;
    int32_t labels[COUNT];
    int evaluations[COUNT];
    sumi_sample_config config;
} fixture;

/* Whatever starts at zero is given numbers: labels then change what the network says. */
static sumi_model *make_unet(int classes, int width, uint64_t seed)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_model *model;
    config.net = "unet";
    config.base_channels = width;
    config.time_dim = 16;
    config.multipliers[2] = config.blocks[2] = 0;
    config.objective = "v";
    config.schedule = "cosine";
    config.timesteps = 100;
    config.classes = classes;
    config.seed = seed;
    assert_ok(sumi_models_create(&config, &model, NULL));
    sumi_params *params = &model->graph.params;
    sumi_random at = {.seed = seed, .stream = SUMI_STREAM_USER};
    for (size_t i = 0; i < params->value_count; i++)
        if (params->values[i] == 0) {
            sumi_random_normals(&at, i, &params->values[i], 1);
            params->values[i] *= .05f;
        }
    return model;
}

static void open_fixture(fixture *f, int threads)
{
    memset(f, 0, sizeof *f);
    make_runtime(&f->runtime, threads);
    f->model = make_unet(CLASSES, 8, 3);
    f->guide = make_unet(CLASSES, 4, 4);
    f->config = (sumi_sample_config)SUMI_SAMPLE_CONFIG_INIT;
    for (int i = 0; i < COUNT; i++)
        f->labels[i] = i % CLASSES;
    f->config.count = COUNT;
    f->config.height = f->config.width = SIDE;
    f->config.steps = 6;
    f->config.solver = "ddim";
    f->config.seed = 11;
    f->config.labels = f->labels;
    f->config.evaluations = f->evaluations;
}

static void close_fixture(fixture *f)
{
    sumi_models_free(f->model);
    sumi_models_free(f->guide);
    sumi_runtime_free(&f->runtime);
}

static void sample(fixture *f, float *out)
{
    size_t floats = (size_t)f->config.count * PIXELS;
    assert_ok(sumi_sample_run(&f->runtime, f->model, &f->config, out, floats, NULL));
}

static void predict(fixture *f, sumi_model *model, const int32_t *labels, const float *x,
                    int32_t time, float *out)
{
    int32_t t[COUNT];
    for (int i = 0; i < COUNT; i++)
        t[i] = time;
    const sumi_batch batch = {
        .size = sizeof batch, .n = COUNT, .h = SIDE, .w = SIDE, .x = x, .t = t, .labels = labels};
    assert_ok(sumi_runtime_predict(&f->runtime, model, &batch, out, NULL));
}

/* ddim written once more: two predictions that are asked for apart, mixed, then one clipped x_0. */
static void plain_loop(fixture *f, sumi_model *other, const int32_t *other_labels, float *x)
{
    static const int times[] = {100, 80, 60, 40, 20, 0};
    float a[ALL], b[ALL];
    sumi_process process;
    sumi_random at = {.seed = f->config.seed, .stream = SUMI_STREAM_SAMPLE_X};
    for (int i = 0; i < COUNT; i++) {
        at.image = (uint64_t)i;
        sumi_random_normals(&at, 0, x + (size_t)i * PIXELS, PIXELS);
    }
    assert_ok(sumi_process_init(&process, &f->model->process, NULL));
    float w = f->config.guidance, low = f->config.clip_low, high = f->config.clip_high;
    for (int step = 0; step < 5; step++) {
        sumi_level level = sumi_level_at(&process, times[step]);
        sumi_level next =
            times[step + 1] ? sumi_level_at(&process, times[step + 1]) : sumi_level_image();
        sumi_terms terms = sumi_process_terms(&process, &level);
        double sigma = sqrt(level.sigma2 / level.alpha2);
        predict(f, f->model, f->labels, x, times[step], a);
        predict(f, other, other_labels, x, times[step], b);
        for (int i = 0; i < ALL; i++) {
            bool inside =
                sigma >= (double)f->config.guidance_from && sigma <= (double)f->config.guidance_to;
            double y = inside ? (double)(w * a[i] + (1 - w) * b[i]) : (double)a[i];
            double x_0 = (terms.image.x * (double)x[i] + terms.image.f * y) / terms.image.divisor;
            x_0 = fmax((double)low, fmin((double)high, x_0));
            double eps = ((double)x[i] - level.alpha * x_0) / level.sigma;
            x[i] = (float)(next.alpha * x_0 + next.sigma * eps);
        }
    }
    sumi_process_free(&process);
}

static void assert_near(const float *a, const float *b)
{
    for (int i = 0; i < ALL; i++)
        assert_true(fabsf(a[i] - b[i]) < 1e-4f);
}

/* Of no label, of another model, and between two levels alone; evaluations are counted. */
static void test_it_is_the_plain_loop(void **state)
{
    (void)state;
    float drawn[ALL], plain[ALL], before[ALL] = {0};
    static const struct {
        bool guide;
        float from, to;
        int evaluations;
    } cases[] = {{false, 0, 1e30f, 10}, {true, 0, 1e30f, 10}, {false, .5f, 3, 7}, {true, 1, 9, 7}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        static fixture f;
        open_fixture(&f, 2);
        f.config.steps = 5;
        f.config.clip_low = -.7f;
        f.config.clip_high = .7f;
        f.config.guidance = 2.5f;
        f.config.guidance_from = cases[k].from;
        f.config.guidance_to = cases[k].to;
        f.config.guide = cases[k].guide ? f.guide : NULL;
        sample(&f, drawn);
        plain_loop(&f, cases[k].guide ? f.guide : f.model, cases[k].guide ? f.labels : NULL, plain);
        assert_near(drawn, plain);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(f.evaluations[i], cases[k].evaluations);
        assert_memory_not_equal(drawn, before, sizeof drawn);
        memcpy(before, drawn, sizeof before);
        close_fixture(&f);
    }
}

/* One step from given noise: the bits of two predictions that are asked for apart. */
static void test_halves_are_two_predictions(void **state)
{
    (void)state;
    static const double half_way[] = {50};
    float x[ALL], with[ALL], without[ALL], drawn[ALL];
    static fixture f;
    sumi_process process;
    sumi_random at = {.seed = 2, .stream = SUMI_STREAM_USER};
    sumi_random_normals(&at, 0, x, ALL);
    open_fixture(&f, 2);
    f.config.levels = half_way;
    f.config.level_count = 1;
    f.config.start = x;
    f.config.guidance = 1.75f;
    sample(&f, drawn);
    predict(&f, f.model, f.labels, x, 50, with);
    predict(&f, f.model, NULL, x, 50, without);
    assert_ok(sumi_process_init(&process, &f.model->process, NULL));
    sumi_level level = sumi_level_at(&process, 50);
    sumi_map map = sumi_process_terms(&process, &level).image;
    for (int i = 0; i < ALL; i++) {
        float away = 1.75f * with[i], back = -.75f * without[i];
        float y = away + back;
        float by_x = (float)map.x * x[i], by_y = (float)map.f * y;
        assert_true((by_x + by_y) / (float)map.divisor == drawn[i]);
    }
    sumi_process_free(&process);
    close_fixture(&f);
}

/* Weight 1, an interval that holds no level, and images without a label have the bits of none. */
static void test_none(void **state)
{
    (void)state;
    float none[ALL], other[ALL];
    static fixture f;
    open_fixture(&f, 2);
    sample(&f, none);
    f.config.guide = f.guide;
    sample(&f, other);
    assert_memory_equal(none, other, sizeof none);
    assert_int_equal(f.evaluations[0], 6);
    f.config.guide = NULL;
    f.config.guidance = 3;
    f.config.guidance_from = 1e6f;
    sample(&f, other);
    assert_memory_equal(none, other, sizeof none);
    assert_int_equal(f.evaluations[0], 6);
    f.config.guidance_from = 0;
    f.labels[1] = -1;
    sample(&f, other);
    assert_int_equal(f.evaluations[0], 12);
    assert_int_equal(f.evaluations[1], 6);
    f.config.guidance = 1;
    sample(&f, none);
    assert_memory_equal(none + PIXELS, other + PIXELS, PIXELS * sizeof(float));
    assert_memory_not_equal(none, other, PIXELS * sizeof(float));
    close_fixture(&f);
}

/* Any batch, any threads, and image 3 alone: every solver, from an image, in a mask and between two
 * images. */
static void check_bits(const char *solver, bool guide, int form)
{
    float whole[ALL], other[ALL], image[ALL], mask[PIXELS];
    for (int i = 0; i < ALL; i++)
        image[i] = (float)(i % 7) / 6;
    for (int i = 0; i < PIXELS; i++)
        mask[i] = (float)(i % 2);
    for (int i = 0; i < 3; i++) {
        static fixture f;
        open_fixture(&f, 1 + i);
        f.config.solver = solver;
        f.config.steps = strcmp(solver, "rk45") == 0 ? 100 : 6;
        f.config.rtol = f.config.atol = .05f;
        f.config.guidance = 2;
        f.config.guidance_to = 4;
        f.config.guide = guide ? f.guide : NULL;
        f.config.image = form == 1 || strcmp(solver, "ddim-inverse") == 0 ? image : NULL;
        f.config.mask = form == 1 ? mask : NULL;
        f.config.mask_visits = 2;
        f.config.to_index = form == 2 ? 9 : -1;
        f.config.batch = i;
        sample(&f, i ? other : whole);
        if (i)
            assert_memory_equal(whole, other, sizeof whole);
        assert_in_range(f.evaluations[3], 7, 199);
        int evaluations = f.evaluations[3];
        if (form != 2) {
            f.config.count = 1;
            f.config.first_index = 3;
            f.config.labels = f.labels + 3;
            f.config.image = f.config.image ? image + 3 * PIXELS : NULL;
            sample(&f, other);
            assert_memory_equal(whole + 3 * PIXELS, other, PIXELS * sizeof(float));
            assert_int_equal(f.evaluations[0], evaluations);
        }
        close_fixture(&f);
    }
}

static void test_batch_threads_and_index_change_no_bit(void **state)
{
    (void)state;
    for (int s = 0; sumi_solver_row(s); s++)
        check_bits(sumi_solver_row(s)->is.name, s % 2, 0);
    check_bits("rk45", false, 0);
    check_bits("rk45", true, 2);
    check_bits("ddim", false, 1);
    check_bits("dpmpp-2m", true, 1);
    check_bits("ddpm", false, 2);
}

static void refused(fixture *f, sumi_model *model, sumi_status status, const char *says)
{
    float out[ALL];
    sumi_error err = {""};
    assert_int_equal(sumi_sample_run(&f->runtime, model, &f->config, out, ALL, &err), status);
    assert_says(err, says);
}

static void test_refusals(void **state)
{
    (void)state;
    static fixture f;
    static const float bad[] = {-1, 1001, NAN};
    open_fixture(&f, 1);
    sumi_model *deaf = make_unet(0, 8, 3), *few = make_unet(2, 8, 3);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        f.config.guidance = bad[i];
        refused(&f, f.model, SUMI_EINVAL, "guidance is ");
    }
    f.config.guidance = 2;
    f.config.guidance_from = f.config.guidance_to = 1;
    refused(&f, f.model, SUMI_EINVAL, "guidance is from a sigma of 1 to 1, expected");
    f.config.guidance_to = 2;
    f.config.guide = few;
    refused(&f, f.model, SUMI_EINVAL, "the guide has 2 labels, the model 4");
    f.config.guide = f.guide;
    f.guide->standard.channels = f.model->standard.channels = 1;
    f.guide->standard.mean[0] = .5f;
    refused(&f, f.model, SUMI_EINVAL, "the guide was trained on other data");
    f.guide->standard.channels = f.model->standard.channels = 0;
    f.guide->process.timesteps = f.guide->info.timesteps = 50;
    f.config.guide = f.guide;
    refused(&f, f.model, SUMI_EINVAL, "the guide has a timesteps of 50, the model of 100");
    f.guide->info.timesteps = 100;
    f.guide->process.schedule = SUMI_SCHEDULE_FLOW;
    refused(&f, f.model, SUMI_EINVAL, "the guide has the schedule flow, the model cosine");
    f.guide->info.height = f.guide->info.width = 16;
    f.model->info.height = f.model->info.width = 8;
    refused(&f, f.model, SUMI_ESHAPE, "the guide is for images of 16x16x1, the model for 8x8x1");
    f.config.guide = NULL;
    f.config.labels = NULL;
    refused(&f, f.model, SUMI_EINVAL, "guidance away from no label needs labels");
    refused(&f, deaf, SUMI_EINVAL, "was trained without labels: guidance needs another model");
    sumi_models_free(deaf);
    sumi_models_free(few);
    close_fixture(&f);
}

/* Without labels, from a worse model; and from one without labels with them. */
static void test_a_guide_needs_no_labels(void **state)
{
    (void)state;
    float plain[ALL], guided[ALL];
    static fixture f;
    open_fixture(&f, 2);
    sumi_model *deaf = make_unet(0, 4, 5);
    for (int told = 0; told < 2; told++) {
        f.config.labels = told ? f.labels : NULL;
        f.config.guide = deaf;
        f.config.guidance = 1;
        sample(&f, plain);
        f.config.guidance = 1.5f;
        sample(&f, guided);
        assert_memory_not_equal(plain, guided, sizeof plain);
        assert_int_equal(f.evaluations[0], 12);
    }
    sumi_models_free(deaf);
    close_fixture(&f);
}

/* A model's own guidance is that of images that have a label. */
static void test_a_model_has_its_own(void **state)
{
    (void)state;
    float given[ALL], own[ALL];
    static fixture f;
    open_fixture(&f, 2);
    f.config.guidance = 2;
    f.config.guidance_to = 3;
    sample(&f, given);
    f.model->sampling = json_pack("{s:s, s:i, s:f, s:f}", "solver", "ddim", "steps", 6, "guidance",
                                  2., "guidance_to", 3.);
    f.config.solver = NULL;
    f.config.steps = 0;
    f.config.guidance = 1;
    f.config.guidance_to = 1e30f;
    sumi_sample_config config = f.config;
    sumi_sample_complete(f.model, &f.config);
    sample(&f, own);
    assert_memory_equal(given, own, sizeof own);
    f.config = config;
    f.config.labels = NULL;
    sumi_sample_complete(f.model, &f.config);
    assert_true(f.config.guidance == 1 && f.config.guidance_to > 1e29f);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_the_plain_loop),
        cmocka_unit_test(test_halves_are_two_predictions),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_a_model_has_its_own),
        cmocka_unit_test(test_batch_threads_and_index_change_no_bit),
        cmocka_unit_test(test_a_guide_needs_no_labels),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
