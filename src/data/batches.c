/*
 * The order of an epoch, and batches filled ahead of time.
 *
 * One thread fills two slots in turn while the caller holds the other: what a batch contains is a
 * pure function of (set, batch, seed, augmentation, its number), so timing can change nothing but
 * the waiting.
 */
#include "data/augment.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 2 };

void sumi_shuffle(uint64_t seed, int64_t epoch, int64_t *order, int64_t count)
{
    assert(count <= SUMI_IMAGES_MAX);
    sumi_random at = {.seed = seed, .stream = SUMI_STREAM_SHUFFLE, .step = (uint32_t)epoch};
    for (int64_t i = 0; i < count; i++)
        order[i] = i;
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t j = sumi_random_below(&at, (uint64_t)(count - 1 - i), (uint32_t)(i + 1));
        int64_t swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}

typedef struct {
    int64_t epoch, index;
    int n, first, whole;
    float *images;       /* NULL: there are ... */
    sumi_pick *picks;    /* ... these */
    float *augmentation; /* NULL where the network is not told */
    int32_t *labels;
    int64_t *indices;
    bool full; /* guarded by the mutex; the rest belongs to the thread while false, else not */
} slot;

struct sumi_batches {
    const sumi_dataset *set;
    uint64_t seed;
    int batch;                 /* images of a whole batch, at most set->count */
    const sumi_reduction *cut; /* of which a rank's share is filled; NULL: all */
    sumi_augment augment;
    float *room; /* of the thread, for an image; NULL: nothing is made of any */
    int64_t per_epoch;
    slot slots[SLOTS];
    int held; /* the slot that the caller has, -1 before the first */
    int next; /* the slot to hand out next */

    int64_t fill_epoch, fill_index; /* the thread's own, as is order */
    int64_t *order;

    pthread_t thread;
    bool started;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    atomic_bool stop; /* also looked at between images, so that freeing is quick */
};

static void augment_image(sumi_batches *b, slot *s, int i, float *pixels)
{
    const sumi_dataset *set = b->set;
    const int shape[3] = {set->height, set->width, set->channels};
    uint32_t step = (uint32_t)(s->epoch * b->per_epoch + s->index);
    float *numbers = s->augmentation ? s->augmentation + (size_t)i * SUMI_AUGMENT_NUMBERS : NULL;
    sumi_augment_image(&b->augment, step, (uint64_t)(s->first + i), shape, pixels, b->room,
                       numbers);
}

static void pick_image(const sumi_batches *b, slot *s, int i)
{
    int64_t from = s->indices[i];
    uint32_t step = (uint32_t)(s->epoch * b->per_epoch + s->index);
    s->picks[i].index = (uint32_t)from;
    sumi_augment_pick(&b->augment, step, (uint64_t)(s->first + i), &s->picks[i]);
    if (s->labels)
        s->labels[i] = b->set->labels[from];
}

static void fill(sumi_batches *b, slot *s)
{
    const sumi_dataset *set = b->set;
    int64_t begin = b->fill_index * b->batch, left = set->count - begin;
    size_t numbers = (size_t)set->height * (size_t)set->width * (size_t)set->channels;
    s->epoch = b->fill_epoch;
    s->index = b->fill_index;
    s->whole = (int)(left < b->batch ? left : b->batch);
    s->first = b->cut ? (int)sumi_reduction_first(b->cut, s->whole) : 0;
    s->n = b->cut ? sumi_reduction_images(b->cut, s->whole) : s->whole;
    for (int i = 0; i < s->n; i++) {
        if (atomic_load_explicit(&b->stop, memory_order_relaxed))
            return;
        int64_t from = b->order[begin + s->first + i];
        s->indices[i] = from;
        if (s->picks) {
            pick_image(b, s, i);
            continue;
        }
        float *pixels = s->images + (size_t)i * numbers;
        sumi_data_read(set, from, pixels, s->labels ? s->labels + i : NULL);
        if (b->room)
            augment_image(b, s, i, pixels);
    }
}

