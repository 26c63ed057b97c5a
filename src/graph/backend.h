/*
 * What a backend has to offer: memory, networks that run a graph, and the elementwise work of
 * training and sampling. Whoever trains or samples reaches tensors through this table alone, so
 * that a second backend is a folder of its own.
 *
 * A device is a backend that was opened: threads and an instruction set, or a card. Pointers to
 * tensors are memory of its device's `alloc` or `mirror`, or places within such a block; the host
 * may read and write them through `upload` and `download` only. What else a call is given (structs,
 * arrays of structs, parameters' descriptions) is the host's.
 */
#ifndef SUMI_BACKEND_H
#define SUMI_BACKEND_H

#include "base/ranks.h"
#include "graph/graph.h"
#include "graph/pick.h"
#include "graph/standard.h"

typedef struct sumi_device sumi_device;
typedef struct sumi_network sumi_network;

typedef enum { SUMI_MODE_PREDICT, SUMI_MODE_TRAIN } sumi_mode;

typedef struct {
    const char *name, *about;
} sumi_precision_name;

/* By its number in sumi_precision; NULL past the end. */
const sumi_precision_name *sumi_precision_row(int index);
/* SUMI_EINVAL where a caller's number is no precision. */
sumi_status sumi_precision_check(sumi_precision precision, sumi_error *err);

typedef struct {
    sumi_mode mode;
    int n_max, h, w;
    /* The tests' oracle: every op, or those whose bit (1 << node) is set in unfused_nodes, applies
     * what is pending on its input in a separate pass, computes into a plain buffer, and stores
     * from there in another pass. */
    bool unfused;
    uint64_t unfused_nodes;
    int force; /* sumi_conv_algorithm for every convolution that it can do, or -1 */
    /* Predict: what depends on time and label alone is computed once for each time, and kept; whole
     * times from 1 to this are expected. 0: it is computed for every image. */
    int timesteps;
    /* bf16: raw tensors of images and their gradients are kept as bfloat16 (but the input, the
     * output and its gradient), and layers compute with weights rounded to it. */
    sumi_precision precision;
    /* Training: how the images of a batch are cut into groups and shared among ranks, and the most
     * of the whole batch; n_max is of this rank's share. NULL: sums go over images as they come.
     * It must outlive the network. */
    sumi_reduction *cut;
    int whole_max;
} sumi_plan_config;

/* What any backend asks of a graph and a plan: SUMI_EINVAL, SUMI_ENOMEM (too large to count),
 * SUMI_ESHAPE, SUMI_EUNSUPPORTED, or the status of a builder's call that failed. */
sumi_status sumi_plan_check(const sumi_graph *graph, const sumi_plan_config *config,
                            sumi_error *err);

/* Where a network finds a graph's parameters: as params.values and params.statistics. */
typedef struct {
    float *values, *statistics;
} sumi_weights;

/* What a run of n images reads, by the names of the graph's inputs. */
typedef struct {
    const float *image;     /* [n][h][w][c] */
    const float *time;      /* [n] */
    const int32_t *labels;  /* [n]: -1 is none; NULL: no image has one */
    const float *condition; /* training: [n][numbers], or NULL: zeros; predictions have zeros */
    /* Training, for a loss that is a squared error: as its output, and [n] or NULL: all are 1. */
    const float *target, *weight;
    /* Training, where the plan has a cut: how many images the whole batch has, of which the n are
     * this rank's share; 0: they are not cut. The loss, and what a norm takes of all images, are
     * then the whole batch's; gradients are [branch][params.values], the sums of this rank's
     * branches (base/ranks.h). All ranks run then. */
    int whole;
    /* NULL, or called for parameters whose gradients will not change any more, each once at most,
     * in an order that depends on the graph alone. */
    void (*ready)(void *user, int param);
    void *ready_user;
} sumi_inputs;

/* A sum of tensors and noise, number by number:
 *     out = (factor_0 source_0 + factor_1 source_1 + ...) / divisor + noise factor * noise
 * which is rounded after each operation, in this order. */
enum { SUMI_MIX_SOURCES = 5 };
typedef struct {
    float source[SUMI_MIX_SOURCES];
    float divisor, noise;
} sumi_factors;

