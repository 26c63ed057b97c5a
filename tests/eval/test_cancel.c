/*
 * A cancelled runtime ends every measure: no loop of the layer goes on for longer than a chunk.
 */
#include "eval/eval_test.h"
#include "eval/internal.h"
#include "models/models.h"

enum { N = 200, D = 4, SIDE = 4, PIXELS = SIDE * SIDE };

typedef struct {
    sumi_runtime runtime;
    sumi_eval_machine machine;
    sumi_eval_set samples, reference;
    sumi_moments real;
} fixture;

static fixture f;

static sumi_eval_set make_set(uint64_t seed, const char *name)
{
    sumi_eval_set set = {.name = name, .n = N, .d = D, .h = SIDE, .w = SIDE, .c = 1};
    set.features = random_features(seed, N, D);
    uint8_t *images = calloc(N, PIXELS);
    assert_non_null(images);
    for (size_t i = 0; i < (size_t)N * PIXELS; i++)
        images[i] = (uint8_t)(i * i * (seed + 3) / 7 % 251);
    set.images = images;
    return set;
}

static int setup(void **state)
{
    (void)state;
    f.samples = make_set(1, "samples");
    f.reference = make_set(2, "reference");
    if (sumi_runtime_init(&f.runtime, 2, NULL, NULL) != SUMI_OK ||
        sumi_eval_machine_open(&f.runtime, &f.machine, NULL) != SUMI_OK)
        return -1;
    return sumi_eval_moments(&f.machine, &f.reference, NULL, &f.real, NULL) == SUMI_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    sumi_moments_free(&f.real);
    sumi_eval_machine_close(&f.machine);
    sumi_runtime_free(&f.runtime);
    free((void *)f.samples.features);
    free((void *)f.samples.images);
    free((void *)f.reference.features);
    free((void *)f.reference.images);
    return 0;
}

/* ---- Each measure ---------------------------------------------------------------------------- */

static sumi_status moments(sumi_error *err)
{
    sumi_moments out;
    sumi_status status = sumi_eval_moments(&f.machine, &f.samples, NULL, &out, err);
    sumi_moments_free(&out);
    return status;
}

static sumi_status frechet(sumi_error *err)
{
    sumi_score out;
    return sumi_eval_frechet_score(&f.machine, &f.samples, &f.real, 0, &out, err);
}

static sumi_status infinite(sumi_error *err)
{
    double out;
    return sumi_eval_frechet_infinite(&f.machine, &f.samples, &f.real, 0, &out, err);
}

static sumi_status kernel(sumi_error *err)
{
    sumi_score out;
    double error;
    return sumi_eval_kernel(&f.machine, &f.samples, &f.reference, &out, &error, err);
}

static sumi_status manifold(sumi_error *err)
{
    sumi_manifold out;
    return sumi_eval_manifold(&f.machine, &f.samples, &f.reference, SUMI_EVAL_K, 0, &out, err);
}

static sumi_status memory(sumi_error *err)
{
    sumi_memory out;
    return sumi_eval_memory(&f.machine, SUMI_SPACE_PIXELS, &f.samples, &f.reference, &f.reference,
                            0, &out, err);
}

static sumi_status sliced(sumi_error *err)
{
    double out;
    return sumi_eval_sliced(&f.machine, &f.samples, &f.reference, &out, err);
}

static sumi_status spectrum(sumi_error *err)
{
    double out;
    return sumi_eval_spectrum(&f.machine, &f.samples, &f.reference, &out, err);
}

static sumi_status compare(sumi_error *err)
{
    sumi_eval_report report;
    sumi_eval_report_init(&report);
    sumi_status status =
        sumi_eval_compare(&f.machine, &f.samples, &f.reference, &f.reference, &report, err);
    sumi_eval_report_free(&report);
    return status;
}

static sumi_status scale(sumi_error *err)
{
    sumi_eval_report report;
    sumi_eval_report_init(&report);
    sumi_status status =
        sumi_eval_add_scale(&f.machine, "as it is", &f.samples, &f.reference, &report, err);
    sumi_eval_report_free(&report);
    return status;
}

static const struct {
    const char *name;
    sumi_status (*run)(sumi_error *err);
} measures[] = {{"moments", moments}, {"frechet", frechet},   {"infinite", infinite},
                {"kernel", kernel},   {"manifold", manifold}, {"memory", memory},
                {"sliced", sliced},   {"spectrum", spectrum}, {"compare", compare},
                {"scale", scale}};

static void test_every_measure_ends(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT(measures); i++) {
        sumi_error err = {""};
        atomic_store(&f.runtime.cancel, 0);
        sumi_status status = measures[i].run(&err);
        if (status != SUMI_OK)
            fail_msg("%s: %s", measures[i].name, err.text);
        atomic_store(&f.runtime.cancel, 1);
        status = measures[i].run(&err);
        if (status != SUMI_CANCELLED)
            fail_msg("%s: status %d: %s", measures[i].name, (int)status, err.text);
        assert_says(&err, "the evaluation was cancelled");
    }
    atomic_store(&f.runtime.cancel, 0);
}

/* ---- Within a loop --------------------------------------------------------------------------- */

static atomic_int chunks;

static void cancel_in_chunk(void *arg, int64_t chunk, int thread)
{
    sumi_runtime *runtime = arg;
    (void)chunk;
    (void)thread;
    atomic_fetch_add(&chunks, 1);
    atomic_store(&runtime->cancel, 1);
}

/* Of many chunks those are done that had begun by then: one a thread at most. */
static void test_chunks_are_left_out(void **state)
{
    (void)state;
    sumi_error err = {""};
    assert_int_equal(sumi_eval_parallel(&f.machine, 100000, cancel_in_chunk, &f.runtime, &err),
                     SUMI_CANCELLED);
    assert_in_range(atomic_load(&chunks), 1, 2);
    atomic_store(&f.runtime.cancel, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_measure_ends),
        cmocka_unit_test(test_chunks_are_left_out),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
