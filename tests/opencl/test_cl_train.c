/*
 * Training on a device, in the ways of both recipes, against the CPU's: gradients, losses, Muon's
 * matrices; the same bits from run to run and after going on from a checkpoint, which may be
 * another device's; memory that is short.
 */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "opencl/cl_test.h"

#include "opencl/device.h"
#include "train/train.h"

enum { N = 4, SIDE = 8, PIXELS = SIDE * SIDE, STEPS = 12 };

typedef struct {
    const char *net;
    sumi_trainer_config trainer;
} way;

static way way_of(bool modern)
{
    way w = {.net = modern ? "unet" : "tutorial", .trainer = SUMI_TRAINER_CONFIG_INIT};
    w.trainer.batch = N;
    w.trainer.height = w.trainer.width = SIDE;
    w.trainer.seed = 3;
    w.trainer.averages[0] = .99f;
    if (modern) {
        w.trainer.optimiser = "muon";
        w.trainer.weight_decay = .01f;
        w.trainer.clip_norm = .5f;
        w.trainer.power_averages[0] = .1f;
        w.trainer.accumulate = 2;
    }
    return w;
}

static sumi_model *make_model(const way *w)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_model *model = NULL;
    sumi_error err = {""};
    config.net = w->net;
    config.base_channels = 8;
    config.time_dim = 16;
    config.timesteps = 100;
    if (strcmp(w->net, "unet") == 0) {
        config.classes = 3;
        config.attention[0] = 2;
        config.head_channels = 4;
    }
    test_ok(sumi_models_create(&config, &model, &err), &err);
    return model;
}

/* ---- A training ------------------------------------------------------------------------------ */

typedef struct {
    way how;
    sumi_runtime runtime;
    sumi_model *model;
    sumi_trainer *trainer;
    double losses[STEPS];
} training;

static void training_open(training *t, bool modern, bool on_device)
{
    sumi_error err = {""};
    memset(t, 0, sizeof *t);
    t->how = way_of(modern);
    t->runtime = test_runtime(on_device);
    t->model = make_model(&t->how);
    test_ok(sumi_train_create(&t->runtime, t->model, &t->how.trainer, &t->trainer, &err), &err);
}

static void training_close(training *t)
{
    sumi_train_free(t->trainer);
    sumi_models_free(t->model);
    sumi_runtime_free(&t->runtime);
}

/* The batch behind so many steps. */
static sumi_batch batch_of(const training *t, int64_t done, float images[N * PIXELS])
{
    static const int32_t labels[N] = {0, 2, -1, 1};
    const sumi_random at = {3, SUMI_STREAM_USER, (uint32_t)done, 0};
    sumi_random_normals(&at, 0, images, N * PIXELS);
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.n = N;
    batch.h = batch.w = SIDE;
    batch.x = images;
    batch.labels = strcmp(t->how.net, "unet") == 0 ? labels : NULL;
    return batch;
}

static void step(training *t)
{
    float images[N * PIXELS];
    sumi_error err = {""};
    int64_t done = t->trainer->steps;
    const sumi_batch batch = batch_of(t, done, images);
    test_ok(sumi_train_step(t->trainer, &batch, &t->losses[done % STEPS], &err), &err);
}

static void steps_to(training *t, int64_t end)
{
    while (t->trainer->steps < end)
        step(t);
    sumi_model_fetch(t->model);
}

/* Everything that a training makes. */
static void assert_same_bits(const training *a, const training *b)
{
    const sumi_params *p = &a->model->graph.params, *q = &b->model->graph.params;
    assert_memory_equal(p->values, q->values, p->value_count * sizeof(float));
    assert_memory_equal(p->statistics, q->statistics, p->statistic_count * sizeof(float));
    assert_memory_equal(p->counters, q->counters, p->counter_count * sizeof(int64_t));
    for (int i = 0; i < a->trainer->averages.count; i++)
        assert_memory_equal(a->trainer->averages.model[i]->graph.params.values,
                            b->trainer->averages.model[i]->graph.params.values,
                            p->value_count * sizeof(float));
}

/* ---- Against the CPU ------------------------------------------------------------------------- */

static void test_losses(void **state)
{
    (void)state;
    for (int modern = 0; modern < 2; modern++) {
        training cpu, device;
        training_open(&cpu, modern, false);
        training_open(&device, modern, true);
        steps_to(&cpu, STEPS);
        steps_to(&device, STEPS);
        for (int i = 0; i < STEPS; i++)
            if (!(fabs(device.losses[i] - cpu.losses[i]) <= 1e-3 * cpu.losses[i]))
                fail_msg("%s: loss %d is %.7g, expected %.7g", cpu.how.net, i, device.losses[i],
                         cpu.losses[i]);
        assert_true(cpu.losses[0] != cpu.losses[STEPS - 1]);
        training_close(&cpu);
        training_close(&device);
    }
}

