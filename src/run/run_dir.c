/*
 * The run directory while a process trains in it: its lock, its log, and the two files of metrics.
 *
 * Metrics are lines that begin with a count (a step or an epoch), only ever added to. A run that
 * goes on from a checkpoint first cuts off the lines that lie after it, so the files read as if
 * nothing had stopped.
 */
#include "base/grow.h"
#include "run/run.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLUSH_SECONDS 1.0
/* Room for the longest path within a run: checkpoints/.step_4294967295.sumi-PID.tmp/manifest.json,
 * found before the training and not at some later step. */
#define INNER_MAX 80

const char *sumi_run_file(const sumi_run_dir *dir, const char *name, char out[PATH_MAX])
{
    sumi_status status = sumi_path_join(out, PATH_MAX, dir->path, name, NULL);
    assert(status == SUMI_OK);
    (void)status;
    return out;
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* Nothing but the lock of a run that never began. */
static bool is_unused(const char *path)
{
    return sumi_dir_has_only(path, "run.lock");
}

static sumi_status fail_locked(const char *path, int fd, sumi_error *err)
{
    char pid[32] = "";
    ssize_t n = read(fd, pid, sizeof pid - 1);
    pid[n > 0 ? n : 0] = '\0';
    long holder = strtol(pid, NULL, 10);
    if (holder > 0)
        return sumi_fail(err, SUMI_EINVAL, "%s: process %ld is training in this folder", path,
                         holder);
    return sumi_fail(err, SUMI_EINVAL, "%s: another process is training in this folder", path);
}

/* Locks run.lock and writes our process number into it. The system drops the lock with the process,
 * whatever its end, so there are no stale ones. */
static sumi_status take_lock(sumi_run_dir *dir, sumi_error *err)
{
    char path[PATH_MAX], pid[32];
    int fd = open(sumi_run_file(dir, "run.lock", path), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return sumi_fail(err, SUMI_EIO, "%s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        sumi_status status = errno == EWOULDBLOCK
                                 ? fail_locked(dir->path, fd, err)
                                 : sumi_fail(err, SUMI_EIO, "%s: %s", path, strerror(errno));
        close(fd);
        return status;
    }
    int length = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || write(fd, pid, (size_t)length) != length) {
        sumi_fail(err, SUMI_EIO, "%s: %s", path, strerror(errno));
        close(fd);
        return SUMI_EIO;
    }
    dir->lock = fd;
    return SUMI_OK;
}

/* Looks before it locks, so that a folder that is refused is left as it is; and again after, since
 * two may start at once. */
static sumi_status claim(sumi_run_dir *dir, bool resume, sumi_error *err)
{
    char locked[PATH_MAX], config[PATH_MAX];
    sumi_status status = SUMI_OK;
    sumi_run_file(dir, "run.lock", locked);
    sumi_run_file(dir, "config.json", config);
    if (resume && !sumi_is_file(config))
        return sumi_fail(err, SUMI_EIO, "%s: nothing to resume: there is no run (config.json)",
                         dir->path);
    if (!resume)
        status = sumi_make_dirs(dir->path, err);
    bool usable = resume || sumi_is_file(locked) || is_unused(dir->path);
    if (status == SUMI_OK && usable)
        status = take_lock(dir, err);
    if (status == SUMI_OK && !resume && !(usable && is_unused(dir->path)))
        status = sumi_fail(err, SUMI_EINVAL,
                           "%s is not empty: choose another folder, or go on with --resume %s",
                           dir->path, dir->path);
    return status;
}

sumi_status sumi_run_dir_name(sumi_run_dir *dir, const char *path, sumi_error *err)
{
    size_t length = strlen(path);
    if (length == 0 || length > sizeof dir->path - 1 - INNER_MAX)
        return sumi_fail(err, SUMI_EINVAL,
                         "%s: the run directory's path has %zu bytes, expected 1..%zu: what is in "
                         "it has longer ones",
                         path, length, sizeof dir->path - 1 - INNER_MAX);
    memcpy(dir->path, path, length + 1);
    return SUMI_OK;
}

sumi_status sumi_run_dir_open(sumi_run_dir *dir, const char *path, bool resume, sumi_error *err)
{
    *dir = (sumi_run_dir){.lock = -1, .best = -1};
    sumi_status status = sumi_run_dir_name(dir, path, err);
    if (status == SUMI_OK)
        status = claim(dir, resume, err);
    if (status != SUMI_OK)
        sumi_run_dir_close(dir);
    return status;
}

void sumi_run_dir_close(sumi_run_dir *dir)
{
    if (dir->lock >= 0)
        close(dir->lock);
    dir->lock = -1;
    free(dir->epochs);
    free(dir->scores);
    free(dir->step_x);
    free(dir->step_loss);
    sumi_text_free(&dir->events);
    dir->epochs = NULL;
    dir->scores = NULL;
    dir->step_x = dir->step_loss = NULL;
    dir->epoch_count = dir->epoch_capacity = dir->step_count = dir->step_capacity = 0;
    dir->score_count = dir->score_capacity = 0;
    dir->step_offset = 0;
}

/* ---- Numbers --------------------------------------------------------------------------------- */

const char *sumi_run_number(char out[SUMI_NUMBER_MAX], double value, int digits)
{
    sumi_format(out, SUMI_NUMBER_MAX, "%.*g", digits, value);
    return out;
}

/* Reads a number with a point up to one of the ends, and moves *text past that. */
static bool parse_number(const char **text, const char *ends, double *out)
{
    size_t length = strcspn(*text, ends);
    json_t *number = sumi_json_load(*text, length, JSON_DECODE_ANY, NULL);
    bool good = json_is_number(number);
    *out = json_number_value(number);
    json_decref(number);
    *text += length + ((*text)[length] != '\0');
    return good;
}

/* ---- Lines ----------------------------------------------------------------------------------- */

static sumi_status append(const sumi_run_dir *dir, const char *name, const char *text, size_t size,
                          sumi_error *err)
{
    char path[PATH_MAX];
    return sumi_file_append(sumi_run_file(dir, name, path), text, size, err);
}

sumi_status sumi_run_log(const sumi_run_dir *dir, sumi_error *err, const char *format, ...)
{
    char text[PATH_MAX + 512] = "", line[PATH_MAX + 512];
    va_list arguments;
    va_start(arguments, format);
    (void)sumi_vformat(text, sizeof text, format, arguments);
    va_end(arguments);
    size_t length = sumi_clean_text(line, sizeof line - 1, text);
    line[length++] = '\n';
    return append(dir, "train.log", line, length, err);
}

sumi_status sumi_run_flush(sumi_run_dir *dir, sumi_error *err)
{
    dir->metrics_written_at = sumi_time_now();
    sumi_status status = sumi_run_events_flush(dir, err);
    if (status != SUMI_OK || dir->metrics_used == 0)
        return status;
    status = append(dir, "metrics.jsonl", dir->metrics, dir->metrics_used, err);
    if (status == SUMI_OK)
        dir->metrics_used = 0;
    return status;
}

sumi_status sumi_run_settle(sumi_run_dir *dir, sumi_error *err)
{
    static const char *const names[] = {"metrics.jsonl", "metrics.csv", "train.log",
                                        "events.out.tfevents.sumi"};
    char path[PATH_MAX];
    sumi_status status = sumi_run_flush(dir, err);
    for (size_t i = 0; i < sizeof names / sizeof *names && status == SUMI_OK; i++)
        status = sumi_file_sync(sumi_run_file(dir, names[i], path), err);
    return status;
}

sumi_status sumi_run_metric(sumi_run_dir *dir, const char *line, sumi_error *err)
{
    size_t length = strlen(line);
    sumi_status status = SUMI_OK;
    assert(length < sizeof dir->metrics);
    if (dir->metrics_used + length + 1 > sizeof dir->metrics)
        status = sumi_run_flush(dir, err);
    if (status != SUMI_OK)
        return status;
    memcpy(dir->metrics + dir->metrics_used, line, length);
    dir->metrics_used += length;
    dir->metrics[dir->metrics_used++] = '\n';
    if (sumi_time_now() - dir->metrics_written_at >= FLUSH_SECONDS)
        status = sumi_run_flush(dir, err);
    return status;
}

/* ---- Epochs ---------------------------------------------------------------------------------- */

static sumi_status remember(sumi_run_dir *dir, const sumi_epoch_record *record, sumi_error *err)
{
    sumi_epoch_record *epochs =
        sumi_grow(dir->epochs, &dir->epoch_capacity, dir->epoch_count, sizeof *epochs, 64);
    if (!epochs)
        return sumi_fail_memory(err, "the list of epochs", dir->epoch_count * sizeof *epochs);
    dir->epochs = epochs;
    dir->epochs[dir->epoch_count++] = *record;
    return SUMI_OK;
}

sumi_status sumi_run_add_epoch(sumi_run_dir *dir, const sumi_epoch_record *record, sumi_error *err)
{
    char line[200], loss[SUMI_NUMBER_MAX], seconds[SUMI_NUMBER_MAX];
    sumi_status status = remember(dir, record, err);
    if (status != SUMI_OK)
        return status;
    int n = snprintf(line, sizeof line, "%" PRId64 ",%s,%" PRId64 ",%s\n", record->epoch,
                     sumi_run_number(loss, record->loss, 9), record->step,
                     sumi_run_number(seconds, record->seconds, 7));
    return append(dir, "metrics.csv", line, (size_t)n, err);
}

sumi_status sumi_run_begin_metrics(sumi_run_dir *dir, sumi_error *err)
{
    static const char head[] = "epoch,loss,step,seconds\n";
    sumi_status status = append(dir, "metrics.csv", head, sizeof head - 1, err);
    return status == SUMI_OK ? sumi_run_events_rewind(dir, 0, err) : status;
}

/* Reads a line of metrics.csv; a line that is none is not an epoch. */
static sumi_status read_epoch(sumi_run_dir *dir, const char *line, sumi_error *err)
{
    double values[4];
    for (int i = 0; i < 4; i++) {
        if (!parse_number(&line, ",\n", &values[i]))
            return SUMI_OK;
    }
    sumi_epoch_record record = {.epoch = (int64_t)values[0],
                                .loss = values[1],
                                .step = (int64_t)values[2],
                                .seconds = values[3]};
    return remember(dir, &record, err);
}

/* Ends a file before the first line whose first number is above last, or that is not whole. Lines
 * without a number stay. epochs: the lines that stay are read as those of metrics.csv. */
static sumi_status cut(sumi_run_dir *dir, const char *name, int64_t last, bool epochs,
                       sumi_error *err)
{
    char path[PATH_MAX], *line = NULL;
    size_t capacity = 0;
    sumi_status status = SUMI_OK;
    FILE *file = fopen(sumi_run_file(dir, name, path), "r+");
    if (!file)
        return errno == ENOENT ? SUMI_OK : sumi_fail_errno(err, path, errno);
    off_t keep = 0;
    ssize_t n = 0;
    for (; status == SUMI_OK && (n = getline(&line, &capacity, file)) > 0; keep += n) {
        const char *number = strpbrk(line, "0123456789");
        if (line[n - 1] != '\n' || (number && strtoll(number, NULL, 10) > last))
            break;
        if (epochs)
            status = read_epoch(dir, line, err);
    }
    /* What could not be read is no end: the lines behind it would be lost. */
    if (status == SUMI_OK && ((n <= 0 && !feof(file)) || ftruncate(fileno(file), keep) != 0))
        status = sumi_fail_errno(err, path, errno);
    free(line);
    fclose(file);
    return status;
}

/* The number behind a key of a line of metrics.jsonl. */
static bool find_number(const char *line, const char *key, double *out)
{
    const char *at = strstr(line, key);
    if (!at)
        return false;
    at += strlen(key);
    return parse_number(&at, ",}", out);
}

/* Makes room for one more point. */
static sumi_status reserve_point(sumi_run_dir *dir, sumi_error *err)
{
    double **lists[] = {&dir->step_x, &dir->step_loss};
    size_t capacity = dir->step_capacity;
    for (int i = 0; i < 2; i++) {
        capacity = dir->step_capacity;
        double *larger = sumi_grow(*lists[i], &capacity, dir->step_count, sizeof *larger, 1024);
        if (!larger)
            return sumi_fail_memory(err, "the loss plot", dir->step_count * sizeof *larger);
        *lists[i] = larger;
    }
    dir->step_capacity = capacity;
    return SUMI_OK;
}

sumi_status sumi_run_step_losses(sumi_run_dir *dir, sumi_error *err)
{
    char path[PATH_MAX], *line = NULL;
    size_t capacity = 0;
    double step, loss;
    sumi_status status = SUMI_OK;
    FILE *file = fopen(sumi_run_file(dir, "metrics.jsonl", path), "r");
    if (!file)
        return SUMI_OK; /* there is none before the first step */
    if (fseeko(file, (off_t)dir->step_offset, SEEK_SET) != 0)
        status = sumi_fail_errno(err, path, errno);
    for (ssize_t n; status == SUMI_OK && (n = getline(&line, &capacity, file)) > 0;) {
        if (line[n - 1] != '\n')
            break;
        dir->step_offset += n;
        if (!find_number(line, "\"step\": ", &step) || !find_number(line, "\"loss\": ", &loss))
            continue;
        status = reserve_point(dir, err);
        if (status != SUMI_OK)
            break;
        dir->step_x[dir->step_count] = step / (double)dir->steps_per_epoch;
        dir->step_loss[dir->step_count++] = loss;
    }
    free(line);
    fclose(file);
    return status;
}

sumi_status sumi_run_rewind(sumi_run_dir *dir, int64_t steps, int64_t epochs, sumi_error *err)
{
    dir->epoch_count = dir->step_count = 0;
    dir->step_offset = 0;
    dir->score_count = 0;
    sumi_status status = cut(dir, "metrics.jsonl", steps, false, err);
    if (status == SUMI_OK)
        status = cut(dir, "eval.jsonl", steps, false, err);
    if (status == SUMI_OK)
        status = cut(dir, "metrics.csv", epochs - 1, true, err);
    return status == SUMI_OK ? sumi_run_events_rewind(dir, steps, err) : status;
}
