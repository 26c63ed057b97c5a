/*
 * Making a trainer ready: its settings, its optimiser and averages, and the network for images of
 * one size. Everything that a step needs is allocated here; step.c does the steps.
 */
#include "train/train.h"

#include <assert.h>
#include <float.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_MAX = 65536 };

/* ---- Settings -------------------------------------------------------------------------------- */

sumi_trainer_config sumi_trainer_settings(const sumi_train_config *config)
{
    if (config->trainer)
        return *config->trainer;
    sumi_trainer_config trainer = SUMI_TRAINER_CONFIG_INIT;
    trainer.batch = config->batch;
    trainer.seed = config->seed;
    trainer.learning_rate = config->learning_rate;
    trainer.precision = config->precision;
    trainer.averages[0] = config->ema;
    return trainer;
}

static sumi_status check_schedule(const sumi_trainer_config *config, sumi_error *err)
{
    const sumi_rate_schedule *row =
        config->rate_schedule ? sumi_rate_schedule_find(config->rate_schedule) : NULL;
    char known[128] = "";
    for (int i = 0; !row && sumi_train_rate_schedule_at(i); i++)
        sumi_names_add(known, sizeof known, sumi_train_rate_schedule_at(i)->name);
    if (!row)
        return sumi_fail(err, SUMI_EINVAL, "unknown rate_schedule '%.40s'; there are: %s",
                         config->rate_schedule ? config->rate_schedule : "(null)", known);
    if (config->warmup_steps < 0 || config->warmup_steps > UINT32_MAX)
        return sumi_fail(err, SUMI_EINVAL, "warmup_steps is %lld, expected 0 to %u",
                         (long long)config->warmup_steps, UINT32_MAX);
    if (row->ends && config->schedule_steps != SUMI_SCHEDULE_OPEN &&
        config->schedule_steps <= config->warmup_steps)
        return sumi_fail(err, SUMI_EINVAL,
                         "schedule_steps is %lld: a %s schedule must end after the %lld steps of "
                         "its warm-up",
                         (long long)config->schedule_steps, row->name,
                         (long long)config->warmup_steps);
    if (!(config->final_rate >= 0 && config->final_rate <= 1))
        return sumi_fail(err, SUMI_EINVAL, "final_rate is %g, expected 0 to 1",
                         (double)config->final_rate);
    return SUMI_OK;
}

static sumi_status check_optimiser(const sumi_trainer_config *config, sumi_error *err)
{
    const sumi_optimiser_row *row =
        config->optimiser ? sumi_optimiser_find(config->optimiser) : NULL;
    char known[128] = "";
    for (int i = 0; !row && sumi_train_optimiser_at(i); i++)
        sumi_names_add(known, sizeof known, sumi_train_optimiser_at(i)->name);
    if (!row)
        return sumi_fail(err, SUMI_EINVAL, "unknown optimiser '%.40s'; there are: %s",
                         config->optimiser ? config->optimiser : "(null)", known);
    if (!(config->weight_decay >= 0 && config->weight_decay <= 1))
        return sumi_fail(err, SUMI_EINVAL, "weight_decay is %g, expected 0 to 1",
                         (double)config->weight_decay);
    if (config->weight_decay > 0 && !row->decays)
        return sumi_fail(err, SUMI_EINVAL, "weight_decay is %g, but %s has none: adamw does",
                         (double)config->weight_decay, row->name);
    if (!(config->beta1 >= 0 && config->beta1 < 1 && config->beta2 >= 0 && config->beta2 < 1))
        return sumi_fail(err, SUMI_EINVAL, "beta1 is %g, beta2 %g: expected from 0 to below 1",
                         (double)config->beta1, (double)config->beta2);
    if (!(config->epsilon >= 0 && config->epsilon <= 1))
        return sumi_fail(err, SUMI_EINVAL, "epsilon is %g, expected 0 to 1",
                         (double)config->epsilon);
    if (!(config->clip_norm >= 0 && config->clip_norm <= FLT_MAX))
        return sumi_fail(err, SUMI_EINVAL, "clip_norm is %g, expected 0 or more",
                         (double)config->clip_norm);
    if (!(config->muon_rate > 0 && config->muon_rate <= 10))
        return sumi_fail(err, SUMI_EINVAL, "muon_rate is %g, expected above 0 and up to 10",
                         (double)config->muon_rate);
    return SUMI_OK;
}

