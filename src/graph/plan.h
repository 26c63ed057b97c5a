/*
 * What the plans of all backends have in common: which gradients a training needs, who reads what,
 * and where buffers lie. A backend's plan decides the rest.
 */
#ifndef SUMI_PLAN_H
#define SUMI_PLAN_H

#include "graph/graph.h"

/* ---- Buffers (arena.c) ----------------------------------------------------------------------- */

/* A place in an arena, in units of the backend's choice; SUMI_NOWHERE: none. */
typedef size_t sumi_place;
#define SUMI_NOWHERE SIZE_MAX

typedef struct {
    size_t size;     /* in the same units */
    int first, last; /* times between which it is needed */
    sumi_place *place;
    const char *what; /* for a printed plan */
    int index;        /* value or node */
} sumi_buffer;

/* Zeros are an empty list. */
typedef struct {
    sumi_buffer *items;
    int count, capacity;
    bool failed; /* out of memory */
} sumi_buffers;

/* Asks for `size`, rounded up to whole units of `align`; *place is set by sumi_buffers_lay_out, and
 * nowhere until then. */
void sumi_buffers_add(sumi_buffers *buffers, const sumi_buffer *wanted, size_t align);
/* Gives every buffer its place, those that never live at the same time over each other; returns the
 * size of them all. */
size_t sumi_buffers_lay_out(sumi_buffers *buffers);
void sumi_buffers_free(sumi_buffers *buffers);

/* ---- Readers (readers.c) --------------------------------------------------------------------- */

/* What the nodes of a plan read, which may differ from the graph's: each edge `stride` bytes behind
 * the one before it. */
typedef struct {
    const sumi_edge *first;
    size_t stride;
} sumi_plan_edges;

/* How many views there are of a value, or -1 where one of them is not plain. */
int sumi_plain_readers(const sumi_graph *graph, const sumi_plan_edges *edges, int value);

/* ---- Gradients (flow.c) ---------------------------------------------------------------------- */

/* What a training has to do with values and nodes. */
typedef struct {
    bool *needed; /* of each value: a parameter's gradient depends on its gradient */
    bool *live;   /* a loss depends on it */
    bool *dead;   /* of each node: no loss depends on it */
} sumi_flow;

/* SUMI_ENOMEM. Released by free, failed or not. */
sumi_status sumi_flow_find(const sumi_graph *graph, sumi_flow *flow, sumi_error *err);
void sumi_flow_free(sumi_flow *flow);

#endif
