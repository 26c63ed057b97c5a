/*
 * Convolutions with products of 16-bit integers, in every table, against convolution in double:
 * errors on data as networks have it and on data made to overflow or to lose digits; NaN and
 * infinity, which must not vanish; everything pending on sources and sinks; the same bits however
 * the work is cut, and from every instruction that multiplies; and which shapes a table chooses
 * them for.
 */
#include "kernel_test.h"

typedef struct {
    int n, h, w, cin, cout; /* as the layer sees them */
    bool up;                /* h and w are then the large tensor's */
} shape;

/* ---- Data ------------------------------------------------------------------------------------ */

typedef enum { DATA_RELU, DATA_SILU, DATA_GRADIENT } data_kind;

/* Near enough to normal: the sum of twelve uniform numbers. */
static float normal(uint64_t *state)
{
    float sum = 0;
    for (int i = 0; i < 12; i++)
        sum += test_random(state);
    return sum / 2;
}

/* What layers read: normalised, offset by channel, through ReLU or SiLU; or a gradient, small, with
 * heavy tails over pixels and channels and half of it zero. */
static float *data(data_kind kind, size_t pixels, int channels, uint64_t seed)
{
    float *x = test_floats(pixels * (size_t)channels, seed), *offset = x;
    uint64_t state = seed + 77;
    float *scale = test_floats((size_t)channels, seed + 5);
    for (size_t p = 0; p < pixels; p++) {
        float tail = expf(normal(&state));
        for (int c = 0; c < channels; c++, offset++) {
            float z = normal(&state) * expf(0.4F * scale[c]) + 0.4F * scale[c];
            if (kind == DATA_RELU)
                *offset = z > 0 ? z : 0;
            else if (kind == DATA_SILU)
                *offset = z / (1 + expf(-z));
            else
                *offset = *offset > 0 ? 1e-4F * z * tail * expf(scale[c]) : 0;
        }
    }
    free(scale);
    return x;
}

static float *weights_of(const shape *s, uint64_t seed)
{
    size_t count = (size_t)(9 * s->cin * s->cout);
    float *w = test_floats(count, seed);
    uint64_t state = seed + 3;
    for (size_t i = 0; i < count; i++)
        w[i] = normal(&state) / sqrtf(9 * (float)s->cin);
    return w;
}

/* ---- Running --------------------------------------------------------------------------------- */

static size_t small_pixels(const shape *s)
{
    return (size_t)(s->up ? s->n * (s->h / 2) * (s->w / 2) : s->n * s->h * s->w);
}

static size_t large_pixels(const shape *s)
{
    return (size_t)(s->n * s->h * s->w);
}

static sumi_conv_spec plan(const sumi_kernels *table, const shape *s, sumi_conv_direction direction)
{
    bool swap = direction == SUMI_CONV_DGRAD;
    sumi_conv_spec spec = {.h = s->h,
                           .w = s->w,
                           .cin = swap ? s->cout : s->cin,
                           .cout = swap ? s->cin : s->cout,
                           .ksize = 3,
                           .up = s->up,
                           .direction = direction};
    int force = s->up ? SUMI_CONV_UPSAMPLED16 : SUMI_CONV_WINOGRAD16;
    table->conv_plan(&spec, force);
    assert_true(spec.fixed16 && spec.up == s->up);
    assert_int_equal(spec.algorithm, force);
    return spec;
}

/* The result of a forward pass or the gradient of the input, malloc'ed. */
static float *pixels_of(const sumi_kernels *table, const sumi_conv_spec *spec, const shape *s,
                        const sumi_source *source, const float *weights, test_cut cut)
{
    bool small = spec->direction == SUMI_CONV_DGRAD;
    float *out = test_scratch((small ? small_pixels(s) : large_pixels(s)) * (size_t)spec->cout);
    sumi_sink sink = {.dst = out, .c = spec->cout};
    sumi_conv conv = {
        .spec = spec, .sources = source, .source_count = 1, .sinks = &sink, .sink_count = 1};
    test_conv_run(table, &conv, weights, NULL, s->n, cut);
    return out;
}

