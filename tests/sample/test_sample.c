/* Sampling with a network: sizes, batches, noise, callbacks, and what is refused. */
#include "cpu/cpu_test.h"
#include "sample/sample.h"
#include "train/train_test.h"

#include <math.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE, COUNT = 5 };

typedef struct {
    sumi_runtime runtime;
    sumi_model *model;
    sumi_sample_config config;
    int looks, tells, stop_look, stop_tell;
    int64_t last_step, step_count;
} fixture;

static void open_fixture(fixture *f, int threads)
{
    memset(f, 0, sizeof *f);
    make_runtime(&f->runtime, threads);
    f->model = make_model(3);
    f->config = (sumi_sample_config)SUMI_SAMPLE_CONFIG_INIT;
    f->config.count = COUNT;
    f->config.height = f->config.width = SIDE;
    f->config.steps = 4;
    f->config.seed = 11;
    f->config.user = f;
}

static void close_fixture(fixture *f)
{
    sumi_models_free(f->model);
    sumi_runtime_free(&f->runtime);
}

static void sample(fixture *f, float *out)
{
    size_t floats = (size_t)f->config.count * PIXELS;
    assert_ok(sumi_sample_run(&f->runtime, f->model, &f->config, out, floats, NULL));
}

static void test_batch_threads_and_index_change_no_bit(void **state)
{
    (void)state;
    static const char *const solvers[] = {"ddpm", "ddim"};
    for (int s = 0; s < 2; s++) {
        float whole[COUNT * PIXELS], other[COUNT * PIXELS];
        for (int i = 0; i < 4; i++) {
            static const int batches[] = {0, 1, 2, 3};
            fixture f;
            open_fixture(&f, 1 + i % 3);
            f.config.solver = solvers[s];
            f.config.eta = s ? .5f : 0;
            f.config.batch = batches[i];
            sample(&f, i ? other : whole);
            if (i)
                assert_memory_equal(whole, other, sizeof whole);
            f.config.count = 1;
            f.config.first_index = 3;
            sample(&f, other);
            assert_memory_equal(whole + 3 * PIXELS, other, PIXELS * sizeof(float));
            close_fixture(&f);
        }
        for (int i = 0; i < COUNT * PIXELS; i++)
            assert_true(isfinite(whole[i]));
    }
}

/* bfloat16 draws nearly the same pictures, whatever the batch and the threads, and the networks of
 * both precisions that one runtime keeps are not mixed up. */
static void test_bf16_samples(void **state)
{
    (void)state;
    enum { ALL = COUNT * PIXELS };
    float exact[ALL], again[ALL], rounded[ALL], other[ALL];
    fixture f;
    open_fixture(&f, 1);
    sample(&f, exact);
    f.config.precision = SUMI_PRECISION_BF16;
    sample(&f, rounded);
    f.config.precision = SUMI_PRECISION_FP32;
    sample(&f, again);
    close_fixture(&f);
    assert_memory_equal(exact, again, sizeof exact);
    double difference = 0, norm = 0;
    for (int i = 0; i < ALL; i++) {
        difference += ((double)rounded[i] - (double)exact[i]) * (double)(rounded[i] - exact[i]);
        norm += (double)exact[i] * (double)exact[i];
    }
    assert_true(difference > 0 && difference < 4e-4 * norm);
    open_fixture(&f, 3);
    f.config.precision = SUMI_PRECISION_BF16;
    f.config.batch = 2;
    sample(&f, other);
    close_fixture(&f);
    assert_memory_equal(rounded, other, sizeof rounded);
}

