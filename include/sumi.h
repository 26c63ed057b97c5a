/*
 * sumi: train and sample denoising diffusion models on images, in C.
 *
 * This header, with sumi_device.h and sumi_eval.h that it includes, is the whole public interface
 * of libsumi. The shortest useful program:
 *
 *     sumi_context *ctx;
 *     sumi_model *model;
 *     if (sumi_context_create(0, &ctx) != SUMI_OK)
 *         return 1;
 *     if (sumi_model_load(ctx, "run/", &model) == SUMI_OK) {
 *         static float images[4 * 32 * 32];
 *         sumi_sample_config config = SUMI_SAMPLE_CONFIG_INIT;
 *         config.count = 4;
 *         config.steps = 50;
 *         config.solver = "ddim";
 *         sumi_sample(ctx, model, &config, images, 4 * 32 * 32);
 *         sumi_model_free(model);
 *     }
 *     sumi_context_free(ctx);
 *
 * What is here, in order: status, contexts, progress, choices, data sets, models, training and
 * sampling are what most programs need; behind "Advanced" are training step by step, single
 * evaluations of the network, tensors, the list of what describes a model, and measurements.
 * sumi_eval.h has classifiers, evaluations and tuning.
 *
 * Conventions
 *   - Images are float32, in [n][h][w][c] order (NHWC), in the model's data range: the range that
 *     the training images had, [0, 1] for the tutorial.
 *   - Timesteps t are integers in 1..timesteps; x_0 is an image, x_t its noised form, eps the
 *     noise.
 *   - Types: what a program fills in is a sumi_..._config (and sumi_batch); a struct that sumi
 *     fills in has a name that ends in _t; any other sumi_... is a handle.
 *   - Every struct of a program begins with its own size and is begun with its _INIT macro, which
 *     fills in the size and the tutorial's values: then set what should be different. Structs only
 *     grow, and only at their end, so that a program that was compiled with an older header keeps
 *     working: sumi does as if it had said the _INIT values of what it does not know, and fills in
 *     no more than its struct has room for.
 *   - Errors: every function that can fail returns a sumi_status. On anything but SUMI_OK out
 *     parameters are left untouched, and the context holds one line of text that names the file,
 *     the tensor, what was expected and what was found: sumi_last_error. The context is the ctx
 *     argument, or the one that a trainer was made on. Data sets and models belong to no context:
 *     functions that take none (sumi_dataset_info and _read, sumi_model_info, the walks over
 *     tensors, fields and choices) tell by their status alone why they refuse, and leave every
 *     message as it is.
 *   - Notices: some calls succeed and have something to say (files that were left out, a damaged
 *     checkpoint that was passed over). Their status is SUMI_OK and sumi_last_error has the notice;
 *     where they have nothing to say it is "".
 *   - Ownership: a handle belongs to the caller that created it and is released by the matching
 *     _free, which accepts NULL. A context must outlive the handles made on it. Strings that are
 *     returned are borrowed: from the handle, or from the library.
 *   - Threads: a context is used by one thread at a time. A model that nobody trains is immutable
 *     and may be used from several contexts at once.
 *   - Callbacks: a callback of a long call (sumi_cancel lists them) may call sumi_cancel and what
 *     only reads: the functions that tell something, and those that open, create, load or save a
 *     data set, a model or a checkpoint. What computes or changes a model on the same context is
 *     refused with SUMI_EINVAL: long calls, sumi_measure_peak and _bandwidth,
 *     sumi_trainer_create, sumi_trainer_resume and sumi_model_set_metadata; the running call goes
 *     on, and the refused one does not use up its cancel. A model or data set that a callback frees
 *     lives until the call ends; sumi_context_free does nothing there. Another context is free for
 *     anything but training the model in use.
 *   - The library never prints, never exits, installs no signal handler and has no globals, but for
 *     the text that tells a thread why its last sumi_context_create failed.
 *   - Names of files are any bytes. Where UTF-8 is needed (metadata, JSON, comments in pictures,
 *     messages) a byte that is no part of it is written \xNN. Numbers in files and messages have
 *     points, whatever the program's locale.
 *   - Same seed, same bits: results depend neither on the number of threads nor on the size of the
 *     batches in which images are sampled (per build and instruction set).
 */
#ifndef SUMI_H
#define SUMI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SUMI_API __attribute__((visibility("default")))
#else
#define SUMI_API
#endif

/* Stands before the first field that a released struct has gained, and puts it where that struct
 * ended. Without it, a small field would lie in the older struct's padding, which old programs
 * leave unset. */
#ifdef __cplusplus
#define SUMI_GROWN alignas(8)
#else
#define SUMI_GROWN _Alignas(8)
#endif

#define SUMI_VERSION "0.1.0"

/* ---- Status ---------------------------------------------------------------------------------- */

typedef enum {
    SUMI_OK = 0,
    SUMI_CANCELLED = 1,    /* stopped by sumi_cancel or by a callback; what was done is kept */
    SUMI_ENOMEM = 2,       /* out of memory */
    SUMI_EINVAL = 3,       /* an argument or a setting is out of its range */
    SUMI_EIO = 4,          /* a file could not be opened, read or written */
    SUMI_EFORMAT = 5,      /* a file is not what it claims to be */
    SUMI_ESHAPE = 6,       /* sizes that do not fit together */
    SUMI_EUNSUPPORTED = 7, /* valid, but not something this build does */
} sumi_status;

/* "SUMI_OK", "SUMI_EIO", ...; "unknown status" for any other number. */
SUMI_API const char *sumi_status_name(sumi_status status);
/* The version of the library that is linked, such as "0.1.0". */
SUMI_API const char *sumi_version(void);

/* ---- Context: threads, instruction set, plans, the last error -------------------------------- */

typedef struct sumi_context sumi_context;

/* What everything else is made on: threads to compute with, the kernels for this CPU, and the last
 * message. threads is 1 to 1024, or 0 for as many as this process may use cores; the calling thread
 * is one of them, so threads - 1 are started. The environment variable SUMI_ISA may name another
 * instruction set that the CPU has (one of the names at sumi_context_isa). On a CPU with AMX, Linux
 * is asked to let this process use it. */
SUMI_API sumi_status sumi_context_create(int threads, sumi_context **out);
/* On a device, and what devices there are: sumi_device.h. */
/* Not from a callback: a call on ctx has yet to return there, and nothing is done. */
SUMI_API void sumi_context_free(sumi_context *ctx);
/* What the last call on ctx had to say: why it failed, or its notice; "" where there is neither.
 * Valid until the next call on ctx. With NULL: why the calling thread's last sumi_context_create
 * failed. */
SUMI_API const char *sumi_last_error(const sumi_context *ctx);
/* Asks a long call on ctx to stop and return SUMI_CANCELLED: the one that is running or, where none
 * is, the next one. Safe from any thread and from a signal handler. Long calls are
 * sumi_model_predict, sumi_trainer_step, sumi_train, sumi_verify, sumi_sample, sumi_profile,
 * sumi_classifier_train, sumi_classifier_run, sumi_eval and sumi_tune; any other neither stops nor
 * uses the request up. A request is used up by the long call that it is for, however that ends: a
 * call that is refused for its arguments, or that was done before it looked, returns what it would
 * have returned. Only a call that is refused within a callback leaves the request to the call that
 * runs.
 */