static float *weight_gradient(const sumi_kernels *table, const sumi_conv_spec *spec, const shape *s,
                              const sumi_source *x, const sumi_source *dy)
{
    sumi_wgrad wgrad = {.spec = spec, .sources = x, .source_count = 1, .dy = dy};
    float *dw = test_scratch((size_t)(9 * s->cin * s->cout));
    test_wgrad_run(table, &wgrad, s->n, s->n, dw, 2);
    return dw;
}

/* What double makes of it: of an up-sampled layer, the convolution of the large tensor. */
static double *pixels_wanted(const sumi_conv_spec *spec, const shape *s, const sumi_source *source,
                             const float *weights)
{
    if (!s->up)
        return test_conv_reference(spec, source, weights, NULL, s->n);
    sumi_conv_spec direct = *spec;
    direct.up = false;
    if (spec->direction == SUMI_CONV_DGRAD) {
        double *large = test_conv_reference(&direct, source, weights, NULL, s->n);
        double *small = test_resample(large, s->n, s->h, s->w, spec->cout, true);
        free(large);
        return small;
    }
    sumi_source large = test_up_source(source, s->n, s->h, s->w);
    double *want = test_conv_reference(&direct, &large, weights, NULL, s->n);
    test_source_free(&large);
    return want;
}

static double *gradient_wanted(const sumi_conv_spec *spec, const shape *s, const sumi_source *x,
                               const sumi_source *dy)
{
    if (!s->up)
        return test_wgrad_reference(spec, x, dy, s->n);
    sumi_conv_spec direct = *spec;
    direct.up = false;
    sumi_source large = test_up_source(x, s->n, s->h, s->w);
    double *want = test_wgrad_reference(&direct, &large, dy, s->n);
    test_source_free(&large);
    return want;
}

/* The largest error beside the size of a typical value. */
static double largest_error(const float *x, const double *want, size_t count)
{
    double most = 0, square = 0;
    for (size_t i = 0; i < count; i++) {
        double e = fabs((double)x[i] - want[i]);
        most = isnan(e) || e > most ? e : most;
        square += want[i] * want[i];
    }
    return most / sqrt(square / (double)count);
}

/* Errors of forward (of input x) or of the gradient of the input (of gradient x). */
static void check_pixels(const sumi_kernels *table, const shape *s, sumi_conv_direction direction,
                         const float *x, const float *weights, double limit, double most,
                         const char *what)
{
    sumi_conv_spec spec = plan(table, s, direction);
    sumi_source source = {.c = spec.cin};
    if (direction == SUMI_CONV_DGRAD)
        source.g = x;
    else
        source.r = x;
    double *want = pixels_wanted(&spec, s, &source, weights);
    float *got = pixels_of(table, &spec, s, &source, weights, (test_cut){.pack_pieces = 3});
    bool small = direction == SUMI_CONV_DGRAD;
    size_t count = (small ? small_pixels(s) : large_pixels(s)) * (size_t)spec.cout;
    test_close(got, want, count, limit, what);
    if (!(largest_error(got, want, count) <= most))
        fail_msg("%s: largest error %g of a typical value", what, largest_error(got, want, count));
    free(want);
    free(got);
}

static void every_table(void (*check)(const sumi_kernels *table))
{
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++)
        check(table);
}

/* ---- Errors ---------------------------------------------------------------------------------- */