static sumi_status check_config(const sumi_model *model, const sumi_trainer_config *config,
                                sumi_error *err)
{
    if (config->batch < 1 || config->batch > BATCH_MAX)
        return sumi_fail(err, SUMI_EINVAL, "batch is %d, expected 1..%d", config->batch, BATCH_MAX);
    if (config->accumulate < 1 || config->accumulate > config->batch)
        return sumi_fail(err, SUMI_EINVAL, "accumulate is %d, expected 1 to the batch, %d",
                         config->accumulate, config->batch);
    if (config->groups < 0 || config->groups > SUMI_GROUPS_MAX || config->groups > config->batch)
        return sumi_fail(err, SUMI_EINVAL,
                         "groups is %d, expected 0 to %d, and at most the batch, %d",
                         config->groups, SUMI_GROUPS_MAX, config->batch);
    if (!(config->learning_rate > 0 && config->learning_rate <= 10))
        return sumi_fail(err, SUMI_EINVAL, "learning_rate is %g, expected above 0 and up to 10",
                         (double)config->learning_rate);
    if (!(config->label_drop >= 0 && config->label_drop <= 1))
        return sumi_fail(err, SUMI_EINVAL, "label_drop is %g, expected 0 to 1",
                         (double)config->label_drop);
    if (config->transport != SUMI_PRECISION_FP32 && config->transport != SUMI_PRECISION_BF16)
        return sumi_fail(err, SUMI_EINVAL, "transport is %d, expected fp32 or bf16",
                         (int)config->transport);
    if (config->height < 0 || config->width < 0 || !config->height != !config->width)
        return sumi_fail(err, SUMI_EINVAL, "images of %dx%d: expected both sizes or neither",
                         config->height, config->width);
    if (model->info.in_channels != model->info.out_channels)
        return sumi_fail(err, SUMI_ESHAPE,
                         "the model maps %d channels to %d: predicting noise needs the same",
                         model->info.in_channels, model->info.out_channels);
    if (model->standardise && model->standard.channels == 0)
        return sumi_fail(err, SUMI_EINVAL,
                         "the model is to standardise data that were not measured: "
                         "sumi_model_measure does that");
    sumi_status status = sumi_averages_check(config, err);
    if (status == SUMI_OK)
        status = check_schedule(config, err);
    if (status == SUMI_OK)
        status = check_optimiser(config, err);
    return status == SUMI_OK ? sumi_precision_check(config->precision, err) : status;
}

/* ---- Images ---------------------------------------------------------------------------------- */

/* The most that go through the network together, here and on all ranks. */
static int part_images_in_all(const sumi_trainer *trainer)
{
    int parts = trainer->config.accumulate;
    return (trainer->config.batch + parts - 1) / parts;
}

static int part_images(const sumi_trainer *trainer)
{
    const sumi_reduction *cut = &trainer->cut;
    int all = part_images_in_all(trainer);
    return cut->groups > 0 ? (int)(((int64_t)all * cut->count + cut->groups - 1) / cut->groups)
                           : all;
}

enum { TENSORS = 7 };

typedef struct {
    void **memory;
    size_t bytes;
    bool wanted;
} tensor;

/* What sumi_train_begin asks the device for. */
static void list_tensors(sumi_trainer *trainer, tensor out[TENSORS])
{
    size_t each = (size_t)part_images(trainer) * sizeof(float);
    size_t images = each * trainer->image_floats;
    int numbers = sumi_graph_told(&trainer->model->graph);
    bool weighted = sumi_weighting_row(trainer->process.config.weighting)->of_snr != NULL;
    const tensor all[TENSORS] = {
        {(void **)&trainer->images, images, true},
        {(void **)&trainer->input, images, true},
        {(void **)&trainer->target, images, true},
        {(void **)&trainer->time, each, true},
        {(void **)&trainer->weight, each, weighted},
        {(void **)&trainer->labels, each, trainer->model->graph.labels >= 0},
        {(void **)&trainer->told, each * (size_t)numbers, numbers > 0},
    };
    memcpy(out, all, sizeof all);
}