/* The loop of the tutorial, written once more over sumi_network_predict. */
static void test_given_noise_is_the_plain_loop(void **state)
{
    (void)state;
    fixture f;
    enum { STEPS = 100, ALL = COUNT * PIXELS };
    open_fixture(&f, 1);
    float *noise = malloc((size_t)(1 + STEPS) * ALL * sizeof *noise), x[ALL], out[ALL], eps[ALL];
    sumi_random at = {.seed = 2, .stream = SUMI_STREAM_USER};
    sumi_random_normals(&at, 0, noise, (size_t)(1 + STEPS) * ALL);
    f.config.steps = 0; /* all 100 */
    f.config.noise = noise;
    f.config.batch = 2;
    sample(&f, out);

    sumi_process process;
    sumi_network *network;
    assert_ok(sumi_process_init(&process, &f.model->process, NULL));
    assert_ok(sumi_runtime_predictor(&f.runtime, f.model,
                                     &(sumi_predictor){.n_max = COUNT, .h = SIDE, .w = SIDE},
                                     &network, NULL));
    memcpy(x, noise, sizeof x);
    for (int k = 1; k <= STEPS; k++) {
        int32_t t[COUNT], now = STEPS + 1 - k;
        for (int i = 0; i < COUNT; i++)
            t[i] = now;
        cpu_predict(network, x, t, COUNT, eps);
        float alpha = process.alpha[now - 1], bar = process.alpha_bar[now - 1];
        float before = now > 1 ? process.alpha_bar[now - 2] : 1;
        float factor = (1 - alpha) / sqrtf(1 - bar), root = sqrtf(alpha);
        float sigma = sqrtf((1 - alpha) * (1 - before) / (1 - bar));
        for (int i = 0; i < ALL; i++) {
            x[i] = (x[i] - factor * eps[i]) / root;
            x[i] += noise[(size_t)k * ALL + (size_t)i] * sigma;
        }
    }
    assert_memory_equal(x, out, sizeof x);
    sumi_process_free(&process);
    free(noise);
    close_fixture(&f);
}

static int look(void *user, int step, const float *x_t, const float *x_0, int n)
{
    fixture *f = user;
    assert_in_range(step, 1, 100);
    assert_in_range(n, 1, 2);
    assert_true(isfinite(x_t[0]) && isfinite(x_0[n * PIXELS - 1]));
    return ++f->looks == f->stop_look;
}

static int tell(void *user, const sumi_progress *progress)
{
    fixture *f = user;
    assert_int_equal(progress->phase, SUMI_PHASE_SAMPLE);
    assert_int_equal(progress->step, ++f->last_step);
    assert_true(progress->images_per_s >= 0);
    assert_true(progress->eta_s >= 0 || progress->step_count == 0);
    f->step_count = progress->step_count;
    return ++f->tells == f->stop_tell;
}

static void check_solver(const char *solver, const char *spacing, int evaluations)
{
    float whole[COUNT * PIXELS], other[COUNT * PIXELS], image[COUNT * PIXELS];
    fixture f;
    open_fixture(&f, 2);
    for (int i = 0; i < COUNT * PIXELS; i++)
        image[i] = (float)(i % 7) / 6;
    f.config.image = strcmp(solver, "ddim-inverse") == 0 ? image : NULL;
    f.config.solver = solver;
    f.config.spacing = spacing;
    f.config.steps = evaluations == 6 ? 100 : 7;
    f.config.rtol = f.config.atol = .05f;
    f.config.batch = COUNT;
    f.config.progress = tell;
    sample(&f, whole);
    assert_true(evaluations == 6 || f.last_step == 7);
    f.last_step = 0;
    f.config.steps++;
    f.config.steps = f.config.steps > 100 ? 100 : f.config.steps;
    sample(&f, other);
    assert_true(evaluations == 6 || f.last_step == (evaluations == 2 ? 7 : 8));
    f.config.progress = NULL;
    f.config.steps = evaluations == 6 ? 100 : 7;
    f.config.batch = 2;
    sample(&f, other);
    assert_memory_equal(whole, other, sizeof whole);
    for (int i = 0; i < COUNT * PIXELS; i++)
        assert_true(isfinite(whole[i]));
    close_fixture(&f);
}

/* With a network: the same bits in any batch, and steps are evaluations, which progress counts. */
static void test_every_solver_and_spacing(void **state)
{
    (void)state;
    for (int s = 0; sumi_solver_row(s); s++) {
        for (int p = 0; sumi_spacing_row(p); p++)
            check_solver(sumi_solver_row(s)->is.name, sumi_spacing_row(p)->is.name,
                         sumi_solver_row(s)->evaluations);
    }
}

