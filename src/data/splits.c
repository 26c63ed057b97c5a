/*
 * Which sub-folders are splits: a decision over the list of pictures alone, so that folders without
 * pictures never matter.
 */
#include "data/folder.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum { NO_SPLIT, TRAIN, TEST, VALIDATION, KINDS } split_kind;

enum { IN_SPLIT = 1, KEPT = 2 }; /* of a picture: in a split that is not asked for, or in the one */

static bool has_prefix(const char *name, size_t length, const char *prefix)
{
    size_t size = strlen(prefix);
    return length >= size && sumi_same_letters(name, prefix, size);
}

/* What may follow the name of a split: nothing, a number ("train2017"), or a word for data
 * ("training_set", "test-images"). */
static bool is_suffix(const char *text, size_t length)
{
    static const char *const words[] = {"set",    "sets",  "data",   "dataset", "images",
                                        "image",  "imgs",  "img",    "pics",    "pictures",
                                        "photos", "split", "folder", "folders"};
    while (length > 0 && strchr("-_ .", *text)) {
        text++;
        length--;
    }
    size_t digits = 0;
    while (digits < length && isdigit((unsigned char)text[digits]))
        digits++;
    bool known = digits == length;
    for (size_t i = 0; i < sizeof words / sizeof *words && !known; i++)
        known = strlen(words[i]) == length && sumi_same_letters(text, words[i], length);
    return known;
}

static split_kind kind_of(const char *name, size_t length)
{
    static const struct {
        const char *name;
        split_kind kind;
    } names[] = {{"train", TRAIN},
                 {"training", TRAIN},
                 {"trn", TRAIN},
                 {"test", TEST},
                 {"testing", TEST},
                 {"tst", TEST},
                 {"val", VALIDATION},
                 {"valid", VALIDATION},
                 {"validation", VALIDATION},
                 {"validate", VALIDATION},
                 {"validating", VALIDATION},
                 {"eval", VALIDATION},
                 {"evaluation", VALIDATION},
                 {"dev", VALIDATION}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size = strlen(names[i].name);
        if (has_prefix(name, length, names[i].name) && is_suffix(name + size, length - size))
            return names[i].kind;
    }
    return NO_SPLIT;
}

/* A folder's pictures: a stretch of the list, as whole folders always are. */
typedef struct {
    size_t first, last; /* pictures first .. last - 1 */
    size_t base;        /* bytes of their paths that name the folder, slash included */
} stretch;

typedef struct {
    sumi_listing *list;
    const char *folder;
    int split;
    uint8_t *marks;   /* [list->count]: IN_SPLIT, KEPT */
    size_t points;    /* folders whose sub-folders are splits */
    size_t in_splits; /* pictures below those */
    stretch read;     /* what the first of them has for the split */
    stretch point;    /* the first of them */
    size_t common;    /* bytes that name the folder that all of them lie in */
    char read_name[256], other_names[512];
} chooser;

static const char *path_of(const chooser *c, size_t picture)
{
    return c->list->pictures[picture].path;
}

/* The pictures from first on that lie in the same sub-folder of `in`; *length is that of its name,
 * 0 for a picture in the folder itself. */
static stretch group_at(const chooser *c, const stretch *in, size_t first, size_t *length)
{
    const char *name = path_of(c, first) + in->base, *slash = strchr(name, '/');
    stretch group = {first, first + 1, in->base};
    *length = slash ? (size_t)(slash - name) : 0;
    if (!slash)
        return group;
    group.base += *length + 1;
    while (group.last < in->last &&
           strncmp(path_of(c, group.last) + in->base, name, *length + 1) == 0)
        group.last++;
    return group;
}

/* What lies in one folder. */
typedef struct {
    stretch kinds[KINDS];  /* .last is 0 where there is none; [NO_SPLIT]: the first that is none */
    stretch second[KINDS]; /* where two sub-folders are the same split */
} contents;

