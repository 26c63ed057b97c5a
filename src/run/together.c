/*
 * What the ranks of a run do to stay together. Rank 0 alone has a run directory; where one of them
 * fails, all do, with the same message. Alone, all of this is nothing.
 */
#include "run/training.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const sumi_ranks *ranks_of(const sumi_train_run *run)
{
    return sumi_ranks_alone(run->runtime->ranks) ? NULL : run->runtime->ranks;
}

bool sumi_run_leads(const sumi_train_run *run)
{
    return !ranks_of(run) || ranks_of(run)->rank == 0;
}

/* ---- Failing together ------------------------------------------------------------------------ */

typedef struct {
    sumi_status status;
    sumi_error err;
} failure;

sumi_status sumi_run_fail_together(sumi_train_run *run, int rank, sumi_status status)
{
    const sumi_ranks *ranks = ranks_of(run);
    failure mine = {.status = status}, all = {.status = SUMI_EINVAL};
    size_t bytes[SUMI_RANKS_MAX] = {0};
    if (run->err)
        mine.err = *run->err;
    bytes[rank] = sizeof all;
    ranks->gather(ranks->user, &mine, &all, bytes);
    run->parted = true;
    if (ranks->rank == rank)
        all.status = status;
    if (rank == 0 && run->err)
        *run->err = all.err;
    else
        sumi_fail(run->err, all.status, "rank %d: %s", rank, all.err.text);
    return all.status;
}

sumi_status sumi_run_meet(sumi_train_run *run, sumi_status status)
{
    const sumi_clock clock = {.failed = status != SUMI_OK};
    if (!ranks_of(run) || run->parted)
        return status;
    sumi_decisions decided = sumi_run_decide(ranks_of(run), &clock);
    return decided.failed ? sumi_run_fail_together(run, decided.failed - 1, status) : SUMI_OK;
}

/* ---- The same training ----------------------------------------------------------------------- */

/* The value of a key as in a message. */
static void value_text(const json_t *value, char out[80])
{
    json_t *list = value ? json_pack("[O]", value) : NULL;
    char *text = list ? sumi_json_compact(list) : NULL;
    int length = text ? (int)strlen(text) - 2 : 0; /* without the brackets */
    if (length > 0)
        snprintf(out, 80, "%.*s", length < 70 ? length : 70, text + 1);
    else
        snprintf(out, 80, "nothing");
    free(text);
    json_decref(list);
}

/* The first key whose value is not rank 0's is named, with both. */
static sumi_status compare(sumi_train_run *run, const json_t *mine, const json_t *first)
{
    const char *part, *key;
    const json_t *of_part, *value;
    json_object_foreach((json_t *)first, part, of_part)
    {
        json_object_foreach((json_t *)of_part, key, value)
        {
            const json_t *own = json_object_get(json_object_get(mine, part), key);
            char here[80], there[80];
            if (json_equal(own, value))
                continue;
            value_text(own, here);
            value_text(value, there);
            return sumi_fail(run->err, SUMI_EINVAL,
                             "%s %s is %s here and %s at rank 0: all ranks need the same", part,
                             key, here, there);
        }
    }
    return SUMI_OK;
}

static json_t *describe(const sumi_train_run *run)
{
    const sumi_runtime *runtime = run->runtime;
    json_t *all = sumi_run_settings(run->trainer, run->config);
    json_t *program = json_pack("{s:s, s:s, s:s}", "version", SUMI_VERSION, "build",
                                runtime->ranks->build ? runtime->ranks->build : "",
                                "instruction_set", runtime->backend->isa(runtime->device));
    json_t *data = json_pack("{s:s, s:I, s:i, s:i, s:i}", "SHA-256", run->hash, "count",
                             (json_int_t)run->set->count, "height", run->set->height, "width",
                             run->set->width, "channels", run->set->channels);
    if (json_object_set_new(all, "program", program) != 0 ||
        json_object_set_new(all, "data", data) != 0) {
        json_decref(all);
        return NULL;
    }
    return all;
}

/* What is compared has gone through a text on every rank, and so lost the same digits. */
enum { TEXT_BYTES = 1 << 16 };

/* Returns its length; 0 where there is no room. */
static size_t write_text(const json_t *json, char *out)
{
    char *text = sumi_json_compact(json);
    size_t length = text ? strlen(text) : 0;
    length = length > TEXT_BYTES ? 0 : length;
    if (length > 0)
        memcpy(out, text, length);
    free(text);
    return length;
}

static sumi_status compare_texts(sumi_train_run *run, const json_t *settings, char *text)
{
    const sumi_ranks *ranks = ranks_of(run);
    size_t length = write_text(settings, text);
    json_t *mine = sumi_json_load(text, length, 0, NULL);
    ranks->tell(ranks->user, &length, sizeof length);
    ranks->tell(ranks->user, text, TEXT_BYTES);
    json_t *first = sumi_json_load(text, length, 0, NULL);
    sumi_status status = first && mine ? compare(run, mine, first)
                                       : sumi_fail_memory(run->err, "a run's settings", TEXT_BYTES);
    json_decref(mine);
    json_decref(first);
    return sumi_run_meet(run, status);
}

sumi_status sumi_run_check_ranks(sumi_train_run *run)
{
    if (!ranks_of(run))
        return SUMI_OK;
    sumi_data_hash(run->set, run->hash);
    json_t *mine = describe(run);
    char *text = sumi_calloc(TEXT_BYTES, 1);
    sumi_status status =
        mine && text ? SUMI_OK : sumi_fail_memory(run->err, "a run's settings", TEXT_BYTES);
    status = sumi_run_meet(run, status);
    if (status == SUMI_OK)
        status = compare_texts(run, mine, text);
    json_decref(mine);
    free(text);
    return status;
}

/* ---- Where the run stands -------------------------------------------------------------------- */

typedef struct {
    int64_t loss_count, last_step, schedule_steps;
    double loss_sum;
} standing;

sumi_status sumi_run_share(sumi_train_run *run)
{
    const sumi_ranks *ranks = ranks_of(run);
    if (!ranks)
        return SUMI_OK;
    sumi_status status = sumi_run_meet(run, SUMI_OK);
    if (status != SUMI_OK)
        return status;
    standing at = {run->loss_count, run->last_step, run->settings.schedule_steps, run->loss_sum};
    ranks->tell(ranks->user, &at, sizeof at);
    sumi_train_share(run->trainer);
    run->loss_count = at.loss_count;
    run->loss_sum = at.loss_sum;
    /* Minutes that became steps in an earlier call. */
    if (run->last_step != at.last_step || run->settings.schedule_steps != at.schedule_steps) {
        sumi_run_end_at(run, at.last_step);
        run->settings.schedule_steps = run->trainer->config.schedule_steps = at.schedule_steps;
    }
    return SUMI_OK;
}

double sumi_run_waiting(const sumi_train_run *run)
{
    double ran = sumi_time_now() - run->started;
    return ranks_of(run) && ran > 0 ? sumi_train_waited(run->trainer) / ran : 0;
}
