/*
 * A network: the plan of one graph at one size and mode, and the memory it runs in. Private to this
 * layer.
 *
 * Time: forward node i runs at time i, the loss at time F (the number of nodes), the backward of
 * node i at 2F - i. A buffer lives from its first to its last use in this order; buffers that never
 * live together share memory. Places in the arena are in bytes. Persistent buffers live from 0 to
 * 2F, or to F where nothing is trained.
 */
#ifndef SUMI_NETWORK_H
#define SUMI_NETWORK_H

#include "cpu/cpu.h"
#include "graph/plan.h"

/* One form of a value. Backward runs the nodes in reverse: the last node that reads the form is the
 * first that writes its gradient, and the first reader is the last that adds to it. */
typedef struct {
    bool read;           /* some node has it as a source */
    int last_reader;     /* writes the gradient first; -1: no node that trains reads the form */
    int final_reader;    /* adds to the gradient last, and collects the sums that the norm needs */
    int final_source;    /* the form is this one of that node's sources */
    sumi_place gradient; /* of the form: not yet back through its activation and norm */
} sumi_form_plan;

/* A value's gradient is a sum of terms. A term is the gradient of one of its forms; or, where
 * `value` is not -1, the whole gradient of that value, which an addition passes on. */
typedef struct {
    int form, value;
} sumi_term;

enum { SUMI_TERMS_MAX = SUMI_FORMS_MAX + 4 };

typedef struct {
    int h, w;
    size_t image_floats; /* of one image */
    bool bf16;           /* what raw and gradients hold */
    int stored_by;       /* the node that writes it; -1: it is an input, or is never written */
    int absorbed;        /* predict: the form that this node applies before it writes; 0: none */
    bool needs_gradient; /* a parameter's gradient depends on it */
    bool live;           /* training: a loss depends on it */
    bool time_only;      /* predict: depends on time and labels alone, and is computed first */
    size_t table_at;     /* its place in a row of the time table, or SUMI_NOWHERE */
    sumi_form_plan forms[SUMI_FORMS_MAX];
    sumi_term terms[SUMI_TERMS_MAX];
    int term_count;
    int gradient_end; /* time at which its gradient is last read */
    sumi_place raw;
    sumi_place sum;  /* of its terms, where there are several */
    sumi_place sums; /* of that: [n][sum_bands][3][c], of which the first rows are set */
    int sum_bands;
    sumi_place moments; /* [n][bands][2][c], collected by whoever stores the value */
    int rows, bands;    /* of the moments: rows of a band */
} sumi_value_plan;

/* One source of a node. */
typedef struct {
    bool passes;     /* its gradient is the output's: nothing is written */
    bool accumulate; /* the node adds to the source's gradient instead of writing it */
    bool up;         /* the node up-samples the source on the way */
    sumi_place sums; /* [n][sum_bands][3][c] */
    int sum_bands;
} sumi_source_plan;

typedef struct {
    /* A node may take over the work of one beside it: an up-sampling before a convolution, an
     * addition after it. The other one is then skipped, and this one has its sources or its output.
     */
    sumi_edge in;
    sumi_place terms; /* training: gradients of its layer's parameters, of each group of images */
    int stores;       /* the value that it writes, or -1 */
    int residual;     /* a value that it adds to what it writes, or -1 */
    bool skipped;     /* another node does its work, or nobody needs it */
    bool dead;        /* training: no loss depends on it */
    bool unfused;
    bool wants_dgrad;
    sumi_source_plan sources[SUMI_SOURCES_MAX];
    void *own; /* the operation's (op_*.c): one block of memory, or NULL */
} sumi_node_plan;

/* What a row of the time table is found by: the bits of the time, and the label. */
typedef struct {
    uint32_t time;
    int32_t label;
} sumi_time_key;