static contents look_into(const chooser *c, const stretch *in)
{
    contents found = {0};
    size_t length = 0;
    for (size_t i = in->first; i < in->last;) {
        stretch group = group_at(c, in, i, &length);
        split_kind kind = length == 0 ? NO_SPLIT : kind_of(path_of(c, i) + in->base, length);
        if (found.kinds[kind].last > 0)
            found.second[kind] = group;
        else
            found.kinds[kind] = group;
        i = group.last;
    }
    return found;
}

/* The path of a group, below the folder that was listed, without its last slash. */
static const char *name_of(const chooser *c, const stretch *group, int *length)
{
    size_t root = c->list->root;
    *length = (int)(group->base - root) - 1;
    return path_of(c, group->first) + root;
}

static void add_name(const chooser *c, const stretch *group, char *out, size_t size)
{
    int length;
    size_t used = strlen(out);
    const char *name = name_of(c, group, &length);
    snprintf(out + used, size - used, "%s%.*s", used > 0 ? ", " : "", length, name);
}

/* Names of splits stand among pictures that are in none, such as this one. splits: their names, the
 * first of which is that of `split`. */
static sumi_status fail_mixed(const chooser *c, const char *splits, const stretch *split,
                              size_t other)
{
    return sumi_fail(c->list->err, SUMI_EINVAL,
                     "%s: %s can be splits, which leaves out %s, or classes like any folder: for a "
                     "split name its folder, such as %.*s; for classes give the split \"all\" "
                     "(--split all)",
                     c->folder, splits, path_of(c, other) + c->list->root, (int)split->base - 1,
                     path_of(c, split->first));
}

static sumi_status fail_twice(const chooser *c, const contents *found, split_kind kind)
{
    int first_length, second_length;
    const char *first = name_of(c, &found->kinds[kind], &first_length);
    const char *second = name_of(c, &found->second[kind], &second_length);
    return sumi_fail(c->list->err, SUMI_EINVAL,
                     "%s: %.*s and %.*s can both be the %s split: name one of the two folders, or "
                     "give the split \"all\" (--split all) to take them as classes",
                     c->folder, first_length, first, second_length, second,
                     kind == TRAIN  ? "train"
                     : kind == TEST ? "test"
                                    : "validation");
}

/* A folder of splits: keeps the pictures of the one that is asked for. */
static sumi_status take_point(chooser *c, const stretch *in, const contents *found)
{
    split_kind wanted = c->split == SUMI_SPLIT_TRAIN  ? TRAIN
                        : found->kinds[TEST].last > 0 ? TEST
                                                      : VALIDATION;
    if (found->second[wanted].last > 0)
        return fail_twice(c, found, wanted);
    const stretch *read = &found->kinds[wanted];
    memset(c->marks + in->first, IN_SPLIT, in->last - in->first);
    memset(c->marks + read->first, KEPT, read->last - read->first);
    c->in_splits += in->last - in->first;
    if (c->points++ == 0) {
        c->point = *in;
        c->common = in->base;
        c->read = *read;
        if (read->last > 0)
            add_name(c, read, c->read_name, sizeof c->read_name);
        for (int kind = TRAIN; kind < KINDS; kind++)
            if (kind != (int)wanted && found->kinds[kind].last > 0)
                add_name(c, &found->kinds[kind], c->other_names, sizeof c->other_names);
        return SUMI_OK;
    }
    const char *first = path_of(c, c->point.first), *here = path_of(c, in->first);
    size_t same = 0;
    for (size_t i = 0; i < c->common && first[i] == here[i]; i++)
        same = first[i] == '/' ? i + 1 : same;
    c->common = same;
    return SUMI_OK;
}