static float *gradients_of(const training *t)
{
    size_t bytes = t->model->graph.params.value_count * sizeof(float);
    float *out = malloc(bytes);
    assert_non_null(out);
    t->runtime.backend->download(t->runtime.device, out, t->trainer->gradients, bytes);
    return out;
}

/* Opened for gradients alone: as the CPU, a device, or one that says that it is a card, which
 * convolves by plain sums. The last layers begin at zero, so that two steps are taken. */
static float *two_steps(training *t, bool modern, int side)
{
    sumi_error err = {""};
    training_open(t, modern, side > 0);
    sumi_train_free(t->trainer);
    if (side == 2)
        snprintf(t->runtime.device->facts.kind, sizeof t->runtime.device->facts.kind, "GPU");
    t->how.trainer.optimiser = "adam";
    t->how.trainer.weight_decay = t->how.trainer.clip_norm = 0;
    test_ok(sumi_train_create(&t->runtime, t->model, &t->how.trainer, &t->trainer, &err), &err);
    steps_to(t, 2);
    return gradients_of(t);
}

static void check_gradients(const training *t, const float *found, const float *expected)
{
    const sumi_params *params = &t->model->graph.params;
    double all = 0;
    for (size_t i = 0; i < params->value_count; i++)
        all += (double)expected[i] * (double)expected[i];
    for (int k = 0; k < params->count; k++) {
        const sumi_param *param = &params->items[k];
        double off = 0;
        for (size_t i = param->offset; i < param->offset + param->count; i++)
            if (sumi_param_trainable(param))
                off += pow((double)expected[i] - (double)found[i], 2);
        if (!(sqrt(off) <= 1e-4 * sqrt(all)))
            fail_msg("%s: %s is off by %g of %g", t->how.net, param->name, sqrt(off), sqrt(all));
    }
}

/* Of the first step, of every tensor, relative to all. What norms need of a gradient is added up in
 * the store of the convolution that makes it, and not in a pass of its own: but where there are
 * several that make it, none, or by plain sums where images are of 2x2. */
static void test_gradients(void **state)
{
    static const uint64_t passes[2][2] = {{8, 10}, {0, 24}};
    (void)state;
    for (int modern = 0; modern < 2; modern++) {
        training cpu;
        float *expected = two_steps(&cpu, modern, 0);
        for (int side = 1; side < 3; side++) {
            training device;
            float *found = two_steps(&device, modern, side);
            const uint64_t *runs = device.runtime.device->runs;
            assert_true((runs[SUMI_CL_WINOGRAD_OUTPUT] > 0) == (side == 1));
            assert_int_equal(runs[SUMI_CL_NORM_SUMS], passes[modern][side - 1]);
            assert_int_equal(runs[SUMI_CL_NORM_TOTALS], modern ? 92 : 20);
            check_gradients(&device, found, expected);
            free(found);
            training_close(&device);
        }
        free(expected);
        training_close(&cpu);
    }
}

/* Tall, wide, square, in columns of a wider one; and a gradient that has no direction. */
static void test_matrices(void **state)
{
    (void)state;
    enum { COUNT = 5, FLOATS = 40000 };
    static const sumi_matrix matrices[COUNT] = {
        {.offset = 0, .stride = 24, .rows = 70, .cols = 24},
        {.offset = 2000, .stride = 40, .rows = 8, .cols = 20},
        {.offset = 2020, .stride = 40, .rows = 8, .cols = 20},
        {.offset = 3000, .stride = 80, .rows = 80, .cols = 80},
        {.offset = 30000, .stride = 24, .rows = 70, .cols = 24}};
    static float g[2][FLOATS], m[2][FLOATS];
    const sumi_random at = {3, SUMI_STREAM_USER, 9, 0};
    for (int side = 0; side < 2; side++) {
        sumi_runtime runtime = test_runtime(side == 1);
        const sumi_backend *backend = runtime.backend;
        sumi_orthogonaliser *o = NULL;
        sumi_error err = {""};
        sumi_random_normals(&at, 0, g[side], FLOATS);
        memset(g[side] + 30000, 0, 70 * 24 * sizeof(float));
        float *dg = backend->alloc(runtime.device, sizeof g[side]);
        float *dm = backend->alloc(runtime.device, sizeof m[side]);
        test_ok(backend->orthogonaliser_create(runtime.device, matrices, COUNT, &o, &err), &err);
        backend->upload(runtime.device, dg, g[side], sizeof g[side]);
        backend->orthogonalise(o, NULL, .95, dg, dm);
        backend->download(runtime.device, g[side], dg, sizeof g[side]);
        backend->download(runtime.device, m[side], dm, sizeof m[side]);
        test_ok(backend->status(runtime.device, &err), &err);
        backend->orthogonaliser_free(o);
        backend->free(runtime.device, dg, sizeof g[side]);
        backend->free(runtime.device, dm, sizeof m[side]);
        sumi_runtime_free(&runtime);
    }
    double most = 0;
    for (int i = 0; i < FLOATS; i++) {
        most = fmax(most, fabs((double)g[0][i] - (double)g[1][i]));
        assert_true(fabsf(m[0][i] - m[1][i]) <= 1e-6f);
    }
    if (!(most < 1e-4))
        fail_msg("matrices are off by %g", most);
}

