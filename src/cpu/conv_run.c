/*
 * Convolutions over the thread pool: packing of weights, tiles of a forward or input-gradient pass,
 * groups of images of a weight gradient. All of a layer's work in one direction is one list of
 * loops: threads do not meet between them, and small chunks at the end fill the time in which they
 * would wait for the last large one. How work is cut depends on the plan and on n, never on the
 * number of threads, except where the cut cannot change a bit (packing, channels).
 */
#include <string.h>

#include "cpu/network.h"

enum { PACK_PIECES = 16, FINISH_PIECES = 16 };

/* ---- Lists of loops -------------------------------------------------------------------------- */

typedef struct {
    sumi_loop loops[SUMI_LOOPS_MAX];
    int count;
} loop_list;

/* Adds a loop that may start when the first `after` of the list have ended. */
static void add_loop(loop_list *list, int64_t chunks, sumi_task_fn fn, void *arg, int after)
{
    list->loops[list->count++] = (sumi_loop){chunks, fn, arg, after, false};
}

/* The same for a loop over images. */
static void add_sweep(loop_list *list, int64_t chunks, sumi_task_fn fn, void *arg, int after)
{
    list->loops[list->count++] = (sumi_loop){chunks, fn, arg, after, true};
}

static void run_loops(const sumi_network *net, const loop_list *list)
{
    sumi_parallel_loops(net->pool, list->loops, list->count);
}

/* ---- Packing --------------------------------------------------------------------------------- */

typedef struct {
    const sumi_network *net;
    const sumi_conv_spec *spec;
    const float *weights, *scale;
    float *packed;
    float *rounded; /* room for the weights rounded to bfloat16, or NULL */
} pack_job;

static void round_task(void *arg, int64_t piece, int thread)
{
    const pack_job *job = arg;
    const sumi_conv_spec *spec = job->spec;
    (void)thread;
    size_t taps = (size_t)(spec->ksize * spec->ksize);
    size_t count = (taps - 1) * spec->tap_floats + (size_t)spec->cin * (size_t)spec->cout;
    size_t begin = count * (size_t)piece / PACK_PIECES;
    size_t end = count * (size_t)(piece + 1) / PACK_PIECES;
    job->net->kernels->round_bf16(job->weights + begin, job->rounded + begin, end - begin);
}

static void pack_task(void *arg, int64_t piece, int thread)
{
    const pack_job *job = arg;
    (void)thread;
    job->net->kernels->conv_pack(job->spec, job->rounded ? job->rounded : job->weights, job->scale,
                                 job->packed, (int)piece, PACK_PIECES);
}

/* Nothing where the pass has no weights to pack. All packings share the room for rounded weights,
 * so that one waits for the other where they are rounded. */
static void add_packing(const sumi_network *net, const sumi_conv_pass *pass, pack_job *job,
                        loop_list *list)
{
    if (!pass->weights)
        return;
    *job = (pack_job){net,         pass->conv.spec, pass->weights,
                      pass->scale, pass->packed,    sumi_at(net, net->rounded)};
    if (job->rounded)
        add_loop(list, PACK_PIECES, round_task, job, list->count);
    add_loop(list, PACK_PIECES, pack_task, job, job->rounded ? list->count : 0);
}

/* ---- Tiles ----------------------------------------------------------------------------------- */

typedef struct {
    const sumi_network *net;
    const sumi_conv *conv;
    int n, groups, splits, kstep;
} tile_job;

static void tile_task(void *arg, int64_t chunk, int thread)
{
    const tile_job *job = arg;
    const sumi_conv_spec *spec = job->conv->spec;
    int split = (int)(chunk % job->splits);
    int band = (int)(chunk / job->splits % spec->bands);
    int group = (int)(chunk / job->splits / spec->bands);
    int left = job->n - group * spec->images, low = sumi_conv_rows(spec) - band * spec->rows;
    int k0 = split * job->kstep;
    sumi_tile tile = {.n0 = group * spec->images,
                      .images = left < spec->images ? left : spec->images,
                      .band = band,
                      .y0 = band * spec->rows,
                      .rows = low < spec->rows ? low : spec->rows,
                      .k0 = k0,
                      .kn = spec->cout - k0 < job->kstep ? spec->cout - k0 : job->kstep};
    job->net->kernels->conv_tile(job->conv, &tile, sumi_scratch(job->net, thread));
}

