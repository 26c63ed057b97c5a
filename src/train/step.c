/*
 * The training step: levels and eps drawn, images noised, the loss mean((target - F)^2), one step
 * of an optimiser. In the tutorial's process t is uniform in 1..T, and the target is eps.
 *
 * t and eps of the image at position i of a batch are pure functions of (seed, step, i). Tensors
 * are the backend's, which does the arithmetic; what a batch brings is copied to it.
 */
#include "train/train.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Steps before the present one. */
static int64_t steps_begun(const sumi_trainer *trainer)
{
    return trainer->steps + sumi_train_on_their_way(trainer);
}

/* ---- Draw ------------------------------------------------------------------------------------ */

/* In how many parts a batch of n images goes through the network; a rank's share may have none. */
static int parts_of(const sumi_trainer *trainer, int n)
{
    int most = n > 0 ? n : 1;
    return trainer->config.accumulate < most ? trainer->config.accumulate : most;
}

static sumi_status check_batch(const sumi_trainer *trainer, const sumi_batch *batch,
                               sumi_error *err)
{
    int timesteps = trainer->process.config.timesteps;
    if (steps_begun(trainer) >= UINT32_MAX)
        return sumi_fail(err, SUMI_EINVAL, "%lld steps are as many as a seed has",
                         (long long)trainer->steps);
    bool alone = sumi_ranks_alone(trainer->runtime->ranks);
    if (batch->n < (alone ? 1 : 0) || batch->n > trainer->config.batch)
        return sumi_fail(err, SUMI_EINVAL, "the batch has %d images, expected 1..%d", batch->n,
                         trainer->config.batch);
    if (!batch->x && !trainer->picks && batch->n > 0)
        return sumi_fail(err, SUMI_EINVAL, "the batch has no images: x is NULL");
    if (!trainer->network || batch->h != trainer->h || batch->w != trainer->w)
        return sumi_fail(err, SUMI_ESHAPE, "the batch is of %dx%d, the trainer was begun for %dx%d",
                         batch->h, batch->w, trainer->h, trainer->w);
    for (int i = 0; batch->t && i < batch->n; i++) {
        if (batch->t[i] < 1 || batch->t[i] > timesteps)
            return sumi_fail(err, SUMI_EINVAL, "t[%d] is %d, expected 1..%d", i, (int)batch->t[i],
                             timesteps);
    }
    int classes = trainer->model->graph.classes;
    for (int i = 0; trainer->labels && batch->labels && i < batch->n; i++) {
        if (batch->labels[i] < -1 || batch->labels[i] >= classes)
            return sumi_fail(err, SUMI_EINVAL, "labels[%d] is %d, expected -1..%d", i,
                             (int)batch->labels[i], classes - 1);
    }
    return SUMI_OK;
}

/* Batch normalisation divides by the number of values less one. */
static sumi_status check_pixels(const sumi_trainer *trainer, const sumi_batch *batch,
                                sumi_error *err)
{
    int levels = trainer->model->graph.levels;
    int64_t fewest = trainer->whole / parts_of(trainer, (int)trainer->whole);
    if (fewest * (batch->h >> levels) * (batch->w >> levels) == 1)
        return sumi_fail(err, SUMI_EINVAL,
                         "one image of %dx%d is a single pixel at the lowest level of the network: "
                         "batch normalisation needs two",
                         batch->h, batch->w);
    return SUMI_OK;
}

/* How many images each rank has; -1: its batch was refused. */
static void gather_counts(const sumi_ranks *ranks, int32_t mine, int32_t *all)
{
    size_t bytes[SUMI_RANKS_MAX] = {0};
    for (int rank = 0; rank < ranks->count; rank++)
        bytes[rank] = sizeof *all;
    ranks->gather(ranks->user, &mine, all, bytes);
}

/* How many images the batch has on all ranks, and which of them are here. status: whether they were
 * found good here. All ranks fail where one does. */
