/*
 * Training, sampling and measuring reach networks and memory through the backend's table alone: on
 * a table that counts its calls and then forwards them, they do what they do on the CPU's, all
 * calls are seen, and what a network is given lies in memory that the table gave out. While images
 * are drawn, nobody can read or write that memory but through the table: elsewhere it is protected,
 * and touching it kills the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "cpu/cpu.h"
#include "sample/sample.h"
#include "train/train.h"

enum { N = 4, SIDE = 8, PIXELS = SIDE * SIDE, BLOCKS = 64 };

static struct {
    int opened, created, predicted, trained, updated, checked, renewed, mixed, scanned;
    bool guarded;
    struct {
        char *memory;
        size_t bytes;
    } blocks[BLOCKS];
    int block_count;
    size_t bytes; /* that are out */
} seen;

static sumi_status record_open(int threads, const char *isa, sumi_device **out, sumi_error *err)
{
    seen.opened++;
    return sumi_cpu_backend()->open(threads, isa, out, err);
}

static void record_close(sumi_device *device)
{
    seen.opened--;
    sumi_cpu_backend()->close(device);
}

static void protect(int how)
{
    for (int i = 0; seen.guarded && i < seen.block_count; i++)
        assert_int_equal(mprotect(seen.blocks[i].memory, seen.blocks[i].bytes, how), 0);
}

static void let_in(void)
{
    protect(PROT_READ | PROT_WRITE);
}

static void shut_out(void)
{
    protect(PROT_NONE);
}

static void guard(bool on)
{
    let_in();
    seen.guarded = on;
    shut_out();
}

static void *record_alloc(sumi_device *device, size_t bytes)
{
    char *memory = sumi_cpu_backend()->alloc(device, bytes);
    assert_true(seen.block_count < BLOCKS);
    seen.blocks[seen.block_count].memory = memory;
    seen.blocks[seen.block_count++].bytes = bytes;
    seen.bytes += bytes;
    shut_out();
    return memory;
}

static void record_free(sumi_device *device, void *memory, size_t bytes)
{
    for (int i = 0; memory && i < seen.block_count; i++)
        if (seen.blocks[i].memory == memory) {
            assert_int_equal(seen.blocks[i].bytes, bytes);
            seen.blocks[i] = seen.blocks[--seen.block_count];
            seen.bytes -= bytes;
            sumi_cpu_backend()->free(device, memory, bytes);
            return;
        }
    assert_null(memory);
}

static void record_upload(sumi_device *device, void *to, const void *from, size_t bytes)
{
    let_in();
    sumi_cpu_backend()->upload(device, to, from, bytes);
    shut_out();
}

static void record_download(sumi_device *device, void *to, const void *from, size_t bytes)
{
    let_in();
    sumi_cpu_backend()->download(device, to, from, bytes);
    shut_out();
}

static void record_mix(sumi_device *device, const sumi_mixing *work)
{
    seen.mixed++;
    let_in();
    sumi_cpu_backend()->mix(device, work);
    shut_out();
}

static bool record_scan(sumi_device *device, const float *x, size_t count)
{
    seen.scanned++;
    let_in();
    bool finite = sumi_cpu_backend()->finite(device, x, count);
    shut_out();
    return finite;
}

static void assert_given_out(const void *tensor, size_t bytes)
{
    const char *begin = tensor;
    for (int i = 0; i < seen.block_count; i++)
        if (begin >= seen.blocks[i].memory &&
            begin + bytes <= seen.blocks[i].memory + seen.blocks[i].bytes)
            return;
    fail_msg("a network is given memory that its backend did not give out");
}

static sumi_status record_create(sumi_device *device, const sumi_graph *graph,
                                 const sumi_plan_config *config, sumi_network **out,
                                 sumi_error *err)
{
    seen.created++;
    return sumi_cpu_backend()->network_create(device, graph, config, out, err);
}

static void record_network_free(sumi_network *network)
{
    seen.created -= network != NULL;
    sumi_cpu_backend()->network_free(network);
}

static void record_weights_changed(sumi_network *network)
{
    seen.renewed++;
    sumi_cpu_backend()->weights_changed(network);
}

static void record_predict(sumi_network *network, const sumi_inputs *in, int n, float *const *out)
{
    seen.predicted++;
    assert_given_out(in->time, (size_t)n * sizeof(float));
    assert_given_out(in->image, (size_t)n * PIXELS * sizeof(float));
    assert_given_out(*out, (size_t)n * PIXELS * sizeof(float));
    let_in();
    sumi_cpu_backend()->predict(network, in, n, out);
    shut_out();
}

static double record_gradients(sumi_network *network, const sumi_inputs *in, int n,
                               float *gradients)
{
    seen.trained++;
    assert_given_out(in->image, (size_t)n * PIXELS * sizeof(float));
    assert_given_out(in->target, (size_t)n * PIXELS * sizeof(float));
    assert_given_out(in->time, (size_t)n * sizeof(float));
    assert_given_out(gradients, sizeof(float));
    return sumi_cpu_backend()->gradients(network, in, n, gradients);
}

static void record_update(sumi_network *network, sumi_params *params)
{
    seen.updated++;
    sumi_cpu_backend()->update_statistics(network, params);
}

static bool record_finite(const sumi_network *network)
{
    seen.checked++;
    return sumi_cpu_backend()->statistics_finite(network);
}