static void release_images(sumi_trainer *trainer)
{
    tensor tensors[TENSORS];
    list_tensors(trainer, tensors);
    trainer->runtime->backend->network_free(trainer->network);
    for (int i = 0; i < TENSORS; i++) {
        trainer->runtime->backend->free(trainer->runtime->device, *tensors[i].memory,
                                        tensors[i].bytes);
        *tensors[i].memory = NULL;
    }
    free(trainer->standardised);
    trainer->standardised = NULL;
    trainer->network = NULL;
    trainer->h = trainer->w = 0;
}

static sumi_status make_tensors(sumi_trainer *trainer, sumi_error *err)
{
    tensor tensors[TENSORS];
    list_tensors(trainer, tensors);
    for (int i = 0; i < TENSORS; i++) {
        if (!tensors[i].wanted)
            continue;
        *tensors[i].memory =
            trainer->runtime->backend->alloc(trainer->runtime->device, tensors[i].bytes);
        if (!*tensors[i].memory)
            return sumi_fail_memory(err, "a batch of noised images", 3 * tensors[0].bytes);
    }
    if (!trainer->model->standardise)
        return SUMI_OK;
    trainer->standardised = sumi_calloc(tensors[0].bytes / sizeof(float), sizeof(float));
    return trainer->standardised
               ? SUMI_OK
               : sumi_fail_memory(err, "a batch of standardised images", tensors[0].bytes);
}

sumi_status sumi_train_begin(sumi_trainer *trainer, int h, int w, sumi_error *err)
{
    if (trainer->network && trainer->h == h && trainer->w == w)
        return SUMI_OK;
    release_images(trainer);
    int images = part_images(trainer);
    int64_t sizes[] = {images, h, w, trainer->model->info.in_channels};
    size_t floats, bytes;
    if (h < 1 || w < 1 || !sumi_size_product(sizes, 4, &floats) ||
        !sumi_size_mul(floats, 3 * sizeof(float), &bytes))
        return sumi_fail(err, SUMI_ESHAPE, "images of %dx%d in batches of %d", h, w, images);
    sumi_plan_config plan = {.mode = SUMI_MODE_TRAIN,
                             .n_max = images,
                             .h = h,
                             .w = w,
                             .force = -1,
                             .precision = trainer->config.precision,
                             .cut = sumi_train_cut(trainer),
                             .whole_max = part_images_in_all(trainer)};
    const sumi_runtime *runtime = trainer->runtime;
    sumi_status status =
        runtime->backend->network_create(runtime->device, &trainer->model->graph,
                                         &trainer->weights.at, &plan, &trainer->network, err);
    if (status != SUMI_OK)
        return status;
    trainer->image_floats = floats / (size_t)images;
    status = make_tensors(trainer, err);
    if (status != SUMI_OK) {
        release_images(trainer);
        return status;
    }
    trainer->h = h;
    trainer->w = w;
    return SUMI_OK;
}

/* ---- Weights on the device ------------------------------------------------------------------- */

static void fetch(void *arg)
{
    sumi_trainer *trainer = arg;
    assert(sumi_train_on_their_way(trainer) == 0);
    if (trainer->fetched == trainer->steps)
        return;
    sumi_mirror_pull(trainer->runtime, &trainer->weights);
    for (int i = 0; i < trainer->averages.count; i++)
        sumi_mirror_pull(trainer->runtime, &trainer->averages.mirror[i]);
    trainer->fetched = trainer->steps;
}

void sumi_train_push(sumi_trainer *trainer)
{
    sumi_mirror_push(trainer->runtime, &trainer->weights);
    for (int i = 0; i < trainer->averages.count; i++)
        sumi_mirror_push(trainer->runtime, &trainer->averages.mirror[i]);
    trainer->fetched = trainer->steps;
}

