/*
 * graph: networks as data, and their execution.
 *
 * Does: the parameter registry; the builder (nodes over views); the plan (shapes, fusion, buffers
 * by lifetime, gradient bookkeeping); the executor, which runs forward, loss and backward and
 * threads over the kernels. Nothing is allocated once a network exists. Does not: know a particular
 * architecture (models), a noise schedule (diffusion), an optimiser or a file.
 *
 * An edge of the graph is a list of views. A view is a raw tensor and what is pending on it,
 *     act(scale[n,c] * r + shift[n,c]) + post[n,c],
 * so normalisation, activation, time shift and concatenation are notations, not passes over memory;
 * a convolution applies them while it loads.
 */
#ifndef SUMI_GRAPH_H
#define SUMI_GRAPH_H

#include "base/base.h"
#include "kernels/kernels.h"

enum { SUMI_SOURCES_MAX = 4, SUMI_NAME_MAX = 96 };

/* ---- Parameters (params.c) ------------------------------------------------------------------- */

typedef enum {
    SUMI_PARAM_CONV,     /* weight, kept as [kh][kw][in][out]; PyTorch: [out][in][kh][kw] */
    SUMI_PARAM_LINEAR,   /* weight, kept as [in][out]; PyTorch: [out][in] */
    SUMI_PARAM_BIAS,     /* of a convolution or linear layer: [out] */
    SUMI_PARAM_GAMMA,    /* of a normalisation: [c], starts at 1 */
    SUMI_PARAM_BETA,     /* of a normalisation: [c], starts at 0 */
    SUMI_PARAM_MEAN,     /* running mean: [c]; a statistic, not trained */
    SUMI_PARAM_VARIANCE, /* running variance (unbiased): [c]; likewise */
    SUMI_PARAM_COUNTER,  /* num_batches_tracked: one int64 */
} sumi_param_kind;

typedef struct {
    char name[SUMI_NAME_MAX]; /* PyTorch's state_dict name */
    sumi_param_kind kind;
    int rank;
    int64_t shape[4]; /* in PyTorch's order */
    size_t count;
    size_t offset; /* into values, statistics or counters, by kind */
    int fan_in;    /* of the layer, for the initialisation */
} sumi_param;

typedef struct {
    sumi_param *items; /* in state_dict order */
    int count, capacity;
    size_t value_count, statistic_count, counter_count;
    float *values;     /* everything trained, one flat buffer (pages) */
    float *statistics; /* running means and variances */
    int64_t *counters;
} sumi_params;

bool sumi_param_trainable(const sumi_param *param);
/* Allocates the buffers once all parameters are declared. */
sumi_status sumi_params_allocate(sumi_params *params, sumi_error *err);
/* PyTorch's defaults: weights and biases uniform in +-1/sqrt(fan_in), gamma 1, beta 0, mean 0,
 * variance 1. A pure function of seed. */
void sumi_params_init(sumi_params *params, uint64_t seed);
void sumi_params_free(sumi_params *params);
/* Between sumi's layout of a trained parameter or statistic and PyTorch's; flat is the buffer that
 * param->offset counts in. */
void sumi_param_export(const sumi_param *param, const float *flat, float *torch_order);
void sumi_param_import(const sumi_param *param, const float *torch_order, float *flat);

/* ---- Building (graph.c) ---------------------------------------------------------------------- */

typedef struct sumi_op sumi_op;

typedef struct {
    int value; /* index of the raw tensor */
    int norm;  /* node whose scale and shift are pending, or -1 */
    sumi_act act;
    int post;        /* value (a vector) that is added per image and channel, or -1 */
    int post_offset; /* first channel in it */
} sumi_view;

/* Views side by side in the channel dimension. */
typedef struct {
    sumi_view views[SUMI_SOURCES_MAX];
    int count; /* 0: a failed edge; the graph holds the reason */
} sumi_edge;

typedef struct {
    int channels;
    int level;    /* height and width are the input's >> level */
    bool vector;  /* [n][c] */
    int producer; /* node, or -1: an input */
} sumi_value;

typedef enum { SUMI_IN_IMAGE = 0, SUMI_IN_TIME = 1 } sumi_input; /* the graph's first two values */

typedef struct {
    const sumi_op *op;
    sumi_edge in;
    int out;   /* value, or -1 (norm) */
    int layer; /* of conv, linear, norm; or -1 */
    int ksize; /* conv */
} sumi_node;

/* A layer's parameters, as indices into the registry (-1: none). */
typedef struct {
    const sumi_op *op;           /* which kind of layer: conv, linear or norm */
    int weight, bias;            /* conv and linear; norm: gamma and beta */
    int mean, variance, counter; /* norm */
    int in_channels, out_channels, ksize;
} sumi_layer;

typedef struct {
    sumi_params params;
    sumi_layer *layers;
    sumi_node *nodes;
    sumi_value *values;
    int layer_count, node_count, value_count;
    int layer_capacity, node_capacity, value_capacity;
    int in_channels, time_dim;
    int levels; /* h and w must be multiples of 2^levels */
    sumi_edge output;
    sumi_status status; /* of the first builder call that failed; later ones do nothing */
    sumi_error error;
} sumi_graph;

/* The two inputs exist from the start: the image [n][h][w][in_channels], and the sinusoidal
 * embedding [n][time_dim] of t (op_time.c). */