SUMI_API void sumi_cancel(sumi_context *ctx);
/* How many threads it computes with. */
SUMI_API int sumi_context_threads(const sumi_context *ctx);
/* The instruction set: "generic", "avx2", "avx2vnni", "avx512", "avx512vnni", "amx" or "neon". Of a
 * device: "opencl-" and a few digits that name device, driver and version, on which bits depend. */
SUMI_API const char *sumi_context_isa(const sumi_context *ctx);
/* What it computes on: "cpu", or the name of a device and its driver. */
SUMI_API const char *sumi_context_device(const sumi_context *ctx);

/* ---- Several processes ------------------------------------------------------------------------
 * Processes, or threads, that train one model together, each with a context of its own that has
 * joined the others: a rank is one of them. sumi_train and sumi_trainer_step are then called by
 * all, with the same settings, and give all the same bits: those of one process with as many
 * `groups` (sumi_trainer_config). A rank draws, reads and computes its share of each batch's
 * images; rank 0 alone has the run directory, and says what a clock decides. Where one rank fails,
 * all do.
 */

/* How ranks reach each other. Each function is called by all ranks, in the same order, and returns
 * when this rank has what it wants; at most 2^31 - 1 bytes move at a time but for tell. Whoever
 * gives them ends all ranks where one is lost. */
typedef struct {
    size_t size;
    int rank, count; /* 0 to count - 1; count is 1 to 1024 */
    /* all: receives what each rank has, one after the other; bytes [count]: how much that is. */
    void (*gather)(void *user, const void *mine, void *all, const size_t *bytes);
    /* out: for each rank, one after the other, out_bytes [count] of them; in: receives likewise
     * what each rank has for this one. */
    void (*swap)(void *user, const void *out, const size_t *out_bytes, void *in,
                 const size_t *in_bytes);
    /* All get what rank 0 has. */
    void (*tell)(void *user, void *bytes, size_t count);
    void *user;
    const char *build; /* NULL, or a text that is the same where the same program runs */
    /* NULL, or what gather and swap are called with in place of user by a second thread, whose
     * exchanges go on beside the first one's, in an order of their own. */
    void *behind;
} sumi_ranks;
#define SUMI_RANKS_INIT                                                                            \
    {                                                                                              \
        sizeof(sumi_ranks), 0, 1, NULL, NULL, NULL, NULL, NULL, NULL                               \
    }

/* Makes ctx one of several; what ranks points to must stay, and trainers are made afterwards. All
 * else that a context does, it does alone. NULL: it is alone again. SUMI_EINVAL: there cannot be
 * such a rank, or a function is missing. */
SUMI_API sumi_status sumi_context_join(sumi_context *ctx, const sumi_ranks *ranks);

/* ---- Precision -------------------------------------------------------------------------------
 * What a network keeps in memory. With bf16 the tensors between its layers and their gradients are
 * bfloat16, half as large, and a layer computes with its weights rounded to bfloat16; arithmetic is
 * float32, but on a CPU with AMX convolutions multiply in bfloat16 (and add up in float32). The
 * model's own weights, the gradients of weights, the optimiser's state, batch statistics, images
 * and predictions stay float32.
 *
 * With fixed16 tensors are float32, and 3x3 convolutions of 64 channels or more multiply 16-bit
 * integers, scaled so that their sums are exact, where the CPU does that faster (AVX2, AVX-512 with
 * VNNI; elsewhere it computes as fp32 does): a layer's results are off by 1e-4 to 5e-4 of their
 * norm, an eighth of what bfloat16's are off by. bf16 multiplies likewise on such CPUs without AMX.
 */

typedef enum { SUMI_PRECISION_FP32, SUMI_PRECISION_BF16, SUMI_PRECISION_FIXED16 } sumi_precision;

/* ---- Progress -------------------------------------------------------------------------------- */

/* What has just happened. */
typedef enum {
    SUMI_PHASE_TRAIN,  /* a training step */
    SUMI_PHASE_EPOCH,  /* the end of an epoch; loss is the mean of its batches' losses */
    SUMI_PHASE_SAMPLE, /* a sampling step of a batch */
    SUMI_PHASE_SAVE,   /* a checkpoint was written; path names it */
    SUMI_PHASE_GRID,   /* a sample grid was written; path names it */
    SUMI_PHASE_NOTE,   /* something worth knowing: note says what */
    SUMI_PHASE_SCORE,  /* the run was scored: loss is the Frechet distance, path the file */
} sumi_phase;

/* What a long call tells of itself. */
typedef struct {
    size_t size;
    sumi_phase phase;
    int64_t step, step_count;   /* of the whole call; step_count 0 where it is not known */
    int64_t epoch, epoch_count; /* epoch counts from 0 */
    double loss;                /* of this step, or of the epoch */
    double learning_rate;
    double images_per_s;     /* since the call began; sampling: images x evaluations */
    double elapsed_s, eta_s; /* eta_s is below 0 where it is not known */
    const char *path;        /* NULL, or a file or folder that was just written */
    int64_t images;          /* sampling: so many leading images are whole by now */
    const char *note;        /* NULL, or one line: a loss that jumped, a return to a checkpoint */
    double waiting; /* training on several ranks: the share of the time in which this one waited for
                       others, 0 to 1 */
} sumi_progress_t;
typedef sumi_progress_t sumi_progress; /* the name that version 0.1.0 had */

/* Called after every step. A return other than 0 stops the call in good order, as sumi_cancel does.
 */
typedef int (*sumi_progress_fn)(void *user, const sumi_progress_t *progress);

/* ---- Choices --------------------------------------------------------------------------------- */

/* One of the names that a setting may have. sumi_NAME_at(index, &choice) lists those of a setting,
 * from index 0 on, and returns SUMI_EINVAL past the last. The texts are the library's. */
typedef struct {
    size_t size;
    const char *name, *about; /* about: half a sentence of text */
    /* Of a solver: evaluations of the network in one step; whether eta may be set, and what it is
     * where nobody sets it; whether it goes from an image to the noise that it would come from;
     * whether churn may be set; whether it evaluates as often as an image needs. */
    int evaluations;
    bool has_eta;
    float eta;
    bool inverse, has_churn, adaptive;
} sumi_choice_t;
#define SUMI_CHOICE_INIT                                                                           \
    {                                                                                              \
        sizeof(sumi_choice_t), NULL, NULL, 0, false, 0, false, false, false                        \
    }

/* The names of the precisions: index is the number in sumi_precision. */
SUMI_API sumi_status sumi_precision_at(int index, sumi_choice_t *precision);

/* ---- Data sets ------------------------------------------------------------------------------- */

typedef struct sumi_dataset sumi_dataset;

/* Which images of a set, and in which form. */
typedef struct {
    size_t size;
    /* "train" or "test", for sets that have both. "all", for folders of pictures, takes sub-folders
     * that are called train or test as classes like any others. "held-back" is a tenth of the
     * images of "train", but at least 256, at most half and at most 10,000 of them: the first of an
     * order by chance that depends on nothing but how many there are. "rest" is what that leaves.
     */
    const char *split;
    int channels; /* 1: grey; 3: colour; 0: as stored, colour where any picture of a folder is */
    int height, width; /* 0: as stored; else resized to cover this size, and centre-cropped. Where
                          the pictures of a folder differ and both are 0: the size of more than half
                          of them, else the medians of heights and of widths, as the nearest
                          multiples of 4 */
    SUMI_GROWN bool skip_bad; /* folders: leave out pictures that cannot be read, which else are an
                                 error */
    float background; /* folders: what is transparent lies over this grey, from 0, black, to 1 */
} sumi_dataset_config;
#define SUMI_DATASET_CONFIG_INIT                                                                   \
    {                                                                                              \
        sizeof(sumi_dataset_config), "train", 0, 0, 0, false, 1                                    \
    }

