/*
 * eval: how good pictures are, from what an evaluator's network says of them.
 *
 * Does: distances between sets of features (Frechet, kernel), precision and recall, density and
 * coverage, entropy of classes, likeness to training images, guards on pixels, bootstrap intervals,
 * a report of all that as JSON, text and a page.
 * Does not: sample, or print. A distance is never called FID: that name belongs to one network.
 *
 * Features are float32 [n][d], probabilities float32 [n][classes], images uint8 [n][h][w][c]; all
 * in host memory. Sums are taken in double over pieces that do not depend on the number of threads:
 * the bits are the same with any.
 */
#ifndef SUMI_EVAL_H
#define SUMI_EVAL_H

#include <math.h>

#include "io/io.h"
#include "kernels/kernels.h"
#include "models/models.h"

enum {
    SUMI_FEATURES_MAX = 4096,       /* numbers of a feature, d */
    SUMI_KERNEL_FEATURES_MAX = 256, /* the same where the kernel distance is wanted */
    SUMI_EVAL_IMAGES_MAX = 10000000,
    SUMI_EVAL_CLASSES_MAX = 10000,
    SUMI_EVAL_RESAMPLES = 400, /* of a bootstrap */
    SUMI_EVAL_K = 3,           /* which neighbour balls reach */
};

/* What computes: threads and kernels of the host. */
typedef struct {
    sumi_pool *pool;
    const sumi_kernels *kernels;
    const sumi_runtime *runtime; /* whose cancel ends each measure with SUMI_CANCELLED; or NULL */
} sumi_eval_machine;
/* As many threads as the runtime's device has, and its instruction set where that is the host's. */
sumi_status sumi_eval_machine_open(const sumi_runtime *runtime, sumi_eval_machine *out,
                                   sumi_error *err);
void sumi_eval_machine_close(sumi_eval_machine *machine);

typedef enum { SUMI_SPACE_PIXELS, SUMI_SPACE_FEATURES } sumi_space;

/* Pictures, and what is known of them; all is borrowed, NULL where it is not there. */
typedef struct {
    const char *name;           /* for messages: "samples" */
    int64_t n;                  /* pictures */
    int d;                      /* numbers of a feature */
    int classes;                /* of probabilities and labels */
    int h, w, c;                /* of images */
    const float *features;      /* [n][d] */
    const float *probabilities; /* [n][classes], each row adds up to 1 */
    const int32_t *labels;      /* [n], what each picture was meant to be; -1: nothing */
    const uint8_t *images;      /* [n][h][w][c] */
    /* What was found before; else it is found where it is needed. */
    const double *radii;          /* [n] squared, to the SUMI_EVAL_K-th neighbour in the set */
    const double *to_training[2]; /* [n], by space: to the nearest of the training pictures */
} sumi_eval_set;

/* SUMI_EINVAL with one line where a set is empty, its sizes are out of range, features or
 * probabilities are not finite, a row of probabilities is none, or a label is out of range. */
sumi_status sumi_eval_check(const sumi_eval_set *set, sumi_error *err);
/* SUMI_ESHAPE where both have features (probabilities, images) of other sizes. */
sumi_status sumi_eval_check_pair(const sumi_eval_set *a, const sumi_eval_set *b, sumi_error *err);

/* A number with its 95 % interval. NaN: not computed, or no interval. */
typedef struct {
    double value, low, high;
} sumi_score;
#define SUMI_SCORE_NONE ((sumi_score){NAN, NAN, NAN})

/* ---- Moments (moments.c) --------------------------------------------------------------------- */

typedef struct {
    double n; /* pictures, or the sum of their weights */
    int d;
    double *mean;       /* [d] */
    double *covariance; /* [d][d], of n - 1 degrees of freedom, as numpy.cov */
} sumi_moments;

/* Of the rows of set; where weights ([n]) is not NULL, row i counts weights[i] times. */
sumi_status sumi_eval_moments(const sumi_eval_machine *machine, const sumi_eval_set *set,
                              const uint32_t *weights, sumi_moments *out, sumi_error *err);
void sumi_moments_free(sumi_moments *moments);

/* ---- Symmetric matrices (symmetric.c) -------------------------------------------------------- */

/* Eigenvalues in ascending order, and with vectors not NULL ([d][d]) the eigenvector of values[i]
 * in row i: Householder's tridiagonal form and implicit QL (Golub and Van Loan, 8.3). matrix is
 * read in its lower triangle. scratch: d * d + 3 * d doubles. False where QL does not converge, as
 * with NaN. */
bool sumi_symmetric_eigen(const double *matrix, int d, double *values, double *vectors,
                          double *scratch);
