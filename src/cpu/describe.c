/*
 * A plan as text: for each node its sources with what is pending on them, its algorithm and tiles,
 * and which gradients it writes, adds to and completes; then every buffer with its lifetime.
 */
#include "cpu/ops.h"

static void say_view(sumi_text *out, const sumi_network *net, const sumi_view *view)
{
    static const char *const acts[] = {"", " relu", " silu"};
    const sumi_form *form = sumi_view_form(net->graph, view);
    bool in_store = view->form > 0 && net->values[view->value].absorbed == view->form;
    sumi_text_printf(out, " v%d[%d]", view->value, net->graph->values[view->value].channels);
    if (form->norm >= 0)
        sumi_text_printf(out, in_store ? "(norm%d in store)" : " norm%d", form->norm);
    if (!in_store)
        sumi_text_printf(out, "%s", acts[form->act]);
    if (view->post >= 0)
        sumi_text_printf(out, " +v%d@%d", view->post, view->post_offset);
}

/* What becomes of the gradient of each source. */
static void say_gradients(sumi_text *out, const sumi_network *net, int i)
{
    const sumi_node_plan *plan = &net->nodes[i];
    for (int s = 0; s < plan->in.count; s++) {
        const sumi_view *view = &plan->in.views[s];
        const sumi_form_plan *form = &net->values[view->value].forms[view->form];
        bool final = form->final_reader == i && form->final_source == s;
        const char *verb = plan->sources[s].passes          ? "is passed on"
                           : form->gradient == SUMI_NOWHERE ? "sums only"
                           : plan->sources[s].accumulate    ? "adds"
                                                            : "writes";
        sumi_text_printf(
            out, "      gradient of v%d: %s%s%s\n", view->value, verb,
            view->post >= 0 ? ", sums for the shift" : "",
            final && sumi_view_form(net->graph, view)->norm >= 0 ? ", sums for the norm" : "");
    }
}

static void say_result(sumi_text *out, const sumi_network *net, int i)
{
    const sumi_node_plan *plan = &net->nodes[i];
    int value = plan->stores;
    if (plan->residual >= 0)
        sumi_text_printf(out, " + v%d", plan->residual);
    if (value < 0)
        return;
    sumi_text_printf(out, " -> v%d[%d] %dx%d%s", value, net->graph->values[value].channels,
                     net->values[value].h, net->values[value].w,
                     net->values[value].bf16 ? " bf16" : "");
}

static void say_node(sumi_text *out, const sumi_network *net, int i)
{
    const sumi_node *node = &net->graph->nodes[i];
    const sumi_node_plan *plan = &net->nodes[i];
    const sumi_op *op = sumi_node_op(net, i);
    const sumi_facts *facts = sumi_kind_facts(node->kind);
    sumi_text_printf(out, "%3d %-9s", i, facts->name);
    if (plan->skipped) {
        sumi_text_printf(out, "%s\n",
                         facts->loss        ? " in training only"
                         : node->superseded ? " left to its modulation"
                         : facts->passes_on ? " left to the convolution that makes an operand"
                                            : " left to the convolution that reads it");
        return;
    }
    for (int s = 0; s < plan->in.count; s++) {
        say_view(out, net, &plan->in.views[s]);
        if (plan->sources[s].up)
            sumi_text_printf(out, " x2");
    }
    if (node->vector >= 0)
        sumi_text_printf(out, " modulated by v%d", node->vector);
    say_result(out, net, i);
    if (op->describe) {
        char text[256] = "";
        op->describe(net, i, text, sizeof text);
        sumi_text_printf(out, " %s", text);
    }
    if (plan->unfused)
        sumi_text_printf(out, ", unfused");
    if (sumi_time_only(net, i))
        sumi_text_printf(out, ", once for each t");
    sumi_text_printf(out, "\n");
    if (node->out >= 0 && net->values[node->out].term_count > 1)
        sumi_text_printf(out, "      gradient of v%d: sum of %d\n", node->out,
                         net->values[node->out].term_count);
    if (sumi_training(net) && plan->wants_dgrad && !facts->pending && !plan->dead)
        say_gradients(out, net, i);
}

char *sumi_network_describe(const sumi_network *net)
{
    sumi_text out = {0};
    sumi_text_printf(&out, "%s, %dx%d, up to %d image(s), %s kernels, %.1f MiB in one arena\n",
                     sumi_training(net) ? "training" : "prediction", net->config.h, net->config.w,
                     net->config.n_max, net->kernels->name,
                     (double)sumi_network_bytes(net) / (1024.0 * 1024.0));
    for (int i = 0; i < net->graph->node_count; i++)
        say_node(&out, net, i);
    if (net->time_table.row_floats > 0)
        sumi_text_printf(&out, "time table: %zu rows of %zu floats\n", net->time_table.capacity,
                         net->time_table.row_floats);
    sumi_text_printf(&out, "buffers, in bytes: place size first..last\n");
    for (int i = 0; i < net->buffers.count; i++) {
        const sumi_buffer *buffer = &net->buffers.items[i];
        sumi_text_printf(&out, "%12zu %10zu %3d..%-3d %s %d\n", *buffer->place, buffer->size,
                         buffer->first, buffer->last, buffer->what, buffer->index);
    }
    if (out.failed)
        sumi_text_free(&out);
    return out.data;
}
