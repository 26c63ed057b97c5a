/*
 * A network on a device: the plan of one graph at one size, and the memory that it runs in. Private
 * to this layer.
 *
 * All values, gradients, moments and rows lie in one memory object, the arena; a place in it is
 * counted in floats. Time: forward node i runs at time i, its backward at 2F - i, with F the number
 * of nodes. A buffer lives from its first to its last use in this order.
 *
 * In training each reader of a value leaves the gradient of the form that it reads in a buffer of
 * its own, a term; before the value's producer runs backward they are added up, each on its way
 * back through activation and norm. An addition leaves none: its output's gradient is its operands'
 * term.
 */
#ifndef SUMI_OPENCL_NETWORK_H
#define SUMI_OPENCL_NETWORK_H

#include "graph/plan.h"
#include "opencl/device.h"

/* A place as kernels take it. */
static inline uint32_t sumi_cl_word(sumi_place place)
{
    return (uint32_t)place; /* SUMI_NOWHERE becomes SUMI_CL_NOWHERE */
}

/* A share of a value's gradient. */
typedef struct {
    int form;         /* of the value, that was read */
    int node, source; /* the reader, and which of its sources */
    int passed;       /* the value whose gradient it is, or -1: the reader's own */
} sumi_cl_term;

enum { SUMI_CL_TERMS_MAX = 12 };

typedef struct {
    int h, w;
    size_t image_floats;
    int stored_by; /* the node that writes it; -1: an input, or never written */
    sumi_place at, moments;
    int bands;
    /* Training. */
    bool trained; /* its gradient is wanted */
    sumi_cl_term terms[SUMI_CL_TERMS_MAX];
    int term_count;
    sumi_place gradient; /* of the sum of its terms; nowhere: it is the one term's */
    sumi_place added;    /* a vector's: what comes of shifts and modulations; or nowhere */
    int gradient_end;    /* the time at which its gradient is last read */
} sumi_cl_value;

typedef struct {
    bool wanted;         /* the node leaves a gradient for it */
    sumi_place gradient; /* which is here, or nowhere: it is the output's */
    sumi_place sums;     /* of a norm: see sums.c, or [n][bands][2][c] */
    sumi_place shifts;   /* of a convolution, or nowhere: what its shift's gradient is the sum of */
} sumi_cl_source;

typedef struct {
    sumi_edge in;                       /* what it reads: padding that does nothing is left out */
    int stores;                         /* the value that it writes, or -1 */
    int residual;                       /* a value that it adds to what it writes, or -1 */
    bool skipped;                       /* another node does its work, or it is none */
    bool dead;                          /* training: no loss depends on it */
    sumi_place scale, shift;            /* of a norm: rows */
    bool per_image;                     /* which it has for each image */
    sumi_place table;                   /* of waves: frequencies */
    sumi_place winograd, winograd_back; /* what its transforms need, where it uses them */
    /* Training. */
    sumi_cl_source sources[SUMI_SOURCES_MAX];
    sumi_place mean, variance, inverse; /* of a norm; variance: over all images */
    sumi_place totals, ga, gb, gk;
    sumi_place partials; /* of weights: [pieces][weights] */
    sumi_place columns;  /* of biases: [column_pieces][units] */
    int pieces, column_pieces;
    sumi_place notes; /* of attention; of a loss: its images' sums */
} sumi_cl_node;

struct sumi_network {
    sumi_device *device;
    const sumi_graph *graph;
    sumi_weights weights;
    sumi_plan_config config;
    sumi_cl_value *values;
    sumi_cl_node *nodes;
    int node_count; /* of the graph, which may be gone when the network is freed */
    sumi_buffers buffers;
    sumi_flow flow;
    size_t arena_floats;
    size_t piece_floats; /* of them that do not grow with the images: most that a piece needs */
    char *arena;         /* memory of the device */
    sumi_place results;  /* training: two words, the loss, and 1 where statistics are not finite */
    int images;          /* of the last run of gradients */
    double *seconds;
};

