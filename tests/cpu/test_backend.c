/*
 * Training, sampling, checkpoints, predictions and measuring reach networks and memory through the
 * backend's table alone. They run on a table whose memory nobody can touch: what it gives out are
 * addresses of pages without access, which stand for other memory that only the table knows. So
 * whoever goes around it dies, and the host's copies of weights are old until somebody fetches
 * them. The bits are those of the CPU's table.
 */
#include "recorder.h"

#include "data/augment.h"
#include "sample/sample.h"
#include "train/train.h"

/* ---- Sampling -------------------------------------------------------------------------------- */

static sumi_model *make_model(void)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_model *model = NULL;
    config.base_channels = 8;
    config.time_dim = 6;
    config.timesteps = 20;
    assert_int_equal(sumi_models_create(&config, &model, NULL), SUMI_OK);
    return model;
}

/* Images of every solver, with noise of the seed's and with given noise, seen on their way. */
enum { DRAWN = 2 * PIXELS, EVALUATIONS = 5, SOLVERS_MAX = 32 };

static int look(void *user, int step, const float *x_t, const float *x_0, int n)
{
    double *sum = user;
    for (int i = 0; i < n * PIXELS; i++)
        *sum += (double)x_t[i] + (double)x_0[i] * step;
    return 0;
}

static double sample_all(sumi_runtime *runtime, const sumi_model *model, float *out)
{
    static float noise[(1 + EVALUATIONS) * DRAWN];
    static const float mask[PIXELS] = {1, .5f};
    double sum = 0;
    const sumi_random at = {4, SUMI_STREAM_USER, 0, 0};
    sumi_random_normals(&at, 0, noise, (1 + EVALUATIONS) * DRAWN);
    for (int i = 0; sumi_solver_row(i); i++) {
        assert_true(i < SOLVERS_MAX);
        sumi_sample_config sample = SUMI_SAMPLE_CONFIG_INIT;
        sample.count = 2;
        sample.height = sample.width = SIDE;
        sample.solver = sumi_solver_row(i)->is.name;
        bool adaptive = sumi_solver_row(i)->flags & SUMI_SOLVER_ADAPTIVE;
        bool inverse = sumi_solver_row(i)->flags & SUMI_SOLVER_INVERSE;
        sample.steps = adaptive ? 0 : EVALUATIONS;
        sample.rtol = sample.atol = 1;
        if (i == 4) {
            sample.mask = mask;
            sample.image = noise;
        }
        sample.noise = i % 3 || i == 4 ? NULL : noise;
        if (inverse)
            sample.image = noise;
        sample.threshold = i % 5 ? 0 : .9f;
        sample.on_step = i % 2 || adaptive ? NULL : look;
        sample.user = &sum;
        assert_int_equal(
            sumi_sample_run(runtime, model, &sample, out + (size_t)i * DRAWN, DRAWN, NULL),
            SUMI_OK);
    }
    return sum;
}

static void test_sampling_touches_no_tensor(void **state)
{
    (void)state;
    static const int objectives[] = {SUMI_OBJECTIVE_EPS, SUMI_OBJECTIVE_EDM};
    static float expected[SOLVERS_MAX * DRAWN], found[SOLVERS_MAX * DRAWN];
    sumi_backend backend = recorder();
    sumi_model *model = make_model();
    for (int i = 0; i < 2; i++) {
        sumi_runtime plain, recorded;
        model->process.objective = objectives[i];
        assert_int_equal(sumi_runtime_init(&plain, 2, NULL, NULL), SUMI_OK);
        seen = (recording){0};
        assert_int_equal(sumi_runtime_init_on(&recorded, &backend, 2, NULL, NULL), SUMI_OK);
        double sum = sample_all(&plain, model, expected);
        assert_true(sample_all(&recorded, model, found) == sum);
        assert_memory_equal(found, expected, sizeof found);
        assert_true(seen.mixed > 0 && seen.scanned == seen.predicted && seen.limited > 0 &&
                    seen.blended > 0 && seen.measured > 0);
        sumi_runtime_free(&plain);
        sumi_runtime_free(&recorded);
        assert_int_equal(seen.block_count, 0);
    }
    sumi_models_free(model);
}

