/*
 * Does the time of a training step grow as its multiply-adds do? One thing at a time is varied: the
 * batch, the height and width, the network's width, the threads.
 *
 *     bench_growth [-t THREADS] [-n TURNS] [-b BATCH] [batch | size | channels | threads]...
 *
 * Each point takes turns with the one that it is held against, step by step in one program, so that
 * whatever else a shared machine does meets both alike: 28x28 at BATCH (128) on all threads; for
 * the axis "threads", one thread, and all its points in the same turns. Printed are the median time
 * of a step, and the median and the quartiles of the turns' ratios of speed, counted in direct
 * convolutions.
 *
 * What the machine itself gives to all its cores at once is seen in two ways: "programs" are
 * training runs at the same time that share nothing but the machine; "registers" are as many loops
 * of multiply-adds that touch no memory, held against one of them.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sumi.h>

enum { SIZE = 28, CHANNELS = 64, TIME_DIM = 100, MAX_PROGRAMS = 64, MAX_POINTS = 32 };
enum { MIN_IMAGES = 16 }; /* below that, a step's fixed part is what is measured */
enum { LANES = 32 };      /* of the loop in registers: eight of the smallest vectors */
#define LOOP_GFLOP 16.0   /* about as long as a step of one thread */

typedef struct {
    const char *axis;
    int batch, size, channels, threads, programs;
} point; /* size 0: a loop of multiply-adds in each program, not a training run */

/* A training run of its own: context, model, buffers. */
typedef struct {
    sumi_context *ctx;
    sumi_model *model;
    sumi_trainer *trainer;
    sumi_batch batch;
    float *x;
    double seconds; /* of its last step */
} program;

typedef struct {
    point at;
    program *programs; /* at.programs of them */
} runner;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "bench_growth: %s%s%s\n", what, why[0] != '\0' ? ": " : "", why);
    exit(1);
}

/* Multiply-adds of one image in a block's two convolutions and its time MLP. */
static double block_macs(double in, double out, double pixels)
{
    return 9 * pixels * (in * out + out * out) + 2 * in * (TIME_DIM + in);
}

/* Of one image's step: forward, and backward for twice as much. */
static double image_gflop(int size, int channels)
{
    double c = channels, pixels = (double)size * size;
    double macs = block_macs(1, c, pixels) + block_macs(c, 2 * c, pixels / 4) +
                  block_macs(2 * c, 4 * c, pixels / 16) + block_macs(6 * c, 2 * c, pixels / 4) +
                  block_macs(3 * c, c, pixels) + pixels * c;
    return 3 * 2e-9 * macs;
}

static double step_gflop(const point *p)
{
    if (p->size == 0)
        return p->programs * LOOP_GFLOP;
    return p->programs * p->batch * image_gflop(p->size, p->channels);
}

/* About as much work as 28x28 at the given batch. */
static int images_for(int batch, int size, int channels)
{
    double images = batch * image_gflop(SIZE, CHANNELS) / image_gflop(size, channels);
    return images < MIN_IMAGES ? MIN_IMAGES : (int)(images + .5);
}

static void open_program(program *p, const point *at)
{
    if (at->size == 0)
        return;
    sumi_model_config shape = SUMI_MODEL_CONFIG_INIT;
    sumi_train_config config = SUMI_TRAIN_CONFIG_INIT;
    size_t floats = (size_t)at->batch * (size_t)at->size * (size_t)at->size;
    shape.base_channels = at->channels;
    config.batch = at->batch;
    if (sumi_context_create(at->threads, &p->ctx) != SUMI_OK)
        fail("no context", sumi_last_error(NULL));
    if (sumi_model_create(p->ctx, &shape, &p->model) != SUMI_OK ||
        sumi_trainer_create(p->ctx, p->model, &config, &p->trainer) != SUMI_OK)
        fail("no trainer", sumi_last_error(p->ctx));
    p->x = malloc(floats * sizeof *p->x);
    if (p->x == NULL)
        fail("out of memory", "");
    unsigned state = 1;
    for (size_t i = 0; i < floats; i++) {
        state = state * 1664525u + 1013904223u;
        p->x[i] = (float)(state >> 8) / 16777216.0f;
    }
    p->batch = (sumi_batch){.size = sizeof p->batch, .n = at->batch, .h = at->size, .w = at->size};
    p->batch.x = p->x;
}

static void close_program(program *p)
{
    sumi_trainer_free(p->trainer);
    sumi_model_free(p->model);
    sumi_context_free(p->ctx);
    free(p->x);
}