/* Predict: rows of what depends on time and label alone (time_table.c). */
typedef struct {
    size_t row_floats; /* 0: there is no table */
    int batch;         /* most rows that are computed at once */
    size_t capacity;   /* most rows that are kept */
    size_t count;      /* rows that are there */
    size_t slot_count; /* a power of two */
    sumi_place rows;   /* [capacity][row_floats] */
    sumi_place keys;   /* [capacity] */
    sumi_place slots;  /* [slot_count]: where a key's hash leads to; row number plus 1, or 0 */
    sumi_place times, labels; /* [batch]: of the rows that a run computes */
} sumi_time_table;

struct sumi_network {
    const sumi_graph *graph;
    sumi_weights weights;
    const sumi_kernels *kernels;
    sumi_pool *pool;
    sumi_plan_config config;
    sumi_value_plan *values;
    sumi_node_plan *nodes;
    int node_count; /* of the graph, which may be gone when the network is freed */
    sumi_buffers buffers;
    sumi_flow flow;
    bool out_of_memory; /* while planning */
    char *arena;
    size_t arena_bytes;
    size_t scratch_bytes; /* of one thread, largest user */
    sumi_place scratch;
    size_t rounded_bytes; /* the largest layer's weights, rounded to bfloat16 before packing */
    sumi_place rounded;
    size_t temp_bytes[3]; /* unfused: inputs, output gradients, outputs */
    sumi_place temp[3];
    sumi_time_table time_table;
    bool packed_valid; /* what was packed is of the present weights */
    double loss;       /* of the last run of gradients */
    double *seconds;   /* sumi_network_profile */
};

/* A call of a network, for as long as it takes. */
typedef struct {
    sumi_network *net;
    int n;
    sumi_inputs in;
    float *const *out; /* predict: where the outputs live */
    float *gradients;  /* training */
    double *loss;      /* training: a loss adds to it */
} sumi_run;

/* An image's label, -1 where it has none. */
static inline int32_t sumi_label_of(const sumi_run *run, int64_t image)
{
    return run->in.labels ? run->in.labels[image] : -1;
}

/* ---- groups.c: sums over images -------------------------------------------------------------- */

/* True where a batch's images are cut into groups whose sums are taken apart. */
bool sumi_run_is_cut(const sumi_run *run);
/* Images of the whole batch. */
int sumi_run_images(const sumi_run *run);
/* Groups that the run's images are, and where one begins: of group number `count`, run->n. Without
 * a cut all images are one group. */
int sumi_run_groups(const sumi_run *run);
int sumi_run_border(const sumi_run *run, int group);
/* The most groups of a run, and the most images of a group. */
int sumi_plan_groups(const sumi_network *net);
int sumi_plan_group_images(const sumi_network *net);
/* Adds up [group][count] numbers over the groups of all ranks, into values [0]. Never from within a
 * loop of the pool. */
void sumi_run_sum(const sumi_run *run, double *values, size_t count);
/* Room for what the terms below need, for a node that has a layer. */
void sumi_plan_terms(sumi_network *net, int node);
/* Where a group's gradient of one of the layer's parameters (its weight, its bias) is to be
 * written. */
float *sumi_run_term(const sumi_run *run, int node, int param, int group);
/* Once all of them are: adds them up to the gradients of the layer's parameters. */
void sumi_run_fold(const sumi_run *run, int node);
/* Zeros in place of the gradients of the layer's parameters. */
void sumi_run_clear(const sumi_run *run, int node);

/* ---- plan.c ---------------------------------------------------------------------------------- */