typedef struct {
    size_t size;
    int64_t count;
    int height, width, channels;
    int classes;              /* labels are 0 to classes - 1; 0: there are none */
    char name[64];            /* "fashion-mnist", "shapes", or the last part of the path */
    char path[1024];          /* where it was found, cut after 1,023 bytes; "": built in */
    char hash[65];            /* SHA-256 as hex of sizes, pixels and labels; of "shapes", which is
                                 drawn when it is read, the pixels of the first 1,000 images only */
    float range_lo, range_hi; /* of the values: 0 and 1 */
    const char *full_path;    /* the whole path; borrowed from the set */
} sumi_dataset_info_t;
#define SUMI_DATASET_INFO_INIT                                                                     \
    {                                                                                              \
        sizeof(sumi_dataset_info_t), 0, 0, 0, 0, 0, "", "", "", 0, 0, NULL                         \
    }

/* Opens a data set; its images are kept in memory ("shapes" are drawn when they are read).
 * name_or_path is "fashion-mnist" or "shapes", an IDX file (.gz or not) or a folder with the four
 * of a set, a folder of PNG and JPEG pictures whose sub-folders are classes, or an .npy file of
 * [n][h][w][c]. config NULL is that of its _INIT macro. Where nothing is there, the status is
 * SUMI_EIO and the message says where it was looked for. Notices of the set (files left out, sizes
 * that differ) are in sumi_last_error, one after the other as far as they fit; sumi_dataset_notice
 * has them all. */
SUMI_API sumi_status sumi_dataset_open(sumi_context *ctx, const char *name_or_path,
                                       const sumi_dataset_config *config, sumi_dataset **out);
/* Fills in what is known of the set. */
SUMI_API sumi_status sumi_dataset_info(const sumi_dataset *set, sumi_dataset_info_t *info);
/* One notice, a line of text: index 0, 1, ...; NULL past the last one. Borrowed from the set. */
SUMI_API const char *sumi_dataset_notice(const sumi_dataset *set, int index);
/* Writes image number index to image, [h][w][c] floats, and its class to *label, -1 where there are
 * no classes; label may be NULL. */
SUMI_API sumi_status sumi_dataset_read(const sumi_dataset *set, int64_t index, float *image,
                                       int32_t *label);
/* The name of a class, or NULL where it has none. Borrowed from the set. */
SUMI_API const char *sumi_dataset_class_name(const sumi_dataset *set, int label);
/* How far the pictures of a label look one way, left or right, which mirroring them would undo: the
 * squared distance of their mean from its mirror image, as a share of what it is of a picture, on
 * average. 1: all are the same; near 0: as many look left as right; above 0.1 is much (of
 * Fashion-MNIST's ankle boots, 0.68). *asymmetry receives the most that a label with 40 pictures or
 * more has, and *label which; -1: the set has no labels, or too few pictures. SUMI_ENOMEM. */
SUMI_API sumi_status sumi_dataset_asymmetry(const sumi_dataset *set, double *asymmetry,
                                            int32_t *label);
SUMI_API void sumi_dataset_free(sumi_dataset *set);

/* ---- Models ---------------------------------------------------------------------------------- */

typedef struct sumi_model sumi_model;

enum { SUMI_LEVELS_MAX = 6 }; /* of a network: sizes that its tensors have */

/* Numbers that tell what an augmentation made of an image (sumi_train_config.augment). */
enum { SUMI_AUGMENT_NUMBERS = 9 };

/* A network, and the diffusion process that it is for. */
typedef struct {
    size_t size;
    const char *preset; /* the recipe that the rest is of, which files keep: of sumi_preset_at */
    int in_channels, out_channels;
    int time_dim;               /* numbers in the sinusoidal embedding of t, 1 to 4096 */
    uint64_t seed;              /* of the initial weights */
    int timesteps;              /* T, 1 to 100000 */
    float beta_start, beta_end; /* of the schedule linear: 0 < beta_start <= beta_end < 1 */
    int base_channels; /* width of the network's first level, 1 to 1024; the tutorial has 64 */
    /* "tutorial": the tutorial's U-Net ("seed", its former name, is read as it); "unet": a residual
     * one with group norms, which is told of labels, takes any height and width from 2^(levels - 1)
     * on, and has the tensors that docs/NETWORKS.md names. sumi_net_at lists them, and
     * sumi_model_config_net sets the name, base_channels and time_dim of one. */
    const char *net;
    /* What the network returns, how noise grows with t, how the loss of a t counts, and how often
     * training draws it: names of sumi_objective_at, sumi_schedule_at, sumi_weighting_at and
     * sumi_law_at; NULL stands for the first of each. Not every objective goes with every schedule:
     * sumi_model_create says which do not. */
    const char *objective, *schedule, *weighting, *law;
    float sigma_min, sigma_max; /* of the schedule edm: its least and its most noise */
    float sigma_data;        /* deviation of the data's values, for objective and weighting edm */
    float gamma;             /* signal-to-noise ratio where min-snr and soft-min-snr stop to grow */
    float law_mean, law_std; /* of the normal inside the laws log-normal and logit-normal */
    bool stratified;         /* a batch's t are spread evenly over the law, not independent */
    /* Of unet: how much wider than the first each level is, and its residual blocks; both 1 to 31,
     * as many of each, 0 after the last. A level has half the height and width of the one before.
     * And the labels that it is told of; 0: none. */
    int multipliers[SUMI_LEVELS_MAX], blocks[SUMI_LEVELS_MAX];
    int classes;
    /* Of unet: the levels, counted from 1, whose blocks are each followed by attention between all
     * pixels, 0 after the last (Vaswani et al. 2017), and the channels of one of its heads. */
    int attention[SUMI_LEVELS_MAX], head_channels;
    /* The network is told of images whose channels are shifted and scaled to mean 0 and a deviation
     * of sigma_data; sumi_train measures them on its data. Images that a program gives or receives
     * are as ever, x_t among them; only sumi_model_predict sees what the network sees. */
    bool standardise;
    bool zero_snr; /* the betas of a schedule are rescaled so that step T has nothing of the image
                      (Lin et al. 2024); not with the objective eps */
    /* Of unet: SUMI_AUGMENT_NUMBERS where its training is to tell it what was made of its images,
     * by sumi_train_config.augment; else 0. In sampling nothing was. */
    int augmentation;
} sumi_model_config;
#define SUMI_MODEL_CONFIG_INIT                                                                     \
    {                                                                                              \
        sizeof(sumi_model_config), "tutorial", 1, 1, 100, 0, 1000, .001f, .01f, 64, "tutorial",    \
            "eps", "linear", "uniform", "uniform", .002f, 80, .5f, 5, 0, 1, false, {1, 2, 4},      \
            {1, 2, 2}, 0, {0}, 64, false, false, 0                                                 \
    }

