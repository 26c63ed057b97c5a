/*
 * Optimiser, moving average, loss, sums and checks against their formulas in double, at lengths
 * that no vector divides; and the choice of tables.
 */
#include "kernels/kernel_test.h"

static const size_t lengths[] = {1, 7, 64, 1000, 2051};
#define LENGTHS (sizeof lengths / sizeof lengths[0])

static void adam_follows_its_formula(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (size_t l = 0; l < LENGTHS; l++) {
            size_t n = lengths[l];
            float *w = test_floats(n, 1), *m = test_floats(n, 2), *v = test_floats(n, 3);
            double *wd = test_doubles(n), *md = test_doubles(n), *vd = test_doubles(n);
            for (size_t i = 0; i < n; i++) {
                m[i] = v[i] = 0.0f;
                wd[i] = (double)w[i];
            }
            sumi_adam a = {.learning_rate = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
            for (int step = 1; step <= 5; step++) {
                float *g = test_floats(n, 10 + (uint64_t)step);
                if (n > 1)
                    g[1] = 1e-9f; /* eps decides here */
                a.correction1 = 1.0 - pow(a.beta1, step);
                a.correction2 = 1.0 - pow(a.beta2, step);
                table->adam(&a, w, g, m, v, n);
                for (size_t i = 0; i < n; i++) {
                    double gd = (double)g[i];
                    md[i] = a.beta1 * md[i] + (1.0 - a.beta1) * gd;
                    vd[i] = a.beta2 * vd[i] + (1.0 - a.beta2) * gd * gd;
                    double root = sqrt(vd[i]) / sqrt(a.correction2) + a.eps;
                    wd[i] -= a.learning_rate / a.correction1 * md[i] / root;
                }
                free(g);
            }
            test_close(w, wd, n, 1e-6, "adam w");
            test_close(m, md, n, 5e-6, "adam m"); /* signs cancel */
            test_close(v, vd, n, 1e-6, "adam v");
            free(w);
            free(m);
            free(v);
            free(wd);
            free(md);
            free(vd);
        }
    }
}

static void flat_loops(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (size_t l = 0; l < LENGTHS; l++) {
            size_t n = lengths[l];
            float *x = test_floats(n, 1), *y = test_floats(n, 2), *out = test_scratch(n);
            float *average = test_floats(n, 3), *before = test_floats(n, 3);
            double *want = test_doubles(n), squares = 0.0;
            table->axpby(0.3f, x, -1.7f, y, out, n);
            for (size_t i = 0; i < n; i++)
                want[i] = 0.3 * (double)x[i] - 1.7 * (double)y[i];
            test_close(out, want, n, 1e-6, "axpby");
            table->ema(average, x, 0.9999, n);
            for (size_t i = 0; i < n; i++)
                want[i] = (double)before[i] + 1e-4 * ((double)x[i] - (double)before[i]);
            test_close(average, want, n, 1e-7, "ema");
            double sum = table->squared_error(x, y, 0.125f, out, n);
            for (size_t i = 0; i < n; i++) {
                want[i] = 0.125 * ((double)x[i] - (double)y[i]);
                squares += 64.0 * want[i] * want[i];
            }
            test_close(out, want, n, 1e-6, "squared_error");
            assert_true(fabs(sum - squares) < 1e-6 * squares);
            assert_true(isnan(out[n]) || n % 16 == 0); /* nothing past the end */
            free(x);
            free(y);
            free(out);
            free(average);
            free(before);
            free(want);
        }
    }
}

/* Cut anywhere at a multiple of nothing, a number's result stays the same. */
static void position_does_not_matter(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        enum { COUNT = 61 };
        float *x = test_floats(COUNT, 1), *y = test_floats(COUNT, 2);
        float *whole = test_scratch(COUNT), *single = test_scratch(COUNT);
        table->axpby(0.3f, x, -1.7f, y, whole, COUNT);
        for (size_t i = 0; i < COUNT; i++)
            table->axpby(0.3f, x + i, -1.7f, y + i, single + i, 1);
        assert_memory_equal(whole, single, COUNT * sizeof(float));
        free(x);
        free(y);
        free(whole);
        free(single);
    }
}

static void column_sums(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        enum { PIXELS = 2500, C = 37 };
        float *x = test_floats((size_t)PIXELS * C, 1);
        double sums[C], want[C];
        for (int c = 0; c < C; c++)
            sums[c] = want[c] = c;
        table->column_sum(x, PIXELS, C, sums);
        for (int i = 0; i < PIXELS * C; i++)
            want[i % C] += (double)x[i];
        for (int c = 0; c < C; c++)
            assert_float_equal(sums[c], want[c], 1e-4);
        free(x);
    }
}

static void finite_numbers(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (size_t l = 0; l < LENGTHS; l++) {
            size_t n = lengths[l];
            float *x = test_floats(n, 4);
            x[n / 2] = 3.4028235e38f;
            assert_true(table->all_finite(x, n));
            const float bad[] = {INFINITY, -INFINITY, NAN};
            for (size_t i = 0; i < n; i += n / 5 + 1) {
                float kept = x[i];
                for (int b = 0; b < 3; b++) {
                    x[i] = bad[b];
                    assert_false(table->all_finite(x, n));
                }
                x[i] = kept;
            }
            x[n - 1] = NAN;
            assert_false(table->all_finite(x, n));
            free(x);
        }
        assert_true(table->all_finite(NULL, 0));
    }
}

/* Blocks of wider matrices, with depths that no turn divides, either way that a may lie. */
static void products_of_matrices(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (int i = 0; i < 12; i++) {
            const int rows = 1 + 7 * i, cols = 2 * table->vector_floats * (1 + i % 3);
            const int depth = 1 + 31 * i;
            size_t lda = (size_t)(i % 2 ? rows : depth) + 3, ldb = (size_t)cols + 5;
            size_t ldc = (size_t)cols + (size_t)i;
            float *a = test_floats(lda * (size_t)(rows + depth), 1), *c = test_scratch(ldc * 100);
            float *b = test_floats(ldb * (size_t)depth, 2);
            double *want = test_doubles((size_t)cols);
            const sumi_product product = {a, b, c, i % 2 == 1, lda, ldb, ldc, rows, cols, depth};
            table->product(&product);
            for (int r = 0; r < rows; r++) {
                for (int k = 0; k < cols; k++) {
                    want[k] = 0.0;
                    for (int d = 0; d < depth; d++) {
                        size_t at =
                            i % 2 ? (size_t)d * lda + (size_t)r : (size_t)r * lda + (size_t)d;
                        want[k] += (double)a[at] * (double)b[(size_t)d * ldb + (size_t)k];
                    }
                }
                test_close(c + (size_t)r * ldc, want, (size_t)cols, 2e-6, "product");
                assert_true(i == 0 || isnan(c[(size_t)r * ldc + (size_t)cols]));
            }
            free(want);
            free(b);
            free(c);
            free(a);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adam_follows_its_formula),
        cmocka_unit_test(flat_loops),
        cmocka_unit_test(products_of_matrices),
        cmocka_unit_test(position_does_not_matter),
        cmocka_unit_test(column_sums),
        cmocka_unit_test(finite_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
