/*
 * Speed of the convolution kernels on the layers of the tutorial's network, in all three
 * directions, next to the fused multiply-adds that a core can do.
 *
 *     bench_kernels [isa [algorithm [threads [batch [repetitions [plain] [bf16] [fixed16]]]]]]
 *
 * isa: a table's name or "best"; algorithm: auto, gemm, winograd, narrow, tiles or winograd16.
 * GFLOPS are those of the direct convolution, whatever the algorithm does; "up" marks the
 * convolution of an up-sampled tensor, of which the network has two, and before it stands the same
 * convolution of a plain one. Everything is as in training: normalisation and ReLU pending on the
 * inputs, moments and sums collected; "plain" leaves all that away. "bf16" keeps tensors as
 * bfloat16 and lets the table multiply so, as --precision bf16 does; "fixed16" lets it multiply
 * 16-bit integers, as --precision fixed16 does. Each number is the best of the repetitions; a
 * shared machine needs several runs.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { MAX_THREADS = 64, GROUP = 16 /* images to a partial weight gradient */ };

/* One thread is measured in its own CPU time, so that a busy machine disturbs less. */
static double now(int threads)
{
    struct timespec t;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *floats(size_t count)
{
    const size_t page = (size_t)2 << 20;
    size_t align = count * sizeof(float) < page ? 4096 : page;
    size_t bytes = (count * sizeof(float) + align - 1) / align * align;
    float *x = aligned_alloc(align, bytes);
    if (x == NULL) {
        fprintf(stderr, "bench_kernels: out of memory\n");
        exit(1);
    }
#if defined(MADV_HUGEPAGE)
    if (align == page)
        madvise(x, bytes, MADV_HUGEPAGE);
#endif
    unsigned state = 1;
    for (size_t i = 0; i < bytes / sizeof(float); i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) / 16777216.0f - 0.5f;
    }
    return x;
}

/* Floats, or as many bfloat16: their upper halves. */
static void *tensor(size_t count, bool bf16)
{
    float *x = floats(count);
    uint16_t *halves = (uint16_t *)x;
    for (size_t i = 0; bf16 && i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        uint16_t half = (uint16_t)(bits >> 16);
        memcpy(&halves[i], &half, sizeof half);
    }
    return x;
}

/* ---- The limit ------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#define PEAK_LOOP(type, fma, splat)                                                                \
    type a[10], b = splat(factor), c = splat(1e-9f);                                               \
    for (int i = 0; i < 10; i++)                                                                   \
        a[i] = splat((float)i);                                                                    \
    for (long k = 0; k < count; k++)                                                               \
        for (int i = 0; i < 10; i++)                                                               \
            a[i] = fma(a[i], b, c);                                                                \
    for (int i = 1; i < 10; i++)                                                                   \
        a[0] = fma(a[i], b, a[0]);                                                                 \
    float sum;                                                                                     \
    memcpy(&sum, &a[0], sizeof sum);                                                               \
    return sum;

__attribute__((target("avx512f"))) static float peak_512(long count, float factor)
{
    PEAK_LOOP(__m512, _mm512_fmadd_ps, _mm512_set1_ps)
}

__attribute__((target("avx2,fma"))) static float peak_256(long count, float factor)
{
    PEAK_LOOP(__m256, _mm256_fmadd_ps, _mm256_set1_ps)
}
#endif

/* GFLOPS of one core in fused multiply-adds of this table's width; 0 where unknown. */
static double peak(const sumi_kernels *table)
{
    double best = 0.0;
#if defined(__x86_64__)
    const long count = 20 * 1000 * 1000;
    volatile float sink, one = 1.0f; /* a factor that the compiler cannot know */
    for (int i = 0; i < 5 && table->vector_floats >= 8; i++) {
        double start = now(1);
        sink = table->vector_floats == 16 ? peak_512(count, one) : peak_256(count, one);
        double gflops = 20.0 * table->vector_floats * (double)count / (now(1) - start) * 1e-9;
        best = fmax(best, gflops);
    }
    (void)sink;
#endif
    return best;
}

/* ---- One layer in one direction -------------------------------------------------------------- */

typedef struct {
    const sumi_kernels *table;
    sumi_conv_spec spec;
    sumi_conv conv;
    sumi_wgrad wgrad;
    int n, threads;
    bool plain; /* nothing pending on sources, no statistics */
    bool bf16, fixed16;
    float *partials, *dw;
    float *scratch[MAX_THREADS];
} job;

typedef struct {
    job *job;
    int thread;
} share;

