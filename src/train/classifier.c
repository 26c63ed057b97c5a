/*
 * Training a classifier: cross entropy, Adam, a learning rate that falls along a cosine. It uses
 * the trainer's optimiser and rates; levels of noise, averages and checkpoints it has no need of: a
 * classifier takes minutes.
 *
 * random-conv is not trained. Its batch norms take the statistics of the images, so that every
 * channel of every layer tells something.
 */
#include <stdlib.h>
#include <string.h>

#include "train/classify.h"

enum {
    EPOCHS = 5,
    STEPS_LEAST = 1500, /* of small sets, unless these are too many passes: */
    EPOCHS_MOST = 100,
    STEPS_RANDOM = 100, /* batches whose statistics random-conv takes */
};

typedef struct {
    sumi_runtime *runtime;
    sumi_classifier *classifier;
    const sumi_classifier_config *config;
    sumi_trainer_config settings; /* what the learning rate follows from */
    sumi_batches *batches;
    sumi_network *network;
    sumi_mirror weights; /* in the device's memory, as are */
    sumi_optimiser optimiser;
    int batch;
    int64_t step, steps, per_epoch; /* step: that was given to the device last */
    int64_t settled;                /* steps that are known to be good */
    sumi_ledger *ledger;            /* of those that are not yet */
    size_t image_floats;            /* of one as the network takes it */
    float *padded;                  /* [batch], the host's */
    float *images, *gradients;      /* the device's, as are */
    float *target;                  /* zeros [batch][features], for random-conv */
    int32_t *labels;                /* [batch] */
    double started;
} training;

/* ---- Making and releasing -------------------------------------------------------------------- */

static size_t batch_bytes(const training *run)
{
    return (size_t)run->batch * run->image_floats * sizeof(float);
}

static size_t target_bytes(const training *run)
{
    return (size_t)run->batch * (size_t)run->classifier->info.features * sizeof(float);
}

static void release(training *run)
{
    const sumi_backend *backend = run->runtime->backend;
    sumi_device *device = run->runtime->device;
    size_t weights = run->classifier->graph.params.value_count * sizeof(float);
    sumi_batches_free(run->batches);
    backend->network_free(run->network);
    backend->ledger_free(run->ledger);
    sumi_mirror_free(run->runtime, &run->weights);
    sumi_optimiser_free(run->runtime, &run->optimiser);
    backend->free(device, run->images, batch_bytes(run));
    backend->free(device, run->labels, (size_t)run->batch * sizeof(int32_t));
    backend->free(device, run->target, target_bytes(run));
    backend->free(device, run->gradients, weights);
    free(run->padded);
}

static sumi_status allocate(training *run, const sumi_dataset *set, sumi_error *err)
{
    const sumi_classifier *classifier = run->classifier;
    const sumi_backend *backend = run->runtime->backend;
    sumi_device *device = run->runtime->device;
    size_t count = classifier->graph.params.value_count;
    sumi_status status = sumi_classify_network(run->runtime, classifier, SUMI_MODE_TRAIN,
                                               run->batch, &run->weights, &run->network, err);
    if (status == SUMI_OK)
        status = sumi_optimiser_init(run->runtime, sumi_optimiser_find("adam"), &classifier->graph,
                                     &run->optimiser, err);
    if (status == SUMI_OK)
        status = backend->ledger_create(device, backend->ahead, &run->ledger, err);
    if (status == SUMI_OK)
        status = sumi_batches_create(set, run->batch, run->config->seed, 0, &run->batches, err);
    if (status != SUMI_OK)
        return status;
    run->padded = sumi_calloc((size_t)run->batch * run->image_floats, sizeof(float));
    run->images = backend->alloc(device, batch_bytes(run));
    run->labels = backend->alloc(device, (size_t)run->batch * sizeof(int32_t));
    run->target = backend->alloc(device, target_bytes(run));
    run->gradients = backend->alloc(device, count * sizeof(float));
    bool whole = run->padded && run->images && run->labels && run->target && run->gradients;
    return whole ? SUMI_OK : sumi_fail_memory(err, "a batch of images", 2 * batch_bytes(run));
}

/* ---- Steps ----------------------------------------------------------------------------------- */

/* The set's floats are value / 255 already. */
static void take_batch(training *run, const sumi_data_batch *batch)
{
    const sumi_classifier *classifier = run->classifier;
    const sumi_classifier_info_t *info = &classifier->info;
    size_t row = (size_t)info->width * (size_t)info->channels;
    size_t wide = (size_t)classifier->width * (size_t)info->channels;
    size_t corner = (size_t)((classifier->height - info->height) / 2) * wide +
                    (size_t)((classifier->width - info->width) / 2) * (size_t)info->channels;
    const float *from = batch->images;
    for (int i = 0; i < batch->n; i++) /* around it zeros stay */
        for (int y = 0; y < info->height; y++, from += row)
            memcpy(run->padded + (size_t)i * run->image_floats + corner + (size_t)y * wide, from,
                   row * sizeof *from);
    const sumi_backend *backend = run->runtime->backend;
    sumi_device *device = run->runtime->device;
    backend->upload(device, run->images, run->padded,
                    (size_t)batch->n * run->image_floats * sizeof(float));
    if (batch->labels)
        backend->upload(device, run->labels, batch->labels,
                        (size_t)batch->n * sizeof *batch->labels);
}

