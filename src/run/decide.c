/*
 * What a clock or a caller has a say in. It is asked before every step and nowhere else, so that
 * several processes that train together take the same steps and write the same files: rank 0's
 * answers are everybody's.
 */
#include "run/run.h"

/* An epoch that ends sooner than this after the last checkpoint writes none (tiny data sets would
 * do little else); a long epoch writes one in between. */
#define SAVE_SECONDS_MIN 10.0
#define SAVE_SECONDS_MAX 600.0

sumi_decisions sumi_run_decide(const sumi_ranks *ranks, const sumi_clock *clock)
{
    double ran = clock->now - clock->started, unsaved = clock->now - clock->saved_at;
    sumi_decisions decided = {
        .stop = clock->asked_to_stop,
        .time_is_up = clock->minutes > 0 && clock->began && ran >= clock->minutes * 60,
        .save_at_epoch = unsaved >= SAVE_SECONDS_MIN,
        .save_within = unsaved >= SAVE_SECONDS_MAX,
    };
    if (!sumi_ranks_alone(ranks))
        ranks->tell(ranks->user, &decided, sizeof decided);
    return decided;
}
