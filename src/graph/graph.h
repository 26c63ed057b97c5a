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
 * a convolution applies them while it loads. One tensor may be read in several forms: a residual
 * block reads its input as it is, and normalised.
 */
#ifndef SUMI_GRAPH_H
#define SUMI_GRAPH_H

#include "base/base.h"
#include "kernels/act.h"

enum {
    SUMI_SOURCES_MAX = 4, /* views of one edge */
    SUMI_FORMS_MAX = 8,   /* of one value */
    SUMI_OUTPUTS_MAX = 4,
    SUMI_NAME_MAX = 96,
};

/* ---- Parameters (params.c) ------------------------------------------------------------------- */

typedef enum {
    SUMI_PARAM_CONV,     /* weight, kept as [kh][kw][in][out]; PyTorch: [out][in][kh][kw] */
    SUMI_PARAM_LINEAR,   /* weight, kept as [in][out]; PyTorch: [out][in] */
    SUMI_PARAM_ROWS,     /* of an embedding: [rows][dim] in either; starts as normal numbers */
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
    float gain;    /* the initial values of weights and biases are multiplied by it */
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
/* PyTorch's defaults: weights and biases uniform in +-1/sqrt(fan_in), embeddings normal, gamma 1,
 * beta 0, mean 0, variance 1. A pure function of seed. */
void sumi_params_init(sumi_params *params, uint64_t seed);
void sumi_params_free(sumi_params *params);
/* Between sumi's layout of a trained parameter or statistic and PyTorch's; flat is the buffer that
 * param->offset counts in. */
void sumi_param_export(const sumi_param *param, const float *flat, float *torch_order);
void sumi_param_import(const sumi_param *param, const float *torch_order, float *flat);

/* ---- Kinds of operations (kinds.c) ----------------------------------------------------------- */

typedef enum {
    SUMI_KIND_SINUSOID, /* the tutorial's time embedding */
    SUMI_KIND_FOURIER,  /* cosines and sines of a time */
    SUMI_KIND_EMBEDDING,
    SUMI_KIND_CONDITION, /* numbers that are given with an image */
    SUMI_KIND_CONV,
    SUMI_KIND_LINEAR,
    SUMI_KIND_NORM,
    SUMI_KIND_ADD,
    SUMI_KIND_MAX_POOL,
    SUMI_KIND_AVG_POOL,
    SUMI_KIND_SUBSAMPLE,
    SUMI_KIND_UPSAMPLE, /* bilinear x2, align_corners */
    SUMI_KIND_UPSAMPLE_NEAREST,
    SUMI_KIND_MEAN, /* over the pixels of an image */
    SUMI_KIND_ATTENTION,
    SUMI_KIND_PAD,  /* the image to multiples of what the graph halves */
    SUMI_KIND_CROP, /* back to the image's size */
    SUMI_KIND_MSE,
    SUMI_KIND_CROSS_ENTROPY,
    SUMI_KINDS /* how many there are */
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
    bool reads_vectors, gives_vector; /* [n][c]; not images */
    bool pending;            /* gives no tensor: what it computes is pending on its input */
    bool loss;               /* gives no tensor: a share of the loss; runs in training only */
    int level_change;        /* 1: its output has half the height and width; -1: twice */
    bool no_gradient;        /* nothing flows back through it */
    bool reads_again;        /* its backward reads its input, not its gradient alone */
    bool passes_on;          /* the gradient of a plain input of its size is that of its output */
    bool keeps_wide;         /* what it reads is kept as float32, as outputs are */
    unsigned absorbs;        /* kinds that may be left to it, of what its input is made by */
    unsigned absorbs_reader; /* likewise, of what reads its output */
    bool stores_views;       /* what is pending on its output can be applied while it is stored */
    /* Multiply-adds of one image's forward pass into an output of h x w; NULL: none. */
    double (*macs)(const sumi_graph *graph, const sumi_node *node, int h, int w);
} sumi_facts;

const sumi_facts *sumi_kind_facts(sumi_kind kind);

/* ---- Building (graph.c) ---------------------------------------------------------------------- */

/* What is pending on a value before it is read: a norm (its node, and the value's first channel in
 * the norm's) or -1, then an activation. */
typedef struct {
    int norm, first;
    sumi_act act;
} sumi_form;

typedef struct {
    int value;       /* index of the raw tensor */
    int form;        /* of the value; 0 is plain */
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
    bool padded;  /* the input's are those to which the image is padded */
    bool vector;  /* [n][c] */
    bool numbers; /* int32: labels */
    int producer; /* node, or -1: an input */
    sumi_form forms[SUMI_FORMS_MAX];
    int form_count;
} sumi_value;

struct sumi_node {
    sumi_kind kind;
    sumi_edge in;
    int out;              /* value, or -1 where the kind gives none */
    int layer;            /* or -1 */
    int vector;           /* norm: the value that modulates it, or -1 */
    bool superseded;      /* norm: another node, modulated, took its place */
    int labels;           /* cross entropy: the value of the labels; else -1 */
    int heads;            /* attention */
    double lowest, ratio; /* fourier: the first frequency, and from one to the next */
    double smoothing;     /* cross entropy */
};

/* A layer's parameters, as indices into the registry (-1: none). */
typedef struct {
    sumi_kind kind;                       /* conv, linear, norm or embedding */
    int weight, bias;                     /* norm: gamma and beta; embedding: weight only */
    int mean, variance, counter;          /* batch norm */
    int in_channels, out_channels, ksize; /* embedding: rows, and their dimension */
    int groups;                           /* of a group norm; 0: statistics over all images */
    bool used;                            /* by a node: a second one may not */
} sumi_layer;

typedef struct {
    char name[32];
    int value;
} sumi_output;

struct sumi_graph {
    sumi_params params;
    sumi_layer *layers;
    sumi_node *nodes;
    sumi_value *values;
    int layer_count, node_count, value_count;
    int layer_capacity, node_capacity, value_capacity;
    int image, time, labels, condition; /* the inputs' values, or -1 */
    int classes;                        /* labels are below this */
    int levels; /* what is halved must be a multiple of 2^levels high and wide: the */
    bool pads;  /* image, or what it is padded to; at least as much in any case */
    sumi_output outputs[SUMI_OUTPUTS_MAX];
    int output_count;
    sumi_status status; /* of the first builder call that failed; later ones do nothing */
    sumi_error error;
};

/* A graph without inputs. */
void sumi_graph_init(sumi_graph *graph);
void sumi_graph_free(sumi_graph *graph);

/* Declaring layers fixes the order of the state dict, as PyTorch's __init__ does. name is the
 * module's, such as "down_conv1.conv.0". Returns the layer's index. One node may use a layer. */
int sumi_graph_conv_layer(sumi_graph *graph, const char *name, int in, int out, int ksize);
int sumi_graph_linear_layer(sumi_graph *graph, const char *name, int in, int out);
int sumi_graph_batch_norm_layer(sumi_graph *graph, const char *name, int channels);
/* Statistics of each image and each of `groups` runs of channels; affine: with gamma and beta. */
int sumi_graph_group_norm_layer(sumi_graph *graph, const char *name, int channels, int groups,
                                bool affine);
int sumi_graph_embedding_layer(sumi_graph *graph, const char *name, int rows, int dim);
/* Multiplies the initial weights and bias of a convolution, linear layer or embedding by gain; 0:
 * the layer starts at zero. */
void sumi_graph_scale_init(sumi_graph *graph, int layer, float gain);

/* Inputs, at most one of each: "image" [n][h][w][channels], "time" [n] as float, "labels" [n] as
 * int32, from 0 to below classes, or -1: none. */
sumi_edge sumi_graph_input_image(sumi_graph *graph, int channels);
sumi_edge sumi_graph_input_time(sumi_graph *graph);
sumi_edge sumi_graph_input_labels(sumi_graph *graph, int classes);

/* The tutorial's embedding of a time: see src/cpu/op_sinusoid.c. */
sumi_edge sumi_graph_sinusoid(sumi_graph *graph, sumi_edge time, int dim);
/* cos(w_k time), then sin(w_k time), for dim / 2 frequencies from lowest to highest, each the same
 * multiple of the one before; dim is even. */
sumi_edge sumi_graph_fourier(sumi_graph *graph, sumi_edge time, int dim, double lowest,
                             double highest);
/* Row `label` of the layer, and row `classes` where there is none: it has classes + 1 rows. */
sumi_edge sumi_graph_embedding(sumi_graph *graph, sumi_edge labels, int layer);

/* A vector of so many numbers that a training gives with each image; zeros where it gives none, and
 * in predictions. One of a graph, which has an input of that name, "condition" [n][numbers]. */
sumi_edge sumi_graph_condition(sumi_graph *graph, int numbers);
/* How many; 0: there is none. */
int sumi_graph_told(const sumi_graph *graph);
/* Counts so many batches in the counters of all batch norms, as of params. */
void sumi_graph_count_batches(const sumi_graph *graph, int64_t batches, int64_t *counters);

sumi_edge sumi_graph_conv(sumi_graph *graph, sumi_edge in, int layer);
sumi_edge sumi_graph_linear(sumi_graph *graph, sumi_edge in, int layer);
/* in: raw views of images. The result is the same tensors with the norm pending; a group may go
 * over the border of two of them. */
sumi_edge sumi_graph_norm(sumi_graph *graph, sumi_edge in, int layer);
/* in has a norm pending, and nothing behind it, and is read in no other way; vector [n][2c] holds
 * a, then b, of (1 + a) y + b, for each channel of an image. */
sumi_edge sumi_graph_modulate(sumi_graph *graph, sumi_edge in, sumi_edge vector);
sumi_edge sumi_graph_act(sumi_graph *graph, sumi_edge in, sumi_act act);
/* Adds vector [n][c] to every pixel; in has c channels in all. */
sumi_edge sumi_graph_shift(sumi_graph *graph, sumi_edge in, sumi_edge vector);
sumi_edge sumi_graph_concat(sumi_graph *graph, sumi_edge a, sumi_edge b);
/* Of two views of equal size. */
sumi_edge sumi_graph_add(sumi_graph *graph, sumi_edge a, sumi_edge b);
/* Half the size: the maximum or mean of each 2x2, or every second pixel (behind a 3x3 convolution
 * that makes a stride of 2). */
sumi_edge sumi_graph_max_pool(sumi_graph *graph, sumi_edge in);
sumi_edge sumi_graph_avg_pool(sumi_graph *graph, sumi_edge in);
sumi_edge sumi_graph_subsample(sumi_graph *graph, sumi_edge in);
/* Twice the size: bilinear with align_corners, or each pixel four times. */
sumi_edge sumi_graph_upsample(sumi_graph *graph, sumi_edge in);
sumi_edge sumi_graph_upsample_nearest(sumi_graph *graph, sumi_edge in);
/* The mean of each image's pixels: a vector. */
sumi_edge sumi_graph_mean(sumi_graph *graph, sumi_edge in);
/* softmax(Q K^T / sqrt(d)) V over the pixels of an image, for each of `heads` heads of d channels.
 * in is one view: queries, keys and values, a third of its channels each, and of each third those
 * of the first head, then those of the next. The result has a third of the channels. */
sumi_edge sumi_graph_attention(sumi_graph *graph, sumi_edge in, int heads);

/* Names a raw view, which may be read by nodes, too. */
void sumi_graph_output(sumi_graph *graph, const char *name, sumi_edge out);
/* Losses, of an output that no later node reads, one for each; the loss of a run is their sum.
 * Mean over images of weight (1 where none is given) times the mean of (output - target)^2. */
void sumi_graph_loss_mse(sumi_graph *graph, sumi_edge out);
/* Mean over images of -sum q log softmax(logits), where q is 1 - smoothing for the label plus
 * smoothing / classes for each; an image without a label counts as 0. */
void sumi_graph_loss_cross_entropy(sumi_graph *graph, sumi_edge logits, sumi_edge labels,
                                   double smoothing);

/* The image, first of all: edges are repeated on all sides until height and width are multiples of
 * what the graph halves, so that it takes images of any size. The way back, of one view of the
 * padded size: what was added is cut off. Where nothing is to be padded, neither costs anything. */
sumi_edge sumi_graph_pad(sumi_graph *graph, sumi_edge image);
sumi_edge sumi_graph_crop(sumi_graph *graph, sumi_edge in);

/* 0 for a layer that meets what comes into the network or gives its result, for those that only
 * make an embedding of time and labels, and for what has no matrix. Else the layer is hidden, and
 * its outputs are this many equal runs, each with a matrix of its own: 2 for scales and shifts,
 * 3 for queries, keys and values (hidden.c). */
int sumi_graph_hidden_parts(const sumi_graph *graph, int layer);

int sumi_edge_channels(const sumi_graph *graph, const sumi_edge *edge);
/* A value's height or width where the image's is `size`. */
int sumi_graph_size(const sumi_graph *graph, int value, int size);
/* What is pending on a view before its shift. */
static inline const sumi_form *sumi_view_form(const sumi_graph *graph, const sumi_view *view)
{
    return &graph->values[view->value].forms[view->form];
}
/* True where it has that value, or a shift by it. */
bool sumi_edge_reads(const sumi_edge *edge, int value);
bool sumi_graph_is_output(const sumi_graph *graph, int value);
/* What cannot be told before all is built: SUMI_EUNSUPPORTED where nobody reads a layer's output,
 * or a norm is read with and without its modulation. */
sumi_status sumi_graph_check_readers(const sumi_graph *graph, sumi_error *err);

#endif
