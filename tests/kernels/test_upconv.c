/*
 * The convolution of an up-sampled tensor at the small size, against the convolution of a tensor
 * that is really up-sampled, in double: the result, both gradients, a run of channels of a wider
 * layer, and the same bits however the work is cut.
 */
#include "kernel_test.h"

typedef struct {
    int n, h, w; /* of the large tensor */
    int cin, cout;
} up_case;

static const up_case cases[] = {
    {2, 14, 14, 32, 16}, {3, 28, 28, 16, 32}, {1, 2, 2, 16, 16},   {2, 4, 6, 48, 16},
    {5, 6, 4, 16, 80},   {1, 2, 10, 32, 32},  {1, 64, 22, 32, 16}, {1, 36, 64, 64, 48},
};
enum { CASES = sizeof cases / sizeof cases[0] };

static sumi_conv_spec plan(const sumi_kernels *table, const up_case *c, int direction,
                           size_t tap_floats)
{
    bool swap = direction == SUMI_CONV_DGRAD;
    sumi_conv_spec s = {.h = c->h,
                        .w = c->w,
                        .cin = swap ? c->cout : c->cin,
                        .cout = swap ? c->cin : c->cout,
                        .ksize = 3,
                        .up = true,
                        .direction = (sumi_conv_direction)direction,
                        .tap_floats = tap_floats};
    table->conv_plan(&s, -1);
    assert_true(s.up && s.algorithm == SUMI_CONV_UPSAMPLED);
    return s;
}

static float *run(const sumi_kernels *table, const sumi_conv_spec *s, const sumi_source *sources,
                  int count, const float *weights, int n, test_cut cut)
{
    int pixels = s->direction == SUMI_CONV_DGRAD ? s->h / 2 * (s->w / 2) : s->h * s->w;
    float *dst = test_scratch((size_t)(n * pixels * s->cout));
    sumi_sink sink = {.dst = dst, .c = s->cout};
    sumi_conv conv = {
        .spec = s, .sources = sources, .source_count = count, .sinks = &sink, .sink_count = 1};
    test_conv_run(table, &conv, weights, NULL, n, cut);
    return dst;
}

static void check_forward(const sumi_kernels *table, size_t i)
{
    const up_case *c = &cases[i];
    sumi_conv_spec s = plan(table, c, SUMI_CONV_FORWARD, 0), direct = s;
    direct.up = false;
    sumi_source parts[2], large[2];
    for (int p = 0; p < 2; p++) {
        int bits = p == 0 ? HAS_AFFINE | HAS_RELU | HAS_POST | PER_IMAGE : HAS_POST;
        test_source(&parts[p], c->n, c->h / 2 * (c->w / 2), p == 0 ? 8 : c->cin - 8, bits,
                    31 * i + (size_t)p);
        large[p] = test_up_source(&parts[p], c->n, c->h, c->w);
    }
    float *weights = test_floats((size_t)(9 * c->cin * c->cout), i);
    double *want = test_conv_reference(&direct, large, weights, NULL, c->n);
    size_t count = (size_t)(c->n * c->h * c->w * c->cout);
    float *whole = run(table, &s, parts, 2, weights, c->n, (test_cut){0});
    test_close(whole, want, count, 1e-6, "forward");
    float *single = run(table, &s, parts, 2, weights, c->n, (test_cut){.images = 1, .kn = 1});
    assert_memory_equal(whole, single, count * sizeof(float));
    sumi_conv_spec bands = s;
    bands.images = 1;
    bands.rows = 2;
    bands.bands = c->h / 2;
    float *cut = run(table, &bands, parts, 2, weights, c->n, (test_cut){0});
    assert_memory_equal(whole, cut, count * sizeof(float));
    for (int p = 0; p < 2; p++) {
        test_source_free(&parts[p]);
        test_source_free(&large[p]);
    }
    free(weights);
    free(want);
    free(whole);
    free(single);
    free(cut);
}

static void check_dgrad(const sumi_kernels *table, size_t i)
{
    const up_case *c = &cases[i];
    sumi_conv_spec s = plan(table, c, SUMI_CONV_DGRAD, 0), direct = s;
    direct.up = false;
    sumi_source dy;
    test_source(&dy, c->n, c->h * c->w, c->cout, IS_GRADIENT | HAS_AFFINE | HAS_RELU | HAS_NORM,
                53 * i);
    float *weights = test_floats((size_t)(9 * c->cin * c->cout), i);
    double *large = test_conv_reference(&direct, &dy, weights, NULL, c->n);
    double *want = test_resample(large, c->n, c->h, c->w, c->cin, true);
    size_t count = (size_t)(c->n * c->h / 2 * c->w / 2 * c->cin);
    float *whole = run(table, &s, &dy, 1, weights, c->n, (test_cut){0});
    test_close(whole, want, count, 1e-6, "input gradient");
    sumi_conv_spec bands = s;
    bands.images = 1;
    bands.rows = 1;
    bands.bands = c->h / 2;
    float *cut = run(table, &bands, &dy, 1, weights, c->n, (test_cut){.kn = 1});
    assert_memory_equal(whole, cut, count * sizeof(float));
    test_source_free(&dy);
    free(weights);
    free(large);
    free(want);
    free(whole);
    free(cut);
}

