/*
 * models: architectures and what a model file is.
 *
 * Does: builders that turn a configuration into a graph (tutorial.c), the model object (weights,
 * configuration, metadata), loading and saving it.
 * Does not: compute, train or sample.
 */
#ifndef SUMI_MODELS_H
#define SUMI_MODELS_H

#include "diffusion/diffusion.h"
#include "graph/backend.h"
#include "io/io.h"

/* What a file says of a model comes in these parts, and one for sampling. */
typedef enum { SUMI_PART_NET, SUMI_PART_PROCESS, SUMI_PART_DATA, SUMI_PART_TRAINED } sumi_part;
enum { SUMI_PARTS = 4, SUMI_NAMES_MAX = 100000 };

/* A few whole numbers, and their text: "1,2,4". */
enum { SUMI_LIST_MAX = 31 };
typedef struct {
    int numbers[SUMI_LEVELS_MAX]; /* 0 after the last */
    char text[4 * SUMI_LEVELS_MAX];
} sumi_list;

struct sumi_model {
    sumi_model_info_t info;
    sumi_list multipliers, blocks; /* of unet: each level's */
    sumi_list attention;           /* of unet: the levels that have it, from 1 */
    int head_channels;             /* of attention */
    int label_count;               /* that the network is told of; 0: none */
    int told;                      /* numbers of an augmentation, likewise */
    sumi_process_config process;   /* what the network predicts, and at which levels */
    sumi_graph graph;              /* graph.params holds the weights */
    json_t *metadata;              /* string values; "sumi.*" keys are sumi's own */
    uint64_t id;                   /* differs between all models of a process */
    uint64_t generation;           /* counts changes of the weights */
    uint64_t seed;                 /* that the initial weights were drawn from */
    bool seed_known;               /* false where a file did not say so */
    atomic_int holders;            /* besides the one that made it */
    void (*fetch)(void *trainer);  /* sumi_model_fetch, of a model that is trained */
    void *trainer;
    bool standardise;       /* images are told as `standard` says, once it is measured */
    sumi_standard standard; /* of the training images; no channels: not measured */
    json_t *classes;        /* names of the labels, a list of strings; NULL: there are none */
    json_t *sampling;       /* how to sample without options, an object; NULL: as ever */
};

/* ---- Networks (nets.c) ----------------------------------------------------------------------- */

enum { SUMI_NET_TUTORIAL, SUMI_NET_UNET }; /* rows */

typedef struct {
    sumi_row is;
    /* SUMI_EINVAL where sizes do not fit together; what else is wrong, the graph holds. */
    sumi_status (*build)(sumi_graph *graph, const sumi_model_config *config, sumi_error *err);
    int base_channels, time_dim; /* where nobody says */
} sumi_net;

const sumi_net *sumi_net_row(int index); /* NULL past the end */
int sumi_net_find(const char *name);     /* also by the name that version 0.1 had; -1: none */
/* SUMI_EINVAL for a name that is none; what: "net". */
sumi_status sumi_net_check(const char *what, const char *name, sumi_error *err);

/* ---- Recipes (presets.c) --------------------------------------------------------------------- */

enum { SUMI_PRESET_STANDARD, SUMI_PRESET_TUTORIAL }; /* rows */

const sumi_row *sumi_preset_row(int index); /* NULL past the end */
int sumi_preset_find(const char *name);     /* also by the name that version 0.1 had; -1: none */
/* SUMI_EINVAL for a name that is none. */
sumi_status sumi_preset_check(const char *name, sumi_error *err);

/* The tutorial's UNetWithTime; base_channels is the width of its first level (64). */
void sumi_build_tutorial(sumi_graph *graph, const sumi_model_config *config);

/* What the residual U-Net is made of (unet.c). Level l has height and width of the image >> l. */
typedef struct {
    int channels;      /* of the images */
    int width, levels; /* level l has width * multipliers[l] channels */
    int multipliers[SUMI_LEVELS_MAX];
    int blocks[SUMI_LEVELS_MAX];     /* residual blocks, on the way down and up */
    bool attention[SUMI_LEVELS_MAX]; /* behind each of them */
    int head_channels;               /* of attention; a level has at least as many in a head */
    int embedding;                   /* numbers that tell of level and label */
    int classes;                     /* 0: no labels */
    int told;                        /* numbers that tell what was made of an image; 0: none */
    float time_lowest, time_highest; /* radians for each unit of the level's time */
} sumi_unet_config;

/* Inputs image, time and (where there are classes) labels; output "image", with a squared error.
 * Tensors are named as the modules of tests/golden/torch_unet.py. */
void sumi_build_unet(sumi_graph *graph, const sumi_unet_config *config);

