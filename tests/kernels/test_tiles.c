/*
 * Products of bfloat16 on matrix tiles: the tiles themselves, convolutions in all directions on
 * every table (most of which have tiles in plain C) against a double-precision reference of inputs
 * and weights that were rounded in plain C, and which convolutions are computed in this way.
 */
#include "kernels/kernel_test.h"

#define SUMI_VB 16
#include "kernels/tiles.h"

/* ---- Tiles ----------------------------------------------------------------------------------- */

/* No bfloat16 that is a NaN or so large that sums overflow; many too small to count. */
static uint16_t random_half(uint64_t *state)
{
    float x = test_random(state);
    uint16_t half = test_to_bf16(x);
    if (fabsf(x) < 0.2f)
        half &= 0x807f;
    return half;
}

static float flushed(float x)
{
    return isnormal(x) ? x : copysignf(0.0f, x);
}

/* As Intel's manual has it: numbers 2i and 2i + 1 have a sum each. */
static float dot_of(const uint16_t *a, const uint16_t (*b)[32], int column, float c)
{
    float sum[2] = {0.0f, 0.0f};
    for (int i = 0; i < 32; i++) {
        float x = flushed(test_from_bf16(a[i]));
        float y = flushed(test_from_bf16(b[i / 2][2 * column + i % 2]));
        sum[i % 2] = flushed(fmaf(x, y, sum[i % 2]));
    }
    return flushed(c + flushed(sum[0] + sum[1]));
}

static void tiles_multiply_as_documented(void **state)
{
    (void)state;
    enum { ROW = 40 }; /* numbers from row to row in memory */
    uint16_t a[16][ROW], b[16][32];
    float c[16][ROW], want[16][16];
    uint64_t random = 5;
    tile_bank tiles;
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 16; i++)
            for (int k = 0; k < 32; k++) {
                a[i][k] = random_half(&random);
                b[i][k] = random_half(&random);
            }
        for (int i = 0; i < 16; i++)
            for (int k = 0; k < ROW; k++)
                c[i][k] = round % 2 ? test_random(&random) : 1e-38f * test_random(&random);
        tile_configure();
        tile_load(&tiles, 2, c, sizeof c[0]);
        tile_load(&tiles, 5, a, sizeof a[0]);
        tile_load(&tiles, 7, b, sizeof b[0]);
        tile_dot(&tiles, 2, 5, 7);
        for (int i = 0; i < 16; i++)
            for (int k = 0; k < 16; k++)
                want[i][k] = dot_of(a[i], (const uint16_t(*)[32])b, k, c[i][k]);
        float after = c[3][16];
        tile_store(&tiles, 2, c, sizeof c[0]);
        tile_release();
        for (int i = 0; i < 16; i++)
            assert_memory_equal(c[i], want[i], sizeof want[i]);
        assert_true(c[3][16] == after);
    }
    tile_zero(&tiles, 2);
    tile_store(&tiles, 2, c, sizeof c[0]);
    assert_true(c[0][0] == 0.0f && c[15][15] == 0.0f);
}

/* ---- Convolutions ---------------------------------------------------------------------------- */

typedef struct {
    int n, h, w, cin, cout, ksize;
    int split_in, split_out; /* channels of the first source and sink; 0: only one */
    int bits;                /* what is pending on the input */
} tiles_case;

static const tiles_case cases[] = {
    {2, 9, 7, 33, 17, 3, 20, 5, HAS_AFFINE | HAS_RELU | HAS_POST | PER_IMAGE | IS_BF16},
    {3, 7, 7, 64, 48, 3, 0, 0, HAS_AFFINE | HAS_RELU | IS_BF16},
    {1, 61, 19, 16, 32, 3, 0, 0, 0},
    {2, 1, 1, 7, 9, 3, 0, 4, HAS_POST},
    {1, 5, 3, 3, 5, 3, 1, 2, HAS_AFFINE | PER_IMAGE | IS_BF16},
    {7, 4, 4, 40, 80, 3, 0, 64, HAS_RELU},
    {2, 8, 8, 96, 70, 1, 50, 33, HAS_AFFINE | HAS_RELU | HAS_POST | IS_BF16},
    {1, 30, 1, 17, 33, 1, 0, 0, HAS_RELU | IS_BF16},
    {1, 3, 40, 128, 16, 3, 0, 0, HAS_AFFINE},
    {5, 2, 37, 5, 3, 3, 2, 1, HAS_RELU | PER_IMAGE | HAS_POST},
    {35, 5, 5, 16, 16, 3, 0, 0, HAS_AFFINE | HAS_RELU | IS_BF16},
    {1, 1, 1, 1, 1, 1, 0, 0, 0},
};
enum { CASES = sizeof cases / sizeof cases[0] };