static void update_weights(training *run)
{
    static const sumi_halvings none;
    double factor = sumi_rate_factor(&run->settings, &none, run->step);
    sumi_update update = sumi_optimiser_update(&run->optimiser, run->runtime, &run->settings,
                                               factor, run->step, run->ledger, run->gradients);
    update.weights = run->weights.at.values;
    run->runtime->backend->update(run->runtime->device, &update);
}

/* Does not wait. A step with a number that is not finite, and those after it, change nothing. */
static void queue_step(training *run)
{
    const sumi_backend *backend = run->runtime->backend;
    sumi_data_batch batch;
    sumi_batches_next(run->batches, &batch);
    take_batch(run, &batch);
    backend->ledger_begin(run->ledger, (int)(run->step - run->settled));
    run->step++;
    const sumi_inputs in = {.image = run->images, .labels = run->labels, .target = run->target};
    backend->gradients(run->network, &in, batch.n, run->gradients);
    backend->ledger_take(run->ledger, run->network, 1, run->gradients,
                         run->classifier->graph.params.value_count);
    if (run->classifier->shape->labels)
        update_weights(run);
    backend->update_statistics(run->network, run->ledger, run->weights.at.statistics);
}

static sumi_status tell(const training *run, double loss, sumi_error *err)
{
    const sumi_classifier_config *config = run->config;
    double elapsed = sumi_time_now() - run->started, done = (double)run->settled;
    sumi_progress progress = {.size = sizeof progress,
                              .phase = SUMI_PHASE_TRAIN,
                              .step = run->settled,
                              .step_count = run->steps,
                              .epoch = (run->settled - 1) / run->per_epoch,
                              .epoch_count = (run->steps + run->per_epoch - 1) / run->per_epoch,
                              .loss = loss,
                              .learning_rate = sumi_learning_rate(&run->settings, run->settled),
                              .images_per_s = elapsed > 0 ? done * run->batch / elapsed : 0,
                              .elapsed_s = elapsed,
                              .eta_s = elapsed * ((double)run->steps - done) / done};
    bool stop = sumi_runtime_cancelled(run->runtime) ||
                (config->progress && config->progress(config->user, &progress) != 0);
    return stop ? sumi_fail(err, SUMI_CANCELLED, "the evaluator's training was cancelled")
                : SUMI_OK;
}

/* Takes in what comes of the steps that are on their way. */
static sumi_status settle(training *run, sumi_error *err)
{
    const sumi_backend *backend = run->runtime->backend;
    sumi_entry entries[SUMI_AHEAD_MAX];
    int count = (int)(run->step - run->settled);
    backend->ledger_read(run->ledger, count, entries);
    sumi_status status = backend->status(run->runtime->device, err);
    for (int i = 0; i < count && status == SUMI_OK; i++) {
        if (entries[i].bad)
            return sumi_fail(err, SUMI_EINVAL,
                             "step %lld of the evaluator's training: the loss is %g; nothing is "
                             "kept",
                             (long long)run->settled + 1, entries[i].loss);
        run->settled++;
        sumi_graph_count_batches(&run->classifier->graph, 1,
                                 run->classifier->graph.params.counters);
        status = tell(run, entries[i].loss, err);
    }
    return status;
}

/* ---- All of it ------------------------------------------------------------------------------- */

static int64_t epochs_of(const sumi_classifier_config *config, int64_t per_epoch)
{
    int64_t least = (STEPS_LEAST + per_epoch - 1) / per_epoch;
    if (config->epochs > 0)
        return config->epochs;
    return least < EPOCHS ? EPOCHS : least < EPOCHS_MOST ? least : EPOCHS_MOST;
}

static sumi_status run_steps(training *run, const sumi_dataset *set, sumi_error *err)
{
    sumi_status status = allocate(run, set, err);
    while (status == SUMI_OK && run->step < run->steps) {
        queue_step(run);
        if (run->step - run->settled == run->runtime->backend->ahead || run->step == run->steps)
            status = settle(run, err);
    }
    if (status != SUMI_OK)
        return status;
    sumi_mirror_pull(run->runtime, &run->weights);
    return run->runtime->backend->status(run->runtime->device, err);
}

