/*
 * Convolutions of every table that this CPU has, in all directions and by every algorithm that can
 * do the shape, against a plain double-precision reference; and the promise that an image's bits do
 * not depend on how the work is cut.
 */
#include "kernels/kernel_test.h"

typedef struct {
    int n, h, w, cin, cout, ksize;
    int split_in, split_out; /* channels of the first source and sink; 0: only one */
    int bits;                /* what is pending on the input */
} conv_case;

static const conv_case cases[] = {
    {2, 28, 28, 1, 64, 3, 0, 0, 0},
    {3, 7, 7, 64, 64, 3, 0, 0, HAS_AFFINE | HAS_RELU},
    {5, 7, 7, 48, 80, 3, 16, 64, HAS_AFFINE | HAS_RELU | HAS_POST | PER_IMAGE},
    {2, 14, 14, 128, 64, 3, 64, 0, HAS_AFFINE | HAS_RELU | HAS_POST},
    {1, 5, 3, 3, 5, 3, 1, 2, HAS_AFFINE | PER_IMAGE},
    {2, 1, 1, 7, 9, 3, 0, 4, HAS_POST},
    {2, 2, 37, 19, 33, 3, 8, 17, HAS_RELU | PER_IMAGE | HAS_POST},
    {1, 40, 9, 33, 31, 3, 0, 0, HAS_AFFINE | HAS_RELU},
    {2, 16, 16, 64, 1, 3, 0, 0, HAS_AFFINE | HAS_RELU},
    {2, 28, 28, 64, 1, 1, 0, 0, HAS_AFFINE | HAS_RELU},
    {3, 6, 5, 20, 2, 3, 0, 1, HAS_AFFINE | PER_IMAGE},
    {2, 9, 4, 17, 3, 3, 0, 0, HAS_RELU},
    {2, 4, 11, 5, 4, 1, 2, 1, HAS_AFFINE},
    {1, 1, 1, 1, 1, 3, 0, 0, 0},
    {1, 100, 1, 32, 64, 1, 0, 0, HAS_RELU},
    {1, 13, 1, 100, 50, 1, 0, 0, HAS_AFFINE | HAS_RELU},
    {17, 1, 1, 64, 128, 1, 0, 0, HAS_RELU},
    {2, 8, 8, 256, 96, 1, 128, 32, HAS_AFFINE | HAS_RELU | HAS_POST | PER_IMAGE},
};
#define CASES (sizeof cases / sizeof cases[0])

typedef struct {
    const sumi_kernels *table;
    const conv_case *c;
    sumi_conv_spec spec;
    sumi_source sources[2];
    int source_count;
    char what[160];
} conv_setup;

static void setup_begin(conv_setup *s, const sumi_kernels *table, size_t i,
                        sumi_conv_direction direction, int algorithm)
{
    const conv_case *c = &cases[i];
    *s = (conv_setup){.table = table, .c = c};
    bool swap = direction == SUMI_CONV_DGRAD;
    s->spec = (sumi_conv_spec){.h = c->h,
                               .w = c->w,
                               .cin = c->cin,
                               .cout = c->cout,
                               .ksize = c->ksize,
                               .direction = direction};
    table->conv_plan(&s->spec, algorithm);
    int bits = swap ? test_gradient_bits(c->bits, i) : c->bits;
    s->source_count = c->split_in > 0 ? 2 : 1;
    int first = c->split_in > 0 ? c->split_in : c->cin;
    test_source(&s->sources[0], c->n, c->h * c->w, first, bits, 10 * i + 1);
    if (s->source_count == 2)
        test_source(&s->sources[1], c->n, c->h * c->w, c->cin - first, bits ^ HAS_RELU,
                    100 * i + 7);
    snprintf(s->what, sizeof s->what, "%s case %zu direction %d algorithm %d", table->name, i,
             (int)direction, (int)s->spec.algorithm);
}

static void setup_end(conv_setup *s)
{
    for (int i = 0; i < s->source_count; i++)
        test_source_free(&s->sources[i]);
}

/* Everything that a plan promises about itself. */
static void check_plan(const sumi_conv_spec *s)
{
    assert_true(s->images >= 1 && s->rows >= 1 && s->bands >= 1 && s->kblock >= 0);
    assert_true(s->images == 1 || s->bands == 1);
    assert_true((s->bands - 1) * s->rows < s->h && s->bands * s->rows >= s->h);
}

