/*
 * Muon's matrices: the published implementation's values, the steps in double for every instruction
 * set and many sizes, the same bits at any number of threads, and gradients that have no direction.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../golden/muon.h"
#include "cpu/cpu.h"

#define MOMENTUM .95

/* ---- Numbers --------------------------------------------------------------------------------- */

/* As tests/golden/make_muon.py has them. */
static float number(uint32_t seed, uint32_t i)
{
    uint32_t x = i * 747796405u + seed * 2891336453u;
    x = (x ^ x >> 15) * 0x2c1b3c6du;
    x = (x ^ x >> 12) * 0x297a2d39u;
    x ^= x >> 15;
    return (float)((double)(x >> 8) / 8388608 - 1);
}

static void *zeros(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);
    assert_non_null(memory);
    return memory;
}

/* ||x - want|| / ||want|| of a matrix; want is [rows][cols]. */
static double error_of(const sumi_matrix *m, const float *x, const double *want)
{
    double error = 0, norm = 0;
    for (int r = 0; r < m->rows; r++)
        for (int c = 0; c < m->cols; c++) {
            double w = want[r * m->cols + c];
            double d = (double)x[m->offset + (size_t)r * m->stride + (size_t)c] - w;
            error += d * d;
            norm += w * w;
        }
    return isnan(error) ? INFINITY : sqrt(error / norm);
}

static void run(const char *isa, int threads, const sumi_matrix *matrices, int count, float *g,
                float *m)
{
    const sumi_backend *backend = sumi_cpu_backend();
    sumi_device *device;
    sumi_orthogonaliser *o;
    const sumi_device_config config = {.threads = threads, .isa = isa};
    assert_int_equal(backend->open(&config, &device, NULL), SUMI_OK);
    assert_int_equal(backend->orthogonaliser_create(device, matrices, count, &o, NULL), SUMI_OK);
    backend->orthogonalise(o, NULL, MOMENTUM, g, m);
    backend->orthogonaliser_free(o);
    backend->close(device);
}

/* ---- The published implementation ------------------------------------------------------------ */

/* PyTorch's [out][in * taps] is sumi's transposed, whose matrices may be parts of wider ones. */
static void check_published(const char *isa, int index, int out, int in, const double *published)
{
    enum { BESIDE = 3 };
    size_t count = (size_t)(in * (out + BESIDE));
    const sumi_matrix is = {1, (size_t)(out + BESIDE), in, out, false};
    float *g = zeros(count + 1, sizeof *g), *m = zeros(count + 1, sizeof *m);
    double *want = zeros(count, sizeof *want);
    for (uint32_t step = 0; step < 2; step++) {
        for (size_t i = 0; i < count + 1; i++)
            g[i] = 7;
        for (int r = 0; r < in; r++)
            for (int c = 0; c < out; c++)
                g[is.offset + (size_t)r * is.stride + (size_t)c] =
                    number(10 * (uint32_t)index + step, (uint32_t)(c * in + r));
        run(isa, 2, &is, 1, g, m);
    }
    for (int r = 0; r < in; r++) {
        for (int c = 0; c < out; c++)
            want[r * out + c] = published[c * in + r];
        for (int c = out; c < out + BESIDE; c++) /* what stands beside stays */
            assert_true(g[is.offset + (size_t)r * is.stride + (size_t)c] == 7);
    }
    double error = error_of(&is, g, want);
    if (!(error < 2e-5))
        fail_msg("%s, %dx%d: %g away from the published update", isa, out, in, error);
    free(want);
    free(g);
    free(m);
}

static void test_published_values(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)); t++) {
        check_published(table->name, 0, 12, 45, muon_conv);
        check_published(table->name, 1, 40, 6, muon_linear);
        check_published(table->name, 2, 17, 17, muon_square);
    }
}

/* ---- Newton-Schulz in double ----------------------------------------------------------------- */

/* out [n][n] = a^T a of a [rows][n] */
static void gram(const double *a, int rows, int n, double *out)
{
    memset(out, 0, (size_t)(n * n) * sizeof *out);
    for (int t = 0; t < rows; t++)
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++)
                out[i * n + j] += a[t * n + i] * a[t * n + j];
}