typedef struct {
    size_t size;
    char preset[32];
    int in_channels, out_channels, time_dim, base_channels;
    int timesteps;
    float beta_start, beta_end;
    int64_t parameters; /* trainable numbers; running statistics are not among them */
    int tensors;        /* of the state dict, running statistics included */
    int height, width;  /* of the images it was trained on; 0: not known */
    float range_lo, range_hi;
    int64_t steps; /* training steps behind these weights */
    char net[32];  /* "tutorial" */
} sumi_model_info_t;
#define SUMI_MODEL_INFO_INIT                                                                       \
    {                                                                                              \
        sizeof(sumi_model_info_t), "", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ""                \
    }

/* The choices of a sumi_model_config. */
SUMI_API sumi_status sumi_objective_at(int index, sumi_choice_t *objective);
SUMI_API sumi_status sumi_schedule_at(int index, sumi_choice_t *schedule);
SUMI_API sumi_status sumi_weighting_at(int index, sumi_choice_t *weighting);
SUMI_API sumi_status sumi_law_at(int index, sumi_choice_t *law);

/* A new model whose weights are drawn from config->seed as PyTorch draws them. config NULL is that
 * of its _INIT macro, the tutorial's. SUMI_EINVAL names the field that is out of its range, or the
 * two that do not go together. */
SUMI_API sumi_status sumi_model_create(sumi_context *ctx, const sumi_model_config *config,
                                       sumi_model **out);
/* Loads a model from a file, which is told by its content: .safetensors or PyTorch's .pth; or from
 * a run directory, where it takes the latest checkpoint (its averaged weights if there are some),
 * or the model file if no checkpoint is whole.
 * A file without sumi's metadata, as PyTorch writes them, is taken for the tutorial's network. Its
 * tensors may have a prefix ("module."), lie in a dict beside others, be parameters or halves, and
 * lack num_batches_tracked. Of several models in a file, "FILE#NAME" takes the one below NAME.
 * A notice says where that was so, or where a damaged or missing checkpoint was passed over. Of a
 * folder that is no run, the message says what it is, and names the newest of the runs in it. */
SUMI_API sumi_status sumi_model_load(sumi_context *ctx, const char *path, sumi_model **out);
/* Writes weights and metadata to a file, whose ending, .safetensors or .pth, says what is written.
 * A file that is there stays whole until it is replaced. */
SUMI_API sumi_status sumi_model_save(sumi_context *ctx, const sumi_model *model, const char *path);
/* A new model, the sum of `count` of one network, each times its factor; NULL: their mean. What is
 * not a weight is the first's. SUMI_ESHAPE where networks differ. */
SUMI_API sumi_status sumi_model_average(sumi_context *ctx, const sumi_model *const *models,
                                        const double *factors, int count, sumi_model **out);
/* The width of an average by the power 0, a plain mean: 1 / sqrt(12). Wider there is none. */
#define SUMI_AVERAGE_WIDEST 0.2886
/* A new model: the average by a power of the step that is as wide as this share of a run's steps,
 * above 0 and below SUMI_AVERAGE_WIDEST, made of the snapshots that the run kept
 * (sumi_train_config.snapshots) as near as least squares bring it (Karras et al. 2024,
 * arXiv:2312.02696, appendix C). SUMI_EIO where it kept none. */
SUMI_API sumi_status sumi_model_average_run(sumi_context *ctx, const char *run, double width,
                                            sumi_model **out);
/* Fills in what is known of the model. */
SUMI_API sumi_status sumi_model_info(const sumi_model *model, sumi_model_info_t *info);
/* Texts by name that travel in the model's files. get returns NULL where there is none of that
 * name, else a text that is borrowed until it is set anew. set replaces one; it refuses names that
 * begin with "sumi.", which are sumi's own, and names that are not UTF-8; bytes of a value that are
 * no part of UTF-8 become \xNN. */
SUMI_API const char *sumi_model_get_metadata(const sumi_model *model, const char *key);
SUMI_API sumi_status sumi_model_set_metadata(sumi_context *ctx, sumi_model *model, const char *key,
                                             const char *value);
/* The name of a label that the model is told of; NULL where it has none. Borrowed. */
SUMI_API const char *sumi_model_class_name(const sumi_model *model, int label);
/* Measures the mean and the deviation of each channel of a set (of "shapes", of its first 10,000
 * images; a deviation below 0.05 counts as that) for a model whose config has `standardise`, as
 * sumi_train does by itself; a trainer's program calls it before sumi_trainer_create. Nothing
 * happens to a model that has them already. SUMI_ESHAPE: other channels than the model's. */
SUMI_API sumi_status sumi_model_measure(sumi_context *ctx, sumi_model *model,
                                        const sumi_dataset *set);
/* What was measured: of channel 0 to in_channels - 1; SUMI_EINVAL where nothing was, or there is no
 * such channel. Either may be NULL. */
SUMI_API sumi_status sumi_model_statistics(const sumi_model *model, int channel, float *mean,
                                           float *deviation);
SUMI_API void sumi_model_free(sumi_model *model);

/* ---- Training -------------------------------------------------------------------------------- */

typedef struct sumi_classifier sumi_classifier; /* of sumi_eval.h */

enum { SUMI_AVERAGES_MAX = 4 };

/* What a training step does. */
typedef struct {
    size_t size;
    int batch;     /* the largest number of images of a step; in a run, that of every step but an
                      epoch's last */
    uint64_t seed; /* of shuffling, timesteps and noise */
    float learning_rate;
    /* How the learning rate goes on. It first rises in a straight line over warmup_steps. Then
     * "constant" leaves it as it is; "linear" and "cosine" lower it until step number
     * schedule_steps to final_rate times learning_rate, where it stays; so does "wsd", over the
     * last fifth of that way. In a run (sumi_train) 0
     * stands for the run's last step. Where minutes are its limit, steps are timed in the warm-up
     * (of 4 or more), and then their number is fixed and written down: the rate comes to its end as
     * the time does, and so many steps in place of the minutes give the same bits. */
    const char *rate_schedule;
    int64_t warmup_steps, schedule_steps;
    float final_rate;
    /* "adam"; "adamw": with decoupled weight decay; or "muon", which moves a network's hidden
     * matrices, convolutions as [out][in * taps], along what Newton-Schulz steps make of their
     * momentum (Jordan 2024, https://kellerjordan.github.io/posts/muon/), and all else as adamw. */
    const char *optimiser;
    float weight_decay; /* of adamw and muon, 0 to 1; PyTorch's default is 0.01 */
    /* Decays of averages of the weights, from 0 to 1; 0 is none, and those that are wanted come
     * first. Those of power_averages stand before them; the first of all is the one that a run
     * draws its pictures with and writes as its model. */
    float averages[SUMI_AVERAGES_MAX];
    sumi_precision precision;
    int height, width; /* of the images, so that all is planned when the trainer is made; 0: the
                          first step plans. A run has its data's */
    /* Of a network that is told of labels: the share of images whose label is withheld in a step,
     * so that it learns to do without, 0 to 1. */
    float label_drop;
    float muon_rate; /* muon's learning rate for hidden matrices, which goes on as learning_rate; it
                        is multiplied by max(1, rows / columns)^(1/2) of a matrix */
    float beta1, beta2, epsilon; /* of adam, and beside muon; 0: the optimiser's own, .9, .999 (.99
                                    beside muon) and 1e-8 */
    float
        clip_norm; /* gradients whose norm, of all together, is larger are shrunk to it; 0: none */
    /* Averages with a power of the step for weights (Karras et al. 2024, arXiv:2312.02696), which
     * are as wide as this share of the steps, above 0 up to .28; 0 is none, and those that are
     * wanted come first. With those of `averages` they are at most SUMI_AVERAGES_MAX. They forget
     * the initial weights in a run of any length; .1 has the exponent 6.94. */
    float power_averages[SUMI_AVERAGES_MAX];
    /* In how many parts a batch goes through the network, one after the other: a step takes less
     * memory, and does the same but for rounding. Batch norms see a part alone, though, and their
     * running statistics take the last one's. 1 up to batch. */
    int accumulate;
    /* In how many groups the images of a batch, or of such a part, are cut: what is added up over
     * images is added up in each group, and then over the groups along a binary tree. 0: images are
     * added up one after the other. At most 1024, and at most batch. Ranks that have joined
     * (sumi_context_join) share a batch by its groups: their bits are those of one process. A run
     * of several ranks takes 8 in place of 0, or as many as there are ranks, rounded up to a power
     * of 2. */
    int groups;
    /* How gradients go from rank to rank: fp32, or bf16 in half the bytes. With bf16 the sums, and
     * so the weights, depend on the number of ranks. */
    sumi_precision transport;
} sumi_trainer_config;
#define SUMI_TRAINER_CONFIG_INIT                                                                   \
    {                                                                                              \
        sizeof(sumi_trainer_config), 128, 0, 1e-3f, "constant", 0, 0, 0, "adam", 0, {0, 0, 0, 0},  \
            SUMI_PRECISION_FP32, 0, 0, .1f, .02f, 0, 0, 0, 0, {0, 0, 0, 0}, 1, 0,                  \
            SUMI_PRECISION_FP32                                                                    \
    }