int sumi_time_forward(const sumi_network *net, int node);
int sumi_time_backward(const sumi_network *net, int node);
int sumi_time_end(const sumi_network *net);
bool sumi_training(const sumi_network *net);
int sumi_value_h(const sumi_network *net, int value);
int sumi_value_w(const sumi_network *net, int value);
/* Bytes of the arena that hold a value or its gradient. */
/* True where it is kept as float32 in every precision, and its gradient too. */
bool sumi_value_is_wide(const sumi_network *net, int value);
size_t sumi_value_bytes(const sumi_network *net, int value);
bool sumi_reads_value(const sumi_network *net, int node, int value); /* also as a vector */
const sumi_facts *sumi_node_facts(const sumi_network *net, int node);
/* Images, or rows of the time table, that a value has room for. */
int sumi_value_rows(const sumi_network *net, int value);
const sumi_layer *sumi_node_layer(const sumi_network *net, int node);
/* The form that a reader of a view has to apply: none where the node that wrote the value did. */
const sumi_form *sumi_view_pending(const sumi_network *net, const sumi_view *view);
/* True where a node that is not pending has this form of the value as a source. */
bool sumi_reads_form(const sumi_network *net, int node, int value, int form);
/* How a value's moments are cut, and room for them, where somebody wants them. */
void sumi_plan_moments(sumi_network *net, int value, int rows, int bands);
/* Room for the sums that a node's backward collects of its source i, in so many bands, where
 * somebody wants them. */
void sumi_plan_sums(sumi_network *net, int node, int i, int bands);
/* An operation's own part of a node's plan: zeroed, and freed with the network. NULL, noted in the
 * network: out of memory. */
void *sumi_plan_own(sumi_network *net, int node, size_t size);

/* ---- arena.c --------------------------------------------------------------------------------- */

/* Asks for memory from time first to last; *place is set when the arena is laid out. */
void sumi_reserve(sumi_network *net, size_t bytes, int first, int last, sumi_place *place,
                  const char *what, int index);
void sumi_want_scratch(sumi_network *net, size_t bytes);
void *sumi_at(const sumi_network *net, sumi_place place); /* NULL for SUMI_NOWHERE */
void *sumi_scratch(const sumi_network *net, int thread);

/* ---- terms.c --------------------------------------------------------------------------------- */

/* What the gradient of each value is made of, who writes each share, and for how long it is needed;
 * after the values' readers are known. */
sumi_status sumi_plan_gradients(sumi_network *net, sumi_error *err);
/* True where a constant added to a value changes nothing: all of its gradient goes through norms
 * that subtract the mean of each channel. */
bool sumi_value_is_centred(const sumi_network *net, int value);
/* Adds up the terms of a value's gradient, where there are several. */
void sumi_sum_terms(const sumi_run *run, int value);

/* ---- padding.c ------------------------------------------------------------------------------- */

/* Before anything else is planned. Where the image is as large as what it would be padded to: lets
 * the readers of the padded one read the image, and who makes what is cropped write the result. */
void sumi_plan_padding(sumi_network *net, int node);

/* ---- residual.c ------------------------------------------------------------------------------ */

/* Before values are planned. Leaves an addition to the node that makes the later of its operands,
 * where the kinds allow it. */
void sumi_plan_residual(sumi_network *net, int node);

/* ---- sum.c: passes over images in bands of rows ---------------------------------------------- */

/* Rows of an image of h rows of so many floats that a piece of work has. */
int sumi_band_rows(int h, size_t row_floats);
/* The sources added up go through sink, which has rows and bands as planned. */
void sumi_sum_run(const sumi_run *run, const sumi_source *sources, int count, const sumi_sink *sink,
                  int value, int rows);
/* Its scratch, in bytes. */
size_t sumi_sum_scratch(const sumi_network *net, int value, int rows);

/* ---- upsampling.c ---------------------------------------------------------------------------- */

/* Before values are planned. Lets node up-sample its sources by itself, where the kernels can and
 * these sources are its first or its last. */
void sumi_plan_upsampling(sumi_network *net, int node);

/* ---- sources.c ------------------------------------------------------------------------------- */