static void test_callbacks_and_stopping(void **state)
{
    (void)state;
    fixture f;
    sumi_error err;
    float out[COUNT * PIXELS];
    open_fixture(&f, 1);
    f.config.on_step = look;
    f.config.progress = tell;
    f.config.batch = 2; /* 2 + 2 + 1 images, 4 steps each */
    sample(&f, out);
    assert_int_equal(f.looks, 12);
    assert_int_equal(f.tells, 12);
    assert_int_equal(f.step_count, 12);

    f.looks = f.tells = 0;
    f.last_step = 0;
    f.stop_tell = 6;
    assert_int_equal(sumi_sample_run(&f.runtime, f.model, &f.config, out, COUNT * PIXELS, &err),
                     SUMI_CANCELLED);
    assert_string_equal(err.text, "cancelled: 2 of 5 images are whole");
    f.looks = f.tells = 0;
    f.last_step = 0;
    f.stop_tell = 0;
    f.stop_look = 9;
    assert_int_equal(sumi_sample_run(&f.runtime, f.model, &f.config, out, COUNT * PIXELS, &err),
                     SUMI_CANCELLED);
    assert_string_equal(err.text, "cancelled: 4 of 5 images are whole");

    f.stop_look = 0;
    atomic_store(&f.runtime.cancel, 1);
    f.config.on_step = NULL;
    assert_int_equal(sumi_sample_run(&f.runtime, f.model, &f.config, out, COUNT * PIXELS, &err),
                     SUMI_CANCELLED);
    assert_string_equal(err.text, "cancelled: 0 of 5 images are whole");
    close_fixture(&f);
}

static double distance_to(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < COUNT * PIXELS; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sqrt(sum);
}

/* The less strength, the nearer the image; noise that is given is where the sampling begins. */
static void test_from_an_image_or_noise(void **state)
{
    (void)state;
    fixture f;
    float image[COUNT * PIXELS], far[COUNT * PIXELS], near[COUNT * PIXELS], one[PIXELS];
    int evaluations[COUNT];
    open_fixture(&f, 2);
    for (int i = 0; i < COUNT * PIXELS; i++)
        image[i] = (float)(i % 5) / 4;
    f.config.solver = "ddim";
    f.config.image = image;
    f.config.strength = .9f;
    f.config.evaluations = evaluations;
    sample(&f, far);
    f.config.strength = .03f;
    sample(&f, near);
    assert_true(distance_to(near, image) < .2 * distance_to(far, image));
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(evaluations[i], 3); /* rows at t = 3, 2, 1 */
    f.config.batch = 2;
    sample(&f, far);
    assert_memory_equal(near, far, sizeof far);
    f.config.image = image + 2 * PIXELS;
    f.config.first_index = 2;
    f.config.count = 1;
    sample(&f, one);
    assert_memory_equal(one, near + 2 * PIXELS, sizeof one);
    f.config.image = NULL;
    f.config.strength = 1;
    f.config.start = image;
    f.config.count = COUNT;
    f.config.first_index = 0;
    sample(&f, far);
    f.config.seed++;
    f.config.start = NULL;
    float *noise = calloc(5 * COUNT * PIXELS, sizeof *noise);
    memcpy(noise, image, sizeof image);
    f.config.noise = noise;
    sample(&f, near);
    assert_memory_equal(near, far, sizeof far);
    free(noise);
    close_fixture(&f);
}

/* Images between two of a seed: the ends are those two, to the bit, and each is near the next. */
static void test_between_two_images(void **state)
{
    (void)state;
    static const char *const solvers[] = {"ddim", "ddpm", "rk45"};
    for (int s = 0; s < 3; s++) {
        fixture f;
        float between[COUNT * PIXELS], end[PIXELS];
        open_fixture(&f, 2);
        f.config.solver = solvers[s];
        f.config.steps = s == 2 ? 100 : 4;
        f.config.rtol = f.config.atol = .05f;
        f.config.first_index = 7;
        f.config.to_index = 3;
        f.config.batch = 2;
        sample(&f, between);
        f.config.to_index = -1;
        f.config.count = 1;
        sample(&f, end);
        assert_memory_equal(between, end, sizeof end);
        f.config.first_index = 3;
        sample(&f, end);
        assert_memory_equal(between + (COUNT - 1) * PIXELS, end, sizeof end);
        for (int i = 0; i + 1 < COUNT; i++)
            assert_memory_not_equal(between + i * PIXELS, between + (i + 1) * PIXELS, sizeof end);
        close_fixture(&f);
    }
}

