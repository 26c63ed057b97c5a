/*
 * Values that depend on time and label alone, in predict mode: embeddings and what linear layers
 * make of them. Weights seldom change, and the same times come again with every batch, so each row
 * is computed when its time and label are first met, and kept with the packed weights. A run
 * computes the rows it lacks, then copies the rows of its images to where the readers look.
 *
 * Which values these are follows from the graph. A row's bits are those of computing it with its
 * batch, because a linear layer's sums do not depend on the other rows. Rows are found by the bits
 * of the time; where there is no room for another, all are forgotten.
 */
#include <math.h>
#include <string.h>

#include "cpu/network.h"

enum {
    TABLE_BYTES_MAX = 64 * 1024 * 1024, /* of untouched pages mostly */
    ROWS_AT_ONCE = 4, /* take no longer than one, which waits for its multiply-adds */
};

/* ---- The plan -------------------------------------------------------------------------------- */

/* A condition is zero in every prediction. */
static bool is_time_or_label(const sumi_network *net, int index)
{
    return index == net->graph->time || index == net->graph->labels ||
           index == net->graph->condition;
}

static bool depends_on_them_alone(const sumi_network *net, int index)
{
    const sumi_value *value = &net->graph->values[index];
    if (!value->vector || value->producer < 0 || sumi_graph_is_output(net->graph, index))
        return false;
    const sumi_edge *in = &net->graph->nodes[value->producer].in;
    for (int i = 0; i < in->count; i++)
        if (!net->values[in->views[i].value].time_only &&
            !is_time_or_label(net, in->views[i].value))
            return false;
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

/* How many rows are kept: for every label of every timestep, as far as that is reasonable, and
 * always enough for two batches. */
static size_t capacity_of(const sumi_network *net, size_t row_bytes)
{
    size_t labels = net->graph->labels >= 0 ? (size_t)net->graph->classes + 1 : 1;
    size_t most = TABLE_BYTES_MAX / row_bytes, times = (size_t)net->config.timesteps;
    size_t least = 2 * (size_t)net->time_table.batch + ROWS_AT_ONCE;
    size_t wanted = times > most / labels ? most : times * labels;
    return wanted > least ? wanted : least;
}

void sumi_time_table_plan(sumi_network *net)
{
    const sumi_graph *graph = net->graph;
    sumi_time_table *table = &net->time_table;
    if (sumi_training(net) || net->config.timesteps < 1)
        return;
    for (int i = 0; i < graph->value_count; i++)
        net->values[i].time_only = depends_on_them_alone(net, i);
    for (int i = 0; i < graph->value_count; i++)
        if (net->values[i].time_only && read_by_others(net, i)) {
            net->values[i].table_at = table->row_floats;
            table->row_floats += (size_t)graph->values[i].channels;
        }
    if (table->row_floats == 0)
        return;
    table->batch = net->config.n_max > ROWS_AT_ONCE ? net->config.n_max : ROWS_AT_ONCE;
    table->capacity = capacity_of(net, table->row_floats * sizeof(float));
    for (table->slot_count = 1; table->slot_count < 2 * table->capacity;)
        table->slot_count *= 2;
    int end = sumi_time_end(net);
    size_t batch = (size_t)table->batch;
    sumi_reserve(net, table->capacity * table->row_floats * sizeof(float), 0, end, &table->rows,
                 "time table", 0);
    sumi_reserve(net, table->capacity * sizeof(sumi_time_key), 0, end, &table->keys, "keys", 0);
    sumi_reserve(net, table->slot_count * sizeof(int32_t), 0, end, &table->slots, "slots", 0);
    sumi_reserve(net, batch * sizeof(float), 0, end, &table->times, "times missing", 0);
    sumi_reserve(net, batch * sizeof(int32_t), 0, end, &table->labels, "labels missing", 0);
}

/* ---- Rows ------------------------------------------------------------------------------------ */

static sumi_time_key key_of(const sumi_run *run, int image)
{
    sumi_time_key key = {0, 0};
    if (run->net->graph->time >= 0)
        memcpy(&key.time, &run->in.time[image], sizeof key.time);
    if (run->net->graph->labels >= 0)
        key.label = sumi_label_of(run, image);
    return key;
}

/* The slot of a key, which holds the number of its row plus 1, or 0 where it has none. */
static int32_t *slot_of(const sumi_network *net, sumi_time_key key)
{
    const sumi_time_table *table = &net->time_table;
    const sumi_time_key *keys = sumi_at(net, table->keys);
    int32_t *slots = sumi_at(net, table->slots);
    uint32_t hash = (key.time ^ (uint32_t)key.label * UINT32_C(0x85ebca6b)) * UINT32_C(0x9e3779b1);
    size_t at = (hash ^ hash >> 15) & (table->slot_count - 1);
    while (slots[at] != 0 &&
           (keys[slots[at] - 1].time != key.time || keys[slots[at] - 1].label != key.label))
        at = (at + 1) & (table->slot_count - 1);
    return &slots[at];
}

static void forget_rows(sumi_network *net)
{
    net->time_table.count = 0;
    memset(sumi_at(net, net->time_table.slots), 0, net->time_table.slot_count * sizeof(int32_t));
}

/* Between a row of the table and row `image` of the values that its readers look at. */
static void copy_row(const sumi_run *run, size_t number, int image, bool into_table)
{
    const sumi_network *net = run->net;
    float *rows = sumi_at(net, net->time_table.rows);
    float *row = rows + number * net->time_table.row_floats;
    for (int i = 0; i < net->graph->value_count; i++) {
        const sumi_value_plan *plan = &net->values[i];
        if (!plan->time_only || plan->table_at == SUMI_NOWHERE)
            continue;
        float *kept = row + plan->table_at;
        float *value = (float *)sumi_value_data(run, i) + (size_t)image * plan->image_floats;
        memcpy(into_table ? kept : value, into_table ? value : kept,
               plan->image_floats * sizeof(float));
    }
}

/* Gives a key a row, if it has none, and notes it among the missing ones. */
static int note_missing(sumi_network *net, sumi_time_key key, int count)
{
    sumi_time_table *table = &net->time_table;
    sumi_time_key *keys = sumi_at(net, table->keys);
    float *times = sumi_at(net, table->times);
    int32_t *labels = sumi_at(net, table->labels), *slot = slot_of(net, key);
    if (*slot != 0)
        return count;
    keys[table->count] = key;
    *slot = (int32_t)++table->count;
    memcpy(&times[count], &key.time, sizeof key.time);
    labels[count] = key.label;
    return count + 1;
}

/* Rows that this run lacks, and a few of those that sampling in whole steps will ask for next. */
static int find_missing(const sumi_run *run)
{
    int count = 0;
    for (int i = 0; i < run->n; i++)
        count = note_missing(run->net, key_of(run, i), count);
    if (run->net->graph->time < 0)
        return count;
    sumi_time_key key = key_of(run, 0);
    float t = run->in.time[0];
    if (t != floorf(t) || t > (float)run->net->config.timesteps)
        return count;
    for (t -= 1; count > 0 && count < ROWS_AT_ONCE && t >= 1; t -= 1) {
        memcpy(&key.time, &t, sizeof t);
        count = note_missing(run->net, key, count);
    }
    return count;
}

static void fill_missing(const sumi_run *run, int count)
{
    const sumi_network *net = run->net;
    sumi_run rows = *run;
    rows.in.time = sumi_at(net, net->time_table.times);
    rows.in.labels = sumi_at(net, net->time_table.labels);
    rows.n = count;
    for (int node = 0; node < net->graph->node_count; node++)
        if (sumi_time_only(net, node))
            sumi_run_forward_op(&rows, node);
    for (int i = 0; i < count; i++)
        copy_row(&rows, net->time_table.count - (size_t)(count - i), i, true);
}

void sumi_time_table_run(const sumi_run *run)
{
    sumi_network *net = run->net;
    sumi_time_table *table = &net->time_table;
    if (!net->packed_valid || table->count + (size_t)table->batch + ROWS_AT_ONCE > table->capacity)
        forget_rows(net);
    int count = find_missing(run);
    if (count > 0)
        fill_missing(run, count);
    for (int i = 0; i < run->n; i++)
        copy_row(run, (size_t)*slot_of(net, key_of(run, i)) - 1, i, false);
}