/* 32, 16 and 48 channels are a short run, half a vector of words, and both. */
static const shape shapes[] = {
    {2, 7, 7, 128, 64, false},   {2, 8, 8, 64, 64, false},   {1, 14, 14, 96, 48, false},
    {2, 9, 13, 80, 112, false},  {3, 3, 4, 16, 16, false},   {1, 28, 28, 64, 32, false},
    {1, 34, 20, 32, 144, false}, {2, 14, 14, 64, 32, true},  {1, 28, 28, 96, 64, true},
    {3, 2, 6, 32, 96, true},     {1, 36, 22, 64, 160, true},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void check_errors(const sumi_kernels *table)
{
    for (size_t i = 0; i < SHAPES; i++) {
        const shape *s = &shapes[i];
        float *w = weights_of(s, i + 1);
        float *dy = data(DATA_GRADIENT, large_pixels(s), s->cout, i + 90);
        for (data_kind kind = DATA_RELU; kind <= DATA_SILU; kind++) {
            float *x = data(kind, small_pixels(s), s->cin, i + 40);
            check_pixels(table, s, SUMI_CONV_FORWARD, x, w, 6e-4, 1e-2, "forward");
            sumi_conv_spec spec = plan(table, s, SUMI_CONV_WGRAD);
            sumi_source input = {.r = x, .c = s->cin}, gradient = {.g = dy, .c = s->cout};
            double *want = gradient_wanted(&spec, s, &input, &gradient);
            float *dw = weight_gradient(table, &spec, s, &input, &gradient);
            bool six = spec.partial_floats / 64 >= (size_t)(s->cin * s->cout);
            test_close(dw, want, (size_t)(9 * s->cin * s->cout), six ? 3e-3 : 1e-3,
                       "weight gradient");
            free(want);
            free(dw);
            free(x);
        }
        check_pixels(table, s, SUMI_CONV_DGRAD, dy, w, 6e-4, 2e-2, "input gradient");
        free(dy);
        free(w);
    }
}

static void errors(void **state)
{
    (void)state;
    every_table(check_errors);
}

/* ---- Extremes -------------------------------------------------------------------------------- */

static const shape extremes[] = {
    {2, 7, 7, 64, 32, false}, {1, 14, 14, 256, 32, false}, {2, 8, 8, 128, 32, true}};
enum { EXTREMES = sizeof extremes / sizeof extremes[0] };

static void fill(float *x, size_t count, int channels, uint64_t seed, float live, int only)
{
    uint64_t state = seed;
    for (size_t i = 0; i < count; i++) {
        float v = normal(&state);
        int c = (int)(i % (size_t)channels);
        x[i] = only < 0 || c == only ? v * live : 0;
    }
}

/* Inputs and weights with the same pattern over channels make the largest sums that their norms
 * allow; in one sign and in both. */
static void check_aligned(const sumi_kernels *table)
{
    for (size_t i = 0; i < EXTREMES; i++) {
        const shape *s = &extremes[i];
        size_t pixels = small_pixels(s);
        float *x = test_floats(pixels * (size_t)s->cin, 1), *w = weights_of(s, 1);
        for (int flat = 0; flat < 2; flat++) {
            float *pattern = test_floats((size_t)s->cin, 9);
            for (int c = 0; flat && c < s->cin; c++)
                pattern[c] = 1;
            for (size_t p = 0; p < pixels * (size_t)s->cin; p++)
                x[p] = pattern[p % (size_t)s->cin];
            for (int at = 0; at < 9 * s->cin * s->cout; at++) {
                int k = at % s->cout, c = at / s->cout % s->cin, tap = at / s->cout / s->cin;
                w[at] = pattern[c] * (float)(1 + tap % 2) * (k % 2 ? 1 : -1);
            }
            check_pixels(table, s, SUMI_CONV_FORWARD, x, w, 6e-4, 1e-2, "aligned");
            free(pattern);
        }
        free(x);
        free(w);
    }
}

static void check_extremes(const sumi_kernels *table)
{
    static const struct {
        float live;
        int only, loud; /* the one channel that is not 0, and one that is 1000 times larger */
        const char *what;
    } cases[] = {{1, 5, -1, "one live channel"},
                 {1, -1, 9, "a channel of a thousand times the others"},
                 {1e-12F, -1, -1, "inputs of 1e-12"},
                 {1e12F, -1, -1, "inputs of 1e12"}};
    for (size_t i = 0; i < EXTREMES; i++) {
        const shape *s = &extremes[i];
        size_t count = small_pixels(s) * (size_t)s->cin;
        float *x = test_floats(count, 1), *w = weights_of(s, 1);
        for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
            fill(x, count, s->cin, k, cases[k].live, cases[k].only);
            for (size_t p = 0; cases[k].loud >= 0 && p < count; p += (size_t)s->cin)
                x[p + (size_t)cases[k].loud] *= 1000;
            check_pixels(table, s, SUMI_CONV_FORWARD, x, w, 6e-4, 1e-2, cases[k].what);
        }
        for (size_t p = 0; p < count; p++)
            x[p] = x[p] * 1e-12F > 0 ? x[p] * 1e-12F : 0;
        for (int at = 0; at < 9 * s->cin * s->cout; at += 97)
            w[at] *= 100;
        check_pixels(table, s, SUMI_CONV_FORWARD, x, w, 1e-3, 1e-2, "sparse large weights");
        free(x);
        free(w);
    }
}

