/*
 * diffusion: what a denoising diffusion model is, apart from its network.
 *
 * Does: levels of noise and the schedules that order them, what a network predicts at a level (the
 * objective), how training draws levels and weights them, and the loop that draws images with a
 * solver from noise that is a pure function of (seed, image, step).
 * Does not: know a network (a sampler is given a `predict` function), train, or touch files.
 *
 * Notation: x_0 is the image, eps standard normal noise, F what the network returns. A level is one
 * amount of noise: x_t = alpha x_0 + sigma eps. Levels are ordered by t: 0 is least noise, T most.
 */
#ifndef SUMI_DIFFUSION_H
#define SUMI_DIFFUSION_H

#include "graph/backend.h"

enum { SUMI_TIMESTEPS_MAX = 100000 };

/* ---- What there is to choose from (choices.c) ------------------------------------------------ */

/* Each is a table whose rows have a name; no name is written a second time. */
typedef enum {
    SUMI_CHOICE_OBJECTIVE,
    SUMI_CHOICE_SCHEDULE,
    SUMI_CHOICE_WEIGHTING,
    SUMI_CHOICE_LAW,
    SUMI_CHOICE_SPACING,
    SUMI_CHOICE_SOLVER,
} sumi_choice;

/* Every row of every table begins with this. */
typedef struct {
    const char *name, *about;
} sumi_row;

/* Adds a name to the list of them that a message ends with: "a, b, c"; left out where there is no
 * room. out begins as "". */
void sumi_names_add(char *out, size_t size, const char *name);
/* NULL past the end. */
const sumi_row *sumi_choice_at(sumi_choice choice, int index);
/* SUMI_EINVAL lists the names that there are; name NULL is the first. */
sumi_status sumi_choice_find(sumi_choice choice, const char *name, int *index, sumi_error *err);

/* ---- The process (process.c) ----------------------------------------------------------------- */

/* The order of the tables' rows. */
enum {
    SUMI_OBJECTIVE_EPS,
    SUMI_OBJECTIVE_X0,
    SUMI_OBJECTIVE_V,
    SUMI_OBJECTIVE_FLOW,
    SUMI_OBJECTIVE_EDM
};
enum {
    SUMI_SCHEDULE_LINEAR,
    SUMI_SCHEDULE_COSINE,
    SUMI_SCHEDULE_SIGMOID,
    SUMI_SCHEDULE_EDM,
    SUMI_SCHEDULE_FLOW
};
enum {
    SUMI_WEIGHTING_UNIFORM,
    SUMI_WEIGHTING_SNR,
    SUMI_WEIGHTING_MIN_SNR,
    SUMI_WEIGHTING_SOFT_MIN_SNR,
    SUMI_WEIGHTING_EDM
};
enum { SUMI_LAW_UNIFORM, SUMI_LAW_LOG_NORMAL, SUMI_LAW_LOGIT_NORMAL };

/* What a model's file keeps of its process. Begins as SUMI_PROCESS_CONFIG_INIT: the tutorial's. */
typedef struct {
    int objective, schedule, weighting, law; /* rows of the tables */
    bool stratified;                         /* a batch's levels are spread evenly over the law */
    int timesteps;                           /* T, 1..100000 */
    float beta_start, beta_end;              /* of the linear schedule: both in (0, 1) */
    float sigma_min, sigma_max;              /* of the edm schedule */
    float sigma_data; /* standard deviation of the data, for the edm objective and weighting */
    float gamma;      /* where (soft) min-SNR stops to grow */
    float law_mean, law_std; /* of the normal inside log-normal and logit-normal */
    bool zero_snr;           /* betas are rescaled so that step T has nothing of the image */
} sumi_process_config;
#define SUMI_PROCESS_CONFIG_INIT                                                                   \
    {                                                                                              \
        SUMI_OBJECTIVE_EPS, SUMI_SCHEDULE_LINEAR, SUMI_WEIGHTING_UNIFORM, SUMI_LAW_UNIFORM, false, \
            1000, .001f, .01f, .002f, 80, .5f, 5, 0, 1, false                                      \
    }

/* A config ready for use. */
typedef struct {
    sumi_process_config config;
    /* The tables of a schedule that has betas, of t = index + 1, float32; else NULL. alpha_t is
     * 1 - beta_t, alpha_bar_t the product of alpha_1 to alpha_t. */
    float *alpha, *alpha_bar;
} sumi_process;