/* root: the square root of a positive semi-definite matrix; eigenvalues below 0 count as 0. */
sumi_status sumi_symmetric_root(const double *matrix, int d, double *root, sumi_error *err);

/* ---- Frechet distance (frechet.c) ------------------------------------------------------------ */

/* |mu1 - mu2|^2 + Tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2) (Dowson and Landau 1982; as a measure of
 * generators Heusel et al. 2017). SUMI_EINVAL: too few images for the covariance, which are d or
 * less. It depends on n: compare equal n only. */
sumi_status sumi_eval_frechet(const sumi_moments *a, const sumi_moments *b, double *out,
                              sumi_error *err);
/* The distance with its bootstrap interval: samples are drawn again, the reference stays. The
 * interval is for the expected distance of as many samples; the bias of drawing again is taken
 * out. */
sumi_status sumi_eval_frechet_score(const sumi_eval_machine *machine, const sumi_eval_set *samples,
                                    const sumi_moments *reference, uint64_t seed, sumi_score *out,
                                    sumi_error *err);
/* What the distance would be with endless samples: a line through the distances of subsets against
 * 1/N, at 0 (Chong and Forsyth 2020, "Effectively unbiased FID"). NaN where there are fewer than
 * 4 (d + 1) samples. */
sumi_status sumi_eval_frechet_infinite(const sumi_eval_machine *machine,
                                       const sumi_eval_set *samples, const sumi_moments *reference,
                                       uint64_t seed, double *out, sumi_error *err);

/* ---- Kernel distance (kernel.c) -------------------------------------------------------------- */

/* The unbiased squared maximum mean discrepancy with k(x, y) = (x.y / d + 1)^3 (Binkowski et al.
 * 2018) over all pairs, not subsets: its exact value, which may be below 0. Interval and standard
 * error by the jackknife that leaves out one of 20 blocks of each set. At least 4 pictures. */
sumi_status sumi_eval_kernel(const sumi_eval_machine *machine, const sumi_eval_set *a,
                             const sumi_eval_set *b, sumi_score *out, double *standard_error,
                             sumi_error *err);

/* ---- Neighbours (neighbours.c, manifold.c) --------------------------------------------------- */

/* Rows of floats or of bytes. */
typedef struct {
    int64_t n;
    int d;
    const float *reals;
    const uint8_t *bytes;
} sumi_eval_rows;

/* The k nearest rows of `of` for each row of `from`, by Euclidean distance: distances [n][k] in
 * ascending order (infinite past the number of rows) and indices [n][k] (-1), either may be NULL.
 * skip_same leaves out the row of the same index, for a set's neighbours among itself. float32
 * products find candidates, their distances are computed in double: exact. */
sumi_status sumi_eval_nearest(const sumi_eval_machine *machine, const sumi_eval_rows *from,
                              const sumi_eval_rows *of, int k, bool skip_same, double *distances,
                              int64_t *indices, sumi_error *err);

typedef struct {
    sumi_score precision, recall, density, coverage;
} sumi_manifold;

/* Balls around each picture that reach its k-th nearest neighbour in its own set. Precision: share
 * of samples in a ball of the reference; recall: share of the reference in a ball of the samples
 * (Kynkaanniemi et al. 2019, k = 3); density: balls of the reference around a sample, over k;
 * coverage: share of the reference's balls with a sample in them (Naeem et al. 2020). Intervals are
 * for drawing the samples again, the reference stays. At least k + 3 pictures; k is 1..64. */
sumi_status sumi_eval_manifold(const sumi_eval_machine *machine, const sumi_eval_set *samples,
                               const sumi_eval_set *reference, int k, uint64_t seed,
                               sumi_manifold *out, sumi_error *err);

/* ---- Classes (classes.c) --------------------------------------------------------------------- */

typedef struct {
    sumi_score entropy;  /* mean H(y|x) in nats: low where pictures are sharp */
    sumi_score marginal; /* H(y) of the mean of the rows: ln(classes) where all are as frequent */
    sumi_score score;    /* exp(H(y) - mean H(y|x)) */
    sumi_score accuracy; /* share whose likeliest class is its label; NaN without labels */
    double *histogram;   /* [classes] share of each likeliest class; owned */
    int classes;
} sumi_class_scores;

sumi_status sumi_eval_classes(const sumi_eval_set *set, uint64_t seed, sumi_class_scores *out,
                              sumi_error *err);
void sumi_class_scores_free(sumi_class_scores *scores);

/* ---- Memorisation (memorised.c) -------------------------------------------------------------- */

enum { SUMI_MEMORY_PAIRS = 8 };