/* What the mask keeps is the image, and the rest is not. */
static void test_masks(void **state)
{
    (void)state;
    fixture f;
    float image[COUNT * PIXELS], mask[PIXELS], x[COUNT * PIXELS], one[PIXELS];
    int evaluations[COUNT];
    open_fixture(&f, 2);
    for (int i = 0; i < COUNT * PIXELS; i++)
        image[i] = (float)(i % 5) / 4;
    for (int i = 0; i < PIXELS; i++)
        mask[i] = (float)(i % SIDE >= SIDE / 2);
    f.config.solver = "ddim";
    f.config.image = image;
    f.config.mask = mask;
    f.config.mask_visits = 3;
    f.config.evaluations = evaluations;
    sample(&f, x);
    for (int i = 0; i < COUNT * PIXELS; i++)
        assert_true((x[i] == image[i]) == (mask[i % PIXELS] == 0));
    assert_int_equal(evaluations[COUNT - 1], 4 + 3 * 2); /* back from three levels, twice */
    f.config.first_index = 2;
    f.config.count = 1;
    f.config.image = image + 2 * PIXELS;
    sample(&f, one);
    assert_memory_equal(one, x + 2 * PIXELS, sizeof one);
    close_fixture(&f);
}

/* Levels by t are those of a spacing; sigma names the same. */
static void test_levels(void **state)
{
    (void)state;
    fixture f;
    static const double times[] = {100, 75, 50, 25};
    float spaced[COUNT * PIXELS], listed[COUNT * PIXELS];
    double sigma[4];
    sumi_process process;
    open_fixture(&f, 2);
    f.config.solver = "ddim";
    sample(&f, spaced);
    f.config.levels = times;
    f.config.level_count = 4;
    f.config.steps = 99; /* is not looked at */
    sample(&f, listed);
    assert_memory_equal(spaced, listed, sizeof listed);
    assert_ok(sumi_process_init(&process, &f.model->process, NULL));
    for (int i = 0; i < 4; i++) {
        sumi_level level = sumi_level_at(&process, times[i]);
        sigma[i] = sqrt(level.sigma2 / level.alpha2);
    }
    sumi_process_free(&process);
    f.config.levels = sigma;
    f.config.levels_are_sigma = true;
    sample(&f, listed);
    assert_true(distance_to(spaced, listed) < 1e-3);
    close_fixture(&f);
}

/* Where predictions are clipped, so is the last of them, which is the image. */
static void test_clipped_predictions(void **state)
{
    (void)state;
    static const char *const solvers[] = {"ddim", "dpmpp-2m", "ddpm"};
    float plain[COUNT * PIXELS], clipped[COUNT * PIXELS], shrunk[COUNT * PIXELS];
    for (int s = 0; s < 3; s++) {
        fixture f;
        double most = 0, clipped_most = 0, shrunk_most = 0;
        open_fixture(&f, 2);
        f.config.solver = solvers[s];
        sample(&f, plain);
        f.config.clip_low = -.5f;
        f.config.clip_high = .5f;
        sample(&f, clipped);
        f.config.threshold = .8f;
        sample(&f, shrunk);
        for (int i = 0; i < COUNT * PIXELS; i++) {
            most = fmax(most, fabs((double)plain[i]));
            clipped_most = fmax(clipped_most, fabs((double)clipped[i]));
            shrunk_most = fmax(shrunk_most, fabs((double)shrunk[i]));
        }
        assert_true(most > .6 && clipped_most < .5001 && shrunk_most < .5001);
        assert_memory_not_equal(clipped, shrunk, sizeof shrunk);
        close_fixture(&f);
    }
}

typedef struct {
    const char *says;
    sumi_status status;
    sumi_sample_config config;
} refusal;