/* SUMI_EINVAL names the field that is out of range, and why two choices cannot be together. */
sumi_status sumi_process_check(const sumi_process_config *config, sumi_error *err);
/* Checks, then fills in the tables; released by sumi_process_free. */
sumi_status sumi_process_init(sumi_process *process, const sumi_process_config *config,
                              sumi_error *err);
void sumi_process_free(sumi_process *process); /* what it holds; a process of zeros is fine */

/* ---- Levels (schedule.c) --------------------------------------------------------------------- */

typedef struct {
    double alpha, sigma; /* x_t = alpha x_0 + sigma eps */
    double time;         /* t, and what the network is told */
    /* Their squares. Those of a table are exact, while alpha and sigma are rounded there to the
     * float32 that PyTorch's square roots give. */
    double alpha2, sigma2;
    int row; /* of a table: t in 1..T; 0 between rows, and where there is no table */
} sumi_level;

typedef struct {
    sumi_row is;
    void (*betas)(const sumi_process_config *config, float *beta); /* [T]; NULL: a closed form */
    /* The closed form: the level of t, and its inverse from ln(sigma / alpha). */
    sumi_level (*level)(const sumi_process_config *config, double time);
    double (*time)(const sumi_process_config *config, double log_ratio);
    double first; /* the least t that a network is asked about */
} sumi_schedule;

const sumi_schedule *sumi_schedule_row(int index); /* NULL past the end */
/* t in 0..T, any real number. Between two rows of a table ln(sigma / alpha) goes straight. */
sumi_level sumi_level_at(const sumi_process *process, double time);
/* The level of the image itself: alpha 1, sigma 0, t 0. */
sumi_level sumi_level_image(void);
/* The t of ln(sigma / alpha), within what the schedule has: the inverse of the above. */
double sumi_level_time(const sumi_process *process, double log_ratio);
double sumi_level_log_ratio(const sumi_level *level); /* ln(sigma / alpha) */

/* ---- Objectives (objectives.c) --------------------------------------------------------------- */

/* (x * x_t + f * F) / divisor */
typedef struct {
    double x, f, divisor;
} sumi_map;

/* What a level makes of an objective. */
typedef struct {
    double c_in;          /* the network is given c_in x_t */
    sumi_map image;       /* x_0 from x_t and F */
    sumi_map noise;       /* eps from them; of no meaning where sigma is 0 */
    double x_0, eps;      /* the target of F is x_0 * image + eps * noise */
    bool target_is_noise; /* those are exactly 0 and 1 */
} sumi_terms;

typedef struct {
    sumi_row is;
    bool needs_image;  /* has no x_0 where alpha is 0 */
    bool scales_input; /* c_in is not always 1 */
    sumi_terms (*terms)(const sumi_level *level, double sigma_data);
} sumi_objective;

const sumi_objective *sumi_objective_row(int index); /* NULL past the end */
sumi_terms sumi_process_terms(const sumi_process *process, const sumi_level *level);
/* out = the map of x_t and F, count floats; out may be f. */
void sumi_map_apply(const sumi_map *map, const float *x_t, const float *f, float *out,
                    size_t count);

/* ---- Training (training.c) ------------------------------------------------------------------- */

typedef struct {
    sumi_row is;
    /* On the squared error of x_0, of the level's signal-to-noise ratio (alpha / sigma)^2; NULL: 1
     * on that of F. */
    double (*of_snr)(double snr, const sumi_process_config *config);
} sumi_weighting;

typedef struct {
    sumi_row is;
    /* The t below which a share u of the draws lies, u in (0, 1). */
    double (*time)(const sumi_process *process, double u);
} sumi_law;

const sumi_weighting *sumi_weighting_row(int index); /* NULL past the end */
const sumi_law *sumi_law_row(int index);

/* Whose level it is: image number `image` of the batch of `batch` images of a step. */
typedef struct {
    uint64_t seed;
    uint32_t step;
    uint64_t image;
    uint64_t batch; /* of the whole step; only stratified draws look at it */
} sumi_draw;

/* A pure function of its arguments. Of a schedule with a table, one of its rows. */
sumi_level sumi_process_draw(const sumi_process *process, const sumi_draw *draw);
/* Of the mean of (F - target)^2 at the level. */
double sumi_process_weight(const sumi_process *process, const sumi_level *level);
/* The factors of x_0 and eps in the network's input, c_in x_t, and in the target of F. */
typedef struct {
    float input[2], target[2];
    bool target_is_noise; /* those of the target are exactly 0 and 1 */
} sumi_noising;
sumi_noising sumi_process_noising(const sumi_process *process, const sumi_level *level);