static sumi_status find_share(sumi_trainer *trainer, int n, sumi_status status, sumi_error *err)
{
    const sumi_ranks *ranks = trainer->runtime->ranks;
    int32_t counts[SUMI_RANKS_MAX];
    trainer->first = 0;
    trainer->whole = n;
    if (sumi_ranks_alone(ranks))
        return status;
    gather_counts(ranks, status == SUMI_OK ? n : -1, counts);
    if (status != SUMI_OK)
        return status;
    trainer->whole = 0;
    for (int rank = 0; rank < ranks->count; rank++) {
        if (counts[rank] < 0)
            return sumi_fail(err, SUMI_EINVAL, "rank %d refused its share of the batch", rank);
        trainer->whole += counts[rank];
    }
    trainer->first = sumi_reduction_first(&trainer->cut, trainer->whole);
    for (int rank = 0; rank < ranks->count; rank++) {
        int groups = trainer->cut.groups;
        int64_t begin = sumi_part_first(rank, ranks->count, groups);
        int64_t end = sumi_part_first(rank + 1, ranks->count, groups);
        int64_t share = sumi_part_first(end, groups, trainer->whole) -
                        sumi_part_first(begin, groups, trainer->whole);
        if (counts[rank] != share || trainer->whole == 0)
            return sumi_fail(err, SUMI_EINVAL,
                             "rank %d has %d images of a batch of %lld, expected %lld", rank,
                             (int)counts[rank], (long long)trainer->whole, (long long)share);
    }
    return SUMI_OK;
}

/* An image's label, or none where it is withheld: so the network learns to do without, too. */
static int32_t draw_label(const sumi_trainer *trainer, const sumi_batch *batch, int i,
                          const sumi_draw *draw)
{
    /* A number well behind those of the level. */
    const sumi_random at = {draw->seed, SUMI_STREAM_TIMESTEP, draw->step, draw->image};
    bool withheld = sumi_random_uniform(&at, 64) < trainer->config.label_drop;
    return batch->labels && !withheld ? batch->labels[i] : -1;
}

/* The level of each image, and what is made of it in the host's memory. True where all targets are
 * the noise as it is drawn. */
static bool draw_levels(sumi_trainer *trainer, const sumi_batch *batch)
{
    const sumi_process *process = &trainer->process;
    bool is_noise = true;
    for (int i = 0; i < batch->n; i++) {
        const sumi_draw draw = {.seed = trainer->config.seed,
                                .step = (uint32_t)steps_begun(trainer),
                                .image = (uint64_t)(trainer->first + i),
                                .batch = (uint64_t)trainer->whole};
        sumi_level level =
            batch->t ? sumi_level_at(process, batch->t[i]) : sumi_process_draw(process, &draw);
        sumi_noising noising = sumi_process_noising(process, &level);
        trainer->drawn_time[i] = (float)level.time;
        trainer->drawn_weight[i] = (float)sumi_process_weight(process, &level);
        trainer->drawn_labels[i] = draw_label(trainer, batch, i, &draw);
        is_noise &= noising.target_is_noise;
        trainer->of_input[i] = (sumi_factors){
            .source = {noising.input[0], noising.input[1]}, .divisor = 1, .noise = 1};
        trainer->of_target[i] =
            (sumi_factors){.source = {noising.target[0], noising.target[1]}, .divisor = 1};
    }
    return is_noise;
}