/* Zeros give zeros, of either sign, forward and backward. */
static void check_zeros(const sumi_kernels *table)
{
    for (size_t i = 0; i < EXTREMES; i++) {
        const shape *s = &extremes[i];
        float *w = weights_of(s, 1);
        for (int d = SUMI_CONV_FORWARD; d <= SUMI_CONV_DGRAD; d++) {
            sumi_conv_spec spec = plan(table, s, (sumi_conv_direction)d);
            bool back = d == SUMI_CONV_DGRAD;
            size_t in = (back ? large_pixels(s) : small_pixels(s)) * (size_t)spec.cin;
            size_t out = (back ? small_pixels(s) : large_pixels(s)) * (size_t)spec.cout;
            float *x = test_floats(in, 1);
            for (size_t p = 0; p < in; p++)
                x[p] = 0;
            sumi_source source = {.r = back ? NULL : x, .g = back ? x : NULL, .c = spec.cin};
            float *y = pixels_of(table, &spec, s, &source, w, (test_cut){0});
            for (size_t p = 0; p < out; p++)
                assert_true(y[p] == 0);
            free(x);
            free(y);
        }
        sumi_conv_spec spec = plan(table, s, SUMI_CONV_WGRAD);
        float *x = test_floats(small_pixels(s) * (size_t)s->cin, 1);
        float *dy = calloc(large_pixels(s) * (size_t)s->cout, sizeof *dy);
        sumi_source input = {.r = x, .c = s->cin}, gradient = {.g = dy, .c = s->cout};
        float *dw = weight_gradient(table, &spec, s, &input, &gradient);
        for (int at = 0; at < 9 * s->cin * s->cout; at++)
            assert_true(dw[at] == 0);
        free(x);
        free(dy);
        free(dw);
        free(w);
    }
}

/* Whatever is not finite in exact arithmetic is not finite here, for a NaN and for an infinity in
 * the input and in the weights. */
static void check_not_finite(const sumi_kernels *table)
{
    for (size_t i = 0; i < EXTREMES; i++)
        for (int d = SUMI_CONV_FORWARD; d <= SUMI_CONV_DGRAD; d++)
            for (int k = 0; k < 4; k++) {
                const shape *s = &extremes[i];
                bool back = d == SUMI_CONV_DGRAD;
                sumi_conv_spec spec = plan(table, s, (sumi_conv_direction)d);
                size_t in = (back ? large_pixels(s) : small_pixels(s)) * (size_t)spec.cin;
                size_t out = (back ? small_pixels(s) : large_pixels(s)) * (size_t)spec.cout;
                float *x = test_floats(in, 3), *w = weights_of(s, 3);
                float bad = k % 2 == 0 ? NAN : -INFINITY;
                if (k < 2)
                    x[in / 2 + 1] = bad;
                else
                    w[9 * s->cin * s->cout / 2 + 1] = bad;
                sumi_source source = {.r = back ? NULL : x, .g = back ? x : NULL, .c = spec.cin};
                double *want = pixels_wanted(&spec, s, &source, w);
                float *y = pixels_of(table, &spec, s, &source, w, (test_cut){0});
                size_t broken = 0;
                for (size_t p = 0; p < out; p++) {
                    assert_true(isfinite(want[p]) || !isfinite(y[p]));
                    broken += !isfinite(y[p]);
                }
                assert_true(broken > 0);
                free(x);
                free(w);
                free(want);
                free(y);
            }
}

