/*
 * A plan as text: for each node its sources with what is pending on them, its algorithm and tiles,
 * and which gradients it writes, adds to and completes; then every buffer with its lifetime.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cpu/ops.h"

typedef struct {
    char *text;
    size_t length, capacity;
    bool failed;
} text_buffer;

__attribute__((format(printf, 2, 3))) static void say(text_buffer *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char line[512];
    int length = sumi_vformat(line, sizeof line, format, args);
    va_end(args);
    if (length < 0 || out->failed)
        return;
    if ((size_t)length >= sizeof line)
        length = (int)sizeof line - 1;
    if (out->length + (size_t)length + 1 > out->capacity) {
        size_t bigger = (out->capacity + (size_t)length + 1) * 2;
        char *moved = realloc(out->text, bigger);
        if (!moved) {
            out->failed = true;
            return;
        }
        out->text = moved;
        out->capacity = bigger;
    }
    for (int i = 0; i <= length; i++)
        out->text[out->length + (size_t)i] = line[i];
    out->length += (size_t)length;
    out->text[out->length] = '\0';
}

static void say_view(text_buffer *out, const sumi_network *net, const sumi_view *view)
{
    static const char *const acts[] = {"", " relu", " silu"};
    const sumi_form *form = sumi_view_form(net->graph, view);
    bool in_store = view->form > 0 && net->values[view->value].absorbed == view->form;
    say(out, " v%d[%d]", view->value, net->graph->values[view->value].channels);
    if (form->norm >= 0)
        say(out, in_store ? "(norm%d in store)" : " norm%d", form->norm);
    if (!in_store)
        say(out, "%s", acts[form->act]);
    if (view->post >= 0)
        say(out, " +v%d@%d", view->post, view->post_offset);
}

/* What becomes of the gradient of each source. */
static void say_gradients(text_buffer *out, const sumi_network *net, int i)
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
        say(out, "      gradient of v%d: %s%s%s\n", view->value, verb,
            view->post >= 0 ? ", sums for the shift" : "",
            final && sumi_view_form(net->graph, view)->norm >= 0 ? ", sums for the norm" : "");
    }
}

static void say_result(text_buffer *out, const sumi_network *net, int i)
{
    const sumi_node_plan *plan = &net->nodes[i];
    int value = plan->stores;
    if (plan->residual >= 0)
        say(out, " + v%d", plan->residual);
    if (value < 0)
        return;
    say(out, " -> v%d[%d] %dx%d%s", value, net->graph->values[value].channels, net->values[value].h,
        net->values[value].w, net->values[value].bf16 ? " bf16" : "");
}

static void say_node(text_buffer *out, const sumi_network *net, int i)
{
    const sumi_node *node = &net->graph->nodes[i];
    const sumi_node_plan *plan = &net->nodes[i];
    const sumi_op *op = sumi_node_op(net, i);
    const sumi_facts *facts = sumi_kind_facts(node->kind);
    say(out, "%3d %-9s", i, facts->name);
    if (plan->skipped) {
        say(out, "%s\n",
            facts->loss        ? " in training only"
            : node->superseded ? " left to its modulation"
            : facts->passes_on ? " left to the convolution that makes an operand"
                               : " left to the convolution that reads it");
        return;
    }
    for (int s = 0; s < plan->in.count; s++) {
        say_view(out, net, &plan->in.views[s]);
        if (plan->sources[s].up)
            say(out, " x2");
    }
    if (node->vector >= 0)
        say(out, " modulated by v%d", node->vector);
    say_result(out, net, i);
    if (op->describe) {
        char text[256] = "";
        op->describe(net, i, text, sizeof text);
        say(out, " %s", text);
    }
    if (plan->unfused)
        say(out, ", unfused");
    if (sumi_time_only(net, i))
        say(out, ", once for each t");
    say(out, "\n");
    if (node->out >= 0 && net->values[node->out].term_count > 1)
        say(out, "      gradient of v%d: sum of %d\n", node->out,
            net->values[node->out].term_count);
    if (sumi_training(net) && plan->wants_dgrad && !facts->pending && !plan->dead)
        say_gradients(out, net, i);
}

char *sumi_network_describe(const sumi_network *net)
{
    text_buffer out = {0};
    say(&out, "%s, %dx%d, up to %d image(s), %s kernels, %.1f MiB in one arena\n",
        sumi_training(net) ? "training" : "prediction", net->config.h, net->config.w,
        net->config.n_max, net->kernels->name, (double)sumi_network_bytes(net) / (1024.0 * 1024.0));
    for (int i = 0; i < net->graph->node_count; i++)
        say_node(&out, net, i);
    if (net->time_table.row_floats > 0)
        say(&out, "time table: %zu rows of %zu floats\n", net->time_table.capacity,
            net->time_table.row_floats);
    say(&out, "buffers, in bytes: place size first..last\n");
    for (int i = 0; i < net->buffer_count; i++) {
        const sumi_buffer *buffer = &net->buffers[i];
        say(&out, "%12zu %10zu %3d..%-3d %s %d\n", *buffer->place, buffer->bytes, buffer->first,
            buffer->last, buffer->what, buffer->index);
    }
    if (out.failed) {
        free(out.text);
        return NULL;
    }
    return out.text;
}
