/*
 * What a run's files cost beside its training: processor time, bytes, and waiting for the disk.
 *
 *     bench_run [-t THREADS] [-c CHANNELS] [-s STEPS] [-r REPEATS] [FOLDER]
 *
 * In a run of the tutorial's recipe in FOLDER/bench_run (., removed at the end): the lines of STEPS
 * (4,690) steps with each of them written at once, where a run collects a second's; the report at
 * the end of each epoch of 469; and REPEATS (5) checkpoints. Against these stand REPEATS training
 * steps of 128 images. Processor time does not depend on what else the machine does; the time that
 * a save waits for the disk does.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "run/run.h"

enum { BATCH = 128, SIDE = 28, PER_EPOCH = 469, INTERVAL = 300 }; /* seconds between checkpoints */

typedef struct {
    double cpu, wall; /* seconds */
} cost;

typedef struct {
    int threads, channels, steps, repeats;
    sumi_runtime runtime;
    sumi_model *model;
    sumi_trainer *trainer;
    sumi_run_dir dir;
    float *images;
    cost step, lines, report, save; /* of one of each */
    int64_t step_bytes, save_bytes;
    sumi_error err;
} bench;

static double clock_of(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static cost now(void)
{
    return (cost){clock_of(CLOCK_PROCESS_CPUTIME_ID), clock_of(CLOCK_MONOTONIC)};
}

static cost since(cost start, int times)
{
    cost end = now();
    return (cost){(end.cpu - start.cpu) / times, (end.wall - start.wall) / times};
}

static void expect(const bench *b, sumi_status status, const char *what)
{
    if (status == SUMI_OK)
        return;
    fprintf(stderr, "bench_run: %s: %s\n", what, b->err.text);
    exit(1);
}

static int64_t size_of(const bench *b, const char *name)
{
    char path[PATH_MAX];
    struct stat info;
    return stat(sumi_run_file(&b->dir, name, path), &info) == 0 ? (int64_t)info.st_size : 0;
}

static void open_bench(bench *b, const char *folder)
{
    char path[PATH_MAX];
    sumi_model_config model = SUMI_MODEL_CONFIG_INIT;
    sumi_trainer_config trainer = SUMI_TRAINER_CONFIG_INIT;
    model.base_channels = b->channels;
    trainer.batch = BATCH;
    trainer.height = trainer.width = SIDE;
    expect(b, sumi_runtime_init(&b->runtime, b->threads, NULL, &b->err), "threads");
    expect(b, sumi_models_create(&model, &b->model, &b->err), "model");
    expect(b, sumi_train_create(&b->runtime, b->model, &trainer, &b->trainer, &b->err), "trainer");
    expect(b, sumi_path_join(path, sizeof path, folder, "bench_run", &b->err), "folder");
    expect(b, sumi_remove_tree(path, &b->err), "folder");
    expect(b, sumi_run_dir_open(&b->dir, path, false, &b->err), "folder");
    expect(b, sumi_run_begin_metrics(&b->dir, &b->err), "folder");
    b->dir.keep_last = 2;
    b->dir.keep_best = 1;
    b->dir.steps_per_epoch = PER_EPOCH;
    b->images = sumi_calloc((size_t)BATCH * SIDE * SIDE, sizeof *b->images);
    if (b->images == NULL)
        expect(b, sumi_fail_memory(&b->err, "images", BATCH), "memory");
    for (size_t i = 0; i < (size_t)BATCH * SIDE * SIDE; i++)
        b->images[i] = (float)(i * 7 % 256) / 255;
}

static void close_bench(bench *b)
{
    char path[PATH_MAX];
    memcpy(path, b->dir.path, sizeof path);
    sumi_run_dir_close(&b->dir);
    expect(b, sumi_remove_tree(path, &b->err), "folder");
    free(b->images);
    sumi_train_free(b->trainer);
    sumi_models_free(b->model);
    sumi_runtime_free(&b->runtime);
}

/* ---- What is measured ------------------------------------------------------------------------ */

static void train(bench *b)
{
    sumi_batch batch = SUMI_BATCH_INIT;
    batch.n = BATCH;
    batch.h = batch.w = SIDE;
    batch.x = b->images;
    expect(b, sumi_train_step(b->trainer, &batch, NULL, &b->err), "the first step");
    cost start = now();
    for (int i = 0; i < b->repeats; i++)
        expect(b, sumi_train_step(b->trainer, &batch, NULL, &b->err), "a step");
    b->step = since(start, b->repeats);
}

static void write_lines(bench *b, int64_t step)
{
    char line[416], loss[SUMI_NUMBER_MAX], time[SUMI_NUMBER_MAX];
    double value = .05 + .3 / (double)step;
    snprintf(line, sizeof line,
             "{\"step\": %" PRId64 ", \"epoch\": %" PRId64
             ", \"loss\": %s, \"lr\": 0.001, \"images_per_s\": 271.44, \"time\": %s}",
             step, (step - 1) / PER_EPOCH, sumi_run_number(loss, value, 9),
             sumi_run_number(time, .43 * (double)step, 9));
    const sumi_event_scalar events[] = {
        {"train/loss", value}, {"train/learning_rate", .001}, {"train/images_per_s", 271.44}};
    sumi_run_event(&b->dir, step, events, 3);
    expect(b, sumi_run_metric(&b->dir, line, &b->err), "metrics");
    expect(b, sumi_run_flush(&b->dir, &b->err), "metrics");
}

/* Lines and reports as of a run, each with its own clock. */
static void log_steps(bench *b)
{
    cost lines = {0, 0}, reports = {0, 0};
    int epochs = 0;
    for (int64_t step = 1; step <= b->steps; step++) {
        cost start = now();
        write_lines(b, step);
        cost took = since(start, 1);
        lines.cpu += took.cpu;
        lines.wall += took.wall;
        if (step % PER_EPOCH != 0 && step != b->steps)
            continue;
        const sumi_epoch_record record = {epochs++, step, .05, .43 * (double)step};
        start = now();
        expect(b, sumi_run_add_epoch(&b->dir, &record, &b->err), "an epoch");
        expect(b, sumi_run_report(&b->dir, "training", true, &b->err), "the report");
        took = since(start, 1);
        reports.cpu += took.cpu;
        reports.wall += took.wall;
    }
    b->lines = (cost){lines.cpu / b->steps, lines.wall / b->steps};
    b->report = (cost){reports.cpu / epochs, reports.wall / epochs};
    b->step_bytes =
        (size_of(b, "metrics.jsonl") + size_of(b, "events.out.tfevents.sumi")) / b->steps;
}

static void save(bench *b)
{
    static const char *const names[] = {"model.safetensors", "optim.safetensors", "state.json",
                                        "manifest.json"};
    char name[96];
    json_t *state = json_object();
    cost start = now();
    for (int i = 0; i < b->repeats; i++) {
        b->trainer->steps++;
        expect(b, sumi_run_settle(&b->dir, &b->err), "the log");
        expect(b, sumi_run_save(&b->dir, b->trainer, state, &b->err), "a checkpoint");
    }
    b->save = since(start, b->repeats);
    json_decref(state);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(name, sizeof name, "checkpoints/%s/%s", b->dir.latest, names[i]);
        b->save_bytes += size_of(b, name);
    }
}