/* Tiles are dealt out by image: thread i of `threads` takes every threads-th group of them. */
static void *work(void *arg)
{
    share *s = arg;
    job *j = s->job;
    const sumi_conv_spec *spec = &j->spec;
    float *scratch = j->scratch[s->thread];
    if (spec->direction == SUMI_CONV_WGRAD) {
        for (int g = s->thread; g * GROUP < j->n; g += j->threads) {
            float *partial = j->partials + (size_t)g * spec->partial_floats;
            int n1 = (g + 1) * GROUP < j->n ? (g + 1) * GROUP : j->n;
            sumi_wgrad_piece piece = {.n0 = g * GROUP, .n1 = n1, .cn = spec->cin};
            j->table->wgrad_piece(&j->wgrad, &piece, partial, scratch);
        }
        return NULL;
    }
    int h = sumi_conv_rows(spec);
    for (int i = s->thread; i * spec->images < j->n; i += j->threads) {
        for (int band = 0; band < spec->bands; band++) {
            int left = j->n - i * spec->images, y0 = band * spec->rows;
            sumi_tile tile = {.n0 = i * spec->images,
                              .images = left < spec->images ? left : spec->images,
                              .band = band,
                              .y0 = y0,
                              .rows = h - y0 < spec->rows ? h - y0 : spec->rows,
                              .kn = spec->cout};
            j->table->conv_tile(&j->conv, &tile, scratch);
        }
    }
    return NULL;
}

static double run_once(job *j)
{
    pthread_t threads[MAX_THREADS];
    share shares[MAX_THREADS];
    double start = now(j->threads);
    for (int i = 0; i < j->threads; i++) {
        shares[i] = (share){j, i};
        if (i > 0)
            pthread_create(&threads[i], NULL, work, &shares[i]);
    }
    work(&shares[0]);
    for (int i = 1; i < j->threads; i++)
        pthread_join(threads[i], NULL);
    if (j->spec.direction == SUMI_CONV_WGRAD)
        j->table->wgrad_finish(&j->spec, j->partials, (j->n + GROUP - 1) / GROUP, j->dw, 0, 1);
    return now(j->threads) - start;
}

typedef struct {
    int size, cin, cout, ksize, count;
    bool up;
} layer;

static const layer layers[] = {
    {28, 1, 64, 3, 1, false},    {28, 64, 64, 3, 3, false},  {14, 64, 128, 3, 1, false},
    {14, 128, 128, 3, 3, false}, {7, 128, 256, 3, 1, false}, {7, 256, 256, 3, 1, false},
    {14, 256, 128, 3, 0, false}, {14, 256, 128, 3, 1, true}, {28, 128, 64, 3, 0, false},
    {28, 128, 64, 3, 1, true},   {28, 64, 1, 1, 1, false},
};

/* Seconds for n images, best of `repetitions`. */
static double measure(job *j, const layer *l, sumi_conv_direction direction, int algorithm,
                      int repetitions)
{
    bool swap = direction == SUMI_CONV_DGRAD;
    int cin = swap ? l->cout : l->cin, cout = swap ? l->cin : l->cout;
    size_t pixels = (size_t)j->n * (size_t)(l->size * l->size);
    j->spec = (sumi_conv_spec){.h = l->size,
                               .w = l->size,
                               .cin = cin,
                               .cout = cout,
                               .ksize = l->ksize,
                               .up = l->up,
                               .bf16 = j->bf16,
                               .fixed16 = j->fixed16,
                               .direction = direction};
    j->table->conv_plan(&j->spec, algorithm);
    size_t weights = (size_t)(l->ksize * l->ksize * cin * cout), bands = (size_t)j->spec.bands;
    float *coef = floats(512);
    void *x = tensor(pixels * (size_t)cin, j->bf16), *g = NULL;
    void *y = tensor(pixels * (size_t)cout, j->bf16), *r = tensor(pixels * (size_t)cout, j->bf16);
    float *w = floats(weights), *packed = floats(j->spec.packed_floats + 16);
    float *stats = floats((size_t)j->n * bands * 3 * (size_t)cout);
    sumi_source forward = {
        .r = x, .bf16 = j->bf16, .c = cin, .act = SUMI_ACT_RELU, .scale = coef, .shift = coef};
    sumi_source gradient = forward;
    gradient.ga = gradient.gb = gradient.gk = coef;
    sumi_source stat = forward;
    stat.r = r;
    stat.c = cout;
    sumi_sink sink = {.dst = y, .bf16 = j->bf16, .c = cout};
    if (direction == SUMI_CONV_FORWARD) {
        sink.moments = stats;
    } else if (swap) {
        gradient.g = g = tensor(pixels * (size_t)cin, j->bf16);
        sink.sums = stats;
        sink.stat = &stat;
    } else {
        gradient = stat;
        gradient.ga = gradient.gb = gradient.gk = coef;
        gradient.g = y;
    }
    if (j->plain) {
        forward = (sumi_source){.r = x, .bf16 = j->bf16, .c = cin};
        gradient = (sumi_source){.g = gradient.g, .bf16 = j->bf16, .c = gradient.c};
        sink.moments = sink.sums = NULL;
    }
    j->conv = (sumi_conv){.spec = &j->spec,
                          .sources = swap ? &gradient : &forward,
                          .source_count = 1,
                          .sinks = &sink,
                          .sink_count = 1,
                          .packed = packed};
    j->wgrad =
        (sumi_wgrad){.spec = &j->spec, .sources = &forward, .source_count = 1, .dy = &gradient};
    j->partials = floats(j->spec.partial_floats * (size_t)((j->n + GROUP - 1) / GROUP) + 16);
    j->dw = floats(weights);
    for (int i = 0; i < j->threads; i++)
        j->scratch[i] = floats(j->spec.scratch_floats + 16);
    if (direction != SUMI_CONV_WGRAD)
        j->table->conv_pack(&j->spec, w, NULL, packed, 0, 1);
    double best = INFINITY;
    for (int i = 0; i <= repetitions; i++) {
        double seconds = run_once(j);
        best = i > 0 ? fmin(best, seconds) : best;
    }
    void *all[] = {coef, x, g, y, r, w, packed, stats, j->partials, j->dw};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
    for (int i = 0; i < j->threads; i++)
        free(j->scratch[i]);
    return best;
}