/* ---- Training -------------------------------------------------------------------------------- */

enum { STEPS = 3, WEIGHTS_MAX = 60000 };

/* All that a training leaves that somebody can look at. */
typedef struct {
    double loss[2 * STEPS];
    float drawn[2][2 * PIXELS];     /* after a step, and after the next one */
    float predicted[2][N * PIXELS]; /* by the average, likewise */
    float tensors[2][WEIGHTS_MAX];  /* of the model and of its average, at the end */
    float statistics[2][WEIGHTS_MAX];
    size_t values, statistic_count;
} outcome;

static sumi_batch batch_of(const float *images)
{
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.n = N;
    batch.h = batch.w = SIDE;
    batch.x = images;
    return batch;
}

static void sample_two(sumi_runtime *runtime, const sumi_model *model, float *out)
{
    sumi_sample_config sample = SUMI_SAMPLE_CONFIG_INIT;
    sample.count = 2;
    sample.height = sample.width = SIDE;
    sample.solver = "ddim";
    sample.steps = 4;
    assert_int_equal(sumi_sample_run(runtime, model, &sample, out, 2 * PIXELS, NULL), SUMI_OK);
}

static void predict_all(sumi_runtime *runtime, const sumi_model *model, const float *images,
                        float *out)
{
    static const int32_t t[N] = {1, 20, 7, 13};
    sumi_batch batch = batch_of(images);
    batch.t = t;
    assert_int_equal(sumi_runtime_predict(runtime, model, &batch, out, NULL), SUMI_OK);
}

static void keep(const sumi_model *model, int which, outcome *out)
{
    sumi_model *copy = NULL;
    assert_int_equal(sumi_models_copy(model, &copy, NULL), SUMI_OK);
    const sumi_params *params = &copy->graph.params;
    out->values = params->value_count;
    out->statistic_count = params->statistic_count;
    assert_true(params->value_count <= WEIGHTS_MAX && params->statistic_count <= WEIGHTS_MAX);
    memcpy(out->tensors[which], params->values, params->value_count * sizeof(float));
    memcpy(out->statistics[which], params->statistics, params->statistic_count * sizeof(float));
    sumi_models_free(copy);
}

static sumi_trainer *make_trainer(sumi_runtime *runtime, sumi_model *model)
{
    sumi_trainer *trainer = NULL;
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    config.batch = N;
    config.height = config.width = SIDE;
    config.averages[0] = .5f;
    config.averages[1] = .9f;
    config.optimiser = "muon"; /* and AdamW */
    config.weight_decay = .1f;
    config.clip_norm = .01f;
    assert_int_equal(sumi_train_create(runtime, model, &config, &trainer, NULL), SUMI_OK);
    return trainer;
}

static void take_steps(sumi_trainer *trainer, const float *images, int count, double *loss)
{
    sumi_batch batch = batch_of(images);
    for (int i = 0; i < count; i++)
        assert_int_equal(sumi_train_step(trainer, &batch, &loss[i], NULL), SUMI_OK);
}

/* Steps with pictures and predictions between them; then a checkpoint, from which another trainer
 * goes on. */