/* What a run does at a step whose loss, gradients or statistics are not finite. Nothing was updated
 * then; out_dir gets nan_report.json, which names step, layer and image. */
typedef enum {
    SUMI_ON_NAN_STOP,     /* ends with SUMI_EINVAL */
    SUMI_ON_NAN_ROLLBACK, /* goes on from the checkpoint before, at half the learning rate */
} sumi_on_nan;

/* A training run.
 *
 * It ends when the first of its limits is met: epochs, steps and minutes, each 0 for no such limit.
 * epochs begins as 10, the tutorial's: to train for a number of steps or minutes alone, set epochs
 * to 0 as well. Without any limit it goes on until it is stopped.
 *
 * What a step does can be said in two ways. In short: in batch, learning_rate, seed, ema and
 * precision, with Adam and a constant rate. In full: in a sumi_trainer_config that `trainer` points
 * to; then those five fields are not looked at. */
typedef struct {
    size_t size;
    int epochs;    /* passes over the data */
    int64_t steps; /* of the whole run, as epochs are: also of what was trained before a resume */
    int batch;     /* images in a step */
    float learning_rate;
    uint64_t seed; /* of shuffling, timesteps and noise */
    /* The run directory: settings, logs, checkpoints, grids and the model at the end. It is made,
     * or must be empty unless resume is set. NULL: none, and nothing is written. */
    const char *out_dir;
    /* Go on from the latest checkpoint in out_dir. What that run was begun with must be set again:
     * another setting, but for limits, out_dir and callbacks, is refused with both values. */
    bool resume;
    /* NULL, or called with user after every step; on a device that is given several steps at once
     * (up to 16) for all of these after the last. */
    sumi_progress_fn progress;
    void *user;
    double minutes;              /* of this call, whatever was trained before a resume */
    float ema;                   /* decay of an average of the weights; 0: none (the tutorial) */
    int grid;                    /* pictures in each sample grid of out_dir; 0: no grids */
    int grid_height, grid_width; /* of its pictures; 0: as the data, but 32x32 for 28x28 (the
                                    tutorial's) */
    int grid_steps;      /* network evaluations for a grid, by DDIM; 0: as the model's sampling
                                    defaults say, or all of them (DDPM) */
    const char *command; /* kept in the run's files; NULL: none */
    sumi_precision precision;
    const sumi_trainer_config *trainer;
    /* When out_dir gets a checkpoint besides its first and last: after every so many steps (0: not
     * by steps), after so many minutes (0: not by time), and at the end of an epoch where the last
     * one is long enough ago that saving takes less than a hundredth of the time. */
    int64_t checkpoint_every;
    double checkpoint_minutes;
    /* Which stay: the newest so many (1 or more), the best so many (keep_best), and those after
     * each multiple of keep_every steps (0: none), which then are written, too. */
    int keep_last;
    int64_t keep_every;
    sumi_on_nan on_nan;
    /* What is made of the images before they are noised, anew in each step; a function of seed,
     * step and place in the batch. flip: half of them are mirrored, left to right (not where
     * pictures mostly look one way: sumi_dataset_asymmetry). crop: they move by up to so many
     * pixels each way, and what they leave repeats their edge. */
    bool flip;
    int crop;
    /* So many times in a run, whose steps are known, averages/ gets the averages by powers as they
     * are; sumi_model_average_run makes others of them. 0: never. */
    int snapshots;
    /* 0, or the probability of each change of a set that the network is told of, for small data
     * (0.1 to 0.2; Karras et al. 2022): images are mirrored (left to right half of them), scaled,
     * turned, stretched and moved. As it is told, it learns much of the changed ones without
     * drawing any. The model's field augmentation is SUMI_AUGMENT_NUMBERS. */
    float augment;
    /* Score the first average of the weights (or the weights) after every so many epochs and at
     * the end of the run, by images drawn as sumi_eval does with seed 0: a line of out_dir's
     * eval.jsonl each, and `best` is the step with the lowest Frechet distance, where it is else
     * that of the epoch with the lowest loss. 0: never. It changes no bit of the training, but
     * takes time, which counts towards minutes. */
    int eval_every;
    int eval_images;                  /* 0: 1,000 */
    const sumi_classifier *evaluator; /* made of the images that are trained on */
    const sumi_dataset *eval_test;    /* what to compare with; NULL: those images themselves */
    const char *eval_cache;           /* as sumi_eval_config.cache */
    /* So many of the best checkpoints stay, 1 or more: those of the epochs with the lowest losses
     * that ended with one or, with eval_every, those with the lowest Frechet distances. */
    int keep_best;
    /* At its end a run with an out_dir looks for the way to sample its model (sumi_tune) that draws
     * the best pictures in at most 20 evaluations, and keeps it in the model. It takes about a
     * twentieth of the time and counts towards minutes; where that is too short for two ways, or
     * there are too few images, the model's own way stays. It changes no bit of the weights. */
    bool tune;
} sumi_train_config;
#define SUMI_TRAIN_CONFIG_INIT                                                                     \
    {                                                                                              \
        sizeof(sumi_train_config), 10, 0, 128, 1e-3f, 0, NULL, false, NULL, NULL, 0, 0, 64, 0, 0,  \
            0, NULL, SUMI_PRECISION_FP32, NULL, 0, 5, 2, 0, SUMI_ON_NAN_STOP, false, 0, 0, 0, 0,   \
            0, NULL, NULL, NULL, 1, false                                                          \
    }