/* The gradient as a run of a wider layer's input channels, its pieces cut by channels or not. */
static void check_wgrad(const sumi_kernels *table, size_t i)
{
    const up_case *c = &cases[i];
    enum { BEFORE = 5, AFTER = 3 }; /* rows of the wider layer */
    size_t row = (size_t)c->cout, wide = (size_t)(BEFORE + c->cin + AFTER) * row;
    sumi_conv_spec s = plan(table, c, SUMI_CONV_WGRAD, wide), direct = s;
    direct.up = false;
    sumi_source x, dy;
    test_source(&x, c->n, c->h / 2 * (c->w / 2), c->cin, HAS_AFFINE | HAS_RELU | HAS_POST, 5 * i);
    sumi_source large = test_up_source(&x, c->n, c->h, c->w);
    test_source(&dy, c->n, c->h * c->w, c->cout, IS_GRADIENT | HAS_AFFINE | HAS_RELU, 91 * i);
    double *want = test_wgrad_reference(&direct, &large, &dy, c->n);
    sumi_wgrad wgrad = {.spec = &s, .sources = &x, .source_count = 1, .dy = &dy};
    float *dw = test_scratch(9 * wide), *partial = test_scratch(s.partial_floats);
    test_wgrad_run(table, &wgrad, c->n, 2, dw + BEFORE * row, 3);
    float *packed = test_floats(9 * (size_t)c->cin * row, 1);
    for (size_t tap = 0; tap < 9; tap++)
        for (size_t k = 0; k < wide; k++) {
            bool inside = k >= BEFORE * row && k < (size_t)(BEFORE + c->cin) * row;
            assert_true(inside || isnan(dw[tap * wide + k]));
            if (inside)
                packed[tap * (size_t)c->cin * row + k - BEFORE * row] = dw[tap * wide + k];
        }
    test_close(packed, want, 9 * (size_t)c->cin * row, 1e-6, "weight gradient");

    test_fenced scratch = test_fence(s.scratch_floats);
    float *pieces = test_scratch(s.partial_floats);
    sumi_wgrad_piece piece = {.n1 = c->n, .cn = c->cin};
    table->wgrad_piece(&wgrad, &piece, partial, scratch.at);
    for (piece.c0 = 0; piece.c0 < c->cin; piece.c0 += 16) {
        piece.cn = 16;
        table->wgrad_piece(&wgrad, &piece, pieces, scratch.at);
    }
    /* Finished, because a partial gradient may hold anything past its output channels. */
    float *cut = test_scratch(9 * wide);
    table->wgrad_finish(&s, partial, 1, dw + BEFORE * row, 0, 1);
    table->wgrad_finish(&s, pieces, 1, cut + BEFORE * row, 0, 1);
    assert_memory_equal(dw, cut, 9 * wide * sizeof(float));
    free(cut);
    test_source_free(&x);
    test_source_free(&large);
    test_source_free(&dy);
    free(want);
    free(dw);
    free(partial);
    free(packed);
    free(pieces);
    test_fence_free(&scratch);
}

static void every_case(void (*check)(const sumi_kernels *table, size_t i))
{
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++)
        for (size_t i = 0; i < CASES; i++)
            check(table, i);
}

static void forward(void **state)
{
    (void)state;
    every_case(check_forward);
}

static void input_gradient(void **state)
{
    (void)state;
    every_case(check_dgrad);
}

static void weight_gradient(void **state)
{
    (void)state;
    every_case(check_wgrad);
}

/* What it cannot do is planned as an ordinary convolution, and says so. */
static void refusals(void **state)
{
    (void)state;
    static const sumi_conv_spec odd[] = {
        {.h = 14, .w = 14, .cin = 24, .cout = 16, .ksize = 3, .up = true},
        {.h = 14, .w = 14, .cin = 16, .cout = 8, .ksize = 3, .up = true},
        {.h = 14, .w = 14, .cin = 16, .cout = 16, .ksize = 1, .up = true},
        {.h = 14, .w = 7, .cin = 16, .cout = 16, .ksize = 3, .up = true},
    };
    const sumi_kernels *table = sumi_kernels_list(0);
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        sumi_conv_spec s = odd[i];
        table->conv_plan(&s, -1);
        assert_true(!s.up && s.algorithm != SUMI_CONV_UPSAMPLED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward),
        cmocka_unit_test(input_gradient),
        cmocka_unit_test(weight_gradient),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