static void add_tiles(const sumi_network *net, const sumi_conv *conv, int n, tile_job *job,
                      loop_list *list, int after)
{
    const sumi_conv_spec *spec = conv->spec;
    int threads = sumi_pool_threads(net->pool);
    *job = (tile_job){net, conv, n, (n + spec->images - 1) / spec->images, 1, spec->cout};
    /* Few tiles: cut the output channels too, so that one image keeps every thread busy. */
    while (job->groups * spec->bands * job->splits < threads && spec->kblock > 0 &&
           job->kstep > spec->kblock) {
        int blocks = (spec->cout + spec->kblock - 1) / spec->kblock;
        int per_split = (blocks + job->splits * 2 - 1) / (job->splits * 2);
        job->kstep = per_split * spec->kblock;
        job->splits = (spec->cout + job->kstep - 1) / job->kstep;
    }
    add_sweep(list, (int64_t)job->groups * spec->bands * job->splits, tile_task, job, after);
}

/* ---- Weight gradients ------------------------------------------------------------------------ */

/* Each of `groups` groups of images is cut into `pieces`. */
typedef struct {
    const sumi_network *net;
    const sumi_wgrad_pass *pass;
    int n, groups, pieces;
    int splits, channels; /* pieces of the input channels, and how many are in one */
} wgrad_job;

static int image_border(const wgrad_job *job, int group)
{
    return job->pass->run ? sumi_run_border(job->pass->run, group) : group * job->n;
}

static void wgrad_task(void *arg, int64_t chunk, int thread)
{
    const wgrad_job *job = arg;
    const sumi_conv_spec *spec = job->pass->wgrad.spec;
    int64_t at = chunk / job->splits, number = at % job->pieces;
    int c0 = (int)(chunk % job->splits) * job->channels, left = spec->cin - c0;
    int begin = image_border(job, (int)(at / job->pieces));
    int64_t count = image_border(job, (int)(at / job->pieces) + 1) - begin;
    float *partial = job->pass->partials + (size_t)at * spec->partial_floats;
    sumi_wgrad_piece piece = {.n0 = begin + (int)(count * number / job->pieces),
                              .n1 = begin + (int)(count * (number + 1) / job->pieces),
                              .c0 = c0,
                              .cn = left < job->channels ? left : job->channels};
    if (piece.n0 < piece.n1)
        job->net->kernels->wgrad_piece(&job->pass->wgrad, &piece, partial,
                                       sumi_scratch(job->net, thread));
    else if (c0 == 0) /* a small batch's group may have no image */
        memset(partial, 0, spec->partial_floats * sizeof *partial);
}

static void finish_task(void *arg, int64_t piece, int thread)
{
    const wgrad_job *job = arg;
    const sumi_conv_spec *spec = job->pass->wgrad.spec;
    (void)thread;
    for (int g = 0; g < job->groups; g++)
        job->net->kernels->wgrad_finish(
            spec, job->pass->partials + (size_t)(g * job->pieces) * spec->partial_floats,
            job->pieces, job->pass->dw + (size_t)g * job->pass->dw_stride, (int)piece,
            FINISH_PIECES);
}

/* Few groups: cut the input channels too, so that every thread has work. */
static void split_channels(wgrad_job *job, int threads)
{
    const sumi_conv_spec *spec = job->pass->wgrad.spec;
    job->splits = 1;
    job->channels = spec->cin;
    if (spec->kblock == 0)
        return;
    int blocks = (spec->cin + spec->kblock - 1) / spec->kblock, pieces = job->groups * job->pieces;
    int wanted = (threads + pieces - 1) / pieces;
    int per_split = (blocks + wanted - 1) / wanted;
    job->channels = per_split * spec->kblock;
    job->splits = (spec->cin + job->channels - 1) / job->channels;
}

static void add_wgrad(const sumi_network *net, const sumi_wgrad_pass *pass, int n, wgrad_job *job,
                      loop_list *list)
{
    /* The number of pieces is part of the result's bits: it depends on n and the plan alone, and of
     * a group of images on the plan alone. */
    *job = (wgrad_job){.net = net, .pass = pass, .n = n, .groups = 1, .pieces = pass->pieces};
    if (pass->run)
        job->groups = sumi_run_groups(pass->run);
    else if (n < job->pieces)
        job->pieces = n;
    split_channels(job, sumi_pool_threads(net->pool));
    add_sweep(list, (int64_t)job->groups * job->pieces * job->splits, wgrad_task, job, 0);
}

/* ---- The unfused executor -------------------------------------------------------------------- */

typedef struct {
    const sumi_network *net;
    const sumi_conv *conv;
    const float *result;
} store_job;

static void store_task(void *arg, int64_t chunk, int thread)
{
    const store_job *job = arg;
    const sumi_conv_spec *spec = job->conv->spec;
    (void)thread;
    int image = (int)(chunk / spec->bands), band = (int)(chunk % spec->bands);
    int low = spec->h - band * spec->rows;
    size_t c = (size_t)spec->cout, row = (size_t)spec->w * c;
    sumi_block block = {.n = image,
                        .band = band,
                        .bands = spec->bands,
                        .y0 = band * spec->rows,
                        .rows = low < spec->rows ? low : spec->rows,
                        .kn = spec->cout,
                        .row_stride = row,
                        .pixel_stride = c};
    block.src = job->result + ((size_t)image * (size_t)spec->h + (size_t)block.y0) * row;
    job->net->kernels->store(job->conv->sinks, job->conv->sink_count, spec->h, spec->w, &block);
}