typedef struct {
    int n;        /* images */
    size_t count; /* floats of one */
    float *out;   /* [n][count]; may be one of the first two sources */
    float *copy;  /* as out: receives the same; or NULL */
    int sources;
    const float *source[SUMI_MIX_SOURCES]; /* each [n][count] */
    const sumi_factors *factors;           /* one for all images, or [n] */
    bool factors_each;
    /* Standard normal, of image i at address noise->image + i; or given as [n][count]; or none. */
    const sumi_random *noise;
    const float *given_noise;
} sumi_mixing;

/* Images of a batch from those of a data set; all memory is the device's. */
typedef struct {
    int n, h, w, c;
    const uint8_t *images;  /* [...][h][w][c] */
    const sumi_pick *picks; /* [n] */
    const float *values;    /* [c][256]: what a byte of a channel is told as */
    float *out;             /* [n][h][w][c] */
} sumi_gathering;

/* A matrix among weights: [rows][cols], `stride` numbers from row to row, the first at offset. A
 * convolution's has a row for each tap and input channel and a column for each output: what PyTorch
 * has as [out][in * taps], transposed. */
typedef struct {
    size_t offset, stride;
    int rows, cols;
    bool elsewhere; /* only its moments are kept here: another rank finds how it moves */
} sumi_matrix;

typedef struct sumi_orthogonaliser sumi_orthogonaliser;

/* What the steps of a training leave on a device, for the host to read when it likes: of each the
 * loss and the gradients' norm, and which was the first with a number that is not finite. From that
 * one on the ledger is closed: what is given it changes no weight, average, state or statistic, so
 * that they stay those of the last good step until it is begun anew. */
typedef struct sumi_ledger sumi_ledger;

enum { SUMI_AHEAD_MAX = 64 };

typedef struct {
    double loss;
    double norm; /* of the gradients, before they were clipped; 0: nobody asked */
    bool bad;    /* it is the first that is not finite, or comes after that */
} sumi_entry;

/* How a weight w moves, with g its gradient (Kingma & Ba 2015; PyTorch's Adam):
 *     m = m + (1 - beta1) (g - m),  v = v + (1 - beta2) (g^2 - v),
 *     w = keep w - rate / correction1 * m / (sqrt(v / correction2) + eps) */
typedef enum { SUMI_RULE_ADAM } sumi_rule;

enum { SUMI_STATES_MAX = 2 }; /* numbers that an optimiser remembers of each weight */

/* One step of an optimiser; then each average a takes the new weights in: a = d a + (1 - d) w. */
typedef struct {
    sumi_rule rule;
    double rate, beta1, beta2, eps, correction1, correction2;
    double keep; /* 1: no decay */
    size_t count;
    float *weights; /* [count], as all others */
    const float *gradients;
    float *state[SUMI_STATES_MAX]; /* m, v */
    /* Weights that the rule leaves out, in their order: w = matrix_keep w - matrix_rate g. */
    const sumi_range *matrices;
    int matrix_count;
    double matrix_rate, matrix_keep;
    int averages;
    float *average[SUMI_AVERAGES_MAX];
    double decay[SUMI_AVERAGES_MAX];
    const sumi_ledger *ledger; /* NULL, or: nothing is done where it is closed */
} sumi_update;

/* A range that numbers of images are brought into. */
typedef struct {
    bool wanted;
    float low, high;
    /* 0: what is outside is clipped. Else "dynamic thresholding" (Saharia et al. 2022, section
     * 2.3): with the distance from the range's middle that this share of an image's numbers
     * keeps, all are clipped to that distance and then shrunk into the range, if it is larger. */
    double share;
    const sumi_standard *standard; /* NULL, or: the range is that of the images, and the numbers are
                                      what a network is told of them */
} sumi_limits;

/* What error a step may have; error, a and b are [n][count]. */
typedef struct {
    double absolute, relative;
} sumi_tolerance;

/* What is told of a device that a backend has. */
typedef struct {
    char id[32]; /* what users call it: "cpu", "opencl:0" */
    char name[128], vendor[64], kind[16], driver[96];
    bool is_gpu;
    uint64_t memory, largest;     /* bytes in all, and of one block; 0: the host's */
    int units, megahertz;         /* 0: not known */
    uint64_t local_bytes, group;  /* of a group of work items; 0: there are none */
    bool doubles, halves, usable; /* usable: sumi can compute on it */
} sumi_device_facts;