/* A small residual network of images, times and labels; width is a multiple of 4. */
void sumi_build_residual(sumi_graph *graph, int channels, int width, int classes);

/* The blocks of the tutorial's, for graphs of one's own (and its tests): twice 3x3 convolution,
 * batch norm, ReLU, after a shift by an MLP of the time embedding. */
typedef struct {
    int conv[2], norm[2], linear[2]; /* layers */
} sumi_tutorial_block;
sumi_tutorial_block sumi_tutorial_block_declare(sumi_graph *graph, const char *name, int time_dim,
                                                int in, int out);
/* t may be an edge of count 0: then there is no shift (the tutorial's t=None). */
sumi_edge sumi_tutorial_block_run(sumi_graph *graph, const sumi_tutorial_block *block, sumi_edge x,
                                  sumi_edge t);

/* Checks ranges: channels 1..64, time_dim 1..4096, base_channels 1..1024, timesteps 1..100000,
 * 0 < beta_start <= beta_end < 1. */
sumi_status sumi_model_check_config(const sumi_model_config *config, sumi_error *err);
sumi_status sumi_models_create(const sumi_model_config *config, sumi_model **out, sumi_error *err);
/* Puts the numbers of these parts (bits 1 << sumi_part) into object; false: out of memory. */
bool sumi_fields_write(json_t *object, const sumi_model *model, unsigned parts);
/* SUMI_ESHAPE, with both values, where network or process are not the same. */
sumi_status sumi_model_check_same(const char *path, const sumi_model *found,
                                  const sumi_model *expected, sumi_error *err);
/* As sumi_shortest. */
json_t *sumi_short_real(float value);
/* A number, or a string of digits where it is above what JSON's readers hold, INT64_MAX. */
json_t *sumi_json_seed(uint64_t seed);
/* A second model with the same architecture, weights and metadata. */
sumi_status sumi_models_copy(const sumi_model *model, sumi_model **out, sumi_error *err);
/* Brings the weights back that a trainer has in the memory of a device: whoever reads them in the
 * host's memory calls it before. */
void sumi_model_fetch(const sumi_model *model);
/* The training images' mean and deviation in each channel, of a model that is to standardise. */
void sumi_model_set_standard(sumi_model *model, const float *mean, const float *deviation);
/* Weights, running statistics, info and sampling defaults of a model of the same architecture. */
void sumi_model_take_weights(sumi_model *to, const sumi_model *from);
/* Keeps a model alive through a call whose callbacks may free it; each hold is given back by a
 * release of its own. The last release frees it. */
sumi_model *sumi_models_hold(const sumi_model *model);
void sumi_models_free(sumi_model *model);

/* The metadata that makes a file an evaluator's (classifier.c) and no model's. */
#define SUMI_CLASSIFIER_KEY "sumi.classifier"
/* Sums of models of one network, each times a factor, and then a model of its own (mean.c). Begin
 * from zeros. counters, and what else a model has, are those of the last and of the first. */
typedef struct {
    sumi_model *model;
    double *sums;
} sumi_mean;
/* name is for messages: SUMI_ESHAPE where it is another network's. */
sumi_status sumi_mean_add(sumi_mean *mean, const char *name, const sumi_model *model, double factor,
                          sumi_error *err);
sumi_status sumi_mean_end(sumi_mean *mean, sumi_model **out, sumi_error *err);
void sumi_mean_free(sumi_mean *mean);
/* The body of sumi_model_average. */
sumi_status sumi_mean_of(const sumi_model *const *models, const double *factors, int count,
                         sumi_model **out, sumi_error *err);

/* A tensor file's view of the model: names, shapes and PyTorch's order. values may be another flat
 * buffer laid out as params.values (EMA weights), NULL: the model's own. */
sumi_status sumi_model_to_file(const sumi_model *model, const float *values, sumi_tensor_file *out,
                               sumi_error *err);
void sumi_model_file_free(sumi_tensor_file *file);
/* path for messages: every tensor of the model but num_batches_tracked must be there with its
 * shape, nothing else may be, and all numbers must be finite. */
sumi_status sumi_model_from_file(const char *path, const sumi_tensor_file *file, sumi_model **out,
                                 sumi_error *err);
/* A file, or "FILE#NAME" for one of the models in it. The model may be wrapped in others or lie in
 * a dict, and lack its counters; notice (may be NULL) then says so, and is else left as it is. */
sumi_status sumi_models_load(const char *path, sumi_model **out, sumi_error *notice,
                             sumi_error *err);
sumi_status sumi_models_save(const char *path, const sumi_model *model, const float *values,
                             sumi_error *err); /* .safetensors or .pth by ending */
bool sumi_all_finite(const float *values, size_t count);
/* Refuses NaN and infinities in an array [n][h][w][c], whose shape it is, by their first place;
 * sizes are 0 or more. */