static sumi_backend recorder(void)
{
    sumi_backend backend = *sumi_cpu_backend();
    backend.name = "recorder";
    backend.open = record_open;
    backend.close = record_close;
    backend.alloc = record_alloc;
    backend.free = record_free;
    backend.upload = record_upload;
    backend.download = record_download;
    backend.mix = record_mix;
    backend.finite = record_scan;
    backend.network_create = record_create;
    backend.network_free = record_network_free;
    backend.weights_changed = record_weights_changed;
    backend.predict = record_predict;
    backend.gradients = record_gradients;
    backend.update_statistics = record_update;
    backend.statistics_finite = record_finite;
    return backend;
}

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
    double sum = 0;
    const sumi_random at = {4, SUMI_STREAM_USER, 0, 0};
    sumi_random_normals(&at, 0, noise, (1 + EVALUATIONS) * DRAWN);
    for (int i = 0; sumi_solver_row(i); i++) {
        assert_true(i < SOLVERS_MAX);
        sumi_sample_config sample = SUMI_SAMPLE_CONFIG_INIT;
        sample.count = 2;
        sample.height = sample.width = SIDE;
        sample.solver = sumi_solver_row(i)->is.name;
        sample.steps = EVALUATIONS;
        sample.noise = i % 3 ? NULL : noise;
        sample.on_step = i % 2 ? NULL : look;
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
        assert_int_equal(sumi_runtime_init_on(&recorded, &backend, 2, NULL, NULL), SUMI_OK);
        double sum = sample_all(&plain, model, expected);
        seen.mixed = seen.scanned = seen.predicted = 0;
        guard(true);
        assert_true(sample_all(&recorded, model, found) == sum);
        guard(false);
        assert_memory_equal(found, expected, sizeof found);
        assert_true(seen.mixed > 0 && seen.scanned == seen.predicted);
        sumi_runtime_close(&plain);
        sumi_runtime_close(&recorded);
        assert_int_equal(seen.bytes, 0);
    }
    sumi_models_free(model);
    seen.predicted = seen.renewed = seen.created = 0;
}

/* Two steps, then two images by four evaluations; out: the images. */
static void train_and_sample(sumi_runtime *runtime, float out[2 * PIXELS])
{
    sumi_model *model = make_model();
    sumi_trainer *trainer = NULL;
    float images[N * PIXELS];
    sumi_random at = {3, SUMI_STREAM_USER, 0, 0};
    sumi_random_normals(&at, 0, images, N * PIXELS);
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    config.batch = N;
    config.height = config.width = SIDE;
    assert_int_equal(sumi_train_create(runtime, model, &config, &trainer, NULL), SUMI_OK);
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.n = N;
    batch.h = batch.w = SIDE;
    batch.x = images;
    sumi_sample_config sample = SUMI_SAMPLE_CONFIG_INIT;
    sample.count = 2;
    sample.height = sample.width = SIDE;
    sample.solver = "ddim";
    sample.steps = 4;
    for (int step = 0; step < 2; step++) {
        assert_int_equal(sumi_train_step(trainer, &batch, NULL, NULL), SUMI_OK);
        assert_int_equal(sumi_sample_run(runtime, model, &sample, out, 2 * PIXELS, NULL), SUMI_OK);
    }
    sumi_train_free(trainer);
    sumi_runtime_forget(runtime, model->id);
    sumi_models_free(model);
}

static void test_nothing_goes_around_it(void **state)
{
    (void)state;
    float expected[2 * PIXELS], found[2 * PIXELS];
    sumi_runtime runtime;
    assert_int_equal(sumi_runtime_init(&runtime, 2, NULL, NULL), SUMI_OK);
    train_and_sample(&runtime, expected);
    sumi_runtime_close(&runtime);
    assert_int_equal(seen.opened, 0);

    sumi_backend backend = recorder();
    assert_int_equal(sumi_runtime_init_on(&runtime, &backend, 2, NULL, NULL), SUMI_OK);
    assert_int_equal(seen.opened, 1);
    train_and_sample(&runtime, found);
    assert_memory_equal(found, expected, sizeof found);
    assert_int_equal(seen.trained, 2);
    assert_int_equal(seen.checked, 2);
    assert_int_equal(seen.updated, 2);
    assert_int_equal(seen.predicted, 8);
    assert_int_equal(seen.renewed, 1); /* the second sampling finds new weights */

    sumi_model *model = make_model();
    sumi_profile_config config = SUMI_PROFILE_CONFIG_INIT;
    config.n = N;
    config.height = config.width = SIDE;
    config.runs = 1;
    sumi_profile_entry entries[128];
    int count = 0;
    for (int training = 0; training < 2; training++) {
        config.training = training;
        assert_int_equal(sumi_train_profile(&runtime, model, &config, entries, 128, &count, NULL),
                         SUMI_OK);
    }
    assert_int_equal(seen.trained, 2 + 3); /* two runs to warm up */
    assert_int_equal(seen.predicted, 8 + 3);
    sumi_models_free(model);

    sumi_runtime_close(&runtime);
    assert_int_equal(seen.opened, 0);
    assert_int_equal(seen.created, 0); /* every network was freed */
    assert_int_equal(seen.bytes, 0);   /* and all memory */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sampling_touches_no_tensor),
        cmocka_unit_test(test_nothing_goes_around_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
