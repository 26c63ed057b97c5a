/*
 * Which checkpoints of a run are its best: those of the epochs with the lowest losses or, where the
 * run is scored, of the lowest Frechet distances. That is told by the lists of epochs and scores
 * and by which checkpoints there are, so that nothing else has to be remembered.
 */
#include "run/run.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t step;
    double value; /* the lower the better */
} candidate;

static int by_value(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return (x->step > y->step) - (x->step < y->step); /* the first of two that are as good */
}

/* What the checkpoint of a step is judged by; infinite where nothing is. */
static double value_of(const sumi_run_dir *dir, int64_t step)
{
    size_t count = dir->scored ? dir->score_count : dir->epoch_count;
    for (size_t i = count; i-- > 0;) {
        int64_t of = dir->scored ? dir->scores[i].step : dir->epochs[i].step;
        if (of == step)
            return dir->scored ? dir->scores[i].frechet : dir->epochs[i].loss;
    }
    return HUGE_VAL;
}

sumi_status sumi_run_best_steps(const sumi_run_dir *dir, int64_t last, int64_t **out, size_t *count,
                                sumi_error *err)
{
    size_t listed = 0, used = 0;
    *count = 0;
    sumi_status status = sumi_run_list_steps(dir->path, out, &listed, err);
    if (status != SUMI_OK || listed == 0)
        return status;
    candidate *all = sumi_calloc(listed, sizeof *all);
    if (!all) {
        free(*out);
        *out = NULL;
        return sumi_fail_memory(err, dir->path, listed * sizeof *all);
    }
    for (size_t i = 0; i < listed; i++) {
        double value = (*out)[i] <= last ? value_of(dir, (*out)[i]) : HUGE_VAL;
        if (isfinite(value))
            all[used++] = (candidate){(*out)[i], value};
    }
    qsort(all, used, sizeof *all, by_value);
    *count = used < (size_t)dir->keep_best ? used : (size_t)dir->keep_best;
    for (size_t i = 0; i < *count; i++)
        (*out)[i] = all[i].step;
    free(all);
    return SUMI_OK;
}

sumi_status sumi_run_find_best(sumi_run_dir *dir, int64_t last, sumi_error *err)
{
    char path[PATH_MAX], text[SUMI_STEP_NAME_MAX + 1] = "";
    int64_t *steps = NULL;
    size_t count = 0;
    sumi_status status = sumi_run_best_steps(dir, last, &steps, &count, err);
    if (count > 0)
        snprintf(text, sizeof text, "step_%" PRId64 "\n", steps[0]);
    bool same = count > 0 && steps[0] == dir->best;
    int64_t best = count > 0 ? steps[0] : -1;
    free(steps);
    sumi_run_file(dir, "best", path);
    if (status != SUMI_OK || same)
        return status;
    dir->best = -1;
    status = best < 0 ? sumi_remove_tree(path, err) : sumi_file_save(path, text, strlen(text), err);
    if (status == SUMI_OK)
        dir->best = best;
    return status;
}