sumi_status sumi_check_finite(const char *name, const float *values, const int shape[4],
                              sumi_error *err);
sumi_status sumi_models_set_metadata(sumi_model *model, const char *key, const char *value,
                                     sumi_error *err); /* any key */
/* ---- Devices (devices.c) --------------------------------------------------------------------- */

/* The CPU's is number 0; NULL past the last. */
const sumi_backend *sumi_backend_at(int index);
/* All devices of all backends, counted through; false past the last. What they are is looked up
 * anew at each call. */
bool sumi_device_row(int index, sumi_device_facts *out);
/* The backend of a device that is called auto, cpu, cuda (of NVIDIA), mps (of Apple), opencl or
 * opencl:N, and its number there. SUMI_EINVAL for a name that is none; SUMI_EUNSUPPORTED, with what
 * is there, for one that is not. */
sumi_status sumi_device_find(const char *name, const sumi_backend **backend, int *index,
                             sumi_error *err);

/* ---- Runtime (runtime.c): what a context owns for computing ---------------------------------- */

enum { SUMI_CACHED_NETWORKS = 4 };

/* A model's parameters in the memory of a device, and what they stand for in the host's. */
typedef struct {
    sumi_weights at;
    sumi_weights host;
    size_t value_bytes, statistic_bytes;
} sumi_mirror;

typedef struct {
    sumi_network *network;
    sumi_mirror mirror; /* of the model's parameters */
    uint64_t model_id, generation, used;
    sumi_plan_config config;
} sumi_cached_network;

typedef struct {
    const sumi_backend *backend; /* what computes; tensors are reached through it */
    sumi_device *device;
    atomic_int cancel; /* set by sumi_cancel; a long call tests it and returns SUMI_CANCELLED */
    uint64_t clock;
    sumi_cached_network cache[SUMI_CACHED_NETWORKS];
    const sumi_ranks *ranks; /* those that train together; NULL: it is alone */
} sumi_runtime;

/* isa: a table's name or NULL for the best. */
sumi_status sumi_runtime_init(sumi_runtime *runtime, int threads, const char *isa, sumi_error *err);
/* The same on another backend than the CPU's, and on one of its devices. */
sumi_status sumi_runtime_init_device(sumi_runtime *runtime, const sumi_backend *backend,
                                     const sumi_device_config *config, sumi_error *err);
sumi_status sumi_runtime_init_on(sumi_runtime *runtime, const sumi_backend *backend, int threads,
                                 const char *isa, sumi_error *err);
void sumi_runtime_free(sumi_runtime *runtime);
typedef struct {
    int n_max, h, w;
    sumi_precision precision;
} sumi_predictor;
/* A network for model in eval mode as `want` says, from the cache (least recently used goes) or
 * new; its packed weights are those of the model's present generation. Borrowed: valid until the
 * next SUMI_CACHED_NETWORKS - 1 calls. */
sumi_status sumi_runtime_predictor(sumi_runtime *runtime, const sumi_model *model,
                                   const sumi_predictor *want, sumi_network **out, sumi_error *err);
/* Forgets every network of a model that is about to be freed. */
void sumi_runtime_forget(sumi_runtime *runtime, uint64_t model_id);
/* True once a sumi_cancel holds. */
bool sumi_runtime_cancelled(const sumi_runtime *runtime);
/* The body of sumi_model_predict, with sizes and times that were checked. */
sumi_status sumi_runtime_predict(sumi_runtime *runtime, const sumi_model *model,
                                 const sumi_batch *batch, float *out, sumi_error *err);

/* ---- Parameters in the memory of a device (mirror.c) ----------------------------------------- */

/* Begins as the model's. What a failed one holds is released by free, too. */
sumi_status sumi_mirror_init(const sumi_runtime *runtime, const sumi_model *model,
                             sumi_mirror *mirror, sumi_error *err);
/* The same for parameters that no trainer has. */
sumi_status sumi_mirror_init_params(const sumi_runtime *runtime, const sumi_params *params,
                                    sumi_mirror *mirror, sumi_error *err);
void sumi_mirror_free(const sumi_runtime *runtime, sumi_mirror *mirror);       /* zeros are fine */
void sumi_mirror_push(const sumi_runtime *runtime, const sumi_mirror *mirror); /* to the device */
void sumi_mirror_pull(const sumi_runtime *runtime, const sumi_mirror *mirror); /* to the host */

enum { SUMI_IMAGES_AT_A_TIME_MAX = 128 };
/* How many images predicting and sampling send through a network together where nobody says: 128,
 * and no more pixels than 128 images of 32x32 have. Packed weights, which no cache holds beside the
 * activations, are then read once for many images. */
int sumi_images_at_a_time(int height, int width);

#endif