static void check_gradient_not_finite(const sumi_kernels *table)
{
    for (size_t i = 0; i < EXTREMES; i++)
        for (int k = 0; k < 4; k++) {
            const shape *s = &extremes[i];
            sumi_conv_spec spec = plan(table, s, SUMI_CONV_WGRAD);
            size_t in = small_pixels(s) * (size_t)s->cin, out = large_pixels(s) * (size_t)s->cout;
            float *x = test_floats(in, 3), *dy = test_floats(out, 4);
            /* In the middle of the first image, so that all taps read it. */
            int side = s->up && k < 2 ? 2 : 1, h = s->h / side, w = s->w / side;
            (k < 2 ? x : dy)[(h / 2 * w + w / 2) * (k < 2 ? s->cin : s->cout) + 1] =
                k % 2 == 0 ? NAN : INFINITY;
            sumi_source input = {.r = x, .c = s->cin}, gradient = {.g = dy, .c = s->cout};
            float *dw = weight_gradient(table, &spec, s, &input, &gradient);
            size_t broken = 0;
            for (int at = 0; at < 9 * s->cin * s->cout; at++)
                broken += !isfinite(dw[at]);
            assert_true(broken >= (size_t)(9 * (k < 2 ? s->cout : s->cin)));
            free(x);
            free(dy);
            free(dw);
        }
}

static void aligned(void **state)
{
    (void)state;
    every_table(check_aligned);
}

static void ranges(void **state)
{
    (void)state;
    every_table(check_extremes);
    every_table(check_zeros);
}

static void not_finite(void **state)
{
    (void)state;
    every_table(check_not_finite);
    every_table(check_gradient_not_finite);
}

/* ---- What is pending ------------------------------------------------------------------------- */

/* Several sources in every form, float32 and bfloat16, two sinks with all that they can do. */
static void check_pending(const sumi_kernels *table)
{
    static const shape layers[] = {{3, 14, 14, 96, 80, false}, {2, 7, 9, 64, 48, false}};
    for (size_t i = 0; i < 16; i++) {
        const shape *s = &layers[i % 2];
        int half = i / 2 % 2 ? IS_BF16 : 0, pixels = s->h * s->w;
        int forms[] = {HAS_AFFINE | HAS_RELU | HAS_POST | PER_IMAGE | half, half, HAS_AFFINE | half,
                       HAS_AFFINE | HAS_RELU | half};
        for (int d = SUMI_CONV_FORWARD; d <= SUMI_CONV_WGRAD; d++) {
            sumi_conv_spec spec = plan(table, s, (sumi_conv_direction)d);
            int form = forms[i / 4];
            sumi_source sources[2], dy;
            bool back = d == SUMI_CONV_DGRAD;
            for (int p = 0; p < 2; p++)
                test_source(&sources[p], s->n, pixels, p == 0 ? 24 : spec.cin - 24,
                            back ? test_gradient_bits(form, i) : form, 7 * i + (size_t)p);
            if (d == SUMI_CONV_WGRAD) {
                test_source(&dy, s->n, pixels, s->cout, test_gradient_bits(form, i), i + 60);
                double *want = test_wgrad_reference(&spec, sources, &dy, s->n);
                sumi_wgrad wgrad = {
                    .spec = &spec, .sources = sources, .source_count = 2, .dy = &dy};
                float *dw = test_scratch((size_t)(9 * s->cin * s->cout));
                test_wgrad_run(table, &wgrad, s->n, 2, dw, 3);
                test_close(dw, want, (size_t)(9 * s->cin * s->cout), 1e-3, "pending, weights");
                free(want);
                free(dw);
                test_source_free(&dy);
            } else {
                float *w = weights_of(s, i);
                float *scale = test_floats((size_t)s->cout, i + 3);
                double *want = test_conv_reference(&spec, sources, w, scale, s->n);
                test_sinks sinks = test_sinks_make((size_t)s->n * (size_t)pixels, spec.cout, 16, i);
                sumi_conv conv = {.spec = &spec,
                                  .sources = sources,
                                  .source_count = 2,
                                  .sinks = sinks.sinks,
                                  .sink_count = sinks.count};
                test_conv_run(table, &conv, w, scale, s->n, (test_cut){.pack_pieces = 2});
                test_sinks_check(&sinks, want, 1e-3, "pending");
                test_sinks_free(&sinks);
                free(w);
                free(scale);
                free(want);
            }
            test_source_free(&sources[0]);
            test_source_free(&sources[1]);
        }
    }
}

static void pending(void **state)
{
    (void)state;
    every_table(check_pending);
}