/* Which device, and how. */
typedef struct {
    int index;       /* in the order of `list` */
    int threads;     /* of the host; 0: one for each core */
    const char *isa; /* of the host: an instruction set's name, or NULL for the best */
} sumi_device_config;

typedef struct {
    const char *name; /* "cpu" */

    /* Fills in up to `most` devices that are there and returns how many there are; where there are
     * none, why is left in err. */
    int (*list)(sumi_device_facts *out, int most, sumi_error *err);
    sumi_status (*open)(const sumi_device_config *config, sumi_device **out, sumi_error *err);
    /* What users call the open device: "cpu", or its name and driver. */
    const char *(*title)(const sumi_device *device);
    /* The first of the calls below that went wrong, which none of them tells itself: what they gave
     * is then of no use, and the device is lost. Looked at whenever the host has waited. */
    sumi_status (*status)(const sumi_device *device, sumi_error *err);
    void (*close)(sumi_device *device);            /* NULL is fine */
    const char *(*isa)(const sumi_device *device); /* "avx2" */
    /* True where networks of a precision have the same bits on the instruction set of that name. */
    bool (*same_bits)(const sumi_device *device, const char *isa, sumi_precision precision);
    int (*threads)(const sumi_device *device);

    /* What came of so many steps of a training is read at once, up to SUMI_AHEAD_MAX; 1: nothing is
     * lost by reading each. Only calls that say so, and downloads, wait for the device. */
    int ahead;

    /* Memory, zeroed; NULL where there is none left. free takes the size that was asked for. */
    void *(*alloc)(sumi_device *device, size_t bytes);
    void (*free)(sumi_device *device, void *memory, size_t bytes); /* NULL is fine */
    /* Memory that stands for a buffer of the host, which must outlive it. upload and download make
     * the one what the other is; where the device computes in the host's memory, it is that buffer,
     * and they do nothing. It begins undefined. unmirror takes what mirror was given. */
    void *(*mirror)(sumi_device *device, void *host, size_t bytes);
    void (*unmirror)(sumi_device *device, void *memory, void *host, size_t bytes);
    void (*upload)(sumi_device *device, void *to, const void *from, size_t bytes);
    void (*download)(sumi_device *device, void *to, const void *from, size_t bytes);
    void (*copy)(sumi_device *device, void *to, const void *from, size_t bytes);

    /* How many bytes a data set may take on the device, which is then to be kept there; 0: it is no
     * faster to reach than the host's. */
    uint64_t (*spare)(const sumi_device *device);
    void (*gather)(sumi_device *device, const sumi_gathering *work);
    void (*mix)(sumi_device *device, const sumi_mixing *work);
    void (*update)(sumi_device *device, const sumi_update *update);
    /* Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon/). Of each matrix, whose numbers
     * are at its offset in moments (m) and gradients (g), as weights have them:
     *     m = m + (1 - momentum) (g - m),  X = g + momentum (m - g),  X = X / (||X||_F + 1e-7),
     *     five times: X = 3.4445 X - 4.7750 (X X^T) X + 2.0315 (X X^T)^2 X,
     *     g = sqrt(max(1, cols / rows)) X.
     * Of one that is `elsewhere` m alone; g is anything then, and will be replaced. Where a ledger
     * is given and closed, m stays as it is.
     * Their memory and plan; matrices (which do not overlap) need not last. No call allocates. */
    sumi_status (*orthogonaliser_create)(sumi_device *device, const sumi_matrix *matrices,
                                         int count, sumi_orthogonaliser **out, sumi_error *err);
    void (*orthogonaliser_free)(sumi_orthogonaliser *orthogonaliser); /* NULL is fine */
    void (*orthogonalise)(sumi_orthogonaliser *orthogonaliser, const sumi_ledger *ledger,
                          double momentum, float *gradients, float *moments);
    /* x [n][count] within limits, in place. */
    void (*limit)(sumi_device *device, const sumi_limits *limits, int n, size_t count, float *x);
    /* x = mask x + (1 - mask) other, each of count numbers; mask is in 0..1. */
    void (*blend)(sumi_device *device, const float *mask, const float *other, size_t count,
                  float *x);
    /* out [n], the host's: of each image, the root of the mean of
     *     (error / (absolute + relative max(|a|, |b|)))^2. */
    void (*measure_error)(sumi_device *device, const sumi_tolerance *tolerance, int n, size_t count,
                          const float *error, const float *a, const float *b, double *out);
    /* True where every number is. Waits. */
    bool (*finite)(sumi_device *device, const float *x, size_t count);

    /* Of up to so many steps. */
    sumi_status (*ledger_create)(sumi_device *device, int steps, sumi_ledger **out,
                                 sumi_error *err);
    void (*ledger_free)(sumi_ledger *ledger); /* NULL is fine */
    /* From here on it is about step number `step`, which comes after the last; 0 forgets all. */
    void (*ledger_begin)(sumi_ledger *ledger, int step);
    /* Takes in a network's last run of gradients: adds `share` of its loss to the step's. */
    void (*ledger_take)(sumi_ledger *ledger, sumi_network *network, double share,
                        const float *gradients, size_t count);
    /* Notes the root of the sum of the gradients' squares, whose order depends on count alone.
     * Where it is above `most` (0: it never is) gradients are multiplied by most / (norm + 1e-6):
     * here, or where orthogonalise and update read them for this ledger, as nobody else does from
     * then on. */
    void (*ledger_clip)(sumi_ledger *ledger, double most, float *gradients, size_t count);
    /* The first `steps` of it. Waits. */
    void (*ledger_read)(const sumi_ledger *ledger, int steps, sumi_entry *out);

    /* A plan of graph at one size and its memory. SUMI_ESHAPE where h or w is no multiple of
     * 2^levels. graph and its weights, which are read at each run, must last as long as the network
     * is used. No run allocates. */
    sumi_status (*network_create)(sumi_device *device, const sumi_graph *graph,
                                  const sumi_weights *weights, const sumi_plan_config *config,
                                  sumi_network **out, sumi_error *err);
    void (*network_free)(sumi_network *network); /* NULL is fine */
    /* Says that parameters changed since the last predict. */
    void (*weights_changed)(sumi_network *network);
    /* Eval mode: running statistics. out: a place for each of the graph's outputs; n <= n_max. */
    void (*predict)(sumi_network *network, const sumi_inputs *in, int n, float *const *out);
    /* Train mode: batch statistics; the loss and its gradients (as params.values; overwritten).
     * Running statistics are not touched. n may be 0 where it is a share. */
    void (*gradients)(sumi_network *network, const sumi_inputs *in, int n, float *gradients);
    /* The loss of that run. Waits. */
    double (*loss)(const sumi_network *network);
    /* False where that run's batch statistics overflowed: updating would spoil the model. Waits. */
    bool (*statistics_finite)(const sumi_network *network);
    /* Moves running statistics (as the graph's params) by those of the last run of gradients,
     * unless a ledger is given and closed. */
    void (*update_statistics)(sumi_network *network, const sumi_ledger *ledger, float *statistics);

    /* Adds the time that each node takes from now on to seconds[node] (forward) and
     * seconds[node_count + node] (backward), in seconds; NULL stops it. */
    void (*profile)(sumi_network *network, double *seconds);
    size_t (*network_bytes)(const sumi_network *network);
    /* Multiply-adds of one image's forward pass through one node; 0 where a table of time has
     * them. */
    double (*node_macs)(const sumi_network *network, int node);
    /* What one node has to move to and from memory at least for n images, in bytes. */
    double (*node_bytes)(const sumi_network *network, int node, int n, bool backward);
    /* The plan as text (views, sources, buffers, accumulate flags); malloc'ed. NULL: out of
     * memory. */
    char *(*describe)(const sumi_network *network);

    /* The most that the device does: floating-point operations a second of multiply-adds, and bytes
     * a second to and from memory (SUMI_ENOMEM). Takes a second or so. */
    double (*measure_peak)(sumi_device *device);
    sumi_status (*measure_bandwidth)(sumi_device *device, double *bytes_per_s, sumi_error *err);
} sumi_backend;

#endif