static void conv_unfused(const sumi_network *net, const sumi_conv_pass *pass, int n)
{
    const sumi_conv *conv = &pass->conv;
    const sumi_conv_spec *spec = conv->spec;
    loop_list list = {.count = 0};
    pack_job pack;
    tile_job tiles;
    sumi_source plain;
    add_packing(net, pass, &pack, &list);
    sumi_materialise(net, conv->sources, conv->source_count, n, spec->h, spec->w,
                     sumi_at(net, net->temp[SUMI_TEMP_INPUT]), &plain);
    sumi_sink sink = {.dst = sumi_at(net, net->temp[SUMI_TEMP_OUTPUT]), .c = spec->cout};
    sumi_conv bare = {spec, &plain, 1, &sink, 1, conv->packed};
    add_tiles(net, &bare, n, &tiles, &list, list.count);
    run_loops(net, &list);
    store_job store = {net, conv, sink.dst};
    sumi_parallel_for(net->pool, (int64_t)n * spec->bands, store_task, &store);
}

static void wgrad_unfused(const sumi_network *net, const sumi_wgrad_pass *pass, int n)
{
    const sumi_wgrad *wgrad = &pass->wgrad;
    const sumi_conv_spec *spec = wgrad->spec;
    loop_list list = {.count = 0};
    wgrad_job job;
    sumi_source plain, plain_dy;
    sumi_materialise(net, wgrad->sources, wgrad->source_count, n, spec->h, spec->w,
                     sumi_at(net, net->temp[SUMI_TEMP_INPUT]), &plain);
    sumi_materialise(net, wgrad->dy, 1, n, spec->h, spec->w,
                     sumi_at(net, net->temp[SUMI_TEMP_GRADIENT]), &plain_dy);
    plain_dy.g = plain_dy.r;
    plain_dy.r = NULL;
    sumi_wgrad_pass bare = *pass;
    bare.wgrad = (sumi_wgrad){spec, &plain, 1, &plain_dy};
    add_wgrad(net, &bare, n, &job, &list);
    add_loop(&list, FINISH_PIECES, finish_task, &job, list.count);
    run_loops(net, &list);
}

/* ---- A layer --------------------------------------------------------------------------------- */

void sumi_conv_run(const sumi_network *net, const sumi_conv_pass *passes, int count, int n,
                   bool unfused)
{
    loop_list list = {.count = 0};
    pack_job packs[SUMI_PARTS_MAX];
    tile_job tiles[SUMI_PARTS_MAX];
    if (unfused) {
        for (int p = 0; p < count; p++)
            conv_unfused(net, &passes[p], n);
        return;
    }
    for (int p = 0; p < count; p++)
        add_packing(net, &passes[p], &packs[p], &list);
    for (int p = 0; p < count; p++)
        add_tiles(net, &passes[p].conv, n, &tiles[p], &list, list.count);
    run_loops(net, &list);
}

/* Weight gradients, whose chunks are few and large, go before input gradients; small chunks end the
 * list. */
void sumi_conv_backward(const sumi_network *net, const sumi_conv_gradients *parts, int count, int n,
                        bool unfused)
{
    loop_list list = {.count = 0};
    pack_job packs[SUMI_PARTS_MAX];
    tile_job tiles[SUMI_PARTS_MAX];
    wgrad_job wgrads[SUMI_PARTS_MAX];
    if (unfused) {
        for (int p = 0; p < count; p++) {
            if (parts[p].dgrad.conv.spec)
                conv_unfused(net, &parts[p].dgrad, n);
            if (parts[p].wgrad.wgrad.spec)
                wgrad_unfused(net, &parts[p].wgrad, n);
        }
        return;
    }
    for (int p = 0; p < count; p++)
        add_packing(net, &parts[p].dgrad, &packs[p], &list);
    int packed = list.count;
    for (int p = 0; p < count; p++)
        if (parts[p].wgrad.wgrad.spec)
            add_wgrad(net, &parts[p].wgrad, n, &wgrads[p], &list);
    int summed = list.count;
    for (int p = 0; p < count; p++)
        if (parts[p].dgrad.conv.spec)
            add_tiles(net, &parts[p].dgrad.conv, n, &tiles[p], &list, packed);
    for (int p = 0; p < count; p++)
        if (parts[p].wgrad.wgrad.spec)
            add_loop(&list, FINISH_PIECES, finish_task, &wgrads[p], summed);
    run_loops(net, &list);
}