/* ---- Bits ------------------------------------------------------------------------------------ */

/* An image alone has the bits that it has in a batch; so has every cut by channels and pieces. */
static void check_cuts(const sumi_kernels *table)
{
    static const shape cut[] = {{11, 7, 7, 96, 144, false},
                                {3, 14, 14, 64, 64, false},
                                {3, 8, 8, 64, 96, true},
                                {2, 64, 18, 32, 48, false}};
    for (size_t i = 0; i < sizeof cut / sizeof cut[0]; i++)
        for (int d = SUMI_CONV_FORWARD; d <= SUMI_CONV_DGRAD; d++) {
            const shape *s = &cut[i];
            bool back = d == SUMI_CONV_DGRAD;
            sumi_conv_spec spec = plan(table, s, (sumi_conv_direction)d);
            size_t in = (back ? large_pixels(s) : small_pixels(s)) * (size_t)spec.cin;
            size_t out = (back ? small_pixels(s) : large_pixels(s)) * (size_t)spec.cout;
            float *x = test_floats(in, i), *w = weights_of(s, i);
            sumi_source source = {.r = back ? NULL : x, .g = back ? x : NULL, .c = spec.cin};
            float *whole = pixels_of(table, &spec, s, &source, w, (test_cut){0});
            test_cut cuts[] = {{.images = 1, .kn = 1, .pack_pieces = 5},
                               {.images = 2, .kn = 64, .pack_pieces = 64}};
            for (int k = 0; k < 2; k++) {
                float *parts = pixels_of(table, &spec, s, &source, w, cuts[k]);
                assert_memory_equal(whole, parts, out * sizeof(float));
                free(parts);
            }
            free(x);
            free(w);
            free(whole);
        }
}

/* A weight gradient's input channels may be cut. */
static void check_channel_pieces(const sumi_kernels *table)
{
    static const shape cut[] = {{5, 14, 14, 128, 48, false}, {3, 8, 8, 128, 64, true}};
    for (size_t i = 0; i < 2; i++) {
        const shape *s = &cut[i];
        sumi_conv_spec spec = plan(table, s, SUMI_CONV_WGRAD);
        sumi_source x, dy;
        test_source(&x, s->n, (int)small_pixels(s) / s->n, s->cin, HAS_AFFINE | HAS_RELU, 4);
        test_source(&dy, s->n, s->h * s->w, s->cout, IS_GRADIENT, 5);
        sumi_wgrad wgrad = {.spec = &spec, .sources = &x, .source_count = 1, .dy = &dy};
        test_fenced scratch = test_fence(spec.scratch_floats);
        float *dw[2];
        for (int pieces = 0; pieces < 2; pieces++) {
            float *partial = test_scratch(spec.partial_floats);
            int step = pieces == 0 ? s->cin : spec.kblock;
            for (int c0 = 0; c0 < s->cin; c0 += step) {
                sumi_wgrad_piece piece = {.n1 = s->n, .c0 = c0, .cn = step};
                table->wgrad_piece(&wgrad, &piece, partial, scratch.at);
            }
            dw[pieces] = test_scratch((size_t)(9 * s->cin * s->cout));
            table->wgrad_finish(&spec, partial, 1, dw[pieces], 0, 1);
            free(partial);
        }
        assert_memory_equal(dw[0], dw[1], (size_t)(9 * s->cin * s->cout) * sizeof(float));
        free(dw[0]);
        free(dw[1]);
        test_fence_free(&scratch);
        test_source_free(&x);
        test_source_free(&dy);
    }
}

static void cuts(void **state)
{
    (void)state;
    every_table(check_cuts);
    every_table(check_channel_pieces);
}

static const sumi_kernels *table_called(const char *name)
{
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++)
        if (strcmp(table->name, name) == 0)
            return table;
    return NULL;
}

/* One instruction for a product and its sum, or two: the integers are the same, and all around them
 * is the same code. */