/* Below the folder itself, a train alone is a word like any other. */
static sumi_status visit(chooser *c, const stretch *in, int depth)
{
    contents found = look_into(c, in);
    const stretch *train = &found.kinds[TRAIN], *other = &found.kinds[NO_SPLIT];
    const stretch *split = train->last > 0              ? train
                           : found.kinds[TEST].last > 0 ? &found.kinds[TEST]
                                                        : &found.kinds[VALIDATION];
    bool held_out = found.kinds[TEST].last > 0 || found.kinds[VALIDATION].last > 0;
    if (split->last > 0 && (depth == 0 || (train->last > 0 && held_out))) {
        if (other->last == 0)
            return take_point(c, in, &found);
        char splits[512] = "";
        for (int kind = TRAIN; kind < KINDS; kind++)
            if (found.kinds[kind].last > 0)
                add_name(c, &found.kinds[kind], splits, sizeof splits);
        return fail_mixed(c, splits, split, other->first);
    }
    sumi_status status = SUMI_OK;
    size_t length = 0;
    for (size_t i = in->first; i < in->last && status == SUMI_OK;) {
        stretch group = group_at(c, in, i, &length);
        if (length > 0)
            status = visit(c, &group, depth + 1);
        i = group.last;
    }
    return status;
}

/* Some pictures are in splits, some in none. */
static sumi_status fail_outside(const chooser *c)
{
    size_t i = 0;
    while (c->marks[i] != 0)
        i++;
    return fail_mixed(c, c->read_name, &c->read, i);
}

static void drop_others(chooser *c)
{
    sumi_picture_path *pictures = c->list->pictures;
    size_t kept = 0;
    for (size_t i = 0; i < c->list->count; i++) {
        if (c->marks[i] == KEPT)
            pictures[kept++] = pictures[i];
        else
            free(pictures[i].path);
    }
    c->list->count = kept;
}

static sumi_status finish(chooser *c, sumi_split_choice *choice)
{
    const char *others = c->other_names;
    if (c->points > 0 && c->in_splits < c->list->count)
        return fail_outside(c);
    if (c->points == 0 && c->split == SUMI_SPLIT_TEST)
        return sumi_fail(c->list->err, SUMI_EINVAL,
                         "%s: this folder has no test split (sub-folders train and test)",
                         c->folder);
    if (c->points == 0)
        return SUMI_OK;
    if (c->read.last == 0)
        return sumi_fail(c->list->err, SUMI_EIO,
                         "%s: no %s split: there are pictures in %s only; name that folder itself "
                         "to read it",
                         c->folder, sumi_split_name(c->split), others);
    choice->relist = c->points == 1;
    choice->root = choice->relist ? c->read.base : c->common;
    snprintf(choice->folder, sizeof choice->folder, "%.*s", (int)choice->root - 1,
             path_of(c, c->read.first));
    char more[64] = "";
    if (c->points > 1)
        snprintf(more, sizeof more, " (the same in %zu other folders)", c->points - 1);
    snprintf(choice->splits, sizeof choice->splits, "the %s split is %s%s%s%s",
             sumi_split_name(c->split), c->read_name, others[0] ? "; not read: " : "", others,
             more);
    drop_others(c);
    return SUMI_OK;
}

sumi_status sumi_splits_choose(sumi_listing *list, const char *folder, int split,
                               sumi_split_choice *choice, sumi_error *err)
{
    *choice = (sumi_split_choice){.root = list->root};
    if (snprintf(choice->folder, sizeof choice->folder, "%s", folder) >= (int)sizeof choice->folder)
        return sumi_fail(err, SUMI_EINVAL, "%s: the path is too long", folder);
    if (split == SUMI_SPLIT_ALL || list->count == 0)
        return SUMI_OK;
    chooser c = {.list = list, .folder = folder, .split = split};
    c.marks = sumi_calloc(list->count, sizeof *c.marks);
    if (!c.marks)
        return sumi_fail_memory(err, "a list of files", list->count);
    stretch all = {0, list->count, list->root};
    sumi_status status = visit(&c, &all, 0);
    if (status == SUMI_OK)
        status = finish(&c, choice);
    free(c.marks);
    return status;
}