/* What the batch brings, and its levels. */
static void upload(const sumi_trainer *trainer, const sumi_batch *batch)
{
    const sumi_backend *backend = trainer->runtime->backend;
    sumi_device *device = trainer->runtime->device;
    size_t each = (size_t)batch->n * sizeof(float), images = each * trainer->image_floats;
    const float *x = batch->x;
    if (x && trainer->standardised) {
        sumi_standard_apply(&trainer->model->standard, x, trainer->standardised,
                            (size_t)batch->n * trainer->image_floats);
        x = trainer->standardised;
    }
    if (x)
        backend->upload(device, trainer->images, x, images);
    else
        sumi_train_gather(trainer, trainer->picks + trainer->part, batch->n);
    backend->upload(device, trainer->time, trainer->drawn_time, each);
    if (trainer->weight)
        backend->upload(device, trainer->weight, trainer->drawn_weight, each);
    if (batch->noise)
        backend->upload(device, trainer->target, batch->noise, images);
    if (trainer->told && batch->augmentation)
        backend->upload(device, trainer->told, batch->augmentation,
                        each * (size_t)sumi_graph_told(&trainer->model->graph));
    if (trainer->labels)
        backend->upload(device, trainer->labels, trainer->drawn_labels,
                        (size_t)batch->n * sizeof *trainer->labels);
}

/* eps, then what the network sees of it and what it shall return. */
static void noise_images(const sumi_trainer *trainer, const sumi_batch *batch, bool target_is_noise)
{
    const sumi_backend *backend = trainer->runtime->backend;
    sumi_device *device = trainer->runtime->device;
    const sumi_random address = {.seed = trainer->config.seed,
                                 .stream = SUMI_STREAM_NOISE,
                                 .step = (uint32_t)steps_begun(trainer),
                                 .image = (uint64_t)trainer->first};
    sumi_mixing work = {.n = batch->n,
                        .count = trainer->image_floats,
                        .out = trainer->target,
                        .factors = trainer->of_input,
                        .factors_each = true,
                        .noise = &address};
    if (!batch->noise)
        backend->mix(device, &work);
    work.noise = NULL;
    work.sources = 2;
    work.source[0] = trainer->images;
    work.source[1] = trainer->target;
    work.out = trainer->input;
    backend->mix(device, &work);
    work.out = trainer->target;
    work.factors = trainer->of_target;
    if (!target_is_noise)
        backend->mix(device, &work);
}

static void draw(sumi_trainer *trainer, const sumi_batch *batch)
{
    bool target_is_noise = draw_levels(trainer, batch);
    trainer->condition = batch->augmentation ? trainer->told : NULL;
    upload(trainer, batch);
    noise_images(trainer, batch, target_is_noise);
}

/* ---- Gradients ------------------------------------------------------------------------------- */

/* Sends a parameter's gradients, of all branches, on their way to the other ranks. */
static void send(void *user, int param)
{
    sumi_trainer *trainer = user;
    const sumi_backend *backend = trainer->runtime->backend;
    const sumi_params *params = &trainer->model->graph.params;
    const sumi_range range = {params->items[param].offset, params->items[param].count};
    for (int b = 0; b < trainer->cut.branches; b++) {
        size_t at = (size_t)b * params->value_count + range.first;
        backend->download(trainer->runtime->device, trainer->exchanged + at,
                          trainer->gradients + at, range.count * sizeof(float));
    }
    trainer->sent[param] = true;
    sumi_exchange_add(trainer->exchange, range);
}

/* What the backend has not told of, and then the sums of all. */
static void receive(sumi_trainer *trainer)
{
    const sumi_params *params = &trainer->model->graph.params;
    for (int i = params->count - 1; i >= 0; i--)
        if (sumi_param_trainable(&params->items[i]) && !trainer->sent[i])
            send(trainer, i);
    sumi_exchange_end(trainer->exchange);
    trainer->runtime->backend->upload(trainer->runtime->device, trainer->gradients,
                                      trainer->exchanged, params->value_count * sizeof(float));
}