/* Moves on by one batch; a new epoch has a new order. */
static void advance(sumi_batches *b)
{
    if (++b->fill_index == b->per_epoch) {
        b->fill_index = 0;
        b->fill_epoch++;
        sumi_shuffle(b->seed, b->fill_epoch, b->order, b->set->count);
    }
}

static void *run(void *arg)
{
    sumi_batches *b = arg;
    sumi_shuffle(b->seed, b->fill_epoch, b->order, b->set->count);
    for (int at = 0;; at = (at + 1) % SLOTS) {
        slot *s = &b->slots[at];
        pthread_mutex_lock(&b->mutex);
        while (s->full && !atomic_load(&b->stop))
            pthread_cond_wait(&b->changed, &b->mutex);
        pthread_mutex_unlock(&b->mutex);
        if (atomic_load(&b->stop))
            return NULL;
        fill(b, s);
        pthread_mutex_lock(&b->mutex);
        s->full = true;
        pthread_cond_broadcast(&b->changed);
        pthread_mutex_unlock(&b->mutex);
        advance(b);
    }
}

static bool slot_alloc(slot *s, const sumi_dataset *set, int batch, bool picks)
{
    int64_t factors[] = {batch, set->height, set->width, set->channels, (int64_t)sizeof(float)};
    size_t bytes = 0;
    if (!sumi_size_product(factors, 5, &bytes))
        return false;
    s->images = picks ? NULL : malloc(bytes);
    s->picks = picks ? sumi_calloc((size_t)batch, sizeof *s->picks) : NULL;
    s->indices = sumi_calloc((size_t)batch, sizeof *s->indices);
    s->labels = set->labels ? sumi_calloc((size_t)batch, sizeof *s->labels) : NULL;
    return (s->images || s->picks) && s->indices && (s->labels || !set->labels);
}

/* Signals are for the caller's threads: an interrupt must reach them, not this one. */
static int start_thread(sumi_batches *b)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int code = pthread_create(&b->thread, NULL, run, b);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    b->started = code == 0;
    return code;
}

/* For images that are read. */
static bool alloc_augmentation(sumi_batches *b, const sumi_dataset *set)
{
    size_t batch = (size_t)b->batch;
    bool ok = true;
    if (!sumi_augment_wanted(&b->augment))
        return true;
    b->room = sumi_calloc((size_t)set->height * (size_t)set->width * (size_t)set->channels,
                          sizeof *b->room);
    for (int i = 0; i < SLOTS && b->augment.told > 0; i++) {
        b->slots[i].augmentation = sumi_calloc(batch * SUMI_AUGMENT_NUMBERS, sizeof(float));
        ok = ok && b->slots[i].augmentation;
    }
    return ok && b->room;
}

static sumi_status create(const sumi_dataset *set, int batch, uint64_t seed, int64_t start,
                          const sumi_augment *augment, const sumi_reduction *cut, bool picks,
                          sumi_batches **out, sumi_error *err)
{
    if (batch < 1 || start < 0)
        return sumi_fail(err, SUMI_EINVAL,
                         "batches: expected a size of at least 1 and a start of at least 0, found "
                         "%d and %" PRId64,
                         batch, start);
    sumi_status status =
        augment ? sumi_augment_check(augment, set->height, set->width, err) : SUMI_OK;
    if (status != SUMI_OK)
        return status;
    sumi_batches *b = sumi_calloc(1, sizeof *b);
    if (!b)
        return sumi_fail_memory(err, "batches", sizeof *b);
    b->set = set;
    b->seed = seed;
    b->cut = cut;
    b->batch = batch < set->count ? batch : (int)set->count;
    b->per_epoch = sumi_batches_per_epoch(set, batch);
    b->fill_epoch = start / b->per_epoch;
    b->fill_index = start % b->per_epoch;
    b->held = -1;
    pthread_mutex_init(&b->mutex, NULL);
    pthread_cond_init(&b->changed, NULL);
    b->order = sumi_calloc((size_t)set->count, sizeof *b->order);
    if (augment)
        b->augment = *augment;
    bool whole = b->order != NULL && (picks || alloc_augmentation(b, set));
    for (int i = 0; i < SLOTS; i++)
        whole = whole && slot_alloc(&b->slots[i], set, b->batch, picks);
    if (!whole)
        status = sumi_fail(err, SUMI_ENOMEM, "out of memory for two batches of %d images of %dx%d",
                           b->batch, set->height, set->width);
    int code = status == SUMI_OK ? start_thread(b) : 0;
    if (code != 0)
        status = sumi_fail(err, SUMI_ENOMEM, "cannot start the thread that reads images: %s",
                           strerror(code));
    if (status != SUMI_OK) {
        sumi_batches_free(b);
        return status;
    }
    *out = b;
    return SUMI_OK;
}