int main(int argc, char **argv)
{
    static const char *const names[SUMI_CONV_ALGORITHMS] = {[SUMI_CONV_GEMM] = "gemm",
                                                            [SUMI_CONV_WINOGRAD] = "winograd",
                                                            [SUMI_CONV_NARROW] = "narrow",
                                                            [SUMI_CONV_UPSAMPLED] = "upsampled",
                                                            [SUMI_CONV_TILES] = "tiles",
                                                            [SUMI_CONV_WINOGRAD16] = "winograd16",
                                                            [SUMI_CONV_UPSAMPLED16] =
                                                                "upsampled16"};
    static const char *const directions[] = {"forward", "dgrad", "wgrad"};
    const char *isa = argc > 1 && strcmp(argv[1], "best") != 0 ? argv[1] : NULL;
    job j = {.table = sumi_kernels_pick(isa)};
    if (j.table == NULL) {
        fprintf(stderr, "bench_kernels: no kernels called %s here\n", isa);
        return 2;
    }
    int algorithm = -1;
    for (int i = 0; argc > 2 && i < SUMI_CONV_ALGORITHMS; i++)
        if (i != SUMI_CONV_UPSAMPLED && strcmp(argv[2], names[i]) == 0)
            algorithm = i;
    j.threads = argc > 3 ? atoi(argv[3]) : 1;
    j.threads = j.threads < 1 ? 1 : j.threads > MAX_THREADS ? MAX_THREADS : j.threads;
    j.n = argc > 4 ? atoi(argv[4]) : 32;
    int repetitions = argc > 5 ? atoi(argv[5]) : 5;
    for (int i = 6; i < argc; i++) {
        j.plain |= strcmp(argv[i], "plain") == 0;
        j.bf16 |= strcmp(argv[i], "bf16") == 0;
        j.fixed16 |= strcmp(argv[i], "fixed16") == 0;
    }
    double limit = peak(j.table) * j.threads, total[3] = {0.0, 0.0, 0.0};
    printf("%s, %d thread(s), batch %d; peak %.0f GFLOPS\n", j.table->name, j.threads, j.n, limit);
    printf("%-18s", "layer");
    for (int d = 0; d < 3; d++)
        printf(" %10s     ms  GFLOPS  peak", directions[d]);
    printf("\n");
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        const layer *l = &layers[i];
        printf("%3d->%3d@%2d k%d x%d%-3s", l->cin, l->cout, l->size, l->ksize, l->count,
               l->up ? " up" : "");
        for (int d = 0; d < 3; d++) {
            double seconds = measure(&j, l, (sumi_conv_direction)d, algorithm, repetitions);
            double gflops =
                2e-9 * j.n * l->size * l->size * l->ksize * l->ksize * l->cin * l->cout / seconds;
            printf(" %10s %6.2f %7.1f %4.0f%%", names[j.spec.algorithm], seconds * 1e3, gflops,
                   limit > 0.0 ? 100.0 * gflops / limit : 0.0);
            total[d] += seconds * l->count;
            fflush(stdout);
        }
        printf("\n");
    }
    printf("whole network: forward %.1f ms, dgrad %.1f ms, wgrad %.1f ms\n", total[0] * 1e3,
           total[1] * 1e3, total[2] * 1e3);
    return 0;
}