static sumi_conv_spec plan(const sumi_kernels *table, const tiles_case *c,
                           sumi_conv_direction direction)
{
    sumi_conv_spec s = {.h = c->h,
                        .w = c->w,
                        .cin = c->cin,
                        .cout = c->cout,
                        .ksize = c->ksize,
                        .direction = direction};
    table->conv_plan(&s, SUMI_CONV_TILES);
    assert_true(s.bf16 && s.algorithm == SUMI_CONV_TILES);
    assert_true(s.images == 1 || s.bands == 1);
    assert_true((s.bands - 1) * s.rows < s.h && s.bands * s.rows >= s.h);
    return s;
}

/* What the table makes of the sources (fill has tests of its own), rounded, as one plain source of
 * numbers that test_source_free releases. */
static sumi_source rounded(const sumi_kernels *table, const sumi_source *sources, int count,
                           const tiles_case *c, int channels)
{
    size_t image = (size_t)(c->h * c->w * channels);
    float *x = test_scratch((size_t)c->n * image);
    for (int i = 0; i < c->n; i++) {
        sumi_strip strip = {.n = i,
                            .rows = c->h,
                            .cols = c->w,
                            .cn = channels,
                            .dst = x + (size_t)i * image,
                            .row_stride = (size_t)(c->w * channels),
                            .pixel_stride = (size_t)channels};
        table->fill(sources, count, c->h, c->w, &strip);
    }
    for (size_t i = 0; i < (size_t)c->n * image; i++)
        x[i] = test_round(x[i]);
    return (sumi_source){.r = x, .c = channels};
}

/* One source, or two side by side. */
static int make_sources(const tiles_case *c, size_t i, int bits, sumi_source *sources)
{
    int first = c->split_in > 0 ? c->split_in : c->cin;
    test_source(&sources[0], c->n, c->h * c->w, first, bits, 10 * i + 1);
    if (first < c->cin)
        test_source(&sources[1], c->n, c->h * c->w, c->cin - first, bits ^ (HAS_RELU | IS_BF16),
                    100 * i + 7);
    return first < c->cin ? 2 : 1;
}

/* Weights times scale, rounded. */
static float *rounded_weights(const sumi_conv_spec *s, const float *weights, const float *scale)
{
    size_t count = (size_t)(s->ksize * s->ksize * s->cin * s->cout);
    int outputs = s->direction == SUMI_CONV_DGRAD ? s->cin : s->cout; /* the layer's */
    float *out = test_floats(count, 1);
    for (size_t i = 0; i < count; i++)
        out[i] = test_round(weights[i] * (scale ? scale[i % (size_t)outputs] : 1.0f));
    return out;
}

/* The mean of each band of each image, of what a sink wrote. */
static void check_moments(const sumi_conv_spec *s, const sumi_sink *sink, int n)
{
    const float *y = sink->dst;
    for (int i = 0; i < n * s->bands; i++)
        for (int k = 0; k < sink->c; k++) {
            int y0 = i % s->bands * s->rows, y1 = y0 + s->rows < s->h ? y0 + s->rows : s->h;
            double sum = 0.0;
            for (int p = y0 * s->w; p < y1 * s->w; p++)
                sum +=
                    (double)y[((size_t)(i / s->bands * s->h * s->w) + (size_t)p) * (size_t)sink->c +
                              (size_t)k];
            double got = (double)sink->moments[(size_t)(2 * i * sink->c + k)];
            assert_true(fabs(got - sum / ((y1 - y0) * s->w)) < 1e-4);
        }
}

static void check_conv(const sumi_kernels *table, size_t i, sumi_conv_direction direction)
{
    const tiles_case *c = &cases[i];
    sumi_conv_spec s = plan(table, c, direction);
    sumi_source sources[2];
    int bits = direction == SUMI_CONV_DGRAD ? test_gradient_bits(c->bits, i) : c->bits;
    int source_count = make_sources(c, i, bits, sources);
    sumi_source plain = rounded(table, sources, source_count, c, c->cin);
    float *weights = test_floats((size_t)(c->ksize * c->ksize * c->cin * c->cout), 3 * i);
    float *scale = i % 3 == 1 ? test_floats((size_t)(c->cin + c->cout), 5 * i) : NULL;
    float *near = rounded_weights(&s, weights, scale);
    double *want = test_conv_reference(&s, &plain, near, NULL, c->n);
    test_sinks sinks = test_sinks_make((size_t)(c->n * c->h * c->w), c->cout, c->split_out, i);
    for (int k = 0; k < sinks.count; k++)
        sinks.sinks[k].moments = test_scratch((size_t)(c->n * s.bands * 2 * sinks.sinks[k].c));
    sumi_conv conv = {.spec = &s,
                      .sources = sources,
                      .source_count = source_count,
                      .sinks = sinks.sinks,
                      .sink_count = sinks.count};
    test_conv_run(table, &conv, weights, scale, c->n, (test_cut){.pack_pieces = 1 + (int)i % 3});
    test_sinks_check(&sinks, want, 1e-6, table->name);
    for (int k = 0; k < sinks.count; k++)
        check_moments(&s, &sinks.sinks[k], c->n);
    test_sinks_free(&sinks);
    for (int k = 0; k < source_count; k++)
        test_source_free(&sources[k]);
    test_source_free(&plain);
    free(want);
    free(weights);
    free(near);
    free(scale);
}

