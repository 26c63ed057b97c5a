/*
 * Normalisation: moments and rows. What is computed from them is pending on the norm's inputs, and
 * applied where they are read.
 */
#include "opencl/network.h"

void sumi_cl_collect_moments(const sumi_cl_call *call, int value)
{
    const sumi_cl_value *plan = &call->net->values[value];
    if (plan->moments == SUMI_NOWHERE)
        return;
    const sumi_cl_moments_args args = {.x = sumi_cl_word(plan->at),
                                       .out = sumi_cl_word(plan->moments),
                                       .n = call->n,
                                       .pixels = plan->h * plan->w,
                                       .c = call->net->graph->values[value].channels,
                                       .bands = plan->bands};
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_MOMENTS, &args, sizeof args);
    sumi_cl_run_items(call, &launch, (size_t)args.c, (size_t)args.bands, (size_t)call->n);
}

/* Moments of the network's own inputs are nobody else's to collect. */
static void take_moments(const sumi_cl_call *call, const sumi_edge *in, sumi_cl_rows_args *args)
{
    for (int i = 0; i < in->count; i++) {
        int value = in->views[i].value;
        const sumi_cl_value *plan = &call->net->values[value];
        if (plan->stored_by < 0)
            sumi_cl_collect_moments(call, value);
        args->moments[i] = sumi_cl_word(plan->moments);
        args->channels[i] = call->net->graph->values[value].channels;
        args->pixels = plan->h * plan->w;
        args->bands = plan->bands;
    }
}

/* Statistics over all images, of each source. */
static void take_statistics(const sumi_cl_call *call, int node)
{
    const sumi_network *net = call->net;
    const sumi_cl_node *plan = &net->nodes[node];
    uint32_t first = 0;
    for (int i = 0; i < plan->in.count; i++) {
        const sumi_cl_value *value = &net->values[plan->in.views[i].value];
        sumi_cl_stats_args args = {.moments = sumi_cl_word(value->moments),
                                   .n = call->n,
                                   .c = net->graph->values[plan->in.views[i].value].channels,
                                   .pixels = value->h * value->w,
                                   .bands = value->bands,
                                   .mean = sumi_cl_word(plan->mean) + first,
                                   .variance = sumi_cl_word(plan->variance) + first,
                                   .inverse = sumi_cl_word(plan->inverse) + first,
                                   .bad = sumi_cl_word(net->results) + 1};
        const size_t side = SUMI_CL_STATS_CHANNELS;
        sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_BATCH_STATS, &args, sizeof args);
        launch.local[0] = launch.local[1] = launch.global[1] = side;
        launch.global[0] = sumi_cl_rounded((size_t)args.c, side);
        launch.global[2] = launch.local[2] = 1;
        sumi_cl_run(call->device, &launch);
        first += (uint32_t)args.c;
    }
}

void sumi_cl_norm_forward(const sumi_cl_call *call, int node)
{
    const sumi_network *net = call->net;
    const sumi_cl_node *plan = &net->nodes[node];
    const sumi_layer *layer = sumi_cl_layer(net, node);
    int vector = net->graph->nodes[node].vector;
    bool grouped = layer->groups > 0, training = sumi_cl_training(net);
    sumi_cl_rows_args args = {
        .sources = plan->in.count,
        .n = call->n,
        .c = layer->in_channels,
        .groups = layer->groups,
        .gamma = sumi_cl_param(call, layer->weight),
        .beta = sumi_cl_param(call, layer->bias),
        .mean = training ? sumi_cl_word(plan->mean) : sumi_cl_statistic(call, layer->mean),
        .variance =
            training ? sumi_cl_word(plan->variance) : sumi_cl_statistic(call, layer->variance),
        .vector = vector >= 0 ? sumi_cl_word(net->values[vector].at) : SUMI_CL_NOWHERE,
        .scale = sumi_cl_word(plan->scale),
        .shift = sumi_cl_word(plan->shift),
        .means = grouped ? sumi_cl_word(plan->mean) : SUMI_CL_NOWHERE,
        .inverses = grouped ? sumi_cl_word(plan->inverse) : SUMI_CL_NOWHERE};
    if (grouped || training)
        take_moments(call, &plan->in, &args);
    if (!grouped && training)
        take_statistics(call, node);
    sumi_cl_launch launch = sumi_cl_launch_of(
        call, grouped ? SUMI_CL_GROUP_ROWS : SUMI_CL_BATCH_ROWS, &args, sizeof args);
    /* A network without weights has none to read. */
    launch.memory[launch.count++] = call->values.memory ? call->values.memory : call->arena.memory;
    if (!grouped)
        launch.memory[launch.count++] = training ? call->arena.memory : call->statistics.memory;
    size_t rows = plan->per_image ? (size_t)call->n : 1;
    sumi_cl_run_items(call, &launch, (size_t)(grouped ? args.groups : args.c), rows, 1);
}

