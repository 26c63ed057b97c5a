/*
 * graph: networks as data.
 *
 * Does: the parameter registry; the kinds of operations and what is known of each; the builder
 * (nodes over views); and what a backend has to offer (backend.h). Does not: compute, which is a
 * backend's (cpu), or know a particular architecture (models), a noise schedule (diffusion), an
 * optimiser or a file.
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

/* ---- Kinds of operations (kinds.c) ----------------------------------------------------------- */

typedef enum {
    SUMI_KIND_SINUSOID, /* the time embedding */
    SUMI_KIND_CONV,
    SUMI_KIND_LINEAR,
    SUMI_KIND_NORM,
    SUMI_KIND_MAX_POOL,
    SUMI_KIND_UPSAMPLE, /* bilinear x2, align_corners */
    SUMI_KINDS          /* how many there are */
} sumi_kind;

/* Where a kind stands in the sets below. */
static inline unsigned sumi_kind_bit(sumi_kind kind)
{
    return 1u << kind;
}

typedef struct sumi_graph sumi_graph;
typedef struct sumi_node sumi_node;

/* What the builder, a plan and its description need to know of a kind, whoever computes it. */
typedef struct {
    const char *name;
    bool vector;       /* reads and gives vectors [n][c], not images */
    bool pending;      /* gives no tensor: what it computes is pending on its input */
    int level_change;  /* 1: its output has half the height and width; -1: twice */
    bool no_gradient;  /* nothing flows back through it */
    bool reads_again;  /* its backward reads its input, not its gradient alone */
    unsigned absorbs;  /* kinds that may be left to it: of what its input is made by */
    bool stores_views; /* what is pending on its output can be applied while it is stored */
    /* Multiply-adds of one image's forward pass into an output of h x w; NULL: none. */
    double (*macs)(const sumi_graph *graph, const sumi_node *node, int h, int w);
} sumi_facts;

const sumi_facts *sumi_kind_facts(sumi_kind kind);

/* ---- Building (graph.c) ---------------------------------------------------------------------- */

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

struct sumi_node {
    sumi_kind kind;
    sumi_edge in;
    int out;   /* value, or -1 where the kind gives none */
    int layer; /* or -1 */
};

/* A layer's parameters, as indices into the registry (-1: none). */
typedef struct {
    sumi_kind kind;              /* conv, linear or norm */
    int weight, bias;            /* conv and linear; norm: gamma and beta */
    int mean, variance, counter; /* norm */
    int in_channels, out_channels, ksize;
} sumi_layer;

struct sumi_graph {
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
};

/* The two inputs exist from the start: the image [n][h][w][in_channels], and the sinusoidal
 * embedding [n][time_dim] of the time. */
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

#endif
