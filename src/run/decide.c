/*
 * What a clock or a caller has a say in. It is asked before every step and nowhere else, so that
 * several processes that train together take the same steps and write the same files: rank 0's
 * answers are everybody's.
 */
#include "run/run.h"

#include <math.h>

/* An epoch that ends sooner than this after the last checkpoint writes none (tiny data sets would
 * do little else), and saving shall take less than a hundredth of the time. */
#define SAVE_SECONDS_MIN 10.0
#define SAVE_SHARE_MAX .01

/* What training itself may take of the minutes; the rest goes into checkpoints and pictures. */
#define SHARE .97
/* A step's time is taken from so many of them at least, and for so long where the warm-up lasts. */
enum { TIMED_MIN = 8 };
#define TIMED_SECONDS 5.0
#define TIMED_SHARE .03

/* So many steps' time, of which a search at the end takes its part: what is left for steps where
 * `done` are done. */
static double without_tuning(const sumi_tuning_time *tuning, double done, double steps)
{
    if (tuning->share == 0 || done + steps < tuning->least)
        return steps;
    double by_share = (steps - tuning->share * done) / (1 + tuning->share);
    return fmax(by_share, steps - tuning->most);
}

/* The number of steps with which the minutes will be over; 0: it is too early to say. */
static int64_t choose_end(const sumi_clock *clock, double *seconds_a_step)
{
    double seconds = clock->minutes * 60, timed = clock->timed_seconds;
    bool known = clock->timed >= TIMED_MIN && timed >= fmin(TIMED_SECONDS, seconds * TIMED_SHARE);
    if (!clock->open || (!known && clock->steps < clock->warmup_steps))
        return 0;
    *seconds_a_step =
        fmax(1e-6, clock->timed > 0 ? timed / (double)clock->timed : clock->seconds_a_step);
    double left = seconds * SHARE - (clock->now - clock->started);
    double fit = without_tuning(&clock->tuning, (double)clock->steps, left / *seconds_a_step);
    double more = fmin(fmax(1, floor(fit)), (double)UINT32_MAX);
    int64_t end = clock->steps + (int64_t)more;
    /* The rate comes down after the warm-up, however slow the steps are. */
    if (end <= clock->warmup_steps)
        end = clock->warmup_steps + 1;
    return end < clock->last_step ? end : clock->last_step;
}

/* Rank 0's answers; and any rank may fail, or be asked to stop. */
static sumi_decisions agree(const sumi_ranks *ranks, const sumi_decisions *mine)
{
    sumi_decisions all[SUMI_RANKS_MAX], decided;
    size_t bytes[SUMI_RANKS_MAX] = {0};
    for (int rank = 0; rank < ranks->count; rank++)
        bytes[rank] = sizeof *all;
    ranks->gather(ranks->user, mine, all, bytes);
    decided = all[0];
    for (int rank = 0; rank < ranks->count; rank++) {
        decided.stop |= all[rank].stop;
        if (all[rank].failed && !decided.failed)
            decided.failed = rank + 1;
    }
    return decided;
}

sumi_decisions sumi_run_decide(const sumi_ranks *ranks, const sumi_clock *clock)
{
    double ran = clock->now - clock->started, unsaved = clock->now - clock->saved_at;
    double most = clock->minutes * 60 / (1 + clock->tuning.share);
    sumi_decisions decided = {
        .failed = clock->failed,
        .stop = clock->asked_to_stop,
        .time_is_up = clock->minutes > 0 && !clock->open && clock->began && ran >= most,
        .save_at_epoch = unsaved >= fmax(SAVE_SECONDS_MIN, clock->save_took / SAVE_SHARE_MAX),
        .save_within = clock->save_minutes > 0 && unsaved >= clock->save_minutes * 60,
    };
    decided.last_step = choose_end(clock, &decided.seconds_a_step);
    return sumi_ranks_alone(ranks) ? decided : agree(ranks, &decided);
}