/* Independent chains of multiply-adds, which the compiler keeps in vector registers. */
static void run_loop(void)
{
    float lanes[LANES];
    volatile float multiplier = 0.999f, addend = 0.001f;
    float a = multiplier, b = addend;
    for (int i = 0; i < LANES; i++)
        lanes[i] = (float)i;
    for (long n = (long)(LOOP_GFLOP * 1e9 / 2 / LANES); n > 0; n--)
        for (int i = 0; i < LANES; i++)
            lanes[i] = lanes[i] * a + b;
    for (int i = 0; i < LANES; i++)
        addend = lanes[i];
}

static void *run_step(void *arg)
{
    program *p = arg;
    double start = now();
    if (p->trainer == NULL)
        run_loop();
    else if (sumi_trainer_step(p->trainer, &p->batch, NULL) != SUMI_OK)
        fail("a step failed", sumi_last_error(p->ctx));
    p->seconds = now() - start;
    return NULL;
}

/* Seconds of one step; of several programs at the same time, the mean. */
static double time_step(runner *r)
{
    pthread_t threads[MAX_PROGRAMS];
    double sum = 0;
    for (int i = 1; i < r->at.programs; i++)
        if (pthread_create(&threads[i], NULL, run_step, &r->programs[i]) != 0)
            fail("cannot start a thread", "");
    run_step(&r->programs[0]);
    for (int i = 1; i < r->at.programs; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < r->at.programs; i++)
        sum += r->programs[i].seconds;
    return sum / r->at.programs;
}

/* The mean of as many steps as make both sides of a turn about equally long. */
static double time_turn(runner *r, const runner *other)
{
    double work = step_gflop(&other->at) / other->at.threads / other->at.programs;
    int steps = (int)(work / (step_gflop(&r->at) / r->at.threads / r->at.programs) + .5);
    double sum = 0;
    steps = steps < 1 ? 1 : steps;
    for (int i = 0; i < steps; i++)
        sum += time_step(r);
    return sum / steps;
}

static runner open_runner(const point *at)
{
    runner r = {.at = *at, .programs = calloc((size_t)at->programs, sizeof(program))};
    if (r.programs == NULL)
        fail("out of memory", "");
    for (int i = 0; i < at->programs; i++)
        open_program(&r.programs[i], at);
    for (int i = 0; i < 2; i++) /* plans, buffers, caches */
        time_step(&r);
    return r;
}

static void close_runner(runner *r)
{
    for (int i = 0; i < r->at.programs; i++)
        close_program(&r->programs[i]);
    free(r->programs);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The value below which the given part of them lies; sorts them. */
static double quantile(double *values, int count, double part)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    double at = part * (count - 1);
    int low = (int)at;
    double high = values[low + 1 < count ? low + 1 : low];
    return values[low] + (at - low) * (high - values[low]);
}

static void print_row(const point *p, double *seconds, double *ratios, int turns)
{
    double ms = 1e3 * quantile(seconds, turns, .5);
    printf("%-9s ", p->axis);
    if (p->size == 0)
        printf("%5s %7s %8s %7d %8d %9.2f %9s", "-", "-", "-", p->threads, p->programs, ms, "-");
    else
        printf("%5d %3dx%-3d %8d %7d %8d %9.2f %9.3f", p->batch, p->size, p->size, p->channels,
               p->threads, p->programs, ms, ms / p->batch);
    printf(" %8.1f", 1e3 * step_gflop(p) / ms);
    if (ratios != NULL)
        printf(" %6.2f  %.2f..%.2f", quantile(ratios, turns, .5), quantile(ratios, turns, .25),
               quantile(ratios, turns, .75));
    printf("\n");
    fflush(stdout);
}

/* A point, the one that it is held against, and what their turns took. */
typedef struct {
    runner base, other;
    double *base_s, *other_s, *ratios;
} pair;

static pair open_pair(const runner *base, const point *at, int turns)
{
    pair p = {.base = *base, .other = open_runner(at)};
    p.base_s = malloc((size_t)turns * sizeof *p.base_s);
    p.other_s = malloc((size_t)turns * sizeof *p.other_s);
    p.ratios = malloc((size_t)turns * sizeof *p.ratios);
    if (p.base_s == NULL || p.other_s == NULL || p.ratios == NULL)
        fail("out of memory", "");
    return p;
}

static void take_turn(pair *p, int turn)
{
    double more_work = step_gflop(&p->other.at) / step_gflop(&p->base.at);
    p->base_s[turn] = time_turn(&p->base, &p->other);
    p->other_s[turn] = time_turn(&p->other, &p->base);
    p->ratios[turn] = more_work * p->base_s[turn] / p->other_s[turn];
}

static void close_pair(pair *p, int turns)
{
    print_row(&p->base.at, p->base_s, NULL, turns);
    print_row(&p->other.at, p->other_s, p->ratios, turns);
    close_runner(&p->other);
    free(p->base_s);
    free(p->other_s);
    free(p->ratios);
}

