/*
 * Nearest neighbours, precision and recall, density and coverage against numpy on the same
 * features, with every kernel table of this machine; bytes as well as floats; refusals.
 */
#include "eval/eval_test.h"
#include "eval/golden.h"

static sumi_eval_machine machine;

static sumi_eval_rows rows_of(const sumi_eval_set *set)
{
    return (sumi_eval_rows){.n = set->n, .d = set->d, .reals = set->features};
}

static void test_nearest(void **state)
{
    (void)state;
    sumi_eval_set a = golden_set("a"), b = golden_set("b");
    sumi_eval_rows from = rows_of(&a), of = rows_of(&b);
    double distances[240 * 3];
    int64_t indices[240 * 3];
    for (int t = 0; sumi_kernels_list(t); t++) {
        sumi_eval_machine other = {.pool = machine.pool, .kernels = sumi_kernels_list(t)};
        assert_int_equal(sumi_eval_nearest(&other, &from, &of, 3, false, distances, indices, NULL),
                         SUMI_OK);
        for (int i = 0; i < 240 * 3; i++) {
            double squared = 0;
            for (int k = 0; k < a.d; k++) {
                double difference =
                    (double)a.features[i / 3 * a.d + k] - (double)b.features[indices[i] * b.d + k];
                squared += difference * difference;
            }
            assert_near(distances[i], golden_nearest[i], 1e-12);
            assert_near(distances[i], sqrt(squared), 1e-12);
        }
    }
    free((void *)a.features);
    free((void *)b.features);
}

/* Far from 0 and close together, float32 products tell nothing: all distances are exact still. A
 * row has itself at 0, unless it is skipped. */
static void test_close_together(void **state)
{
    (void)state;
    enum { N = 600, D = 9 };
    float *values = random_features(1, N, D);
    for (int i = 0; i < N * D; i++)
        values[i] = 1000 + values[i] / 1024;
    sumi_eval_rows rows = {.n = N, .d = D, .reals = values};
    double *distances = sumi_calloc(N, sizeof *distances);
    int64_t *indices = sumi_calloc(N, sizeof *indices);
    for (int skip = 0; skip < 2; skip++) {
        assert_int_equal(
            sumi_eval_nearest(&machine, &rows, &rows, 1, skip, distances, indices, NULL), SUMI_OK);
        for (int i = 0; i < N; i++) {
            double least = INFINITY;
            for (int j = 0; j < N; j++) {
                double squared = 0;
                for (int k = 0; k < D; k++)
                    squared += pow((double)values[i * D + k] - (double)values[j * D + k], 2);
                least = (i != j || !skip) && squared < least ? squared : least;
            }
            assert_true(skip || indices[i] == i);
            assert_near(distances[i], sqrt(least), 1e-12);
        }
    }
    free(distances);
    free(indices);
    free(values);
}

static void test_bytes(void **state)
{
    (void)state;
    enum { N = 300, D = 50 };
    sumi_random at = {.seed = 2, .stream = SUMI_STREAM_USER};
    uint8_t *bytes = sumi_calloc(2 * N * D, 1);
    for (int i = 0; i < 2 * N * D; i++)
        bytes[i] = (uint8_t)sumi_random_below(&at, (uint64_t)i, 256);
    memcpy(bytes + N * D, bytes + 7 * D, D);
    sumi_eval_rows from = {.n = N, .d = D, .bytes = bytes},
                   of = {.n = N, .d = D, .bytes = bytes + N * D};
    double distances[2 * N];
    int64_t indices[2 * N];
    assert_int_equal(sumi_eval_nearest(&machine, &from, &of, 2, false, distances, indices, NULL),
                     SUMI_OK);
    assert_true(indices[14] == 0 && distances[14] == 0);
    for (int i = 0; i < N; i++) {
        int64_t least = INT64_MAX;
        for (int j = 0; j < N; j++) {
            int64_t squared = 0;
            for (int k = 0; k < D; k++) {
                int difference = bytes[i * D + k] - bytes[(N + j) * D + k];
                squared += difference * difference;
            }
            least = squared < least ? squared : least;
        }
        assert_true(distances[2 * i] == sqrt((double)least));
    }
    free(bytes);
}

static void test_manifold(void **state)
{
    (void)state;
    static const struct {
        int k;
        const double *expected;
    } cases[] = {{1, golden_manifold_1}, {3, golden_manifold_3}, {5, golden_manifold_5}};
    sumi_eval_set a = golden_set("a"), b = golden_set("b");
    for (int i = 0; i < COUNT(cases); i++) {
        sumi_manifold found;
        assert_int_equal(sumi_eval_manifold(&machine, &a, &b, cases[i].k, 0, &found, NULL),
                         SUMI_OK);
        const sumi_score scores[] = {found.precision, found.recall, found.density, found.coverage};
        for (int s = 0; s < 4; s++) {
            assert_near(scores[s].value, cases[i].expected[s], 1e-12);
            assert_true(scores[s].low <= scores[s].value && scores[s].value <= scores[s].high);
            assert_true(scores[s].low < scores[s].high);
        }
    }
    free((void *)a.features);
    free((void *)b.features);
}

static void test_threads(void **state)
{
    (void)state;
    sumi_eval_set a = golden_set("a"), b = golden_set("b");
    sumi_manifold found[2];
    for (int t = 0; t < 2; t++) {
        sumi_eval_machine other = machine_open(1 + 3 * t);
        memset(&found[t], 0, sizeof found[t]);
        assert_int_equal(sumi_eval_manifold(&other, &a, &b, 3, 5, &found[t], NULL), SUMI_OK);
        machine_close(&other);
    }
    assert_memory_equal(&found[0], &found[1], sizeof found[0]);
    free((void *)a.features);
    free((void *)b.features);
}

static void test_refusals(void **state)
{
    (void)state;
    sumi_error err = {""};
    sumi_manifold out;
    float *values = random_features(5, 20, 4);
    sumi_eval_set a = {.name = "samples", .n = 5, .d = 4, .features = values}, b = a;
    b.n = 20;
    assert_int_equal(sumi_eval_manifold(&machine, &a, &b, 3, 0, &out, &err), SUMI_EINVAL);
    assert_says(&err, "samples: too few images for precision and recall: 5, expected at least 6");
    assert_int_equal(sumi_eval_manifold(&machine, &b, &b, 0, 0, &out, &err), SUMI_EINVAL);
    assert_says(&err, "k is 0");
    a = b;
    a.n = 10;
    a.d = 8;
    assert_int_equal(sumi_eval_manifold(&machine, &a, &b, 3, 0, &out, &err), SUMI_ESHAPE);
    sumi_eval_rows rows = rows_of(&b), wider = rows_of(&a);
    double distance[20];
    assert_int_equal(sumi_eval_nearest(&machine, &rows, &wider, 1, false, distance, NULL, &err),
                     SUMI_ESHAPE);
    assert_says(&err, "rows of 4 numbers against rows of 8");
    assert_int_equal(sumi_eval_nearest(&machine, &rows, &rows, 21, false, distance, NULL, &err),
                     SUMI_EINVAL);
    assert_says(&err, "21 nearest of 20 rows");
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nearest), cmocka_unit_test(test_close_together),
        cmocka_unit_test(test_bytes),   cmocka_unit_test(test_manifold),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_refusals),
    };
    machine = machine_open(2);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    machine_close(&machine);
    return failed;
}