/* ---- The same bits --------------------------------------------------------------------------- */

static void test_bits(void **state)
{
    (void)state;
    char dir[] = "/tmp/sumi-cl-train-XXXXXX", path[64];
    sumi_error err = {""};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/checkpoint", dir);
    for (int modern = 0; modern < 2; modern++) {
        training once, again, cpu;
        training_open(&once, modern, true);
        training_open(&again, modern, true);
        steps_to(&once, 6);
        steps_to(&again, 6);
        assert_same_bits(&once, &again);
        test_ok(sumi_checkpoint_save(again.trainer, NULL, path, &err), &err);
        training_close(&again);
        steps_to(&once, 8);
        training_open(&again, modern, true);
        test_ok(sumi_checkpoint_load(again.trainer, path, NULL, &err), &err);
        steps_to(&again, 8);
        assert_same_bits(&once, &again);
        /* The CPU goes on from it as well. */
        training_open(&cpu, modern, false);
        test_ok(sumi_checkpoint_load(cpu.trainer, path, NULL, &err), &err);
        steps_to(&cpu, 8);
        assert_true(fabs(cpu.losses[7] - once.losses[7]) <= 1e-3 * cpu.losses[7]);
        training_close(&cpu);
        training_close(&again);
        training_close(&once);
        test_ok(sumi_remove_tree(path, &err), &err);
    }
    assert_int_equal(rmdir(dir), 0);
}

/* ---- Without waiting ------------------------------------------------------------------------- */

/* What of OpenCL makes the host wait, counted. */
static sumi_cl real;
static int waits, flushes;

static cl_int count_read(cl_command_queue a, cl_mem b, cl_bool blocks, size_t d, size_t e, void *f,
                         cl_uint g, const cl_event *h, cl_event *i)
{
    waits += blocks != 0;
    return real.EnqueueReadBuffer(a, b, blocks, d, e, f, g, h, i);
}

static cl_int count_write(cl_command_queue a, cl_mem b, cl_bool blocks, size_t d, size_t e,
                          const void *f, cl_uint g, const cl_event *h, cl_event *i)
{
    waits += blocks != 0;
    return real.EnqueueWriteBuffer(a, b, blocks, d, e, f, g, h, i);
}

static cl_int count_finish(cl_command_queue queue)
{
    waits++;
    return real.Finish(queue);
}

static cl_int count_flush(cl_command_queue queue)
{
    flushes++;
    return real.Flush(queue);
}

static void count_waits(training *t)
{
    sumi_cl *cl = &t->runtime.device->cl;
    real = *cl;
    cl->EnqueueReadBuffer = count_read;
    cl->EnqueueWriteBuffer = count_write;
    cl->Finish = count_finish;
    cl->Flush = count_flush;
}

/* Queues as many steps as a device is given, of which number `bad` from the present one on has an
 * image that is no number, and takes in what comes of them. Returns how many were good. */
static int run_ahead(training *t, int bad, double *losses)
{
    int count = t->trainer->ahead, good = 0;
    float images[N * PIXELS];
    sumi_error err = {""};
    waits = flushes = 0;
    for (int i = 0; i < count; i++) {
        const sumi_batch batch = batch_of(t, t->trainer->steps + i, images);
        images[PIXELS + 2] = i == bad ? NAN : images[PIXELS + 2];
        test_ok(sumi_train_queue(t->trainer, &batch, &err), &err);
    }
    assert_int_equal(waits, 0);
    assert_int_equal(flushes, count - 1);
    while (sumi_train_on_their_way(t->trainer) > 0) {
        sumi_settled done;
        test_ok(sumi_train_settle(t->trainer, &done, &err), &err);
        if (done.repeat)
            break;
        losses[good++] = done.loss;
    }
    assert_int_equal(waits, 1);
    return good;
}

/* Steps that are queued have the bits of steps that are waited for, also with clipping and batches
 * in parts, and after a checkpoint; where one is bad, those up to it. */
