/*
 * Values that depend on t alone, in predict mode: the time embedding and whatever linear layers
 * make of it. t is one of a model's timesteps, and weights seldom change, so each row is computed
 * when its t is first met, and kept with the packed weights. A run computes the rows it lacks, then
 * copies the rows of its images to where the readers look.
 *
 * Which values these are follows from the graph. A row's bits are those of computing it with its
 * batch, because a linear layer's sums do not depend on the other rows.
 */
#include <string.h>

#include "cpu/network.h"

enum {
    TABLE_BYTES_MAX = 64 * 1024 * 1024, /* of untouched pages mostly; beyond it there is no table */
    ROWS_AT_ONCE = 4, /* take no longer than one, which waits for its multiply-adds */
};

/* ---- The plan -------------------------------------------------------------------------------- */

static bool depends_on_time_alone(const sumi_network *net, int index)
{
    const sumi_value *value = &net->graph->values[index];
    if (index == SUMI_IN_TIME)
        return true;
    if (!value->vector || value->producer < 0 || net->graph->output.views[0].value == index)
        return false;
    const sumi_edge *in = &net->graph->nodes[value->producer].in;
    for (int i = 0; i < in->count; i++) {
        const sumi_view *view = &in->views[i];
        if (view->norm >= 0 || !net->values[view->value].time_only ||
            (view->post >= 0 && !net->values[view->post].time_only))
            return false;
    }
    return true;
}

bool sumi_time_only(const sumi_network *net, int node)
{
    int out = net->graph->nodes[node].out;
    return out >= 0 && net->values[out].time_only;
}

/* True where a node that runs for every image reads the value: such values have rows in the table,
 * others are on the way to them only. */
static bool read_by_others(const sumi_network *net, int index)
{
    for (int node = 0; node < net->graph->node_count; node++)
        if (!sumi_time_only(net, node) && sumi_reads_value(net, node, index))
            return true;
    return false;
}

void sumi_time_table_plan(sumi_network *net)
{
    const sumi_graph *graph = net->graph;
    sumi_time_table *table = &net->time_table;
    if (sumi_training(net) || net->config.timesteps < 1)
        return;
    for (int i = 0; i < graph->value_count; i++)
        net->values[i].time_only = depends_on_time_alone(net, i);
    for (int i = 0; i < graph->value_count; i++)
        if (net->values[i].time_only && read_by_others(net, i)) {
            net->values[i].table_at = table->row_floats;
            table->row_floats += (size_t)graph->values[i].channels;
        }
    size_t rows = (size_t)net->config.timesteps;
    if (table->row_floats == 0 || rows > TABLE_BYTES_MAX / sizeof(float) / table->row_floats) {
        for (int i = 0; i < graph->value_count; i++)
            net->values[i].time_only = false;
        table->row_floats = 0;
        return;
    }
    table->batch = net->config.n_max > ROWS_AT_ONCE ? net->config.n_max : ROWS_AT_ONCE;
    int end = sumi_time_end(net);
    sumi_reserve(net, rows * table->row_floats * sizeof(float), 0, end, &table->rows, "time table",
                 0);
    sumi_reserve(net, rows, 0, end, &table->filled, "rows filled", 0);
    sumi_reserve(net, (size_t)table->batch * sizeof(float), 0, end, &table->missing, "rows missing",
                 0);
}

/* ---- A run ----------------------------------------------------------------------------------- */

static bool has_row(const sumi_value_plan *value)
{
    return value->time_only && value->table_at != SUMI_NOWHERE;
}

/* Between a row of the table and row `image` of the values that its readers look at. */
static void copy_row(const sumi_run *run, int t, int image, bool into_table)
{
    const sumi_network *net = run->net;
    const sumi_time_table *table = &net->time_table;
    float *rows = sumi_at(net, table->rows);
    float *row = rows + (size_t)(t - 1) * table->row_floats;
    for (int i = 0; i < net->graph->value_count; i++) {
        if (!has_row(&net->values[i]))
            continue;
        size_t floats = net->values[i].image_floats;
        float *kept = row + net->values[i].table_at;
        float *value = (float *)sumi_value_data(run, i) + (size_t)image * floats;
        memcpy(into_table ? kept : value, into_table ? value : kept, floats * sizeof(float));
    }
}

/* Marks t's row as filled and notes it among the missing ones, if it is. */
static int note_missing(const sumi_network *net, int t, int count)
{
    unsigned char *filled = sumi_at(net, net->time_table.filled);
    float *missing = sumi_at(net, net->time_table.missing);
    if (filled[t - 1] != 0)
        return count;
    filled[t - 1] = 1;
    missing[count] = (float)t;
    return count + 1;
}

/* Rows that this run lacks, and a few of those that sampling will ask for next. */
static int find_missing(const sumi_run *run)
{
    int count = 0;
    for (int i = 0; i < run->n; i++)
        count = note_missing(run->net, (int)run->in.time[i], count);
    for (int t = (int)run->in.time[0] - 1; count > 0 && count < ROWS_AT_ONCE && t >= 1; t--)
        count = note_missing(run->net, t, count);
    return count;
}

static void fill_missing(const sumi_run *run, int count)
{
    const sumi_network *net = run->net;
    const float *missing = sumi_at(net, net->time_table.missing);
    sumi_run rows = *run;
    rows.in.time = missing;
    rows.n = count;
    for (int node = 0; node < net->graph->node_count; node++)
        if (sumi_time_only(net, node))
            sumi_run_forward_op(&rows, node);
    for (int i = 0; i < count; i++)
        copy_row(&rows, (int)missing[i], i, true);
}

void sumi_time_table_run(const sumi_run *run)
{
    const sumi_network *net = run->net;
    if (!net->packed_valid)
        memset(sumi_at(net, net->time_table.filled), 0, (size_t)net->config.timesteps);
    int count = find_missing(run);
    if (count > 0)
        fill_missing(run, count);
    for (int i = 0; i < run->n; i++)
        copy_row(run, (int)run->in.time[i], i, false);
}
