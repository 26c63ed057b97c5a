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

sumi_decisions sumi_run_decide(const sumi_ranks *ranks, const sumi_clock *clock)
{
    double ran = clock->now - clock->started, unsaved = clock->now - clock->saved_at;
    sumi_decisions decided = {
        .stop = clock->asked_to_stop,
        .time_is_up = clock->minutes > 0 && clock->began && ran >= clock->minutes * 60,
        .save_at_epoch = unsaved >= fmax(SAVE_SECONDS_MIN, clock->save_took / SAVE_SHARE_MAX),
        .save_within = clock->save_minutes > 0 && unsaved >= clock->save_minutes * 60,
    };
    if (!sumi_ranks_alone(ranks))
        ranks->tell(ranks->user, &decided, sizeof decided);
    return decided;
}