/* Channels may be cut at multiples of kblock: no bit of the partial gradient changes. */
static void check_pieces(const sumi_kernels *table, const sumi_wgrad *wgrad, int n)
{
    const sumi_conv_spec *s = wgrad->spec;
    float *whole = test_scratch(s->partial_floats), *cut = test_scratch(s->partial_floats);
    float *scratch = test_scratch(s->scratch_floats);
    sumi_wgrad_piece piece = {.n1 = n, .cn = s->cin};
    table->wgrad_piece(wgrad, &piece, whole, scratch);
    for (piece.c0 = 0; piece.c0 < s->cin; piece.c0 += s->kblock) {
        piece.cn = s->cin - piece.c0 < s->kblock ? s->cin - piece.c0 : s->kblock;
        table->wgrad_piece(wgrad, &piece, cut, scratch);
    }
    assert_memory_equal(whole, cut, s->partial_floats * sizeof(float));
    free(whole);
    free(cut);
    free(scratch);
}

static void check_wgrad(const sumi_kernels *table, size_t i)
{
    const tiles_case *c = &cases[i];
    sumi_conv_spec s = plan(table, c, SUMI_CONV_WGRAD);
    sumi_source sources[2], dy;
    int source_count = make_sources(c, i, c->bits, sources);
    test_source(&dy, c->n, c->h * c->w, c->cout, test_gradient_bits(c->bits, i), 77 + i);
    sumi_source plain = rounded(table, sources, source_count, c, c->cin);
    sumi_source plain_dy = rounded(table, &dy, 1, c, c->cout);
    plain_dy.g = plain_dy.r;
    plain_dy.r = NULL;
    double *want = test_wgrad_reference(&s, &plain, &plain_dy, c->n);
    sumi_wgrad wgrad = {.spec = &s, .sources = sources, .source_count = source_count, .dy = &dy};
    test_wgrad_check(table, &wgrad, want, c->n, c->n > 20 ? 30 : 2, i, table->name);
    check_pieces(table, &wgrad, c->n);
    for (int k = 0; k < source_count; k++)
        test_source_free(&sources[k]);
    test_source_free(&dy);
    test_source_free(&plain);
    test_source_free(&plain_dy);
    free(want);
}

static void every_case(sumi_conv_direction direction)
{
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++)
        for (size_t i = 0; i < CASES; i++)
            if (direction == SUMI_CONV_WGRAD)
                check_wgrad(table, i);
            else
                check_conv(table, i, direction);
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

/* A run of input channels of a wider layer. */
static void channels_of_a_wider_layer(void **state)
{
    (void)state;
    enum { CIN = 20, COUT = 17, BEFORE = 3, WIDE = (BEFORE + CIN + 2) * COUT, SIDE = 4 };
    const sumi_kernels *table = sumi_kernels_list(0);
    float *weights = test_floats(9 * WIDE, 1), *narrow = test_floats(9 * CIN * COUT, 1);
    for (size_t tap = 0; tap < 9; tap++)
        memcpy(narrow + tap * CIN * COUT, weights + tap * WIDE + BEFORE * COUT,
               CIN * COUT * sizeof(float));
    for (int direction = SUMI_CONV_FORWARD; direction <= SUMI_CONV_DGRAD; direction++) {
        bool swap = direction == SUMI_CONV_DGRAD;
        sumi_conv_spec s = {.h = SIDE,
                            .w = SIDE,
                            .cin = swap ? COUT : CIN,
                            .cout = swap ? CIN : COUT,
                            .ksize = 3,
                            .direction = (sumi_conv_direction)direction};
        sumi_conv_spec wide = s;
        wide.tap_floats = WIDE;
        table->conv_plan(&s, SUMI_CONV_TILES);
        table->conv_plan(&wide, SUMI_CONV_TILES);
        float *a = test_scratch(s.packed_floats), *b = test_scratch(s.packed_floats);
        table->conv_pack(&s, narrow, NULL, a, 0, 1);
        table->conv_pack(&wide, weights + BEFORE * COUT, NULL, b, 0, 1);
        assert_memory_equal(a, b, s.packed_floats * sizeof(float));
        free(a);
        free(b);
    }
    free(weights);
    free(narrow);
}

/* ---- Tables ---------------------------------------------------------------------------------- */