/* x [rows][n] = x p, p [n][n]; row is room for one. */
static void multiply(double *x, int rows, int n, const double *p, double *row)
{
    for (int t = 0; t < rows; t++) {
        memset(row, 0, (size_t)n * sizeof *row);
        for (int k = 0; k < n; k++)
            for (int j = 0; j < n; j++)
                row[j] += x[t * n + k] * p[k * n + j];
        memcpy(x + t * n, row, (size_t)n * sizeof *row);
    }
}

/* The steps as they are published, on x [rows][cols] with its shorter side's products. */
static void newton_schulz(double *x, int rows, int cols)
{
    int n = cols <= rows ? cols : rows, tall = cols <= rows ? rows : cols;
    double *y = zeros((size_t)(rows * cols), sizeof *y), norm = 0;
    double *g = zeros((size_t)(n * n), sizeof *g), *q = zeros((size_t)(n * n), sizeof *q);
    double *row = zeros((size_t)n, sizeof *row);
    for (int i = 0; i < rows * cols; i++)
        norm += x[i] * x[i];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            y[cols <= rows ? r * n + c : c * n + r] = x[r * cols + c] / (sqrt(norm) + 1e-7);
    for (int step = 0; step < 5; step++) {
        gram(y, tall, n, g);
        gram(g, n, n, q); /* g is symmetric */
        for (int i = 0; i < n * n; i++)
            q[i] = 2.0315 * q[i] - 4.7750 * g[i] + (i / n == i % n ? 3.4445 : 0);
        multiply(y, tall, n, q, row);
    }
    double factor = sqrt(fmax(1, (double)cols / rows));
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            x[r * cols + c] = factor * y[cols <= rows ? r * n + c : c * n + r];
    free(row);
    free(q);
    free(g);
    free(y);
}

typedef struct {
    int rows, cols;
    float scale;
    bool low_rank; /* nearly: every row is almost the first's multiple */
} shape;