static void gradients(sumi_trainer *trainer, int n)
{
    const sumi_params *params = &trainer->model->graph.params;
    bool alone = sumi_ranks_alone(trainer->runtime->ranks);
    const sumi_inputs in = {.image = trainer->input,
                            .time = trainer->time,
                            .labels = trainer->labels,
                            .condition = trainer->condition,
                            .target = trainer->target,
                            .weight = trainer->weight,
                            .whole = alone ? n : (int)trainer->whole,
                            .ready = alone ? NULL : send,
                            .ready_user = trainer};
    if (!alone) {
        memset(trainer->sent, 0, (size_t)params->count * sizeof *trainer->sent);
        sumi_exchange_begin(trainer->exchange, trainer->exchanged, params->value_count);
    }
    trainer->runtime->backend->gradients(trainer->network, &in, n, trainer->gradients);
    if (!alone)
        receive(trainer);
}

/* ---- Check ----------------------------------------------------------------------------------- */

static bool is_finite(const sumi_trainer *trainer, const float *x, size_t count)
{
    return trainer->runtime->backend->finite(trainer->runtime->device, x, count);
}

/* The image whose own numbers are not finite, -1 where all are. */
static int bad_image(const sumi_trainer *trainer, int n, const char **what)
{
    size_t count = trainer->image_floats;
    for (int i = 0; i < n; i++) {
        size_t at = (size_t)i * count;
        *what = !is_finite(trainer, trainer->images + at, count)   ? "image"
                : !is_finite(trainer, trainer->target + at, count) ? "noise"
                                                                   : NULL;
        if (*what)
            return trainer->part + i;
    }
    return -1;
}

static const char *bad_layer(const sumi_trainer *trainer)
{
    const sumi_params *params = &trainer->model->graph.params;
    for (int i = 0; i < params->count; i++) {
        const sumi_param *param = &params->items[i];
        if (sumi_param_trainable(param) &&
            !is_finite(trainer, trainer->gradients + param->offset, param->count))
            return param->name;
    }
    return NULL;
}

/* Where ranks share the batch, one of them has the image, and all tell of it. Returns its number in
 * the whole batch. */
static int64_t agree_on_image(const sumi_trainer *trainer, sumi_not_finite *bad)
{
    const sumi_ranks *ranks = trainer->runtime->ranks;
    int32_t mine = !bad->what ? -1 : 2 * bad->image + (bad->what[0] == 'n'), all[SUMI_RANKS_MAX];
    if (sumi_ranks_alone(ranks))
        return bad->image;
    gather_counts(ranks, mine, all);
    for (int rank = 0; rank < ranks->count; rank++) {
        if (all[rank] < 0)
            continue;
        int64_t group = sumi_part_first(rank, ranks->count, trainer->cut.groups);
        bad->what = all[rank] % 2 ? "noise" : "image";
        bad->image = rank == ranks->rank ? bad->image : -1;
        return sumi_part_first(group, trainer->cut.groups, trainer->whole) + all[rank] / 2;
    }
    return -1;
}

/* Says what is not finite, as near to its cause as can be told. */
static sumi_status fail_not_finite(sumi_trainer *trainer, const sumi_batch *batch, double loss,
                                   sumi_error *err)
{
    long long step = trainer->steps + 1;
    sumi_not_finite *bad = &trainer->not_finite;
    *bad = (sumi_not_finite){.loss = loss, .layer = bad_layer(trainer)};
    bad->image = bad_image(trainer, batch->n, &bad->what);
    int64_t image = agree_on_image(trainer, bad);
    if (bad->what)
        return sumi_fail(err, SUMI_EINVAL,
                         "step %lld: %s %lld of the batch has a value that is not finite; "
                         "nothing was updated",
                         step, bad->what[0] == 'i' ? "image" : "the noise of image",
                         (long long)image);
    bad->what = bad->layer ? "gradient" : isfinite(loss) ? "statistics" : "loss";
    bad->image = sumi_train_suspect(trainer, batch->n);
    if (bad->layer)
        return sumi_fail(err, SUMI_EINVAL,
                         "step %lld: the loss is %g and the gradient of %s is not finite; "
                         "nothing was updated. A lower learning rate may help",
                         step, loss, bad->layer);
    return sumi_fail(err, SUMI_EINVAL, "step %lld: the loss is %g%s; nothing was updated", step,
                     loss,
                     isfinite(loss) ? " and values are too large for the batch statistics" : "");
}