/* ---- Paths (paths.c) ------------------------------------------------------------------------- */

/* Between which t levels lie, and how strongly a spacing that has a rho is bent. */
typedef struct {
    double last, first, rho;
} sumi_span;

typedef struct {
    sumi_row is;
    /* out[steps]: falling t, from `last`, which is T or less, to `first` of the schedule. */
    void (*times)(const sumi_process *process, const sumi_span *span, int steps, double *out);
    bool rows;  /* of a table: t is rounded to whole numbers, halves upwards */
    bool ends;  /* its last level may be chosen */
    bool bends; /* has a rho */
} sumi_spacing;

typedef struct sumi_solver sumi_solver;

#define SUMI_ETA_OWN (-1.f) /* what the solver has where nobody sets one */

/* Noise that a step adds before it begins (Karras et al. 2022, algorithm 2: S_churn, S_tmin, S_tmax
 * and S_noise): where sigma / alpha is in least..most it grows by a share of amount / steps, but at
 * most to its square root of 2 fold. */
typedef struct {
    double amount, least, most;
    double noise; /* deviation of what is added; 1 keeps a level what it is */
} sumi_churn;

/* What a sampling run is to be. Begins as SUMI_PATH_CONFIG_INIT. */
typedef struct {
    const sumi_solver *solver; /* NULL: only levels are wanted */
    const sumi_spacing *spacing;
    /* Of the network, at most: a solver that has several a step takes fewer where they do not come
     * out even. */
    int evaluations;
    double strength; /* where it begins: this share of T, more than 0 and at most 1 */
    /* NULL, or falling t of the caller's choice, time_count of them, in place of the three above.
     */
    const double *times;
    int time_count;
    float eta;
    sumi_churn churn;
    sumi_tolerance tolerance; /* of a solver that is adaptive */
    /* The sigma / alpha of the last level and of the first, where those are not the schedule's own
     * (0), and the rho of karras (0: 7). */
    double sigma_least, sigma_most, rho;
} sumi_path_config;
#define SUMI_PATH_CONFIG_INIT                                                                      \
    {                                                                                              \
        NULL, NULL, 0, 1, NULL, 0, SUMI_ETA_OWN, {0, 0, 1e30, 1}, {1e-3, 1e-3}, 0, 0, 0            \
    }

/* A sampling run's levels and settings. */
typedef struct {
    const sumi_process *process;
    const sumi_solver *solver;
    int steps;       /* from a level to the next */
    int evaluations; /* of the network, in all steps; the most, where the solver is adaptive */
    float eta;
    /* [steps + 1], falling: where step i starts from; the last is the image. Rising from the image
     * where the solver is an inverse. Of one that is adaptive, the levels between which it goes,
     * and the image. */
    sumi_level *levels;
    bool of_noise; /* history holds predictions of eps, and not of x_0 */
    sumi_churn churn;
    double churn_share; /* by which churn lets sigma / alpha grow in a step */
    sumi_tolerance tolerance;
} sumi_path;

const sumi_spacing *sumi_spacing_row(int index); /* NULL past the end */
/* SUMI_EINVAL where evaluations is not in 1..T, a t is not within what the schedule has or not
 * below the one before, strength not in 0..1, eta not in 0..1 (or SUMI_ETA_OWN), a number of churn
 * is out of its range, or the solver has no eta or churn that was set. */
sumi_status sumi_path_init(sumi_path *path, const sumi_process *process,
                           const sumi_path_config *config, sumi_error *err);
void sumi_path_free(sumi_path *path); /* what it holds; a path of zeros is fine */

/* ---- Solvers (solvers.c, multistep.c, stages.c) ---------------------------------------------- */

enum { SUMI_HISTORY_MAX = 4, SUMI_MIXES_MAX = 2 };

/* x = (x * from + h[0] h_0 + h[1] h_1 + ...) / divisor + z * normal noise, where h_0 is the newest
 * prediction, h_1 the one before, and so on. */
typedef struct {
    float x, h[SUMI_HISTORY_MAX], divisor, z;
    bool from_kept; /* `from` is the tensor that was kept, else x as it is */
    bool keep;      /* the result is kept, too; x_T is from the start */
} sumi_mix;