void sumi_graph_init(sumi_graph *graph, int in_channels, int time_dim);
void sumi_graph_free(sumi_graph *graph);

/* Declaring layers fixes the order of the state dict, as PyTorch's __init__ does. name is the
 * module's, such as "down_conv1.conv.0". Returns the layer's index. */
int sumi_graph_conv_layer(sumi_graph *graph, const char *name, int in, int out, int ksize);
int sumi_graph_linear_layer(sumi_graph *graph, const char *name, int in, int out);
int sumi_graph_batch_norm_layer(sumi_graph *graph, const char *name, int channels);

sumi_edge sumi_graph_image(const sumi_graph *graph);
sumi_edge sumi_graph_time(const sumi_graph *graph);
sumi_edge sumi_graph_conv(sumi_graph *graph, sumi_edge in, int layer);
sumi_edge sumi_graph_linear(sumi_graph *graph, sumi_edge in, int layer);
/* in: one raw view. The result is a view of the same tensor with the norm pending. */
sumi_edge sumi_graph_norm(sumi_graph *graph, sumi_edge in, int layer);
sumi_edge sumi_graph_act(sumi_graph *graph, sumi_edge in, sumi_act act);
/* Adds vector [n][c] to every pixel; in has c channels in all. */
sumi_edge sumi_graph_shift(sumi_graph *graph, sumi_edge in, sumi_edge vector);
sumi_edge sumi_graph_concat(sumi_graph *graph, sumi_edge a, sumi_edge b);
sumi_edge sumi_graph_max_pool(sumi_graph *graph, sumi_edge in);
sumi_edge sumi_graph_upsample(sumi_graph *graph, sumi_edge in);
void sumi_graph_output(sumi_graph *graph, sumi_edge out);
int sumi_edge_channels(const sumi_graph *graph, const sumi_edge *edge);
/* True where it has that value, or a shift by it. */
bool sumi_edge_reads(const sumi_edge *edge, int value);
/* What cannot be told before all is built: SUMI_EUNSUPPORTED where a layer's output is read by
 * nobody, or the graph's output by a layer. */
sumi_status sumi_graph_check_readers(const sumi_graph *graph, sumi_error *err);

/* ---- Networks: a plan and its memory (plan.c, exec.c) ---------------------------------------- */

typedef enum { SUMI_MODE_PREDICT, SUMI_MODE_TRAIN } sumi_mode;

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
    /* Predict: what depends on t alone is computed once for each t, which is then 1 to this. 0: it
     * is computed for every image, and t may be any number. */
    int timesteps;
    /* bf16: raw tensors of images and their gradients are kept as bfloat16 (but the input, the
     * output and its gradient), and layers compute with weights rounded to it. */
    sumi_precision precision;
} sumi_plan_config;

typedef struct sumi_network sumi_network;

/* SUMI_ESHAPE where h or w is no multiple of 2^levels. graph must outlive the network; its
 * parameters are read at each run. */
sumi_status sumi_network_create(const sumi_graph *graph, const sumi_kernels *kernels,
                                sumi_pool *pool, const sumi_plan_config *config, sumi_network **out,
                                sumi_error *err);
void sumi_network_free(sumi_network *network);
/* Says that parameters changed since the last predict, so that packed weights are made anew. */
void sumi_network_weights_changed(sumi_network *network);

/* Eval mode: running statistics. x [n][h][w][c], t [n], out as the graph's output; n <= n_max. */
void sumi_network_predict(sumi_network *network, const float *x, const int32_t *t, int n,
                          float *out);

typedef struct {
    const float *x;      /* [n][h][w][c]: x_t */
    const int32_t *t;    /* [n] */
    const float *target; /* as the output */
    int n;
    float *gradients; /* as params.values; overwritten */
} sumi_backward;

/* Train mode: batch statistics; returns the mean squared error and its gradients. Running
 * statistics are not touched: sumi_network_update_statistics does that from this run's batch
 * statistics. */
double sumi_network_backward(sumi_network *network, const sumi_backward *run);
void sumi_network_update_statistics(sumi_network *network, sumi_params *params);
/* False where this run's batch statistics overflowed: updating from them would spoil the model. */
bool sumi_network_statistics_finite(const sumi_network *network);
/* The output of the last backward's forward pass: [n][h][w][c]. */
const float *sumi_network_output(const sumi_network *network);

/* Adds the time that each node takes from now on to seconds[node] (forward) and
 * seconds[node_count + node] (backward), in seconds, and in training that of the loss to
 * seconds[2 * node_count]; NULL stops it. */
void sumi_network_profile(sumi_network *network, double *seconds);
size_t sumi_network_bytes(const sumi_network *network);
/* The plan as text (views, sources, buffers, accumulate flags); malloc'ed. NULL: out of memory. */
char *sumi_network_describe(const sumi_network *network);
/* Multiply-adds of one image's forward pass through one node; 0 where a table of time has them. */
double sumi_node_macs(const sumi_network *network, int node);
/* What one node has to move to and from memory at least, in bytes (traffic.c). */
double sumi_node_bytes(const sumi_network *network, int node, int n, bool backward);
const char *sumi_node_name(const sumi_graph *graph, int node); /* of its operation */

#endif