/* Whether the part that was taken in last is good: of a step that is alone in the ledger. */
static sumi_status check(sumi_trainer *trainer, const sumi_batch *batch, sumi_error *err)
{
    const sumi_backend *backend = trainer->runtime->backend;
    sumi_entry entry;
    backend->ledger_read(trainer->ledger, 1, &entry);
    sumi_status status = backend->status(trainer->runtime->device, err);
    if (!entry.bad || status != SUMI_OK)
        return status;
    return fail_not_finite(trainer, batch, backend->loss(trainer->network), err);
}

/* ---- Update ---------------------------------------------------------------------------------- */

/* Weights and averages in one pass, then running statistics. */
static void update(sumi_trainer *trainer)
{
    const sumi_backend *backend = trainer->runtime->backend;
    int64_t step = steps_begun(trainer) + 1;
    double most = (double)trainer->config.clip_norm;
    double factor = sumi_rate_factor(&trainer->config, &trainer->halvings, step);
    if (most > 0)
        backend->ledger_clip(trainer->ledger, most, trainer->gradients,
                             trainer->model->graph.params.value_count);
    sumi_update work =
        sumi_optimiser_update(&trainer->optimiser, trainer->runtime, &trainer->config, factor, step,
                              trainer->ledger, trainer->gradients);
    work.weights = trainer->weights.at.values;
    sumi_averages_join(&trainer->averages, step, &work);
    backend->update(trainer->runtime->device, &work);
    backend->update_statistics(trainer->network, trainer->ledger, trainer->weights.at.statistics);
    sumi_averages_take_statistics(&trainer->averages, trainer->runtime, &trainer->weights);
}

/* ---- The step -------------------------------------------------------------------------------- */

/* Part number p of a batch: its images as a batch, and their place in the whole. */
static sumi_batch take_part(sumi_trainer *trainer, const sumi_batch *batch, int64_t first, int p)
{
    sumi_batch part = *batch;
    int parts = parts_of(trainer, batch->n);
    int begin = (int)((int64_t)batch->n * p / parts);
    size_t floats = (size_t)begin * trainer->image_floats;
    part.n = (int)((int64_t)batch->n * (p + 1) / parts) - begin;
    part.x = batch->x ? batch->x + floats : NULL;
    part.noise = batch->noise ? batch->noise + floats : NULL;
    part.t = batch->t ? batch->t + begin : NULL;
    part.labels = batch->labels ? batch->labels + begin : NULL;
    if (batch->augmentation)
        part.augmentation += begin * sumi_graph_told(&trainer->model->graph);
    trainer->part = begin;
    trainer->first = first + begin;
    return part;
}

/* Adds a part's gradients to those of the parts before it, each as heavy as its images are many. */
static void add_part(sumi_trainer *trainer, double share)
{
    const sumi_backend *backend = trainer->runtime->backend;
    const sumi_factors factors = {.source = {(float)share, 1}, .divisor = 1};
    const sumi_mixing work = {.n = 1,
                              .count = trainer->model->graph.params.value_count,
                              .out = trainer->accumulated,
                              .sources = trainer->part > 0 ? 2 : 1,
                              .source = {trainer->gradients, trainer->accumulated},
                              .factors = &factors};
    backend->mix(trainer->runtime->device, &work);
}