static void check_same(const char *with, const char *without)
{
    const sumi_kernels *tables[] = {table_called(with), table_called(without)};
    for (size_t i = 0; tables[0] != NULL && i < SHAPES + EXTREMES; i++) {
        const shape *s = i < SHAPES ? &shapes[i] : &extremes[i - SHAPES];
        size_t in = small_pixels(s) * (size_t)s->cin, out = large_pixels(s) * (size_t)s->cout;
        float *x = test_floats(in, 1), *w = weights_of(s, 1), *dy = test_floats(out, 2);
        sumi_source input = {.r = x, .c = s->cin}, gradient = {.g = dy, .c = s->cout};
        float *y[2], *dx[2], *dw[2];
        for (int t = 0; t < 2; t++) {
            sumi_conv_spec spec = plan(tables[t], s, SUMI_CONV_FORWARD);
            assert_int_equal(spec.vnni, t == 0);
            y[t] = pixels_of(tables[t], &spec, s, &input, w, (test_cut){0});
            spec = plan(tables[t], s, SUMI_CONV_DGRAD);
            dx[t] = pixels_of(tables[t], &spec, s, &gradient, w, (test_cut){0});
            spec = plan(tables[t], s, SUMI_CONV_WGRAD);
            dw[t] = weight_gradient(tables[t], &spec, s, &input, &gradient);
        }
        assert_memory_equal(y[0], y[1], out * sizeof(float));
        assert_memory_equal(dx[0], dx[1], in * sizeof(float));
        assert_memory_equal(dw[0], dw[1], (size_t)(9 * s->cin * s->cout) * sizeof(float));
        for (int t = 0; t < 2; t++) {
            free(y[t]);
            free(dx[t]);
            free(dw[t]);
        }
        free(x);
        free(w);
        free(dy);
    }
}

static void same_integers(void **state)
{
    (void)state;
    check_same("avx512vnni", "avx512");
    check_same("avx2vnni", "avx2");
    check_same("amx", "avx512");
}

/* ---- Choice ---------------------------------------------------------------------------------- */

/* They are taken where they were asked for and pay: not for few channels or 1x1, and never where
 * bfloat16 on tiles was chosen. A request changes nothing else of a plan. */
static void choice(void **state)
{
    (void)state;
    static const struct {
        int h, cin, cout, ksize;
        bool up, pays;
    } layers[] = {{28, 64, 64, 3, false, true},    {14, 128, 256, 3, false, true},
                  {7, 256, 256, 3, false, true},   {28, 64, 32, 3, false, false},
                  {28, 32, 64, 3, false, false},   {28, 1, 64, 3, false, false},
                  {14, 128, 128, 1, false, false}, {28, 128, 64, 3, true, true},
                  {28, 128, 32, 3, true, false},   {5, 64, 64, 3, false, false}};
    const sumi_kernels *table;
    for (int t = 0; (table = sumi_kernels_list(t)) != NULL; t++)
        for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++)
            for (int d = SUMI_CONV_FORWARD; d <= SUMI_CONV_WGRAD; d++) {
                sumi_conv_spec want = {.h = layers[i].h,
                                       .w = layers[i].h,
                                       .cin = layers[i].cin,
                                       .cout = layers[i].cout,
                                       .ksize = layers[i].ksize,
                                       .up = layers[i].up,
                                       .fixed16 = true,
                                       .direction = (sumi_conv_direction)d};
                sumi_conv_spec exact = want, half = want;
                exact.fixed16 = false;
                half.bf16 = true;
                table->conv_plan(&want, -1);
                table->conv_plan(&exact, -1);
                table->conv_plan(&half, -1);
                bool never = strcmp(table->name, "generic") == 0 ||
                             strcmp(table->name, "avx512") == 0 || strcmp(table->name, "neon") == 0;
                assert_int_equal(want.fixed16, layers[i].pays && !never);
                assert_false(exact.fixed16);
                assert_int_equal(want.up, exact.up);
                assert_false(half.bf16 && half.fixed16);
                if (!half.bf16)
                    assert_int_equal(half.algorithm, want.algorithm);
                if (!want.fixed16)
                    assert_int_equal(want.algorithm, exact.algorithm);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors),        cmocka_unit_test(aligned), cmocka_unit_test(ranges),
        cmocka_unit_test(not_finite),    cmocka_unit_test(pending), cmocka_unit_test(cuts),
        cmocka_unit_test(same_integers), cmocka_unit_test(choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