static void test_no_waits(void **state)
{
    (void)state;
    enum { AHEAD = 6, BAD = 3 };
    char dir[] = "/tmp/sumi-cl-train-XXXXXX", path[64];
    double losses[SUMI_AHEAD_MAX];
    sumi_error err = {""};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/checkpoint", dir);
    for (int modern = 0; modern < 2; modern++) {
        training one, ahead, again;
        training_open(&one, modern, true);
        training_open(&ahead, modern, true);
        assert_int_equal(ahead.trainer->ahead, 16);
        ahead.trainer->ahead = AHEAD; /* is enough here */
        count_waits(&ahead);
        assert_int_equal(run_ahead(&ahead, -1, losses), AHEAD);
        for (int i = 0; i < AHEAD; i++) {
            step(&one);
            assert_true(one.losses[i % STEPS] == losses[i]);
        }
        assert_true(one.trainer->gradient_norm == ahead.trainer->gradient_norm);
        assert_true((one.trainer->gradient_norm > 0) == modern);
        test_ok(sumi_checkpoint_save(ahead.trainer, NULL, path, &err), &err);
        assert_int_equal(run_ahead(&ahead, BAD, losses), BAD);
        steps_to(&one, AHEAD + BAD);
        assert_int_equal(ahead.trainer->steps, one.trainer->steps);
        sumi_model_fetch(ahead.model);
        assert_same_bits(&one, &ahead);

        /* The bad one is told of when it is done again; without it all goes on. */
        float images[N * PIXELS];
        const sumi_batch batch = batch_of(&ahead, AHEAD + BAD, images);
        float before = images[PIXELS + 2];
        images[PIXELS + 2] = NAN;
        assert_int_equal(sumi_train_step(ahead.trainer, &batch, NULL, &err), SUMI_EINVAL);
        assert_string_equal(err.text, "step 10: image 1 of the batch has a value that is not "
                                      "finite; nothing was updated");
        images[PIXELS + 2] = before;
        test_ok(sumi_train_step(ahead.trainer, &batch, NULL, &err), &err);
        steps_to(&one, AHEAD + BAD + 1);
        sumi_model_fetch(ahead.model);
        assert_same_bits(&one, &ahead);
        training_open(&again, modern, true);
        test_ok(sumi_checkpoint_load(again.trainer, path, NULL, &err), &err);
        count_waits(&again);
        again.trainer->ahead = AHEAD;
        assert_int_equal(run_ahead(&again, -1, losses), AHEAD);
        steps_to(&one, 2 * AHEAD);
        sumi_model_fetch(again.model);
        assert_same_bits(&one, &again);
        training_close(&again);
        training_close(&ahead);
        training_close(&one);
        test_ok(sumi_remove_tree(path, &err), &err);
    }
    assert_int_equal(rmdir(dir), 0);
}

/* ---- What is refused ------------------------------------------------------------------------- */

static void test_short_memory(void **state)
{
    (void)state;
    training t;
    sumi_error err = {""};
    memset(&t, 0, sizeof t);
    t.how = way_of(false);
    t.runtime = test_runtime(true);
    t.model = make_model(&t.how);
    t.how.trainer.batch = 60000;
    t.how.trainer.height = t.how.trainer.width = 256;
    assert_int_equal(sumi_train_create(&t.runtime, t.model, &t.how.trainer, &t.trainer, &err),
                     SUMI_ENOMEM);
    assert_non_null(strstr(err.text, "a batch of 60000 images of 256x256 needs"));
    assert_non_null(strstr(err.text, "MiB, and there are"));
    assert_non_null(strstr(err.text, "would fit"));
    t.how.trainer.batch = 4;
    t.how.trainer.groups = 2;
    assert_int_equal(sumi_train_create(&t.runtime, t.model, &t.how.trainer, &t.trainer, &err),
                     SUMI_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "groups"));
    sumi_models_free(t.model);
    sumi_runtime_free(&t.runtime);
}

/* A value that is not finite changes nothing. */
static void test_not_finite(void **state)
{
    (void)state;
    training t;
    float images[N * PIXELS] = {0};
    sumi_error err = {""};
    double loss;
    training_open(&t, false, true);
    steps_to(&t, 1);
    float before = t.model->graph.params.values[0];
    images[3 * PIXELS] = INFINITY;
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.n = N;
    batch.h = batch.w = SIDE;
    batch.x = images;
    assert_int_equal(sumi_train_step(t.trainer, &batch, &loss, &err), SUMI_EINVAL);
    assert_non_null(strstr(err.text, "image 3 of the batch has a value that is not finite"));
    assert_int_equal(t.trainer->steps, 1);
    sumi_model_fetch(t.model);
    assert_true(t.model->graph.params.values[0] == before);
    training_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),  cmocka_unit_test(test_losses),
        cmocka_unit_test(test_matrices),   cmocka_unit_test(test_bits),
        cmocka_unit_test(test_not_finite), cmocka_unit_test(test_short_memory),
        cmocka_unit_test(test_no_waits),
    };
    return test_has_device() ? cmocka_run_group_tests(tests, NULL, NULL) : SKIPPED;
}