static void take_model(sumi_trainer *trainer, sumi_model *model)
{
    model->fetch = fetch;
    model->trainer = trainer;
}

static void leave_model(const sumi_trainer *trainer)
{
    if (trainer->model->trainer != trainer)
        return;
    sumi_model_fetch(trainer->model);
    trainer->model->fetch = NULL;
    trainer->model->trainer = NULL;
}

/* ---- Making and releasing -------------------------------------------------------------------- */

/* What draws give the device. */
static bool make_drawn(sumi_trainer *trainer)
{
    size_t batch = (size_t)trainer->config.batch;
    trainer->drawn_time = sumi_calloc(batch, sizeof *trainer->drawn_time);
    trainer->drawn_weight = sumi_calloc(batch, sizeof *trainer->drawn_weight);
    trainer->drawn_labels = sumi_calloc(batch, sizeof *trainer->drawn_labels);
    trainer->of_input = sumi_calloc(batch, sizeof *trainer->of_input);
    trainer->of_target = sumi_calloc(batch, sizeof *trainer->of_target);
    return trainer->drawn_time && trainer->drawn_weight && trainer->drawn_labels &&
           trainer->of_input && trainer->of_target;
}

/* In bytes: those of each branch that this rank adds up. */
static size_t gradient_bytes(const sumi_trainer *trainer)
{
    size_t branches = trainer->cut.groups > 0 ? (size_t)trainer->cut.branches : 1;
    return branches * trainer->model->graph.params.value_count * sizeof(float);
}

static sumi_status make_gradients(sumi_trainer *trainer, sumi_error *err)
{
    const sumi_runtime *runtime = trainer->runtime;
    const sumi_params *params = &trainer->model->graph.params;
    bool parts = trainer->config.accumulate > 1, alone = sumi_ranks_alone(runtime->ranks);
    size_t bytes = gradient_bytes(trainer);
    trainer->gradients = runtime->backend->alloc(runtime->device, bytes);
    if (parts)
        trainer->accumulated = runtime->backend->alloc(runtime->device, bytes);
    if (!alone) {
        trainer->exchanged = sumi_calloc(bytes / sizeof(float), sizeof(float));
        trainer->sent = sumi_calloc((size_t)params->count, sizeof *trainer->sent);
    }
    if (!trainer->gradients || (parts && !trainer->accumulated) ||
        (!alone && !(trainer->exchanged && trainer->sent)))
        return sumi_fail_memory(err, "gradients", bytes);
    bool narrow = trainer->config.transport == SUMI_PRECISION_BF16;
    return sumi_exchange_create(runtime->ranks, trainer->config.groups, narrow, params->count,
                                params->value_count, &trainer->exchange, err);
}

/* Groups, and the ranks that share them. */
static sumi_status make_cut(sumi_trainer *trainer, sumi_error *err)
{
    const sumi_trainer_config *config = &trainer->config;
    const sumi_ranks *ranks = trainer->runtime->ranks;
    bool alone = sumi_ranks_alone(ranks);
    if (!alone && config->batch < ranks->count)
        return sumi_fail(err, SUMI_EINVAL,
                         "batch is %d, and there are %d ranks: each takes images of every batch",
                         config->batch, ranks->count);
    if (!alone && config->accumulate > 1)
        return sumi_fail(err, SUMI_EUNSUPPORTED,
                         "accumulate is %d: where %d ranks share a batch, each takes its share at "
                         "once",
                         config->accumulate, ranks->count);
    if (!alone && config->groups == 0)
        return sumi_fail(err, SUMI_EINVAL,
                         "groups is 0: %d ranks share a batch by the groups that it is cut into",
                         ranks->count);
    return config->groups > 0 ? sumi_reduction_init(&trainer->cut, ranks, config->groups, err)
                              : SUMI_OK;
}

/* Where ranks take part, gradients are waited for in each step. */
static sumi_status make_ledger(sumi_trainer *trainer, sumi_error *err)
{
    const sumi_runtime *runtime = trainer->runtime;
    trainer->ahead = sumi_ranks_alone(runtime->ranks) ? runtime->backend->ahead : 1;
    assert(trainer->ahead >= 1 && trainer->ahead <= SUMI_AHEAD_MAX);
    return runtime->backend->ledger_create(runtime->device, trainer->ahead, &trainer->ledger, err);
}