static void train(sumi_runtime *runtime, const sumi_process_config *process, outcome *out)
{
    char dir[] = "/tmp/sumi-backend-XXXXXX";
    sumi_model *first = make_model(), *second = make_model();
    float images[N * PIXELS];
    const sumi_random at = {3, SUMI_STREAM_USER, 0, 0};
    memset(out, 0, sizeof *out);
    sumi_random_normals(&at, 0, images, N * PIXELS);
    first->process = second->process = *process;
    assert_non_null(mkdtemp(dir));
    sumi_trainer *trainer = make_trainer(runtime, first);
    for (int i = 0; i < 2; i++) {
        take_steps(trainer, images, 1, &out->loss[i]);
        sample_two(runtime, first, out->drawn[i]);
        predict_all(runtime, sumi_train_best(trainer), images, out->predicted[i]);
    }
    take_steps(trainer, images, STEPS - 2, &out->loss[2]);
    assert_int_equal(sumi_checkpoint_save(trainer, NULL, dir, NULL), SUMI_OK);
    sumi_train_free(trainer);
    trainer = make_trainer(runtime, second);
    assert_int_equal(sumi_checkpoint_load(trainer, dir, NULL, NULL), SUMI_OK);
    assert_memory_equal(second->graph.params.values, first->graph.params.values,
                        first->graph.params.value_count * sizeof(float));
    take_steps(trainer, images, STEPS, &out->loss[STEPS]);
    keep(second, 0, out);
    keep(trainer->averages.model[1], 1, out);
    sumi_train_free(trainer);
    assert_memory_equal(second->graph.params.values, out->tensors[0], out->values * sizeof(float));
    assert_int_equal(sumi_remove_tree(dir, NULL), SUMI_OK);
    sumi_runtime_forget(runtime, first->id);
    sumi_models_free(first);
    sumi_models_free(second);
}

static void test_training_touches_no_tensor(void **state)
{
    (void)state;
    static const struct {
        int objective, weighting;
    } cases[] = {{SUMI_OBJECTIVE_EPS, SUMI_WEIGHTING_UNIFORM},
                 {SUMI_OBJECTIVE_V, SUMI_WEIGHTING_MIN_SNR}};
    static outcome expected, found;
    for (int i = 0; i < 2; i++) {
        sumi_runtime runtime;
        sumi_backend backend = recorder();
        sumi_process_config process = SUMI_PROCESS_CONFIG_INIT;
        process.timesteps = 20;
        process.objective = cases[i].objective;
        process.weighting = cases[i].weighting;
        assert_int_equal(sumi_runtime_init(&runtime, 2, NULL, NULL), SUMI_OK);
        train(&runtime, &process, &expected);
        sumi_runtime_free(&runtime);
        seen = (recording){0};
        assert_int_equal(sumi_runtime_init_on(&runtime, &backend, 2, NULL, NULL), SUMI_OK);
        train(&runtime, &process, &found);
        sumi_runtime_free(&runtime);
        assert_true(memcmp(&found, &expected, sizeof found) == 0);
        assert_memory_not_equal(found.drawn[0], found.drawn[1], sizeof found.drawn[0]);
        assert_memory_not_equal(found.predicted[0], found.predicted[1], sizeof found.predicted[0]);
        assert_int_equal(seen.trained, 2 * STEPS);
        assert_int_equal(seen.checked, 2 * STEPS);
        assert_int_equal(seen.moved, 2 * STEPS);
        assert_int_equal(seen.turned, 2 * STEPS);
        assert_int_equal(seen.squared, 2 * STEPS);
        assert_int_equal(seen.renewed, 2); /* the second time, of the model and of its average */
        assert_int_equal(seen.opened, 0);
        assert_int_equal(seen.created, 0);     /* every network was freed */
        assert_int_equal(seen.block_count, 0); /* and all memory */
    }
}

/* ---- Steps ahead ----------------------------------------------------------------------------- */

enum { AHEAD = 4 };

/* Of step number `step`; where it is bad, an image has no number. */
static void images_of(int step, bool bad, float out[N * PIXELS])
{
    const sumi_random at = {3, SUMI_STREAM_USER, (uint32_t)step, 0};
    sumi_random_normals(&at, 0, out, N * PIXELS);
    if (bad)
        out[2 * PIXELS + 5] = (float)(0.0 / 0.0);
}