void *sumi_value_data(const sumi_run *run, int value); /* bfloat16 where its plan says so */
const float *sumi_param_data(const sumi_network *net, int param);
/* A view as a source for a kernel. */
void sumi_view_source(const sumi_run *run, const sumi_view *view, sumi_source *out);
int sumi_edge_sources(const sumi_run *run, const sumi_edge *edge, sumi_source *out);
/* The sink that writes a value. */
void sumi_value_sink(const sumi_run *run, int value, sumi_sink *out);
/* One term of it, and the whole. */
void sumi_term_source(const sumi_run *run, int value, const sumi_term *term, sumi_source *out);
/* The gradient of a raw value that is live, in gradient form. */
void sumi_gradient_source(const sumi_run *run, int value, sumi_source *out);
/* The sink of the gradient that node sends to its source number i. stat must live as long. */
void sumi_gradient_sink(const sumi_run *run, int node, int i, sumi_source *stat, sumi_sink *out);
/* After node's backward wrote its sums: the gradients of its posts. */
void sumi_post_gradients(const sumi_run *run, int node);
/* Applies what is pending on sources in a pass of its own: dst [n][h][w][c], then *out is one plain
 * source. The unfused executor's. */
void sumi_materialise(const sumi_network *net, const sumi_source *sources, int count, int n, int h,
                      int w, float *dst, sumi_source *out);

/* ---- run.c ----------------------------------------------------------------------------------- */

/* A node's forward, timed where somebody asked. */
void sumi_run_forward_op(const sumi_run *run, int node);

/* ---- time_table.c ---------------------------------------------------------------------------- */

/* Finds the values that depend on time and label alone and asks for the table's memory; after the
 * values' plans, before the nodes'. */
void sumi_time_table_plan(sumi_network *net);
/* True where a node is run by sumi_time_table_run alone. */
bool sumi_time_only(const sumi_network *net, int node);
/* Gives this run's images their rows. */
void sumi_time_table_run(const sumi_run *run);

/* ---- conv_run.c: convolutions and linear layers over the thread pool ------------------------- */

enum { SUMI_PARTS_MAX = 2 };

/* Which third of the unfused executor's memory. */
enum { SUMI_TEMP_INPUT, SUMI_TEMP_GRADIENT, SUMI_TEMP_OUTPUT };

/* A convolution, and what its weights are to be packed from before it runs: NULL where its `packed`
 * holds them. */
typedef struct {
    sumi_conv conv;
    const float *weights, *scale;
    float *packed;
} sumi_conv_pass;

typedef struct {
    sumi_wgrad wgrad;
    /* Partial gradients that are kept apart: of each group of images where these are cut, at most
     * so many of all images where not. */
    int pieces;
    float *partials; /* [group][piece][wgrad.spec->partial_floats] */
    /* Where the images are cut: whose they are. */
    const sumi_run *run;
    float *dw;        /* HWIO; of the first group ... */
    size_t dw_stride; /* ... and floats from there to the next */
} sumi_wgrad_pass;

/* Both gradients of a layer's input channels, or of a part of them; dgrad's spec, or wgrad's, is
 * NULL where it is not wanted. */
typedef struct {
    sumi_conv_pass dgrad;
    sumi_wgrad_pass wgrad;
} sumi_conv_gradients;

/* The passes over n images, one after the other; unfused: each in three steps. */
void sumi_conv_run(const sumi_network *net, const sumi_conv_pass *passes, int count, int n,
                   bool unfused);
/* The gradients of a layer's parts. */
void sumi_conv_backward(const sumi_network *net, const sumi_conv_gradients *parts, int count, int n,
                        bool unfused);

/* ---- bias.c ---------------------------------------------------------------------------------- */

/* The bias's gradient of a node's layer, of each group of images: the sum of dy, the gradient of
 * its value, over all pixels; after the backward of all that reads the value. */
void sumi_image_bias_gradient(const sumi_run *run, int node, const sumi_source *dy);
/* The same by reading dy. rows: it is one image, which has a row for each image of the run. */
void sumi_bias_gradient(const sumi_run *run, int node, const sumi_source *dy, bool rows);

#endif