sumi_status sumi_batches_create_share(const sumi_dataset *set, int batch, uint64_t seed,
                                      int64_t start, const sumi_augment *augment,
                                      const sumi_reduction *cut, sumi_batches **out,
                                      sumi_error *err)
{
    return create(set, batch, seed, start, augment, cut, false, out, err);
}

sumi_status sumi_batches_create_picks(const sumi_dataset *set, int batch, uint64_t seed,
                                      int64_t start, const sumi_augment *augment,
                                      const sumi_reduction *cut, sumi_batches **out,
                                      sumi_error *err)
{
    return create(set, batch, seed, start, augment, cut, true, out, err);
}

sumi_status sumi_batches_create(const sumi_dataset *set, int batch, uint64_t seed, int64_t start,
                                sumi_batches **out, sumi_error *err)
{
    return sumi_batches_create_share(set, batch, seed, start, NULL, NULL, out, err);
}

sumi_status sumi_batches_create_augmented(const sumi_dataset *set, int batch, uint64_t seed,
                                          int64_t start, const sumi_augment *augment,
                                          sumi_batches **out, sumi_error *err)
{
    return sumi_batches_create_share(set, batch, seed, start, augment, NULL, out, err);
}

int64_t sumi_batches_per_epoch(const sumi_dataset *set, int batch)
{
    return set->count / batch + (set->count % batch != 0);
}

void sumi_batches_next(sumi_batches *b, sumi_data_batch *out)
{
    slot *s = &b->slots[b->next];
    pthread_mutex_lock(&b->mutex);
    if (b->held >= 0) {
        b->slots[b->held].full = false;
        pthread_cond_broadcast(&b->changed);
    }
    while (!s->full)
        pthread_cond_wait(&b->changed, &b->mutex);
    pthread_mutex_unlock(&b->mutex);
    *out = (sumi_data_batch){.epoch = s->epoch,
                             .index = s->index,
                             .n = s->n,
                             .first = s->first,
                             .whole = s->whole,
                             .images = s->images,
                             .picks = s->picks,
                             .labels = s->labels,
                             .indices = s->indices,
                             .augmentation = s->augmentation};
    b->held = b->next;
    b->next = (b->next + 1) % SLOTS;
}

void sumi_batches_free(sumi_batches *b)
{
    if (!b)
        return;
    if (b->started) {
        pthread_mutex_lock(&b->mutex);
        atomic_store(&b->stop, true);
        pthread_cond_broadcast(&b->changed);
        pthread_mutex_unlock(&b->mutex);
        pthread_join(b->thread, NULL);
    }
    for (int i = 0; i < SLOTS; i++) {
        free(b->slots[i].images);
        free(b->slots[i].picks);
        free(b->slots[i].augmentation);
        free(b->slots[i].labels);
        free(b->slots[i].indices);
    }
    free(b->order);
    free(b->room);
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->mutex);
    free(b);
}