/* Plain data, so that nothing but products is computed. */
static float *run_plain(const sumi_kernels *table, const sumi_conv_spec *s, int n)
{
    float *x = test_floats((size_t)(n * s->h * s->w * s->cin), 2);
    float *weights = test_floats((size_t)(s->ksize * s->ksize * s->cin * s->cout), 3);
    float *y = test_scratch((size_t)(n * s->h * s->w * s->cout));
    sumi_source source = {.r = x, .c = s->cin};
    sumi_sink sink = {.dst = y, .c = s->cout};
    sumi_conv conv = {
        .spec = s, .sources = &source, .source_count = 1, .sinks = &sink, .sink_count = 1};
    test_conv_run(table, &conv, weights, NULL, n, (test_cut){0});
    free(x);
    free(weights);
    return y;
}

/* Tiles in plain C give the same bits on every table; those of a CPU are as near as its maker says
 * how it adds up. */
static void tables_agree(void **state)
{
    (void)state;
    const sumi_kernels *first = sumi_kernels_pick("generic"), *table;
    const tiles_case *c = &cases[5];
    size_t count = (size_t)(c->n * c->h * c->w * c->cout);
    sumi_conv_spec s = plan(first, c, SUMI_CONV_FORWARD);
    float *want = run_plain(first, &s, c->n);
    double *wide = test_doubles(count);
    for (size_t i = 0; i < count; i++)
        wide[i] = (double)want[i];
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++) {
        s = plan(table, c, SUMI_CONV_FORWARD);
        float *got = run_plain(table, &s, c->n);
        if (strcmp(table->name, "amx") == 0)
            test_close(got, wide, count, 1e-6, "tiles of the CPU");
        else
            assert_memory_equal(got, want, count * sizeof *got);
        free(got);
    }
    free(want);
    free(wide);
}

/* Tiles are used where the CPU has them, bfloat16 is asked for, and channels are not few. */
static void which_convolutions_use_tiles(void **state)
{
    (void)state;
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++)
        for (int direction = SUMI_CONV_FORWARD; direction <= SUMI_CONV_WGRAD; direction++)
            for (int bits = 0; bits < 16; bits++) {
                bool few = (bits & 4) != 0, up = (bits & 2) != 0, asked = (bits & 1) != 0;
                sumi_conv_spec s = {.h = 14,
                                    .w = 14,
                                    .cin = (bits & 8) != 0 ? 15 : 64,
                                    .cout = few ? 1 : 32,
                                    .ksize = 3,
                                    .up = up,
                                    .bf16 = asked,
                                    .direction = (sumi_conv_direction)direction};
                bool tiles = strcmp(table->name, "amx") == 0 && asked && bits < 4;
                sumi_conv_spec forced = s;
                table->conv_plan(&s, -1);
                assert_int_equal(s.bf16, tiles);
                assert_int_equal(s.algorithm == SUMI_CONV_TILES, tiles);
                assert_int_equal(s.up, up && bits < 4 && !tiles);
                table->conv_plan(&forced, SUMI_CONV_GEMM);
                assert_true(!forced.bf16);
            }
}

/* Without bfloat16 the table with tiles is AVX-512's. */
static void float32_is_as_on_avx512(void **state)
{
    (void)state;
    const sumi_kernels *amx = sumi_kernels_pick("amx"), *avx512 = sumi_kernels_pick("avx512");
    if (amx == NULL)
        skip();
    assert_true(sumi_kernels_list(0) == amx && sumi_kernels_list(2) == avx512);
    static const sumi_conv_spec shapes[] = {
        {.h = 8, .w = 8, .cin = 32, .cout = 32, .ksize = 3},
        {.h = 7, .w = 7, .cin = 24, .cout = 17, .ksize = 3},
        {.h = 8, .w = 8, .cin = 20, .cout = 40, .ksize = 1},
        {.h = 8, .w = 8, .cin = 32, .cout = 1, .ksize = 1},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        sumi_conv_spec a = shapes[i], b = shapes[i];
        amx->conv_plan(&a, -1);
        avx512->conv_plan(&b, -1);
        assert_true(a.vnni && !b.vnni);
        b.vnni = true; /* it says how integers would be multiplied */
        assert_memory_equal(&a, &b, sizeof a);
        float *x = run_plain(amx, &a, 3), *y = run_plain(avx512, &b, 3);
        assert_memory_equal(x, y, (size_t)(3 * a.h * a.w * a.cout) * sizeof *x);
        free(x);
        free(y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_multiply_as_documented),
        cmocka_unit_test(forward),
        cmocka_unit_test(input_gradient),
        cmocka_unit_test(weight_gradient),
        cmocka_unit_test(channels_of_a_wider_layer),
        cmocka_unit_test(tables_agree),
        cmocka_unit_test(which_convolutions_use_tiles),
        cmocka_unit_test(float32_is_as_on_avx512),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