/* A call of a network, for as long as it takes. */
typedef struct {
    sumi_network *net;
    sumi_device *device;
    int n;
    const sumi_inputs *in;
    sumi_cl_place arena, values, statistics;
    sumi_cl_place gradients; /* training */
} sumi_cl_call;

static inline bool sumi_cl_training(const sumi_network *net)
{
    return net->config.mode == SUMI_MODE_TRAIN;
}

static inline int sumi_cl_backward_time(const sumi_network *net, int node)
{
    return 2 * net->graph->node_count - node;
}

/* ---- plan.c ---------------------------------------------------------------------------------- */

/* Of all but memory; SUMI_EUNSUPPORTED where the device cannot compute it. */
sumi_status sumi_cl_plan(sumi_network *net, sumi_error *err);
/* Asks for floats from time first to last; *place is set once all is laid out. */
void sumi_cl_reserve(sumi_network *net, size_t floats, int first, int last, sumi_place *place);
const sumi_layer *sumi_cl_layer(const sumi_network *net, int node);
const sumi_facts *sumi_cl_facts(const sumi_network *net, int node);
bool sumi_cl_same_size(const sumi_network *net, int a, int b);

/* ---- gradients.c ----------------------------------------------------------------------------- */

/* Who leaves which gradient, and what each value's is made of; after the values are known. */
sumi_status sumi_cl_plan_gradients(sumi_network *net, sumi_error *err);
/* Their memory. */
void sumi_cl_reserve_gradients(sumi_network *net);
/* Where a value's gradient is, once its terms are added up; nowhere: it has none. */
sumi_place sumi_cl_gradient(const sumi_network *net, int value);
/* Where the gradient is that a node leaves for its source. */
sumi_place sumi_cl_source_gradient(const sumi_network *net, int node, int source);
/* Adds up a value's terms, where that is more than to read one. */
void sumi_cl_add_terms(const sumi_cl_call *call, int value);
/* Terms of a value that went through a norm, at that norm; returns how many. */
int sumi_cl_norm_terms(const sumi_cl_call *call, int value, int norm, sumi_cl_term_args *out);
/* Adds a node's sources' gradients to those of their shifts. */
void sumi_cl_add_shifts(const sumi_cl_call *call, int node);
/* Zeros as the gradients of vectors that shifts and modulations add to. */
void sumi_cl_clear_added(const sumi_cl_call *call);

/* ---- sums.c ---------------------------------------------------------------------------------- */

/* True where the store of a convolution's gradient adds up what a norm needs of its source: *node
 * and *of are the convolution and its source. */
bool sumi_cl_sums_of(const sumi_network *net, int norm, int source, int *node, int *of);
/* How these sums lie: 0: [n][bands], or a tile's segments (kernels/common.cl). */
int sumi_cl_sum_segments(const sumi_network *net, int node, int source);
/* How many there are for each channel. */
size_t sumi_cl_sum_places(const sumi_network *net, int node, int source);
/* Reserves what is added up for shifts. */
void sumi_cl_plan_shift_sums(sumi_network *net, int node);
/* Has them added up; of a gradient's convolution that is set but for that. */
void sumi_cl_store_sums(const sumi_cl_call *call, int node, int source, sumi_cl_conv_args *args);

/* ---- arena.c --------------------------------------------------------------------------------- */

/* Gives every buffer its place and the network its memory. SUMI_ENOMEM says how much that is, how
 * much there is, and how many images would fit. */
sumi_status sumi_cl_lay_out(sumi_network *net, sumi_error *err);

/* ---- network.c ------------------------------------------------------------------------------- */

sumi_status sumi_cl_network_create(sumi_device *device, const sumi_graph *graph,
                                   const sumi_weights *weights, const sumi_plan_config *config,
                                   sumi_network **out, sumi_error *err);