static void describe(training *run, const sumi_dataset *set)
{
    sumi_classifier_info_t *info = &run->classifier->info;
    bool trained = run->classifier->shape->labels;
    info->steps = trained ? run->steps : 0;
    info->epochs = trained ? run->steps / run->per_epoch : 0;
    sumi_copy_text(info->data_name, sizeof info->data_name, set->name);
    sumi_data_hash(set, info->data_hash);
}

/* random: the batches whose statistics random-conv takes. */
static sumi_status train(sumi_runtime *runtime, const sumi_dataset *set,
                         const sumi_classifier_config *config, int64_t random,
                         sumi_classifier *classifier, sumi_error *err)
{
    training run = {.runtime = runtime,
                    .classifier = classifier,
                    .config = config,
                    .settings = SUMI_TRAINER_CONFIG_INIT,
                    .batch =
                        set->count < SUMI_CLASSIFY_BATCH ? (int)set->count : SUMI_CLASSIFY_BATCH,
                    .per_epoch = sumi_batches_per_epoch(set, SUMI_CLASSIFY_BATCH),
                    .image_floats = (size_t)classifier->height * (size_t)classifier->width *
                                    (size_t)classifier->info.channels,
                    .started = sumi_time_now()};
    run.steps =
        classifier->shape->labels ? epochs_of(config, run.per_epoch) * run.per_epoch : random;
    run.settings.learning_rate = 2e-3f;
    run.settings.rate_schedule = "cosine";
    run.settings.warmup_steps = run.steps / 20;
    run.settings.schedule_steps = run.steps;
    sumi_status status = run_steps(&run, set, err);
    if (status == SUMI_OK)
        describe(&run, set);
    release(&run);
    return status == SUMI_OK ? sumi_classifier_seal(classifier, err) : status;
}

static sumi_status check(const sumi_dataset *set, const sumi_dataset *test,
                         const sumi_classifier_config *config, const sumi_classifier_shape **shape,
                         sumi_error *err)
{
    *shape = config->shape ? sumi_classifier_shape_find(config->shape) : NULL;
    char known[128] = "";
    for (int i = 0; !*shape && sumi_classifier_shape_at(i); i++)
        sumi_names_add(known, sizeof known, sumi_classifier_shape_at(i)->name);
    if (!*shape)
        return sumi_fail(err, SUMI_EINVAL, "unknown shape '%.40s'; there are: %s",
                         config->shape ? config->shape : "(null)", known);
    if (config->epochs < 0)
        return sumi_fail(err, SUMI_EINVAL, "epochs is %d, expected 0 or more", config->epochs);
    if (test && (test->height != set->height || test->width != set->width ||
                 test->channels != set->channels))
        return sumi_fail(
            err, SUMI_ESHAPE, "the test images are %dx%dx%d, those that are trained on %dx%dx%d",
            test->height, test->width, test->channels, set->height, set->width, set->channels);
    if (test && (*shape)->labels && set->labels && (!test->labels || test->classes > set->classes))
        return sumi_fail(err, SUMI_EINVAL, "the test images have %d classes, the others %d",
                         test->classes, set->classes);
    return SUMI_OK;
}

sumi_status sumi_classify_train(sumi_runtime *runtime, const sumi_dataset *set,
                                const sumi_dataset *test, const sumi_classifier_config *config,
                                sumi_classifier **out, sumi_error *err)
{
    const sumi_classifier_shape *shape;
    sumi_classifier *made;
    sumi_status status = check(set, test, config, &shape, err);
    if (status != SUMI_OK)
        return status;
    const int sizes[] = {set->height, set->width, set->channels};
    int classes = set->labels ? set->classes : 0;
    status = sumi_classifier_create(shape, sizes, classes, config->seed, &made, err);
    if (status != SUMI_OK)
        return status;
    status = train(runtime, set, config, STEPS_RANDOM, made, err);
    if (status == SUMI_OK && test && shape->labels) {
        status = sumi_classify_accuracy(runtime, made, test, &made->info.accuracy, err);
        made->info.tested = test->count;
    }
    if (status != SUMI_OK) {
        sumi_classifier_free(made);
        return status;
    }
    *out = made;
    return SUMI_OK;
}

sumi_status sumi_classify_random(sumi_runtime *runtime, const sumi_dataset *set,
                                 const sumi_classifier_config *config, int64_t batches,
                                 sumi_classifier **out, sumi_error *err)
{
    const sumi_classifier_shape *shape;
    sumi_classifier_config random = *config;
    sumi_classifier *made;
    random.shape = SUMI_RANDOM_SHAPE;
    sumi_status status = check(set, NULL, &random, &shape, err);
    const int sizes[] = {set->height, set->width, set->channels};
    if (status == SUMI_OK)
        status = sumi_classifier_create(shape, sizes, 0, config->seed, &made, err);
    if (status != SUMI_OK)
        return status;
    status = train(runtime, set, &random, batches, made, err);
    if (status == SUMI_OK)
        *out = made;
    else
        sumi_classifier_free(made);
    return status;
}