/* The choices of a sumi_trainer_config. */
SUMI_API sumi_status sumi_optimiser_at(int index, sumi_choice_t *optimiser);
SUMI_API sumi_status sumi_rate_schedule_at(int index, sumi_choice_t *schedule);

/* Trains a model, in place, on a data set until a limit is met; see sumi_train_config. Stopped by
 * sumi_cancel or by the callback, it saves a checkpoint first (where there is an out_dir) and
 * returns SUMI_CANCELLED. A notice says where a resumed run passed over a damaged checkpoint, or
 * goes on on another instruction set, which rounds differently. */
SUMI_API sumi_status sumi_train(sumi_context *ctx, sumi_model *model, const sumi_dataset *set,
                                const sumi_train_config *config);

/* What came of replaying a run's steps, and what of machine or build is another (note). */
typedef struct {
    size_t size;
    int64_t first,
        last;          /* the steps of two neighbouring checkpoints: first + 1 .. last were done */
    int64_t loss_step; /* the first whose loss is not that of metrics.jsonl; 0: all are */
    bool same;         /* losses, and every bit of the second checkpoint */
    char differs[64];  /* the first part of that which differs: "weights", "exp_avg", ...; or "" */
    char note[512];    /* why the bits may or must differ; "" where machine and build are alike */
} sumi_verify_t;

/* Replays steps of the run in config->out_dir in memory, nothing of which is written. model is any
 * of its description; config says what the run was begun with. A long call. SUMI_EIO where the run
 * has fewer than two checkpoints. result's size must be that of this header. */
SUMI_API sumi_status sumi_verify(sumi_context *ctx, sumi_model *model, const sumi_dataset *set,
                                 const sumi_train_config *config, sumi_verify_t *result);

/* ---- Sampling -------------------------------------------------------------------------------- */

/* Called after an evaluation of the network: step is the t, rounded to a whole number, x_t where
 * the sampling stood there and x_0 the image that the network sees in it; both [n][h][w][c], and
 * valid during the call. A return other than 0 stops the sampling. */
typedef int (*sumi_on_step_fn)(void *user, int step, const float *x_t, const float *x_0, int n);

/* Called with images first to first + n - 1 of the call as soon as they are whole: [n][h][w][c],
 * not clamped, valid during the call. A return other than 0 stops the sampling. */
typedef int (*sumi_images_fn)(void *user, int64_t first, const float *images, int n);

/* What to draw, and how. */
typedef struct {
    size_t size;
    int count; /* images */
    int height, width;
    /* Network evaluations for an image, at most; 0: as many as timesteps. A solver with two in a
     * step takes one fewer where the number is even. */
    int steps;
    /* A name of sumi_solver_at. NULL: the model's own sampling defaults hold for it, and for all of
     * steps, spacing, rho, sigma_min, sigma_max, eta, churn and what belongs to it, clip,
     * threshold, guidance (of images with labels), rtol and atol that are as the _INIT macro leaves
     * them; ddpm where the model has none. With a solver the model's defaults are not looked at. */
    const char *solver;
    float eta; /* how much noise a solver with has_eta adds: 0 none, 1 as much as ddpm; -1: as much
                  as it adds by itself */
    uint64_t seed;
    int64_t first_index; /* image i of the call is image first_index + i of the seed */
    /* NULL: noise is drawn from seed. Else [1 + steps][count][height][width][channels]: x_T first,
     * then z after each evaluation. */
    const float *noise;
    sumi_on_step_fn on_step;   /* NULL, or called with user; on_images below likewise */
    sumi_progress_fn progress; /* NULL, or called with user */
    void *user;
    int batch; /* images evaluated together; 0: chosen by sumi. Never changes a bit. */
    SUMI_GROWN sumi_precision precision;
    const char *spacing; /* of the timesteps: a name of sumi_spacing_at; NULL: "trailing" */
    sumi_images_fn on_images;
    /* Levels of the caller's choice, falling, in place of steps and spacing (level_count 0: none):
     * t from 1 to timesteps, fractions too; or, with levels_are_sigma, sigma / alpha, which is
     * "sigma" in Karras et al. 2022 and elsewhere. */
    const double *levels;
    int level_count;
    bool levels_are_sigma;
    /* Noise that heun adds as it goes (Karras et al. 2022, algorithm 2): S_churn, 0 for none;
     * S_tmin and S_tmax, between which sigma / alpha must be; S_noise. */
    float churn, churn_min, churn_max, churn_noise;
    /* The predictions of x_0 are clipped to this range; not where both are 0. */
    float clip_low, clip_high;
    /* 0, or dynamic thresholding (Saharia et al. 2022): where more than a share of 1 - threshold of
     * an image's predictions lies outside that range (the model's, where none is set), they are
     * clipped less and shrunk into it. Imagen has 0.995. */
    float threshold;
    /* [count][height][width][channels], or NULL: images to begin from. As much noise is added to
     * them as there is at t = strength * timesteps, where the sampling begins; near 0 little of
     * them changes, and 1 leaves a trace of them. An inverse solver (sumi_choice_t.inverse) begins
     * at the images themselves, and out receives the x_t at which others would begin. */
    const float *image;
    float strength;     /* more than 0, at most 1 */
    const float *start; /* as image, or NULL: x_t at the first level, in place of noise */
    int *evaluations;   /* NULL, or [count]: receives how many of the network each image took */
    /* NULL, or [height][width] in 0..1, with an image: where it is 1 the image is made anew, where
     * it is 0 it is kept. So that both agree (RePaint, Lugmayr et al. 2022), each level is passed
     * mask_visits times, with mask_jump steps gone back each time (0: a 25th of them, as in the
     * paper): evaluations grow by nearly as much. 1: never back. */
    const float *mask;
    int mask_visits, mask_jump;
    /* -1, or: the call's images lie between image first_index, which is its first, and this one,
     * which is its last: on the great circle between their noise. */
    int64_t to_index;
    /* Of a solver that is adaptive (sumi_choice_t.adaptive): the error of a step that each number
     * may have, atol + rtol times its size; steps is the most evaluations an image may take. */
    float rtol, atol;
    /* [count], or NULL: no image has a label. What each image shall show, for a model that is told
     * of labels (its field "classes" is above 0); -1: none. */
    const int32_t *labels;
    /* Of the spacing karras: how much its levels crowd where there is little noise; 0: 7. And the
     * sigma / alpha of the last level and the first, in place of the schedule's own (0): sigma_min
     * of uniform, karras, logsnr and quadratic, sigma_max of all. */
    float rho, sigma_min, sigma_max;
    /* 1: none. Else the predictions of x_0 become other + guidance (x_0 - other), before they are
     * clipped; more than 1 leads away from the other. That is what the network says without the
     * label (classifier-free guidance: Ho and Salimans 2022), which images without one are spared;
     * or, where there is a guide, what that model says: a smaller one, or one that was trained less
     * (autoguidance: Karras et al. 2024, "Guiding a diffusion model with a bad version of itself"),
     * of the same process and images, told of the same labels where it knows any. The guide is
     * borrowed, and stays the caller's. It happens where sigma / alpha is at least guidance_from
     * and at most guidance_to (Kynkaanniemi et al. 2024). Where it does, an image takes two
     * evaluations of networks for what steps and levels count as one; progress and `evaluations`
     * tell of both. SUMI_EINVAL: neither labels nor a guide, or a guide of another process or with
     * other labels; SUMI_ESHAPE: a guide for images of another size. */
    float guidance, guidance_from, guidance_to;
    const sumi_model *guide;
    /* Where the context has joined others (sumi_context_join): they share the images by their
     * numbers, and rank 0 gets them, in out, on_images and evaluations. All ranks make the call,
     * with the same model and settings, else SUMI_EINVAL; there is no on_step then. */
    bool share;
} sumi_sample_config;
#define SUMI_SAMPLE_CONFIG_INIT                                                                    \
    {                                                                                              \
        sizeof(sumi_sample_config), 1, 32, 32, 0, NULL, -1, 0, 0, NULL, NULL, NULL, NULL, 0,       \
            SUMI_PRECISION_FP32, NULL, NULL, NULL, 0, false, 0, 0, 1e30f, 1, 0, 0, 0, NULL, 1,     \
            NULL, NULL, NULL, 10, 0, -1, 1e-3f, 1e-3f, NULL, 0, 0, 0, 1, 0, 1e30f, NULL, false     \
    }