/* The gradients of all parts. */
static sumi_status run_parts(sumi_trainer *trainer, const sumi_batch *batch, bool alone,
                             sumi_error *err)
{
    const sumi_backend *backend = trainer->runtime->backend;
    int parts = parts_of(trainer, batch->n);
    int64_t first = trainer->first;
    for (int p = 0; p < parts; p++) {
        const sumi_batch part = take_part(trainer, batch, first, p);
        double share = parts > 1 ? (double)part.n / batch->n : 1;
        draw(trainer, &part);
        gradients(trainer, part.n);
        backend->ledger_take(trainer->ledger, trainer->network, share, trainer->gradients,
                             trainer->model->graph.params.value_count);
        sumi_status status = alone ? check(trainer, &part, err) : SUMI_OK;
        if (status != SUMI_OK)
            return status;
        if (parts > 1)
            add_part(trainer, share);
    }
    if (parts > 1) {
        float *sum = trainer->accumulated;
        trainer->accumulated = trainer->gradients;
        trainer->gradients = sum;
    }
    return SUMI_OK;
}

static sumi_status queue(sumi_trainer *trainer, const sumi_batch *batch, bool alone,
                         sumi_error *err)
{
    assert(trainer->begun < trainer->ahead && !trainer->read);
    trainer->not_finite.what = NULL;
    sumi_status status = check_batch(trainer, batch, err);
    status = find_share(trainer, batch->n, status, err);
    if (status == SUMI_OK)
        status = check_pixels(trainer, batch, err);
    if (status != SUMI_OK)
        return status;
    trainer->runtime->backend->ledger_begin(trainer->ledger, trainer->begun);
    status = run_parts(trainer, batch, alone, err);
    if (status != SUMI_OK)
        return status;
    update(trainer);
    trainer->begun++;
    return SUMI_OK;
}

sumi_status sumi_train_queue(sumi_trainer *trainer, const sumi_batch *batch, sumi_error *err)
{
    return queue(trainer, batch, trainer->ahead == 1, err);
}

static void count_step(const sumi_trainer *trainer, sumi_model *model)
{
    model->generation++;
    model->info.steps++;
    model->info.height = trainer->h;
    model->info.width = trainer->w;
}

static void take_counters(sumi_model *average, const sumi_model *model)
{
    memcpy(average->graph.params.counters, model->graph.params.counters,
           model->graph.params.counter_count * sizeof(int64_t));
}

/* Nothing is on its way any more. */
static void empty(sumi_trainer *trainer)
{
    trainer->begun = trainer->taken = 0;
    trainer->read = false;
}

sumi_status sumi_train_settle(sumi_trainer *trainer, sumi_settled *out, sumi_error *err)
{
    const sumi_backend *backend = trainer->runtime->backend;
    assert(sumi_train_on_their_way(trainer) > 0);
    if (!trainer->read)
        backend->ledger_read(trainer->ledger, trainer->begun, trainer->entries);
    trainer->read = true;
    sumi_status status = backend->status(trainer->runtime->device, err);
    const sumi_entry entry = trainer->entries[trainer->taken];
    *out = (sumi_settled){entry.loss, entry.bad};
    if (status != SUMI_OK || entry.bad) {
        empty(trainer);
        return status;
    }
    trainer->gradient_norm = entry.norm;
    trainer->steps++;
    count_step(trainer, trainer->model);
    sumi_graph_count_batches(&trainer->model->graph, 1, trainer->model->graph.params.counters);
    for (int i = 0; i < trainer->averages.count; i++) {
        count_step(trainer, trainer->averages.model[i]);
        take_counters(trainer->averages.model[i], trainer->model);
    }
    if (++trainer->taken == trainer->begun)
        empty(trainer);
    return SUMI_OK;
}

sumi_status sumi_train_step(sumi_trainer *trainer, const sumi_batch *batch, double *loss,
                            sumi_error *err)
{
    sumi_settled settled = {0};
    assert(sumi_train_on_their_way(trainer) == 0);
    sumi_status status = queue(trainer, batch, true, err);
    if (status == SUMI_OK)
        status = sumi_train_settle(trainer, &settled, err);
    if (status == SUMI_OK && loss)
        *loss = settled.loss;
    return status;
}