/* ---- Training -------------------------------------------------------------------------------- */

void sumi_cl_plan_norm(sumi_network *net, int node)
{
    sumi_cl_node *plan = &net->nodes[node];
    const sumi_layer *layer = sumi_cl_layer(net, node);
    bool grouped = layer->groups > 0;
    size_t c = (size_t)layer->in_channels, n = (size_t)net->config.n_max;
    int end = 2 * net->graph->node_count + 1, back = sumi_cl_backward_time(net, node);
    sumi_cl_reserve(net, grouped ? n * c : c, node, end, &plan->mean);
    sumi_cl_reserve(net, grouped ? n * c : c, node, end, &plan->inverse);
    if (!grouped)
        sumi_cl_reserve(net, c, node, end, &plan->variance);
    if (plan->dead)
        return;
    sumi_place *rows[] = {&plan->ga, &plan->gb, &plan->gk};
    for (int i = 0; i < 3; i++)
        sumi_cl_reserve(net, plan->per_image ? n * c : c, back, end, rows[i]);
    sumi_cl_reserve(net, 2 * n * c, back, back, &plan->totals);
    for (int s = 0; s < plan->in.count; s++) {
        int value = plan->in.views[s].value;
        size_t places = n * (size_t)net->values[value].bands;
        int by, of, first = back;
        if (sumi_cl_sums_of(net, node, s, &by, &of)) {
            places = sumi_cl_sum_places(net, by, of);
            first = sumi_cl_backward_time(net, by);
        }
        sumi_cl_reserve(net, places * 2 * (size_t)net->graph->values[value].channels, first, back,
                        &plan->sources[s].sums);
    }
}

/* The sums of one source, whose channels begin at `first` of the norm's. */
static void take_sums(const sumi_cl_call *call, int node, int source, uint32_t first)
{
    const sumi_network *net = call->net;
    const sumi_cl_node *plan = &net->nodes[node];
    const sumi_layer *layer = sumi_cl_layer(net, node);
    int index = plan->in.views[source].value, by, of;
    if (sumi_cl_sums_of(net, node, source, &by, &of))
        return; /* the store of that gradient has them */
    const sumi_cl_value *value = &net->values[index];
    sumi_cl_term_args terms[SUMI_CL_TERMS_MAX];
    int count = sumi_cl_norm_terms(call, index, node, terms);
    sumi_cl_sums_args args = {.x = sumi_cl_word(value->at),
                              .out = sumi_cl_word(plan->sources[source].sums),
                              .mean = sumi_cl_word(plan->mean) + first,
                              .mean_row = layer->groups > 0 ? layer->in_channels : 0,
                              .n = call->n,
                              .c = net->graph->values[index].channels,
                              .pixels = value->h * value->w,
                              .bands = value->bands};
    for (int at = 0; at < count || at == 0; at += SUMI_CL_TERMS) {
        args.terms = count - at < SUMI_CL_TERMS ? count - at : SUMI_CL_TERMS;
        args.adds = at > 0;
        for (int t = 0; t < args.terms; t++)
            args.term[t] = terms[at + t];
        sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_NORM_SUMS, &args, sizeof args);
        sumi_cl_run_items(call, &launch, (size_t)args.c, (size_t)args.bands, (size_t)call->n);
    }
}