static const shape shapes[] = {
    {1, 1, 1, false},     {1, 9, 1, false},       {9, 1, 1, false},  {7, 3, 1e-6f, false},
    {3, 7, 1e4f, false},  {64, 64, 1, false},     {64, 64, 1, true}, {33, 100, 1, false},
    {288, 32, 1, false},  {576, 64, 1e-8f, true}, {32, 64, 1, true}, {300, 96, 1e-10f, false},
    {128, 130, 1, false},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* All of them one after the other; returns how many numbers they have. */
static size_t lay_out(sumi_matrix matrices[SHAPES])
{
    size_t at = 0;
    for (int i = 0; i < SHAPES; i++) {
        matrices[i] =
            (sumi_matrix){at, (size_t)shapes[i].cols, shapes[i].rows, shapes[i].cols, false};
        at += (size_t)(shapes[i].rows * shapes[i].cols);
    }
    return at;
}

static void fill(const sumi_matrix matrices[SHAPES], float *g, float *m)
{
    for (uint32_t i = 0; i < SHAPES; i++)
        for (uint32_t k = 0; k < (uint32_t)(shapes[i].rows * shapes[i].cols); k++) {
            uint32_t col = k % (uint32_t)shapes[i].cols, row = k / (uint32_t)shapes[i].cols;
            float x = shapes[i].low_rank
                          ? number(i, col) * number(i + 100, row) + 1e-3f * number(i + 200, k)
                          : number(i, k);
            g[matrices[i].offset + k] = shapes[i].scale * x;
            m[matrices[i].offset + k] = shapes[i].scale * number(i + 300, k) * .01f;
        }
}

/* What shall become of g and m. */
static double *expected_of(const sumi_matrix matrices[SHAPES], size_t count, const float *g,
                           const float *m)
{
    double *want = zeros(count, sizeof *want);
    for (size_t i = 0; i < count; i++) {
        double moment = (double)m[i] + (1 - MOMENTUM) * ((double)g[i] - (double)m[i]);
        want[i] = (double)g[i] + MOMENTUM * (moment - (double)g[i]);
    }
    for (int i = 0; i < SHAPES; i++)
        newton_schulz(want + matrices[i].offset, shapes[i].rows, shapes[i].cols);
    return want;
}

static void test_follows_the_steps_in_double(void **state)
{
    (void)state;
    sumi_matrix matrices[SHAPES];
    size_t count = lay_out(matrices), bytes = count * sizeof(float);
    float *g = zeros(count, sizeof *g), *m = zeros(count, sizeof *m);
    float *given = zeros(count, sizeof *given);
    const sumi_kernels *table;
    fill(matrices, g, m);
    memcpy(given, g, bytes);
    double *want = expected_of(matrices, count, g, m);
    for (int t = 0; (table = sumi_kernels_list(t)); t++) {
        fill(matrices, g, m);
        run(table->name, 2, matrices, SHAPES, g, m);
        for (int i = 0; i < SHAPES; i++) {
            double error = error_of(&matrices[i], g, want + matrices[i].offset);
            if (!(error < (shapes[i].low_rank ? 2e-3 : 1e-4)))
                fail_msg("%s, %dx%d%s: relative error %g", table->name, shapes[i].rows,
                         shapes[i].cols, shapes[i].low_rank ? " of low rank" : "", error);
        }
        for (size_t i = 0; i < count; i++) {
            uint32_t k = 0;
            int at = SHAPES - 1;
            while (matrices[at].offset > i)
                at--;
            k = (uint32_t)(i - matrices[at].offset);
            double before = (double)(shapes[at].scale * number((uint32_t)at + 300, k) * .01f);
            double moment = before + (1 - MOMENTUM) * ((double)given[i] - before);
            assert_true(fabs((double)m[i] - moment) <= 1e-6 * (double)shapes[at].scale);
        }
    }
    free(want);
    free(given);
    free(m);
    free(g);
}

/* ---- Bits ------------------------------------------------------------------------------------ */

static void test_threads_change_no_bit(void **state)
{
    (void)state;
    sumi_matrix matrices[SHAPES];
    size_t count = lay_out(matrices), bytes = count * sizeof(float);
    float *g[4], *m[4];
    static const int threads[4] = {1, 2, 3, 8};
    for (int i = 0; i < 4; i++) {
        g[i] = zeros(count, sizeof(float));
        m[i] = zeros(count, sizeof(float));
        fill(matrices, g[i], m[i]);
        run(NULL, threads[i], matrices, SHAPES, g[i], m[i]);
        assert_memory_equal(g[i], g[0], bytes);
        assert_memory_equal(m[i], m[0], bytes);
    }
    for (int i = 0; i < 4; i++) {
        free(g[i]);
        free(m[i]);
    }
}

/* A layer that starts at zero gets no gradient in its first step; one that is too large has no
 * direction that float32 can tell. */
static void test_no_direction_is_no_update(void **state)
{
    (void)state;
    static const float values[] = {0, 1e25f, 1e-30f};
    const sumi_matrix is = {0, 8, 40, 8, false};
    for (int k = 0; k < 3; k++) {
        float g[320], m[320] = {0};
        for (uint32_t i = 0; i < 320; i++)
            g[i] = values[k] * number(1, i);
        run(NULL, 2, &is, 1, g, m);
        for (int i = 0; i < 320; i++)
            assert_true(fabsf(g[i]) < 1e-15f);
    }
}

/* Of matrices that another rank turns the momentum is kept, to the bit; others do not notice. */
static void test_elsewhere(void **state)
{
    (void)state;
    sumi_matrix matrices[SHAPES];
    size_t count = lay_out(matrices);
    float *g[2], *m[2];
    for (int k = 0; k < 2; k++) {
        g[k] = zeros(count, sizeof *g[k]);
        m[k] = zeros(count, sizeof *m[k]);
    }
    for (int every = 1; every < 3; every++) { /* all of them, and every second one */
        for (int k = 0; k < 2; k++) {
            fill(matrices, g[k], m[k]);
            for (int i = 0; i < SHAPES; i++)
                matrices[i].elsewhere = k == 1 && i % every == 0;
            run(NULL, 2, matrices, SHAPES, g[k], m[k]);
        }
        assert_memory_equal(m[1], m[0], count * sizeof(float));
        for (int i = 0; i < SHAPES; i++)
            if (!matrices[i].elsewhere)
                assert_memory_equal(g[1] + matrices[i].offset, g[0] + matrices[i].offset,
                                    (size_t)(matrices[i].rows * matrices[i].cols) * sizeof(float));
    }
    for (int k = 0; k < 2; k++) {
        free(g[k]);
        free(m[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_values),
        cmocka_unit_test(test_follows_the_steps_in_double),
        cmocka_unit_test(test_threads_change_no_bit),
        cmocka_unit_test(test_no_direction_is_no_update),
        cmocka_unit_test(test_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