/* Solvers, and ways to space the timesteps: index from 0; SUMI_EINVAL past the end. */
SUMI_API sumi_status sumi_solver_at(int index, sumi_choice_t *solver);
SUMI_API sumi_status sumi_spacing_at(int index, sumi_choice_t *spacing);

/* A model's own way to be sampled: what of a sumi_sample_config holds where its solver is NULL. It
 * is kept in the model's files, and programs and commands that are told nothing else use it. get
 * sets in config, which was filled by its _INIT macro, what the model has a default for; the texts
 * are the library's, or the model's where this version does not know a name. set replaces all of it
 * by what config says other than its _INIT macro does (count, size, seed, noise, images, levels and
 * callbacks are not looked at), by nothing with NULL; it refuses what could not be sampled with:
 * SUMI_EINVAL. */
SUMI_API sumi_status sumi_model_get_sampling(const sumi_model *model, sumi_sample_config *config);
SUMI_API sumi_status sumi_model_set_sampling(sumi_context *ctx, sumi_model *model,
                                             const sumi_sample_config *config);
/* The same as set in a model file or a run directory, atomically: a run keeps it in sampling.json,
 * which stands above what its checkpoints say, and in its model files. A file that holds more than
 * a model of sumi's is refused, since that would be lost. */
SUMI_API sumi_status sumi_model_save_sampling(sumi_context *ctx, const char *path,
                                              const sumi_sample_config *config);

/* Draws config->count images with a model's network; config NULL is that of its _INIT macro. out
 * receives them, [count][height][width][channels] floats that are not clamped to the data's range;
 * out_floats is how many it has room for. Where config->on_images takes the images, out may be
 * NULL: then memory does not grow with count. Where the call was cancelled, the message says how
 * many leading images are whole. */
SUMI_API sumi_status sumi_sample(sumi_context *ctx, const sumi_model *model,
                                 const sumi_sample_config *config, float *out, size_t out_floats);

/* ---- Recipes --------------------------------------------------------------------------------- */

/* Recipes: sets of defaults, "standard" and "tutorial", which is what the _INIT macros say ("seed",
 * its former name, is read as it). */
SUMI_API sumi_status sumi_preset_at(int index, sumi_choice_t *preset);
/* What a recipe says of a model, its training and its sampling, for a data set and a budget, which
 * is the limits that train has: epochs, steps and minutes; where all are 0, the recipe's own. All
 * four configs were filled by their _INIT macros, and are changed in what the recipe says. train
 * gets limits and grids alone: what a step does goes into trainer, to which train->trainer then has
 * to point. sample is what sumi_model_set_sampling takes once there is a model, where its solver is
 * not NULL. why (or NULL) has room for size bytes and receives the reasons, lines of text.
 * "standard" depends on the set's size, channels, classes and count, and on the limits: not on the
 * machine.
 * SUMI_EINVAL: there is no such recipe, or there are no images. */
SUMI_API sumi_status sumi_preset_choose(sumi_context *ctx, const char *preset,
                                        const sumi_dataset *set, sumi_model_config *model,
                                        sumi_trainer_config *trainer, sumi_train_config *train,
                                        sumi_sample_config *sample, char *why, size_t size);

/* ---- Advanced: training step by step, and single evaluations --------------------------------- */

/* Images with what belongs to them, for sumi_trainer_step and sumi_model_predict. */
typedef struct {
    size_t size;
    int n, h, w;
    const float *x;           /* [n][h][w][in_channels] */
    const int32_t *t;         /* [n], 1..timesteps */
    const float *noise;       /* as x, or NULL */
    const int32_t *labels;    /* [n], -1 is none; or NULL: all are. Networks without ignore them */
    sumi_precision precision; /* of sumi_model_predict; a trainer has its own */
    /* Of a trainer: [n][augmentation], what was made of x, for a network that is told (the field
     * augmentation of its model is above 0); or NULL: nothing. */
    const float *augmentation;
} sumi_batch;
#define SUMI_BATCH_INIT                                                                            \
    {                                                                                              \
        sizeof(sumi_batch), 0, 0, 0, NULL, NULL, NULL, NULL, SUMI_PRECISION_FP32, NULL             \
    }

/* Evaluates the network in eval mode. batch->x is what the network is given, which is x_t (with the
 * objective edm, x_t scaled to variance 1); out [n][h][w][out_channels] receives what it returns,
 * which is the noise with the objective eps, the tutorial's. batch->noise is ignored. SUMI_EINVAL
 * where x has NaN or an infinity, whose place the message names; SUMI_ESHAPE where h or w is not a
 * multiple of 4 (tutorial). */
SUMI_API sumi_status sumi_model_predict(sumi_context *ctx, const sumi_model *model,
                                        const sumi_batch *batch, float *out);

typedef struct sumi_trainer sumi_trainer;

/* A trainer trains a model in place, a step a call, on whatever images it is given. The model must
 * outlive it, and nobody else may use the model meanwhile. Of config only what says what a step
 * does matters here: config->trainer or, where that is NULL, batch, learning_rate, seed, ema and
 * precision. */
SUMI_API sumi_status sumi_trainer_create(sumi_context *ctx, sumi_model *model,
                                         const sumi_train_config *config, sumi_trainer **out);
/* One optimisation step on batch->x, which is x_0. t and noise may be NULL; they are then drawn
 * from (seed, step). *loss (loss may be NULL) receives the batch's weighted mean squared error
 * before the update. Where the loss or a gradient is not finite, the step is refused with
 * SUMI_EINVAL before the weights are touched. */
SUMI_API sumi_status sumi_trainer_step(sumi_trainer *trainer, const sumi_batch *batch, float *loss);
/* save writes a checkpoint, all or nothing, to the folder dir, which is made where it is missing:
 * weights, averages, the optimiser's state and settings. resume reads it back, after which further
 * steps give the same bits as if nothing had stopped. So resume refuses, with both values, a
 * trainer with another setting that changes bits (SUMI_EINVAL; all of sumi_trainer_config but
 * batch, height and width) or another network or process (SUMI_ESHAPE). */
