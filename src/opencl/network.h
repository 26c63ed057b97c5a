/*
 * A network on a device: the plan of one graph at one size, and the memory that it runs in. Private
 * to this layer.
 *
 * All values, moments and rows lie in one memory object, the arena; a place in it is counted in
 * floats. Time is the number of a node, and a buffer lives from its first to its last use.
 */
#ifndef SUMI_OPENCL_NETWORK_H
#define SUMI_OPENCL_NETWORK_H

#include "opencl/device.h"

typedef struct {
    int h, w;
    size_t image_floats;
    int stored_by;        /* the node that writes it; -1: an input, or never written */
    uint32_t at, moments; /* places, or SUMI_CL_NOWHERE */
    int bands;
} sumi_cl_value;

typedef struct {
    sumi_edge in;          /* what it reads: padding that does nothing is left out */
    int stores;            /* the value that it writes, or -1 */
    int residual;          /* a value that it adds to what it writes, or -1 */
    bool skipped;          /* another node does its work, or it is none */
    uint32_t scale, shift; /* of a norm: rows */
    bool per_image;        /* which it has for each image */
    uint32_t table;        /* of waves: frequencies */
} sumi_cl_node;

typedef struct {
    size_t floats;
    int first, last;
    uint32_t *place;
} sumi_cl_buffer;

struct sumi_network {
    sumi_device *device;
    const sumi_graph *graph;
    sumi_weights weights;
    sumi_plan_config config;
    sumi_cl_value *values;
    sumi_cl_node *nodes;
    int node_count; /* of the graph, which may be gone when the network is freed */
    sumi_cl_buffer *buffers;
    int buffer_count, buffer_capacity;
    bool out_of_memory; /* while planning */
    uint64_t arena_floats;
    char *arena; /* memory of the device */
    double *seconds;
};

/* A call of a network, for as long as it takes. */
typedef struct {
    sumi_network *net;
    sumi_device *device;
    int n;
    const sumi_inputs *in;
    sumi_cl_place arena, values, statistics;
} sumi_cl_call;

/* ---- plan.c ---------------------------------------------------------------------------------- */

/* Of all but memory; SUMI_EUNSUPPORTED where the device cannot compute it. */
sumi_status sumi_cl_plan(sumi_network *net, sumi_error *err);
/* Asks for floats from time first to last; *place is set once all is laid out. */
void sumi_cl_reserve(sumi_network *net, size_t floats, int first, int last, uint32_t *place);
const sumi_layer *sumi_cl_layer(const sumi_network *net, int node);

/* ---- arena.c --------------------------------------------------------------------------------- */

/* Gives every buffer its place and the network its memory. SUMI_ENOMEM says how much that is, how
 * much there is, and how many images would fit. */
sumi_status sumi_cl_lay_out(sumi_network *net, sumi_error *err);

/* ---- network.c ------------------------------------------------------------------------------- */

sumi_status sumi_cl_no_training(const sumi_device *device, sumi_error *err);
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

/* ---- ops.c, op_conv.c, op_norm.c ------------------------------------------------------------- */

/* One node's forward. */
void sumi_cl_forward(const sumi_cl_call *call, int node);
void sumi_cl_conv_forward(const sumi_cl_call *call, int node);
void sumi_cl_norm_forward(const sumi_cl_call *call, int node);
/* Moments of a value that its producer has not collected. */
void sumi_cl_collect_moments(const sumi_cl_call *call, int value);
/* A view as kernels take it. */
sumi_cl_view sumi_cl_view_of(const sumi_cl_call *call, const sumi_view *view);
int sumi_cl_edge_views(const sumi_cl_call *call, const sumi_edge *edge, sumi_cl_view *out);
/* A parameter's place, in floats from the begin of the memory object of the weights. */
uint32_t sumi_cl_param(const sumi_cl_call *call, int param);
uint32_t sumi_cl_statistic(const sumi_cl_call *call, int param);
/* A launch that reads and writes the arena: the given places twice, or once. */
sumi_cl_launch sumi_cl_launch_of(const sumi_cl_call *call, sumi_cl_kernel kernel, const void *args,
                                 size_t args_size);
/* In groups of SUMI_CL_LANE items along the first dimension. */
void sumi_cl_run_items(const sumi_cl_call *call, sumi_cl_launch *launch, size_t items, size_t rows,
                       size_t planes);

#endif