static sumi_cl_norm_args norm_args(const sumi_cl_call *call, int node)
{
    const sumi_network *net = call->net;
    const sumi_cl_node *plan = &net->nodes[node];
    const sumi_layer *layer = sumi_cl_layer(net, node);
    int vector = net->graph->nodes[node].vector, c = layer->in_channels;
    sumi_cl_norm_args args = {
        .sources = plan->in.count,
        .n = call->n,
        .c = c,
        .groups = layer->groups,
        .gamma = sumi_cl_param(call, layer->weight),
        .beta = sumi_cl_param(call, layer->bias),
        .vector = vector >= 0 ? sumi_cl_word(net->values[vector].at) : SUMI_CL_NOWHERE,
        .added = vector >= 0 ? sumi_cl_word(net->values[vector].added) : SUMI_CL_NOWHERE,
        .mean = sumi_cl_word(plan->mean),
        .inverse = sumi_cl_word(plan->inverse),
        .stat_row = layer->groups > 0 ? c : 0,
        .totals = sumi_cl_word(plan->totals),
        .ga = sumi_cl_word(plan->ga),
        .gb = sumi_cl_word(plan->gb),
        .gk = sumi_cl_word(plan->gk),
        .row = plan->per_image ? c : 0,
        .dgamma = sumi_cl_param_gradient(call, layer->weight),
        .dbeta = sumi_cl_param_gradient(call, layer->bias)};
    for (int s = 0; s < plan->in.count; s++) {
        int value = plan->in.views[s].value;
        int by, of;
        args.sums[s] = sumi_cl_word(plan->sources[s].sums);
        if (sumi_cl_sums_of(net, node, s, &by, &of))
            args.segments[s] = sumi_cl_sum_segments(net, by, of);
        args.channels[s] = net->graph->values[value].channels;
        args.pixels = net->values[value].h * net->values[value].w;
        args.bands = net->values[value].bands;
    }
    return args;
}

void sumi_cl_norm_backward(const sumi_cl_call *call, int node)
{
    const sumi_network *net = call->net;
    const sumi_layer *layer = sumi_cl_layer(net, node);
    const sumi_cl_norm_args args = norm_args(call, node);
    size_t c = (size_t)args.c, n = (size_t)call->n;
    uint32_t first = 0;
    for (int s = 0; s < args.sources; first += (uint32_t)args.channels[s++])
        take_sums(call, node, s, first);
    const struct {
        sumi_cl_kernel kernel;
        size_t items, rows;
        bool wanted;
    } stages[] = {{SUMI_CL_NORM_TOTALS, c, n, true},
                  {SUMI_CL_NORM_GROUP, (size_t)args.groups, n, args.groups > 0},
                  {SUMI_CL_NORM_BATCH, c, 1, args.groups == 0}};
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        sumi_cl_launch launch = sumi_cl_launch_of(call, stages[i].kernel, &args, sizeof args);
        launch.memory[launch.count++] =
            call->values.memory ? call->values.memory : call->arena.memory;
        if (stages[i].wanted)
            sumi_cl_run_items(call, &launch, stages[i].items, stages[i].rows, 1);
    }
    if (layer->weight < 0)
        return;
    sumi_cl_launch launch = sumi_cl_launch_of(call, SUMI_CL_NORM_PARAMS, &args, sizeof args);
    launch.memory[launch.count++] = call->gradients.memory;
    sumi_cl_run_items(call, &launch, c, 1, 1);
}

/* ---- Running statistics ---------------------------------------------------------------------- */

void sumi_cl_update_statistics(sumi_network *net, const sumi_ledger *ledger, float *statistics)
{
    sumi_cl_call call = {.net = net, .device = net->device};
    if (net->graph->params.statistic_count == 0 || net->device->status != SUMI_OK)
        return;
    call.arena = sumi_cl_at(net->device, net->arena);
    call.statistics = sumi_cl_at(net->device, statistics);
    for (int node = 0; node < net->graph->node_count; node++) {
        const sumi_cl_node *plan = &net->nodes[node];
        if (net->graph->nodes[node].kind != SUMI_KIND_NORM || plan->skipped ||
            sumi_cl_layer(net, node)->groups > 0)
            continue;
        const sumi_layer *layer = sumi_cl_layer(net, node);
        const sumi_cl_value *value = &net->values[plan->in.views[0].value];
        double count = (double)net->images * value->h * value->w;
        sumi_cl_running_args args = {.mean = sumi_cl_word(plan->mean),
                                     .variance = sumi_cl_word(plan->variance),
                                     .to_mean = sumi_cl_statistic(&call, layer->mean),
                                     .to_variance = sumi_cl_statistic(&call, layer->variance),
                                     .c = layer->in_channels,
                                     .unbiased = (float)(count > 1 ? count / (count - 1) : 1)};
        sumi_cl_launch launch = sumi_cl_launch_of(&call, SUMI_CL_RUNNING, &args, sizeof args);
        launch.memory[launch.count++] = call.statistics.memory;
        args.ledger = sumi_cl_give_ledger(net->device, &launch, ledger);
        sumi_cl_run_items(&call, &launch, (size_t)args.c, 1, 1);
    }
}