static void take_turns(pair *pairs, int count, int turns)
{
    for (int turn = 0; turn < turns; turn++)
        for (int i = 0; i < count; i++)
            take_turn(&pairs[i], turn);
    for (int i = 0; i < count; i++)
        close_pair(&pairs[i], turns);
}

/* The first point is what the others are held against, one after the other. */
static void measure(const point *points, int count, int turns)
{
    runner base = open_runner(&points[0]);
    for (int i = 1; i < count; i++) {
        pair p = open_pair(&base, &points[i], turns);
        take_turns(&p, 1, turns);
    }
    close_runner(&base);
}

/* As `measure`, but all points in the same turns, and the loop in registers with them: their ratios
 * are to be compared with each other. */
static void measure_threads(const point *points, int count, int threads, int turns)
{
    const point one_loop = {"", 0, 0, 0, 1, 1}, loops = {"registers", 0, 0, 0, 1, threads};
    pair pairs[MAX_POINTS];
    runner base = open_runner(&points[0]), loop = open_runner(&one_loop);
    int opened = 0;
    for (int i = 1; i < count; i++)
        pairs[opened++] = open_pair(&base, &points[i], turns);
    if (threads > 1 && threads <= MAX_PROGRAMS)
        pairs[opened++] = open_pair(&loop, &loops, turns);
    take_turns(pairs, opened, turns);
    close_runner(&loop);
    close_runner(&base);
}

/* What the axis varies, behind what it is held against; how many. */
static int make_points(const char *axis, int batch, int threads, point points[MAX_POINTS])
{
    const int sizes[] = {32, 64, 96, 128};
    int count = 0;
    bool is_threads = strcmp(axis, "threads") == 0;
    points[count++] = (point){"", batch, SIZE, CHANNELS, is_threads ? 1 : threads, 1};
    if (strcmp(axis, "batch") == 0) {
        for (int by = 4; by > 1; by /= 2)
            points[count++] = (point){axis, batch / by, SIZE, CHANNELS, threads, 1};
        for (int by = 2; by <= 4; by *= 2)
            points[count++] = (point){axis, batch * by, SIZE, CHANNELS, threads, 1};
    } else if (strcmp(axis, "size") == 0) {
        for (int i = 0; i < 4; i++)
            points[count++] = (point){
                axis, images_for(batch, sizes[i], CHANNELS), sizes[i], CHANNELS, threads, 1};
    } else if (strcmp(axis, "channels") == 0) {
        for (int c = CHANNELS / 2; c <= 2 * CHANNELS; c *= 4)
            points[count++] = (point){axis, images_for(batch, SIZE, c), SIZE, c, threads, 1};
    } else if (is_threads) {
        for (int t = 2; t < threads; t *= 2)
            points[count++] = (point){axis, batch, SIZE, CHANNELS, t, 1};
        if (threads > 1)
            points[count++] = (point){axis, batch, SIZE, CHANNELS, threads, 1};
        if (threads > 1 && threads <= MAX_PROGRAMS)
            points[count++] = (point){axis, batch, SIZE, CHANNELS, 1, threads};
    } else {
        fail("the axes are batch, size, channels and threads, not", axis);
    }
    return count;
}

/* A whole number of at least 1 that an option gives. */
static int number(const char *text)
{
    char *end = NULL;
    long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || value < 1 || value > 100000)
        fail("a number from 1 to 100000 is expected, not", text);
    return (int)value;
}

int main(int argc, char **argv)
{
    static const char *const all[] = {"batch", "size", "channels", "threads"};
    int threads = (int)sysconf(_SC_NPROCESSORS_ONLN), turns = 7, batch = 128;
    point points[MAX_POINTS];
    for (int option; (option = getopt(argc, argv, "t:n:b:")) != -1;) {
        if (option == '?')
            return 2;
        *(option == 't' ? &threads : option == 'n' ? &turns : &batch) = number(optarg);
    }
    printf("%-9s %5s %7s %8s %7s %8s %9s %9s %8s %6s  %s\n", "axis", "batch", "size", "channels",
           "threads", "programs", "ms", "ms/image", "GFLOP/s", "ratio", "quartiles");
    const char *const *axes = optind < argc ? (const char *const *)argv + optind : all;
    int axis_count = optind < argc ? argc - optind : (int)(sizeof all / sizeof all[0]);
    for (int i = 0; i < axis_count; i++) {
        int count = make_points(axes[i], batch, threads, points);
        if (strcmp(axes[i], "threads") == 0)
            measure_threads(points, count, threads, turns);
        else
            measure(points, count, turns);
    }
    return 0;
}