typedef struct {
    double ratio; /* distance to the nearest training picture / median of the test pictures' */
    int64_t sample, training;
} sumi_memory_pair;

/* In one space, pixels or features. All NaN where half of the test pictures or more are training
 * pictures: then distances tell nothing. */
typedef struct {
    sumi_score share;  /* of samples with a ratio below 0.5 */
    sumi_score ratio;  /* the samples' median */
    double test_share; /* of test pictures with a ratio below 0.5: what is usual */
    int pair_count;
    sumi_memory_pair pairs[SUMI_MEMORY_PAIRS]; /* the smallest ratios */
} sumi_memory;

sumi_status sumi_eval_memory(const sumi_eval_machine *machine, sumi_space space,
                             const sumi_eval_set *samples, const sumi_eval_set *test,
                             const sumi_eval_set *training, uint64_t seed, sumi_memory *out,
                             sumi_error *err);
/* A PNG of the pairs (page.c), the sample to the left of the training picture; of 1 or 3 channels,
 * and one pair at least. */
sumi_status sumi_eval_write_pairs(const char *folder, const char *name, const sumi_memory *memory,
                                  const sumi_eval_set *samples, const sumi_eval_set *training,
                                  sumi_error *err);

/* ---- Guards on pixels (pixels.c) ------------------------------------------------------------- */

/* What features of a classifier do not see. Pixels are value / 255. Sliced: the mean over 256 fixed
 * directions of the Wasserstein-1 distance between the sets' projections (Rabin et al. 2011).
 * Spectrum: the root mean square, over radii, of the difference in log10 of the mean power of the
 * pictures' Fourier transforms (Durall et al. 2020). */
sumi_status sumi_eval_sliced(const sumi_eval_machine *machine, const sumi_eval_set *a,
                             const sumi_eval_set *b, double *out, sumi_error *err);
sumi_status sumi_eval_spectrum(const sumi_eval_machine *machine, const sumi_eval_set *a,
                               const sumi_eval_set *b, double *out, sumi_error *err);
/* Pictures for a scale beside a score; out [n][h][w][c]. Blurred: each of set's by a binomial
 * filter of 5 x 5. Gaussian: n pictures, each pixel drawn for itself with the mean and deviation
 * that it has in the set. */
sumi_status sumi_eval_blurred(const sumi_eval_set *set, uint8_t *out, sumi_error *err);
sumi_status sumi_eval_pixel_gaussian(const sumi_eval_set *set, int64_t n, uint64_t seed,
                                     uint8_t *out, sumi_error *err);

/* ---- Likelihood (likelihood.c) --------------------------------------------------------------- */

/* F of n inputs c_in x_t in the host's memory, at times [n]. */
typedef sumi_status (*sumi_eval_predict_fn)(void *user, const float *x, const float *times, int n,
                                            float *f);
typedef struct {
    const sumi_process *process;
    const float *images; /* [n][count], low to high in 255 equal steps */
    int64_t n;
    size_t count;
    float low, high;
    uint64_t seed;
    int batch; /* questions at a time; changes no bit */
    sumi_eval_predict_fn predict;
    void *user;
    const sumi_standard *standard; /* NULL, or how the network is told of the images */
} sumi_likelihood;

/* loss[bins]: the mean squared error of the predicted noise eps in equal parts of 0..T, whatever
 * the objective, each of n predictions with fixed noise. */
sumi_status sumi_eval_losses(const sumi_likelihood *of, int bins, double *loss, sumi_error *err);
/* The variational bound in bits per dimension (Ho et al. 2020; Nichol and Dhariwal 2021): prior,
 * the terms between the T levels with the posterior's variance, estimated at one level in each of
 * `strata` parts of them, and a discretised decoder. n (strata + 1) predictions, which are clipped
 * to low..high. Where most values are exactly the lowest, the decoder is most of it. */
sumi_status sumi_eval_bits(const sumi_likelihood *of, int strata, sumi_score *out, sumi_error *err);

/* ---- Bootstrap (bootstrap.c) ----------------------------------------------------------------- */

/* How often each of n rows is drawn in resample number r. */
void sumi_bootstrap_weights(uint64_t seed, int r, int64_t n, uint32_t *weights);
/* The interval from a statistic's value and its values on resamples (sorted here): the middle 95 %
 * of the resamples, moved so that their mean is the value. */
sumi_score sumi_bootstrap_score(double value, double *resampled, int count);
/* Mean of n numbers with its interval. */
sumi_status sumi_bootstrap_mean(const double *values, int64_t n, uint64_t seed, sumi_score *out,
                                sumi_error *err);

/* ---- The report (compare.c, report.c, page.c) ------------------------------------------------ */