/* Takes steps up to `end`, one by one or queued; step `bad` (0: none) is to fail. */
static void train_on(sumi_trainer *trainer, bool queued, int bad, int end, double *loss)
{
    float images[N * PIXELS];
    while (trainer->steps < end) {
        int first = (int)trainer->steps, count = queued ? AHEAD : 1;
        int read = seen.read;
        for (int i = 0; i < count; i++) {
            images_of(first + i + 1, first + i + 1 == bad, images);
            const sumi_batch batch = batch_of(images);
            if (queued)
                assert_int_equal(sumi_train_queue(trainer, &batch, NULL), SUMI_OK);
            else
                assert_int_equal(sumi_train_step(trainer, &batch, &loss[first], NULL), SUMI_OK);
        }
        if (queued)
            assert_int_equal(seen.read, read); /* nobody waited */
        while (sumi_train_on_their_way(trainer) > 0) {
            sumi_settled done;
            int64_t before = trainer->steps;
            assert_int_equal(sumi_train_settle(trainer, &done, NULL), SUMI_OK);
            assert_int_equal(done.repeat, before + 1 == bad);
            if (done.repeat)
                return;
            assert_int_equal(trainer->steps, before + 1);
            loss[before] = done.loss;
        }
        if (queued)
            assert_int_equal(seen.read, read + 1);
    }
}

/* A backend that is given several steps before it is asked has the bits of one that is asked after
 * each; one that is bad among them, and all after it, have no effect. */
static void test_steps_ahead(void **state)
{
    (void)state;
    enum { END = 8, BAD = 7 };
    double loss[2][END] = {{0}};
    float images[N * PIXELS];
    sumi_error err = {""};
    sumi_runtime runtime[2];
    sumi_trainer *trainer[2];
    sumi_model *model[2];
    sumi_backend backend[2] = {recorder(), recorder()};
    seen = (recording){0};
    backend[1].ahead = AHEAD;
    for (int bad = 0; bad <= BAD; bad += BAD) {
        for (int i = 0; i < 2; i++) {
            assert_int_equal(sumi_runtime_init_on(&runtime[i], &backend[i], 2, NULL, NULL),
                             SUMI_OK);
            model[i] = make_model();
            trainer[i] = make_trainer(&runtime[i], model[i]);
            assert_int_equal(trainer[i]->ahead, i ? AHEAD : 1);
            train_on(trainer[i], i, i ? bad : 0, bad ? bad - 1 : END, loss[i]);
        }
        if (bad) {
            images_of(bad, false, images);
            train_on(trainer[1], true, bad, END, loss[1]);
            images_of(bad, true, images);
            const sumi_batch batch = batch_of(images);
            assert_int_equal(sumi_train_step(trainer[1], &batch, NULL, &err), SUMI_EINVAL);
            assert_string_equal(err.text, "step 7: image 2 of the batch has a value that is not "
                                          "finite; nothing was updated");
        }
        assert_int_equal(trainer[1]->steps, bad ? bad - 1 : END);
        assert_memory_equal(loss[0], loss[1], sizeof loss[0]);
        assert_true(trainer[0]->gradient_norm > 0);
        assert_true(trainer[0]->gradient_norm == trainer[1]->gradient_norm);
        for (int i = 0; i < 2; i++)
            sumi_model_fetch(model[i]);
        const sumi_params *p = &model[0]->graph.params, *q = &model[1]->graph.params;
        assert_memory_equal(p->values, q->values, p->value_count * sizeof(float));
        assert_memory_equal(p->statistics, q->statistics, p->statistic_count * sizeof(float));
        assert_memory_equal(p->counters, q->counters, p->counter_count * sizeof(int64_t));
        assert_int_equal(p->counters[0], bad ? bad - 1 : END);
        for (int i = 0; i < 2; i++) {
            sumi_train_free(trainer[i]);
            sumi_models_free(model[i]);
            sumi_runtime_free(&runtime[i]);
        }
    }
    assert_int_equal(seen.created, 0);
    assert_int_equal(seen.block_count, 0);
}

/* ---- A data set that is kept ----------------------------------------------------------------- */

enum { IMAGES = 10, KEPT_STEPS = 5 };

