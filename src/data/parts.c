/*
 * Parts of a set that has no test split: some images are held back for what must not be measured
 * on images that were learnt from, the rest is for training. Which ones is a function of how many
 * there are.
 */
#include <stdlib.h>
#include <string.h>

#include "data/data.h"

enum { SHARE = 10, LEAST = 256, MOST = 10000 };

/* A tenth; at least 256, which a covariance of features needs, but never more than half. */
static int64_t held_count(int64_t count)
{
    int64_t held = count / SHARE > MOST ? MOST : count / SHARE;
    held = held < LEAST ? LEAST : held;
    return held > count / 2 ? count / 2 : held;
}

/* Marks `held` of `count` images: the first ones of an order by chance. */
static bool choose(int64_t count, int64_t held, uint8_t *marks)
{
    const sumi_random at = {0, SUMI_STREAM_SHUFFLE, UINT32_MAX, 0};
    int64_t *order = sumi_calloc((size_t)count, sizeof *order);
    for (int64_t i = 0; order && i < count; i++) {
        int64_t k = sumi_random_below(&at, (uint64_t)i, (uint32_t)(i + 1));
        order[i] = order[k];
        order[k] = i;
    }
    for (int64_t i = 0; order && i < held; i++)
        marks[order[i]] = 1;
    free(order);
    return order != NULL;
}

/* Images move towards the front, so that the memory is enough for them. */
static void keep(sumi_dataset *set, const uint8_t *marks, uint8_t which)
{
    size_t bytes = (size_t)set->height * (size_t)set->width * (size_t)set->channels;
    int64_t kept = 0;
    for (int64_t i = 0; i < set->count; i++) {
        if (marks[i] != which)
            continue;
        memmove(set->pixels + (size_t)kept * bytes, set->pixels + (size_t)i * bytes, bytes);
        if (set->labels)
            set->labels[kept] = set->labels[i];
        kept++;
    }
    set->count = kept;
}

sumi_status sumi_data_take_part(sumi_dataset *set, int split, sumi_error *err)
{
    int64_t held = held_count(set->count);
    if (!set->pixels)
        return sumi_fail(err, SUMI_EINVAL, "%s has a test split; expected train or test",
                         set->name);
    if (held < 1)
        return sumi_fail(err, SUMI_EINVAL, "%s: one image cannot be split", set->path);
    uint8_t *marks = sumi_calloc((size_t)set->count, 1);
    if (!marks || !choose(set->count, held, marks)) {
        free(marks);
        return sumi_fail_memory(err, "a part of a data set", (size_t)set->count * sizeof(int64_t));
    }
    keep(set, marks, split == SUMI_SPLIT_HELD_BACK);
    free(marks);
    set->split = split;
    return SUMI_OK;
}