enum { SUMI_EVAL_SCALES_MAX = 8, SUMI_EVAL_BINS_MAX = 64, SUMI_EVAL_NAME_MAX = 256 };

/* Real or spoilt pictures against the reference, for a scale. */
typedef struct {
    char name[64]; /* "training images" */
    int64_t n;
    sumi_score frechet, kernel;
} sumi_eval_scale;

typedef struct {
    /* What was compared; filled by the caller, "" or 0 where unknown. */
    char subject[SUMI_EVAL_NAME_MAX];  /* file or folder */
    char data[SUMI_EVAL_NAME_MAX];     /* the data set */
    char reference[32];                /* its split that samples are compared with: "test" */
    char sampling[SUMI_EVAL_NAME_MAX]; /* "dpmpp-2m, 20 evaluations an image" */
    char tier[32];
    char evaluator[SUMI_EVAL_NAME_MAX]; /* its name: "fashion-mnist-v1, trained classifier" */
    char evaluator_hash[65];            /* SHA-256 of its file */
    double evaluator_accuracy;          /* on the test split; NaN: not a classifier */
    uint64_t seed;
    double seconds;
    char (*class_names)[64]; /* [classes] or NULL, owned */
    /* What was found. */
    int64_t n, reference_n, training_n;
    int d;
    sumi_score frechet, frechet_infinite, frechet_training, kernel, second_frechet;
    double kernel_error; /* the kernel distance's standard error */
    char second_evaluator[SUMI_EVAL_NAME_MAX], second_hash[65];
    sumi_manifold manifold;
    sumi_class_scores classes;
    sumi_score classification; /* accuracy on real pictures of a classifier trained on samples */
    sumi_memory pixels, features;
    double sliced, spectrum;
    sumi_eval_scale scales[SUMI_EVAL_SCALES_MAX];
    int scale_count;
    double loss[SUMI_EVAL_BINS_MAX]; /* held-out, in equal bins of time from the least noise on */
    int loss_bins;
    sumi_score bits; /* per dimension */
} sumi_eval_report;

/* All scores NaN, all lists empty. */
void sumi_eval_report_init(sumi_eval_report *report);
void sumi_eval_report_free(sumi_eval_report *report);
/* Everything that can be told from samples, a reference (held-out pictures) and the training
 * pictures, which may be NULL (then nothing of memorisation); what a set lacks stays NaN. */
sumi_status sumi_eval_compare(const sumi_eval_machine *machine, const sumi_eval_set *samples,
                              const sumi_eval_set *reference, const sumi_eval_set *training,
                              sumi_eval_report *report, sumi_error *err);
/* Adds a row of the scale: Frechet and kernel distance of set (features) to the reference, which
 * depend on no seed. */
sumi_status sumi_eval_add_scale(const sumi_eval_machine *machine, const char *name,
                                const sumi_eval_set *set, const sumi_eval_set *reference,
                                sumi_eval_report *report, sumi_error *err);

/* held_out.c: of a model, on a set's images. A count of 0: not computed. */
typedef struct {
    int loss_images, bins;   /* 500 and 20: 10,000 predictions */
    int bits_images, strata; /* 100 and 100 */
    uint64_t seed;
    sumi_precision precision;
} sumi_held_out;
#define SUMI_HELD_OUT_INIT                                                                         \
    {                                                                                              \
        500, 20, 0, 100, 0, SUMI_PRECISION_FP32                                                    \
    }
/* Fills in the report's loss, loss_bins and bits. SUMI_CANCELLED as of any long call. */
sumi_status sumi_eval_held_out(sumi_runtime *runtime, const sumi_model *model,
                               const sumi_eval_set *set, const sumi_held_out *config,
                               sumi_eval_report *report, sumi_error *err);

/* An object with at least n, frechet, kernel, precision, recall, density, coverage, entropy,
 * memorised, evaluator; "KEY_interval" beside a score is [low, high]; null: not computed. NULL:
 * out of memory. */
json_t *sumi_eval_json(const sumi_eval_report *report);
/* The same as a table for a terminal, at most 80 columns; malloc'ed. NULL: out of memory. */
char *sumi_eval_text(const sumi_eval_report *report);
/* Writes eval.json, index.html, samples.png, nearest.png and nearest_features.png (of each closest
 * pair the sample left, the training picture right) into a folder, which is made. samples and
 * training are those of compare; pictures are left out where they have no images. */
sumi_status sumi_eval_save(const char *folder, const sumi_eval_report *report,
                           const sumi_eval_set *samples, const sumi_eval_set *training,
                           sumi_error *err);

#endif