/* What follows an evaluation of the network. */
typedef struct {
    int count; /* of mixes, one after the other; at most one of them adds noise */
    sumi_mix mix[SUMI_MIXES_MAX];
    sumi_level next; /* where x then is */
} sumi_plan;

/* What a solver can do or needs. */
enum {
    SUMI_SOLVER_ETA = 1,      /* has the option eta: how much noise it adds */
    SUMI_SOLVER_ON_NOISE = 2, /* plans with predictions of eps too: the objective eps is used so */
    SUMI_SOLVER_OF_NOISE = 4, /* always does */
    SUMI_SOLVER_RATIO = 8,    /* divides by alpha: begins below a level that has no image */
    SUMI_SOLVER_KEEPS = 16,   /* its mixes read what was kept */
    SUMI_SOLVER_CHURN = 32,   /* has the option churn */
    SUMI_SOLVER_INVERSE = 64, /* goes from an image to the noise that it would come from */
    SUMI_SOLVER_ADAPTIVE = 128, /* chooses each image's levels itself; has no plan */
};

struct sumi_solver {
    sumi_row is;
    int history;     /* predictions that a step looks at, 1..SUMI_HISTORY_MAX */
    int evaluations; /* of a step; the step to the image has one */
    float eta;       /* where nobody sets one */
    unsigned flags;
    /* After evaluation `stage` of step i, from levels[i] to levels[i + 1]. plan is {1, {{1, {0}, 1,
     * 0, false, false}}, levels[i + 1]} before. */
    void (*plan)(const sumi_path *path, int i, int stage, sumi_plan *plan);
    /* The level at which step i first asks the network; NULL: levels[i]. */
    sumi_level (*asks)(const sumi_path *path, int i);
};

const sumi_solver *sumi_solver_row(int index); /* NULL past the end */
/* Evaluations of step i. */
int sumi_path_stages(const sumi_path *path, int i);
/* The level at which step i first asks the network. */
sumi_level sumi_path_asks(const sumi_path *path, int i);

/* ---- Sampling (sampler.c) -------------------------------------------------------------------- */

/* The network: F of n images, x being c_in x_t and times [n] their t. `time` is that of all, or
 * where they differ, as a solver that is adaptive makes them, of the last. The tensors are the
 * device's. Anything but SUMI_OK ends the sampling with that status. */
typedef sumi_status (*sumi_predict_fn)(void *user, const float *x, const float *times, double time,
                                       int n, float *f);

typedef struct {
    const sumi_path *path;
    int n;        /* images, evaluated together */
    size_t count; /* floats of an image */
    /* Noise: drawn for (seed, first_image + i, t); or, where noise is not NULL, read: x_T of image
     * i at noise + i * count, and z after evaluation k = 1.. k * noise_stride floats further. */
    uint64_t seed;
    int64_t first_image;
    const float *noise;
    size_t noise_stride;
    const float *start; /* NULL, or [n][count]: x at the path's first level, in place of noise */
    /* NULL, or [n][count], where there is no start: x_0 to which that level's noise is added, and
     * where an inverse begins. */
    const float *image;
    sumi_limits limits; /* that each prediction of x_0 is brought into */
    /* NULL, or [n][count] in 0..1: where it is 0 the image is kept, with the noise of each level.
     * visits: how often each level is passed, 1 or more; jump: steps that go back for that. */
    const float *mask;
    int visits, jump;
    /* NULL, or what makes the noise at an address for all n images, on the host: z [n][count]. */
    void (*make_noise)(void *user, const sumi_random *address, int n, float *z);
    int *taken; /* NULL, or [n]: receives how many evaluations each image took */
    const sumi_backend *backend;
    sumi_device *device;
    sumi_predict_fn predict;
    /* NULL: each image takes one evaluation of a network for a prediction. Or [n], which predict
     * fills: that many. */
    const int *cost;
    sumi_on_step_fn on_step;                /* or NULL; non-zero stops */
    int (*step_done)(void *user, int done); /* or NULL: that many evaluations are done; likewise */
    void *user;                             /* given to all of them */
} sumi_sampling;

/* How many evaluations an image takes on a path that passes levels several times; false without
 * memory. */
bool sumi_sampling_evaluations(const sumi_path *path, int visits, int jump, int64_t *out);
/* Draws n images into out [n][count]. An image's bits do not depend on n or on threads (as long as
 * predict's do not). SUMI_CANCELLED where a callback stopped it; out is then unfinished. */
sumi_status sumi_sampling_run(const sumi_sampling *sampling, float *out, sumi_error *err);

#endif
