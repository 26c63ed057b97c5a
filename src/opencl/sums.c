/*
 * What the store of an input's gradient adds up of it (kernels/conv.cl), so that no pass reads the
 * gradient again: for the norm behind which the input was read, d and d (r - mean), where no other
 * node read it behind that norm too; and for a shift, the gradient itself. Where tiles are of one
 * image each (Winograd's), sums are those of its bands; else a tile has a sum for each of the
 * images that it has pixels of.
 */
#include "opencl/network.h"

/* More images in a tile would make more sums than they are worth. */
enum { SEGMENTS_MOST = 5 };

/* True where tiles of the gradient that a convolution leaves for its inputs are of one image. */
static bool tiled_by_image(const sumi_network *net, int node, const sumi_cl_value *value)
{
    const sumi_layer *layer = sumi_cl_layer(net, node);
    return sumi_cl_winograd_pays(net, layer->ksize, value, layer->out_channels);
}

static int segments_of(const sumi_network *net, int node, const sumi_cl_value *value)
{
    int pixels = value->h * value->w;
    if (tiled_by_image(net, node, value) || pixels % SUMI_CL_TILE == 0)
        return 1;
    return 1 + (SUMI_CL_TILE - 1 + pixels - 1) / pixels;
}

/* Whether the store can: of a convolution whose tiles do not have too many images. */
static bool can_store(const sumi_network *net, int node, int source)
{
    const sumi_cl_value *value = &net->values[net->nodes[node].in.views[source].value];
    return net->graph->nodes[node].kind == SUMI_KIND_CONV && !net->nodes[node].skipped &&
           net->nodes[node].sources[source].wanted &&
           segments_of(net, node, value) <= SEGMENTS_MOST;
}

bool sumi_cl_sums_of(const sumi_network *net, int norm, int source, int *node, int *of)
{
    int index = net->nodes[norm].in.views[source].value, found = 0;
    const sumi_cl_value *value = &net->values[index];
    for (int t = 0; t < value->term_count; t++) {
        const sumi_cl_term *term = &value->terms[t];
        if (net->graph->values[index].forms[term->form].norm != norm)
            continue;
        *node = term->node;
        *of = term->source;
        found++;
    }
    for (int s = 0; s < net->nodes[norm].in.count; s++)
        if (s != source && net->nodes[norm].in.views[s].value == index)
            return false;
    return found == 1 && can_store(net, *node, *of);
}

int sumi_cl_sum_segments(const sumi_network *net, int node, int source)
{
    const sumi_cl_value *value = &net->values[net->nodes[node].in.views[source].value];
    return tiled_by_image(net, node, value) ? 0 : segments_of(net, node, value);
}

size_t sumi_cl_sum_places(const sumi_network *net, int node, int source)
{
    const sumi_cl_value *value = &net->values[net->nodes[node].in.views[source].value];
    size_t n = (size_t)net->config.n_max, pixels = (size_t)value->h * (size_t)value->w;
    size_t bands = (pixels + SUMI_CL_BAND - 1) / SUMI_CL_BAND;
    size_t tiles = (n * pixels + SUMI_CL_TILE - 1) / SUMI_CL_TILE;
    return tiled_by_image(net, node, value) ? n * bands
                                            : tiles * (size_t)segments_of(net, node, value);
}

void sumi_cl_plan_shift_sums(sumi_network *net, int node)
{
    sumi_cl_node *plan = &net->nodes[node];
    int back = sumi_cl_backward_time(net, node);
    for (int s = 0; s < plan->in.count; s++) {
        const sumi_view *view = &plan->in.views[s];
        if (view->post >= 0 && net->values[view->post].trained && can_store(net, node, s))
            sumi_cl_reserve(net,
                            sumi_cl_sum_places(net, node, s) *
                                (size_t)net->graph->values[view->value].channels,
                            back, back, &plan->sources[s].shifts);
    }
}

void sumi_cl_store_sums(const sumi_cl_call *call, int node, int source, sumi_cl_conv_args *args)
{
    const sumi_network *net = call->net;
    const sumi_view *view = &net->nodes[node].in.views[source];
    const sumi_form *form = sumi_view_form(net->graph, view);
    const sumi_cl_value *value = &net->values[view->value];
    sumi_cl_back_args *back = &args->back;
    back->shifts = sumi_cl_word(net->nodes[node].sources[source].shifts);
    for (int s = 0; form->norm >= 0 && s < net->nodes[form->norm].in.count; s++) {
        const sumi_cl_node *norm = &net->nodes[form->norm];
        int by = -1, of = -1;
        if (norm->in.views[s].value != view->value ||
            !sumi_cl_sums_of(net, form->norm, s, &by, &of))
            continue;
        sumi_cl_norm_terms(call, view->value, form->norm, &back->term);
        back->sums = sumi_cl_word(norm->sources[s].sums);
        back->x = sumi_cl_word(value->at);
        back->mean = sumi_cl_word(norm->mean) + (uint32_t)form->first;
        const sumi_layer *layer = sumi_cl_layer(net, form->norm);
        back->mean_row = layer->groups > 0 ? layer->in_channels : 0;
    }
    if (back->sums == SUMI_CL_NOWHERE && back->shifts == SUMI_CL_NOWHERE)
        return;
    back->segments = segments_of(net, node, value);
    if (tiled_by_image(net, node, value))
        args->tiles = (value->h * value->w + SUMI_CL_TILE - 1) / SUMI_CL_TILE;
}