SUMI_API sumi_status sumi_trainer_save(sumi_trainer *trainer, const char *dir);
SUMI_API sumi_status sumi_trainer_resume(sumi_trainer *trainer, const char *dir);
/* Steps that were taken, those before a resume among them. */
SUMI_API int64_t sumi_trainer_steps(const sumi_trainer *trainer);
/* A new model with the trainer's present weights (which 0) or with one of its averages (1..4);
 * SUMI_EINVAL where there is no such average. */
SUMI_API sumi_status sumi_trainer_model(sumi_trainer *trainer, int which, sumi_model **out);
SUMI_API void sumi_trainer_free(sumi_trainer *trainer);

/* ---- Advanced: tensors ----------------------------------------------------------------------- */

typedef enum { SUMI_F32, SUMI_I64 } sumi_dtype;

typedef struct {
    size_t size;
    const char *name; /* PyTorch's state_dict name; borrowed from the model */
    sumi_dtype dtype;
    int rank;
    int64_t shape[4]; /* PyTorch's order: a convolution's weight is [out][in][kh][kw] */
    int64_t count;    /* elements; 1 where rank is 0 */
    bool trainable;
} sumi_tensor_t;
#define SUMI_TENSOR_INIT                                                                           \
    {                                                                                              \
        sizeof(sumi_tensor_t), NULL, SUMI_F32, 0, {0, 0, 0, 0}, 0, false                           \
    }

/* Walks the state dict: index 0 .. info.tensors - 1; SUMI_EINVAL past the end. */
SUMI_API sumi_status sumi_model_tensor(const sumi_model *model, int index, sumi_tensor_t *tensor);
/* Copies that tensor's numbers (float32 or int64, in PyTorch's order) to out, which has room for
 * bytes; SUMI_ESHAPE where that is too little. */
SUMI_API sumi_status sumi_model_tensor_read(const sumi_model *model, int index, void *out,
                                            size_t bytes);

/* ---- Advanced: what describes a model -------------------------------------------------------- */

/* What kind of value a field has. */
typedef enum {
    SUMI_FIELD_INT,
    SUMI_FIELD_INT64,
    SUMI_FIELD_FLOAT,
    SUMI_FIELD_BOOL,
    SUMI_FIELD_CHOICE, /* one of several names */
    SUMI_FIELD_LIST,   /* up to SUMI_LEVELS_MAX whole numbers, as text with commas: "1,2,4" */
} sumi_field_kind;

/* One of the facts that describe a model: for programs that show or set all of them, whatever
 * fields a later version adds. The texts are the library's. */
typedef struct {
    size_t size;
    const char *name;  /* in model files, and in sumi_model_config where it is settable */
    const char *part;  /* of the description: "net", "process", "data" or "trained" */
    const char *about; /* a sentence or two */
    sumi_field_kind kind;
    bool settable;       /* sumi_model_config has it */
    bool from_data;      /* it has to fit the images that the model is trained on */
    double low, high;    /* the range of a number */
    const char *initial; /* the default as text: "1000", "0.001", "eps", "false" */
    /* Of SUMI_FIELD_CHOICE: lists its names. */
    sumi_status (*choice_at)(int index, sumi_choice_t *choice);
} sumi_field_t;
#define SUMI_FIELD_INIT                                                                            \
    {                                                                                              \
        sizeof(sumi_field_t), NULL, NULL, NULL, SUMI_FIELD_INT, false, false, 0, 0, NULL, NULL     \
    }

/* Walks the fields: index 0, 1, ...; SUMI_EINVAL past the last. */
SUMI_API sumi_status sumi_model_field_at(int index, sumi_field_t *field);
/* A model's value. *number receives it: 0 or 1 for false and true, for a float32 the shortest
 * decimal that reads back as the same, 0.001. Of a choice *text receives the name, and *number its
 * index; of a list *text receives its text; else *text is left as it is. Either may be NULL.
 * SUMI_EINVAL where there is no such field, or the model's network has none. */
SUMI_API sumi_status sumi_model_get_field(const sumi_model *model, const char *name, double *number,
                                          const char **text);
/* Lists the networks: index from 0; SUMI_EINVAL past the end. The texts are the library's. */
SUMI_API sumi_status sumi_net_at(int index, sumi_choice_t *net);
/* Makes config, which was filled by its _INIT macro, one of that network, with the width and the
 * embedding that it has where nobody says. SUMI_EINVAL: there is none of that name. */
SUMI_API sumi_status sumi_model_config_net(sumi_model_config *config, const char *net);
/* Sets the field of that name in a config, which was filled by its _INIT macro: a choice to the
 * name in text (the library's own copy of it is kept), a list to its text, any other to number.
 * SUMI_EINVAL where the field is not settable, the value is out of its range or the name unknown;
 * sumi_model_create checks how the fields go together. */
SUMI_API sumi_status sumi_model_config_set(sumi_model_config *config, const char *name,
                                           double number, const char *text);

/* ---- Advanced: measuring --------------------------------------------------------------------- */

/* What to time. */
typedef struct {
    size_t size;
    bool training; /* a step's forward, loss and backward; else predictions in eval mode */
    int n, height, width;
    int runs; /* that are timed, after two that are not */
    SUMI_GROWN sumi_precision precision;
    size_t entry_size;     /* sizeof(sumi_profile_entry_t), as the _INIT macro sets it */
    const char *optimiser; /* of training, as in sumi_trainer_config */
} sumi_profile_config;
#define SUMI_PROFILE_CONFIG_INIT                                                                   \
    {                                                                                              \
        sizeof(sumi_profile_config), true, 128, 28, 28, 8, SUMI_PRECISION_FP32,                    \
            sizeof(sumi_profile_entry_t), "adam"                                                   \
    }

/* One operation, forward or backward. As there may be many, their size is told once, in
 * sumi_profile_config.entry_size. */
typedef struct {
    char op[16];    /* "conv", "norm", "max_pool", ...; in training also "loss" and
                       the optimiser's name */
    char layer[96]; /* PyTorch's module name, such as "up_conv1.conv.0"; "" where it has none */
    bool backward;
    double time_ms; /* median of the runs */
    double gflop;   /* of the direct algorithm, for all n images; backward: both gradients */
    double bytes;   /* to and from memory at least: tensors and parameters, each once */
} sumi_profile_entry_t;
typedef sumi_profile_entry_t sumi_profile_entry; /* the name that version 0.1.0 had */

/* Times each operation of a network on random images; the model is not changed. config must be
 * given. entries has room for `capacity` of them; *count receives how many there are, in the order
 * in which they run, and SUMI_ESHAPE tells that there was too little room. */
SUMI_API sumi_status sumi_profile(sumi_context *ctx, const sumi_model *model,
                                  const sumi_profile_config *config, sumi_profile_entry_t *entries,
                                  int capacity, int *count);
/* Multiply-adds in registers on every thread, in GFLOP/s: what the machine could do at best. */
SUMI_API sumi_status sumi_measure_peak(sumi_context *ctx, double *gflops);
/* Every thread reads and writes its part of 256 MiB, in 1e9 bytes a second, both ways counted: what
 * memory could do at best. */
SUMI_API sumi_status sumi_measure_bandwidth(sumi_context *ctx, double *gbytes_per_s);

#ifdef __cplusplus
}
#endif

#include "sumi_device.h"
#include "sumi_eval.h"

#endif