static void test_refusals(void **state)
{
    (void)state;
    fixture f;
    sumi_error err;
    float out[COUNT * PIXELS];
    open_fixture(&f, 1);
    const sumi_sample_config good = f.config;
    refusal bad[] = {
        {"count is 0", SUMI_EINVAL, good},
        {"count is -3", SUMI_EINVAL, good},
        {"height is 0", SUMI_EINVAL, good},
        {"width is -8", SUMI_EINVAL, good},
        {"height is 2147483647", SUMI_EINVAL, good},
        {"do not fit into", SUMI_ESHAPE, good},
        {"multiple", SUMI_ESHAPE, good},
        {"steps is 101", SUMI_EINVAL, good},
        {"steps is -1", SUMI_EINVAL, good},
        {"unknown solver", SUMI_EINVAL, good},
        {"eta is 1.5", SUMI_EINVAL, good},
        {"ddpm has no eta", SUMI_EINVAL, good},
        {"first_index is -1", SUMI_EINVAL, good},
        {"first_index is 9", SUMI_EINVAL, good},
        {"batch is -1", SUMI_EINVAL, good},
        {"eta is nan", SUMI_EINVAL, good},
        {"do not fit into", SUMI_ESHAPE, good},
        {"unknown spacing \"even\", expected one of: trailing", SUMI_EINVAL, good},
        {"ddim-inverse begins at an image, and there is none", SUMI_EINVAL, good},
        {"ddim-inverse goes all the way to noise: strength is 0.5", SUMI_EINVAL, good},
        {"image and start are both set", SUMI_EINVAL, good},
        {"strength is 1.5, expected more than 0", SUMI_EINVAL, good},
        {"image[0][0][1][0] is NaN", SUMI_EINVAL, good},
        {"clip is 1 to 0, expected a rising range", SUMI_EINVAL, good},
        {"threshold is 2, expected 0..1", SUMI_EINVAL, good},
        {"there are -1 levels, expected 1..100", SUMI_EINVAL, good},
        {"level 1 is at t = 50, expected below 50", SUMI_EINVAL, good},
        {"level 0 has a sigma of 0, expected more than 0", SUMI_EINVAL, good},
        {"strength and levels both say where to begin", SUMI_EINVAL, good},
        {"ddpm has no churn", SUMI_EINVAL, good},
        {"rk45 has no steps to look at", SUMI_EINVAL, good},
        {"rk45 cannot keep what is outside a mask", SUMI_EINVAL, good},
        {"rk45 chooses its levels itself", SUMI_EINVAL, good},
        {"a mask needs an image", SUMI_EINVAL, good},
        {"a mask needs more of it", SUMI_EINVAL, good},
        {"mask[0][1] is -2, expected 0..1", SUMI_EINVAL, good},
        {"mask_visits is 0, expected 1..1000", SUMI_EINVAL, good},
        {"mask_jump is 101, expected 0..100", SUMI_EINVAL, good},
        {"to_index says what noise there is", SUMI_EINVAL, good},
        {"tolerances are 0, expected more than 0", SUMI_EINVAL, good},
    };
    static const float mask[PIXELS] = {0}, bad_mask[PIXELS] = {0, -2};
    static const double levels[] = {50, 50}, none[] = {0};
    float image[COUNT * PIXELS] = {0}, broken[COUNT * PIXELS] = {0, NAN};
    bad[0].config.count = 0;
    bad[1].config.count = -3;
    bad[2].config.height = 0;
    bad[3].config.width = -8;
    bad[4].config.height = INT32_MAX;
    bad[5].config.count = COUNT + 1;
    bad[6].config.height = 6;
    bad[7].config.steps = 101;
    bad[8].config.steps = -1;
    bad[9].config.solver = "hun";
    bad[10].config.solver = "ddim";
    bad[10].config.eta = 1.5f;
    bad[11].config.eta = .5f;
    bad[12].config.first_index = -1;
    bad[13].config.first_index = INT64_MAX;
    bad[14].config.batch = -1;
    bad[15].config.solver = "ddim";
    bad[15].config.eta = NAN;
    bad[16].config.count = 1000000000;
    bad[16].config.height = bad[16].config.width = 16384;
    bad[17].config.spacing = "even";
    bad[18].config.solver = bad[19].config.solver = "ddim-inverse";
    bad[19].config.image = bad[20].config.image = bad[20].config.start = image;
    bad[19].config.strength = .5f;
    bad[21].config.strength = 1.5f;
    bad[22].config.image = broken;
    bad[23].config.clip_low = 1;
    bad[24].config.threshold = 2;
    bad[25].config.levels = bad[26].config.levels = bad[28].config.levels = levels;
    bad[25].config.level_count = -1;
    bad[26].config.level_count = bad[28].config.level_count = 2;
    bad[27].config.levels = none;
    bad[27].config.level_count = 1;
    bad[27].config.levels_are_sigma = true;
    bad[28].config.strength = .5f;
    bad[29].config.churn = 1;
    bad[30].config.solver = bad[31].config.solver = bad[32].config.solver = "rk45";
    bad[30].config.on_step = look;
    bad[31].config.image = bad[34].config.image = bad[35].config.image = image;
    bad[31].config.mask = bad[33].config.mask = bad[34].config.mask = mask;
    bad[32].config.levels = none;
    bad[32].config.level_count = 1;
    bad[34].config.noise = image;
    bad[35].config.mask = bad_mask;
    bad[36].config.mask_visits = 0;
    bad[37].config.mask_jump = 101;
    bad[38].config.to_index = 4;
    bad[38].config.start = image;
    bad[39].config.atol = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(
            sumi_sample_run(&f.runtime, f.model, &bad[i].config, out, COUNT * PIXELS, &err),
            bad[i].status);
        assert_says(err, bad[i].says);
    }
    close_fixture(&f);
}