/* Sinks with bias, residual and ReLU or accumulation, and their expected result. */
static void check_conv(const sumi_kernels *table, size_t i, sumi_conv_direction direction,
                       int algorithm)
{
    conv_setup s;
    setup_begin(&s, table, i, direction, algorithm);
    check_plan(&s.spec);
    const conv_case *c = s.c;
    size_t pixels = (size_t)(c->n * c->h * c->w);
    float *weights = test_floats((size_t)(c->ksize * c->ksize * c->cin * c->cout), 3 * i);
    float *scale = i % 3 == 1 ? test_floats((size_t)(c->cin + c->cout), 5 * i) : NULL;
    double *want = test_conv_reference(&s.spec, s.sources, weights, scale, c->n);
    test_sinks sinks = test_sinks_make(pixels, c->cout, c->split_out, i);
    sumi_conv conv = {.spec = &s.spec,
                      .sources = s.sources,
                      .source_count = s.source_count,
                      .sinks = sinks.sinks,
                      .sink_count = sinks.count};
    test_conv_run(table, &conv, weights, scale, c->n, (test_cut){.pack_pieces = 1 + (int)i % 3});
    test_sinks_check(&sinks, want, s.spec.algorithm == SUMI_CONV_WINOGRAD ? 1e-5 : 1e-6, s.what);
    test_sinks_free(&sinks);
    free(want);
    free(weights);
    free(scale);
    setup_end(&s);
}

static void check_wgrad(const sumi_kernels *table, size_t i, int algorithm)
{
    conv_setup s;
    setup_begin(&s, table, i, SUMI_CONV_WGRAD, algorithm);
    check_plan(&s.spec);
    const conv_case *c = s.c;
    sumi_source dy;
    test_source(&dy, c->n, c->h * c->w, c->cout, test_gradient_bits(c->bits, i), 77 + i);
    double *want = test_wgrad_reference(&s.spec, s.sources, &dy, c->n);
    sumi_wgrad wgrad = {
        .spec = &s.spec, .sources = s.sources, .source_count = s.source_count, .dy = &dy};
    test_wgrad_check(table, &wgrad, want, c->n, 2, i, s.what);
    free(want);
    test_source_free(&dy);
    setup_end(&s);
}

static const int algorithms[] = {-1, SUMI_CONV_GEMM, SUMI_CONV_NARROW, SUMI_CONV_TILES};
enum { EXACT = 3 }; /* of these; the others round, and test_tiles.c has their reference */

static void every_case(sumi_conv_direction direction)
{
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++)
        for (size_t i = 0; i < CASES; i++)
            for (size_t a = 0; a < EXACT; a++) {
                if (direction == SUMI_CONV_WGRAD)
                    check_wgrad(table, i, algorithms[a]);
                else
                    check_conv(table, i, direction, algorithms[a]);
            }
}

static void forward(void **state)
{
    (void)state;
    every_case(SUMI_CONV_FORWARD);
}

static void input_gradient(void **state)
{
    (void)state;
    every_case(SUMI_CONV_DGRAD);
}

static void weight_gradient(void **state)
{
    (void)state;
    every_case(SUMI_CONV_WGRAD);
}

/* Result of a case for n images, cut in a given way and (where rows > 0) into other bands, but for
 * Winograd, whose bands end where its tiles do. */
static float *run_cut(const sumi_kernels *table, size_t i, int algorithm, int n, test_cut cut,
                      int rows)
{
    conv_setup s;
    setup_begin(&s, table, i, SUMI_CONV_FORWARD, algorithm);
    const conv_case *c = s.c;
    if (rows > 0 && rows < s.spec.rows && s.spec.algorithm != SUMI_CONV_WINOGRAD) {
        s.spec.images = 1;
        s.spec.rows = rows;
        s.spec.bands = (c->h + rows - 1) / rows;
    }
    float *weights = test_floats((size_t)(c->ksize * c->ksize * c->cin * c->cout), 3 * i);
    float *dst = test_scratch((size_t)(c->n * c->h * c->w * c->cout));
    sumi_sink sink = {.dst = dst, .c = c->cout};
    sumi_conv conv = {.spec = &s.spec,
                      .sources = s.sources,
                      .source_count = s.source_count,
                      .sinks = &sink,
                      .sink_count = 1};
    test_conv_run(table, &conv, weights, NULL, n, cut);
    free(weights);
    setup_end(&s);
    return dst;
}

static void same_bits_however_cut(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        for (size_t i = 0; i < CASES; i++) {
            for (size_t a = 0; a < sizeof algorithms / sizeof algorithms[0]; a++) {
                const conv_case *c = &cases[i];
                size_t image = (size_t)(c->h * c->w * c->cout) * sizeof(float);
                float *whole = run_cut(table, i, algorithms[a], c->n, (test_cut){0}, 0);
                float *single =
                    run_cut(table, i, algorithms[a], c->n, (test_cut){.images = 1, .kn = 1}, 0);
                float *first = run_cut(table, i, algorithms[a], 1, (test_cut){.kn = 65}, 0);
                assert_memory_equal(whole, single, image * (size_t)c->n);
                assert_memory_equal(whole, first, image);
                free(first);
                free(single);
                if (algorithms[a] != -1) {
                    float *bands = run_cut(table, i, algorithms[a], c->n, (test_cut){0}, 2);
                    assert_memory_equal(whole, bands, image * (size_t)c->n);
                    free(bands);
                }
                free(whole);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward),
        cmocka_unit_test(input_gradient),
        cmocka_unit_test(weight_gradient),
        cmocka_unit_test(same_bits_however_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
