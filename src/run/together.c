/*
 * What the ranks of a run do to stay together. Rank 0 alone has a run directory; where one of them
 * fails, all do, with the same message. Alone, all of this is nothing.
 */
#include "run/training.h"

static const sumi_ranks *ranks_of(const sumi_train_run *run)
{
    return sumi_ranks_alone(run->runtime->ranks) ? NULL : run->runtime->ranks;
}

bool sumi_run_leads(const sumi_train_run *run)
{
    return !ranks_of(run) || ranks_of(run)->rank == 0;
}

/* ---- Failing together ------------------------------------------------------------------------ */

sumi_status sumi_run_fail_together(sumi_train_run *run, int rank, sumi_status status)
{
    run->parted = true;
    return sumi_ranks_fail(ranks_of(run), rank, status, run->err);
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

sumi_status sumi_run_check_ranks(sumi_train_run *run, sumi_status status)
{
    if (!ranks_of(run))
        return status;
    json_t *mine = NULL;
    if (status == SUMI_OK) {
        sumi_data_hash(run->set, run->hash);
        mine = describe(run);
    }
    status = sumi_json_agree(ranks_of(run), status, mine, run->err);
    run->parted = status != SUMI_OK;
    json_decref(mine);
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