static void test_a_broken_network_is_named(void **state)
{
    (void)state;
    fixture f;
    sumi_error err;
    float out[COUNT * PIXELS];
    open_fixture(&f, 1);
    sumi_params *params = &f.model->graph.params;
    params->values[params->value_count - 1] = NAN; /* the last layer's bias */
    assert_int_equal(sumi_sample_run(&f.runtime, f.model, &f.config, out, COUNT * PIXELS, &err),
                     SUMI_EFORMAT);
    assert_says(err, "not finite at t = 100");
    close_fixture(&f);
}

/* A unet whose numbers are all of order 1, so that a label shows from the start. */
static void open_labelled(fixture *f, int classes)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    open_fixture(f, 2);
    sumi_models_free(f->model);
    config.net = "unet";
    config.base_channels = 8;
    config.time_dim = 16;
    config.multipliers[2] = config.blocks[2] = 0;
    config.timesteps = 100;
    config.beta_end = .1f;
    config.classes = classes;
    assert_ok(sumi_models_create(&config, &f->model, NULL));
    sumi_params *params = &f->model->graph.params;
    for (size_t i = 0; i < params->value_count; i++)
        params->values[i] += .1f * sinf((float)i);
}

static void test_labels(void **state)
{
    (void)state;
    static fixture f;
    static const int32_t labels[COUNT] = {0, 1, 2, -1, 1}, none[COUNT] = {-1, -1, -1, -1, -1};
    float whole[COUNT * PIXELS], without[COUNT * PIXELS], other[COUNT * PIXELS], alone[PIXELS];
    open_labelled(&f, 3);
    sample(&f, without);
    f.config.labels = none;
    sample(&f, other);
    assert_memory_equal(without, other, sizeof without);
    f.config.labels = labels;
    sample(&f, whole);
    f.config.batch = 2;
    sample(&f, other);
    assert_memory_equal(whole, other, sizeof whole);
    f.config.count = 1;
    for (int i = 0; i < COUNT; i++) {
        bool same = memcmp(whole + i * PIXELS, without + i * PIXELS, sizeof alone) == 0;
        assert_int_equal(same, labels[i] < 0);
        f.config.labels = labels + i;
        f.config.first_index = i;
        sample(&f, alone);
        assert_memory_equal(whole + i * PIXELS, alone, sizeof alone);
    }
    close_fixture(&f);
}

static void test_refuses_bad_labels(void **state)
{
    (void)state;
    static fixture f;
    static const int32_t labels[COUNT] = {0, 1, 3, 0, 0};
    float out[COUNT * PIXELS];
    sumi_error err = {""};
    open_labelled(&f, 3);
    f.config.labels = labels;
    assert_int_equal(sumi_sample_run(&f.runtime, f.model, &f.config, out, COUNT * PIXELS, &err),
                     SUMI_EINVAL);
    assert_says(err, "labels[2] is 3, expected -1..2");
    close_fixture(&f);
    open_fixture(&f, 1);
    f.config.labels = labels;
    assert_int_equal(sumi_sample_run(&f.runtime, f.model, &f.config, out, COUNT * PIXELS, &err),
                     SUMI_EINVAL);
    assert_says(err, "trained without labels");
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_refuses_bad_labels),
        cmocka_unit_test(test_batch_threads_and_index_change_no_bit),
        cmocka_unit_test(test_bf16_samples),
        cmocka_unit_test(test_given_noise_is_the_plain_loop),
        cmocka_unit_test(test_every_solver_and_spacing),
        cmocka_unit_test(test_from_an_image_or_noise),
        cmocka_unit_test(test_between_two_images),
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_clipped_predictions),
        cmocka_unit_test(test_callbacks_and_stopping),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_a_broken_network_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