/* ---- What it comes to ------------------------------------------------------------------------ */

static void print_row(const char *what, cost c, int64_t bytes)
{
    printf("%-32s %10.3f %10.3f %12" PRId64 "\n", what, 1e3 * c.cpu, 1e3 * c.wall, bytes);
}

/* Of five minutes in which all threads compute: steps, epochs, and a checkpoint for the minutes and
 * for each epoch. */
static void print(const bench *b)
{
    double all = INTERVAL * (double)b->threads, steps = all / b->step.cpu,
           epochs = steps / PER_EPOCH, saves = 1 + epochs;
    double logging = steps * b->lines.cpu + epochs * b->report.cpu, saving = saves * b->save.cpu;
    double waiting = steps * b->lines.wall + epochs * b->report.wall + saves * b->save.wall;
    printf("%-32s %10s %10s %12s\n", "one", "CPU ms", "wall ms", "bytes");
    print_row("training step", b->step, 0);
    print_row("step's lines", b->lines, b->step_bytes);
    print_row("epoch's line and report", b->report, size_of(b, "loss.svg"));
    print_row("checkpoint", b->save, b->save_bytes);
    printf("in 5 minutes on %d thread%s: %.0f steps, %.1f epochs, %.1f checkpoints\n", b->threads,
           b->threads == 1 ? "" : "s", steps, epochs, saves);
    printf("logging %.3f %%, checkpoints %.3f %% of the processor time; all of it %.3f %% of the "
           "wall time\n",
           100 * logging / all, 100 * saving / all, 100 * waiting / INTERVAL);
}

int main(int argc, char **argv)
{
    static bench b = {.threads = 2, .channels = 64, .steps = 10 * PER_EPOCH, .repeats = 5};
    for (int option; (option = getopt(argc, argv, "t:c:s:r:")) != -1;) {
        int value = option == '?' ? 0 : atoi(optarg);
        int *to = option == 't'   ? &b.threads
                  : option == 'c' ? &b.channels
                  : option == 's' ? &b.steps
                                  : &b.repeats;
        if (value < 1) {
            fprintf(stderr, "usage: bench_run [-t THREADS] [-c CHANNELS] [-s STEPS] [-r REPEATS] "
                            "[FOLDER]\n");
            return 2;
        }
        *to = value;
    }
    open_bench(&b, optind < argc ? argv[optind] : ".");
    train(&b);
    log_steps(&b);
    save(&b);
    print(&b);
    close_bench(&b);
    return 0;
}