void sumi_cl_network_free(sumi_network *net);
void sumi_cl_weights_changed(sumi_network *net);
void sumi_cl_predict(sumi_network *net, const sumi_inputs *in, int n, float *const *out);
void sumi_cl_profile(sumi_network *net, double *seconds);
size_t sumi_cl_network_bytes(const sumi_network *net);
double sumi_cl_node_macs(const sumi_network *net, int node);
double sumi_cl_node_bytes(const sumi_network *net, int node, int n, bool backward);
char *sumi_cl_describe(const sumi_network *net);
void sumi_cl_gradients(sumi_network *net, const sumi_inputs *in, int n, float *gradients);
/* The words at `results`, where they are on the device. */
char *sumi_cl_results(const sumi_network *net);
double sumi_cl_loss(const sumi_network *net);
bool sumi_cl_statistics_finite(const sumi_network *net);
void sumi_cl_update_statistics(sumi_network *net, const sumi_ledger *ledger, float *statistics);

/* ---- op_winograd.c --------------------------------------------------------------------------- */

/* True where a convolution of images of that size that adds up so many channels goes through
 * Winograd's transforms: by sizes and the kind of the device alone. */
bool sumi_cl_winograd_pays(const sumi_network *net, int ksize, const sumi_cl_value *size, int cin);
/* Reserves what a convolution's transforms need. */
void sumi_cl_plan_winograd(sumi_network *net, int node);
/* What sumi_conv does with these arguments; room: what was reserved. */
void sumi_cl_winograd(const sumi_cl_call *call, const sumi_cl_conv_args *conv, sumi_place room);

/* ---- ops.c, backward.c, op_conv.c, op_norm.c ------------------------------------------------- */

/* One node's forward. */
void sumi_cl_forward(const sumi_cl_call *call, int node);
void sumi_cl_conv_forward(const sumi_cl_call *call, int node);
void sumi_cl_norm_forward(const sumi_cl_call *call, int node);
/* Moments of a value that its producer has not collected. */
void sumi_cl_collect_moments(const sumi_cl_call *call, int value);
/* One node's backward: the gradients of its sources and of its parameters. */
void sumi_cl_backward(const sumi_cl_call *call, int node);
/* Of a convolution, or of a linear layer, which is one of 1x1 on images of one pixel. */
void sumi_cl_layer_backward(const sumi_cl_call *call, int node);
void sumi_cl_norm_backward(const sumi_cl_call *call, int node);
/* Their part of a node's plan. */
void sumi_cl_plan_layer(sumi_network *net, int node);
void sumi_cl_plan_norm(sumi_network *net, int node);
/* Adds up [pieces][count] numbers into a parameter's gradient. */
void sumi_cl_reduce(const sumi_cl_call *call, sumi_place from, int pieces, int param);
/* What a change of size does, from a node's source to the size of another value; where its result
 * goes is left open. */
sumi_cl_resample_args sumi_cl_resampling(const sumi_cl_call *call, int node,
                                         const sumi_cl_value *to);
/* A view as kernels take it. */
sumi_cl_view sumi_cl_view_of(const sumi_cl_call *call, const sumi_view *view);
int sumi_cl_edge_views(const sumi_cl_call *call, const sumi_edge *edge, sumi_cl_view *out);
/* A parameter's place, in floats from the begin of the memory object of the weights. */
uint32_t sumi_cl_param(const sumi_cl_call *call, int param);
uint32_t sumi_cl_statistic(const sumi_cl_call *call, int param);
uint32_t sumi_cl_param_gradient(const sumi_cl_call *call, int param);
/* A launch that reads and writes the arena: the given places twice, or once. */
sumi_cl_launch sumi_cl_launch_of(const sumi_cl_call *call, sumi_cl_kernel kernel, const void *args,
                                 size_t args_size);
/* In groups of SUMI_CL_LANE items along the first dimension. */
void sumi_cl_run_items(const sumi_cl_call *call, sumi_cl_launch *launch, size_t items, size_t rows,
                       size_t planes);

#endif
