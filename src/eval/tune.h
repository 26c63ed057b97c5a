/*
 * What the files of the search for a way to sample share: candidates, how many of them are looked
 * at how closely, and what is told of them. The body of sumi_tune is in tune.c.
 */
#ifndef SUMI_TUNE_H
#define SUMI_TUNE_H

#include "eval/scorer.h"

enum { SUMI_TUNE_CANDIDATES_MAX = 256, SUMI_TUNE_NAME_MAX = 112 };

/* A way to sample that is looked at. */
typedef struct {
    sumi_sample_config way;
    char name[SUMI_TUNE_NAME_MAX]; /* "dpmpp-2m, karras, rho 5" */
    int evaluations;               /* of an image */
    float *features;               /* [n][d] */
    int64_t n;                     /* images so far: the first of the search's */
    double distance;               /* of all of them; infinite where there is none */
    double first;                  /* of the first look's, of which all have as many */
    bool widened;                  /* its neighbours are candidates, too */
} sumi_tune_candidate;

typedef struct {
    const sumi_model *model;
    sumi_process process;
    int evaluations;         /* of an image, at most */
    bool unguided;           /* no way has guidance */
    sumi_sample_config base; /* what all begin with: what of the model's way goes with no solver */
    sumi_tune_candidate list[SUMI_TUNE_CANDIDATES_MAX];
    int count;
} sumi_tune_space;

/* tune_space.c: adds a way; where it is one already, needs more evaluations, or the model cannot be
 * sampled so, nothing is added. */
void sumi_tune_add(sumi_tune_space *space, const sumi_sample_config *way);
/* Every solver with every spacing; quick: the ones that are good in few evaluations. */
void sumi_tune_add_all(sumi_tune_space *space, bool quick);
/* The few that are likeliest to be good, in this order. */
void sumi_tune_add_few(sumi_tune_space *space);
/* Candidate number i with guidance, where the model is told of labels. */
void sumi_tune_add_guided(sumi_tune_space *space, int i);
/* Those that differ from candidate number i in one number. */
void sumi_tune_widen(sumi_tune_space *space, int i);
/* How a way is called, and its evaluations; 0 where the model cannot be sampled so. */
int sumi_tune_describe(const sumi_tune_space *space, const sumi_sample_config *way,
                       char name[SUMI_TUNE_NAME_MAX]);

/* A way with its figure on noise that nothing was chosen by. */
typedef struct {
    sumi_sample_config way;
    char name[SUMI_TUNE_NAME_MAX];
    int evaluations;
    sumi_figure_t frechet;
} sumi_tune_judged;

typedef struct {
    const sumi_tune_space *space; /* the best candidate first */
    const sumi_scorer *scorer;
    sumi_tune_judged best, former;
    bool former_own; /* it is how the model was sampled, not what stands in for that */
    int64_t n;       /* images behind both figures, as many of either */
    uint64_t seed;
} sumi_tune_report;

/* tune_report.c: as sumi_tune_result_t has them; NULL: out of memory. */
char *sumi_tune_json(const sumi_tune_report *report);
char *sumi_tune_text(const sumi_tune_report *report);

/* The least work of a search that has a limit: two ways' first look. */
int64_t sumi_tune_least_work(int features, int evaluations);

/* Of candidates in their order, the nearest first, brings the one that a search with a limit takes
 * to the front. */
void sumi_tune_choose(sumi_tune_space *space);

/* The body of sumi_tune. */
sumi_status sumi_tune_run(sumi_runtime *runtime, const sumi_model *model,
                          const sumi_tune_config *config, sumi_sample_config *best,
                          sumi_tune_result_t *out, sumi_error *err);

#endif