/* Steps on batches of a set, which the device keeps where it has the room. */
static sumi_model *train_on_set(sumi_runtime *runtime, const sumi_dataset *set, bool kept)
{
    const sumi_augment augment = {.flip = true, .crop = 2, .seed = 3};
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    sumi_trainer *trainer = NULL;
    sumi_batches *batches = NULL;
    sumi_model *model = make_model();
    model->standardise = true;
    model->standard = (sumi_standard){.channels = 1, .to = .5f, .mean = {.4f}, .deviation = {.3f}};
    config.batch = N;
    config.height = config.width = SIDE;
    config.accumulate = 2;
    assert_int_equal(sumi_train_create(runtime, model, &config, &trainer, NULL), SUMI_OK);
    sumi_train_keep(trainer, set);
    assert_int_equal(trainer->kept.images != NULL, kept);
    assert_int_equal((kept ? sumi_batches_create_picks : sumi_batches_create_share)(
                         set, N, 3, 0, &augment, NULL, &batches, NULL),
                     SUMI_OK);
    for (int i = 0; i < KEPT_STEPS; i++) {
        sumi_data_batch data;
        double loss;
        sumi_batches_next(batches, &data);
        sumi_batch batch = batch_of(data.images);
        batch.n = data.n;
        trainer->picks = data.picks;
        assert_int_equal(sumi_train_step(trainer, &batch, &loss, NULL), SUMI_OK);
    }
    sumi_batches_free(batches);
    sumi_train_free(trainer);
    return model;
}

/* A device that keeps the data is given them once, and has the bits of one that is given batches;
 * where they do not fit nothing is kept. */
static void test_a_set_that_is_kept(void **state)
{
    (void)state;
    static uint8_t pixels[IMAGES * PIXELS];
    sumi_dataset set = {
        .count = IMAGES, .height = SIDE, .width = SIDE, .channels = 1, .pixels = pixels};
    sumi_runtime runtime;
    sumi_backend backend = recorder();
    sumi_model *models[2];
    for (int i = 0; i < IMAGES * PIXELS; i++)
        pixels[i] = (uint8_t)(i * i % 251);
    seen = (recording){.spare = sizeof pixels - 1};
    assert_int_equal(sumi_runtime_init_on(&runtime, &backend, 2, NULL, NULL), SUMI_OK);
    for (int kept = 0; kept < 2; kept++) {
        models[kept] = train_on_set(&runtime, &set, kept);
        assert_int_equal(seen.gathered, kept * 2 * KEPT_STEPS);
        seen.spare = sizeof pixels;
    }
    const sumi_params *p = &models[0]->graph.params, *q = &models[1]->graph.params;
    assert_memory_equal(p->values, q->values, p->value_count * sizeof(float));
    for (int i = 0; i < 2; i++)
        sumi_models_free(models[i]);
    sumi_runtime_free(&runtime);
    assert_int_equal(seen.block_count, 0);
}

static void test_measuring_touches_no_tensor(void **state)
{
    (void)state;
    sumi_runtime runtime;
    sumi_backend backend = recorder();
    sumi_model *model = make_model();
    sumi_profile_config config = SUMI_PROFILE_CONFIG_INIT;
    sumi_profile_entry entries[128];
    int count = 0;
    config.n = N;
    config.height = config.width = SIDE;
    config.runs = 1;
    seen = (recording){0};
    assert_int_equal(sumi_runtime_init_on(&runtime, &backend, 2, NULL, NULL), SUMI_OK);
    for (int training = 0; training < 2; training++) {
        config.training = training;
        assert_int_equal(sumi_train_profile(&runtime, model, &config, entries, 128, &count, NULL),
                         SUMI_OK);
    }
    assert_int_equal(seen.trained, 3); /* two runs to warm up */
    assert_int_equal(seen.predicted, 3);
    assert_int_equal(seen.moved, 3);
    sumi_models_free(model);
    sumi_runtime_free(&runtime);
    assert_int_equal(seen.created, 0);
    assert_int_equal(seen.block_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sampling_touches_no_tensor),
        cmocka_unit_test(test_training_touches_no_tensor),
        cmocka_unit_test(test_steps_ahead),
        cmocka_unit_test(test_a_set_that_is_kept),
        cmocka_unit_test(test_measuring_touches_no_tensor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