static sumi_status allocate(sumi_trainer *trainer, sumi_error *err)
{
    sumi_model *model = trainer->model;
    const sumi_runtime *runtime = trainer->runtime;
    const sumi_trainer_config *config = &trainer->config;
    sumi_status status = make_cut(trainer, err);
    if (status == SUMI_OK)
        status = make_gradients(trainer, err);
    if (status == SUMI_OK)
        status = make_ledger(trainer, err);
    if (status == SUMI_OK && !make_drawn(trainer))
        status = sumi_fail_memory(err, "a batch's levels", 0);
    if (status == SUMI_OK)
        status = sumi_process_init(&trainer->process, &model->process, err);
    if (status == SUMI_OK)
        status = sumi_optimiser_init(runtime, sumi_optimiser_find(config->optimiser), &model->graph,
                                     &trainer->optimiser, err);
    if (status == SUMI_OK)
        status = sumi_mirror_init(runtime, model, &trainer->weights, err);
    if (status == SUMI_OK)
        status = sumi_averages_init(runtime, model, config, &trainer->averages, err);
    if (status == SUMI_OK && config->height > 0)
        status = sumi_train_begin(trainer, config->height, config->width, err);
    if (status != SUMI_OK)
        return status;
    take_model(trainer, model);
    for (int i = 0; i < trainer->averages.count; i++)
        take_model(trainer, trainer->averages.model[i]);
    return SUMI_OK;
}

sumi_status sumi_train_create(sumi_runtime *runtime, sumi_model *model,
                              const sumi_trainer_config *config, sumi_trainer **out,
                              sumi_error *err)
{
    sumi_status status = check_config(model, config, err);
    if (status != SUMI_OK)
        return status;
    sumi_trainer *trainer = sumi_calloc(1, sizeof *trainer);
    if (!trainer)
        return sumi_fail_memory(err, "a trainer", sizeof *trainer);
    *trainer = (sumi_trainer){.runtime = runtime, .model = model, .config = *config};
    /* The caller's texts may not last. */
    trainer->config.optimiser = sumi_optimiser_find(config->optimiser)->name;
    trainer->config.rate_schedule = sumi_rate_schedule_find(config->rate_schedule)->name;
    status = allocate(trainer, err);
    if (status != SUMI_OK) {
        sumi_train_free(trainer);
        return status;
    }
    *out = trainer;
    return SUMI_OK;
}

double sumi_train_waited(const sumi_trainer *trainer)
{
    return trainer->cut.waited + trainer->optimiser.muon.waited +
           sumi_exchange_waited(trainer->exchange);
}

sumi_model *sumi_train_best(const sumi_trainer *trainer)
{
    return trainer->averages.count > 0 ? trainer->averages.model[0] : trainer->model;
}

void sumi_train_free(sumi_trainer *trainer)
{
    if (!trainer)
        return;
    leave_model(trainer);
    release_images(trainer);
    sumi_train_keep_none(trainer);
    sumi_averages_free(&trainer->averages, trainer->runtime);
    sumi_mirror_free(trainer->runtime, &trainer->weights);
    sumi_optimiser_free(trainer->runtime, &trainer->optimiser);
    trainer->runtime->backend->ledger_free(trainer->ledger);
    size_t bytes = gradient_bytes(trainer);
    trainer->runtime->backend->free(trainer->runtime->device, trainer->gradients, bytes);
    trainer->runtime->backend->free(trainer->runtime->device, trainer->accumulated, bytes);
    sumi_reduction_free(&trainer->cut);
    sumi_process_free(&trainer->process);
    sumi_exchange_free(trainer->exchange);
    free(trainer->exchanged);
    free(trainer->sent);
    free(trainer->drawn_time);
    free(trainer->drawn_weight);
    free(trainer->drawn_labels);
    free(trainer->of_input);
    free(trainer->of_target);
    free(trainer);
}
