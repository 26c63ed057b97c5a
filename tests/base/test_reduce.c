/*
 * Sums over groups: one tree whatever the ranks, and as the tree is described.
 */
#include "meeting.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { COUNT = 300, GROUPS_MAX = 40, LONG_COUNT = (1 << 20) + 77 };

/* Numbers whose sum depends on the order in which they are added. */
static double number(int group, size_t i)
{
    const sumi_random at = {.seed = 7, .step = (uint32_t)group};
    double x = sumi_random_uniform(&at, i);
    return (x - .5) * (group % 3 == 0 ? 1e6 : 1e-3);
}

/* The tree, from its description. */
static double tree(int first, int end, size_t i)
{
    int half = 1;
    if (end - first == 1)
        return number(first, i);
    while (half * 2 < end - first)
        half *= 2;
    return tree(first, first + half, i) + tree(first + half, end, i);
}

static float float_tree(int first, int end, size_t i)
{
    int half = 1;
    if (end - first == 1)
        return (float)number(first, i);
    while (half * 2 < end - first)
        half *= 2;
    return float_tree(first, first + half, i) + float_tree(first + half, end, i);
}

typedef struct {
    attendant *me;
    int groups;
    size_t count;
    double sums[COUNT];
    float *floats; /* [count] */
} summing;

static void *sum_up(void *arg)
{
    summing *s = arg;
    sumi_reduction r;
    sumi_ranks ranks = {.count = 1};
    if (s->me)
        ranks = meeting_ranks(s->me);
    assert_int_equal(sumi_reduction_init(&r, s->me ? &ranks : NULL, s->groups, NULL), SUMI_OK);
    double *doubles = calloc((size_t)r.count * COUNT, sizeof *doubles);
    float *all = calloc((size_t)r.count * s->count, sizeof *all);
    float *branches = calloc((size_t)r.branches * s->count, sizeof *branches);
    assert_true(doubles && all && branches);
    for (int g = 0; g < r.count; g++) {
        for (size_t i = 0; i < COUNT; i++)
            doubles[(size_t)g * COUNT + i] = number(r.first + g, i);
        for (size_t i = 0; i < s->count; i++)
            all[(size_t)g * s->count + i] = (float)number(r.first + g, i);
    }
    sumi_reduce_doubles(&r, doubles, COUNT);
    memcpy(s->sums, doubles, sizeof s->sums);
    sumi_reduce_floats_here(&r, all, s->count, 0, s->count / 2);
    sumi_reduce_floats_here(&r, all, s->count, s->count / 2, s->count);
    for (int b = 0; b < r.branches; b++)
        memcpy(branches + (size_t)b * s->count, all + (size_t)r.branch[b] * s->count,
               s->count * sizeof *all);
    sumi_reduce_floats(&r, branches, s->count, s->count);
    s->floats = malloc(s->count * sizeof *s->floats);
    assert_non_null(s->floats);
    memcpy(s->floats, branches, s->count * sizeof *s->floats);
    free(doubles);
    free(all);
    free(branches);
    sumi_reduction_free(&r);
    return NULL;
}

static void check(const summing *s, int ranks)
{
    for (size_t i = 0; i < COUNT; i++)
        if (s->sums[i] != tree(0, s->groups, i))
            fail_msg("%d ranks, %d groups: double %zu", ranks, s->groups, i);
    for (size_t i = 0; i<s->count; i += s->count> COUNT ? 9973 : 1)
        if (s->floats[i] != float_tree(0, s->groups, i))
            fail_msg("%d ranks, %d groups: float %zu", ranks, s->groups, i);
}

static void sum_with(int ranks, int groups, size_t count)
{
    attendant people[MEETING_MAX];
    summing s[MEETING_MAX] = {0};
    for (int r = 0; r < ranks; r++)
        s[r] = (summing){.me = &people[r], .groups = groups, .count = count};
    meeting_hold(ranks, people, sum_up, s, sizeof *s);
    for (int r = 0; r < ranks; r++) {
        check(&s[r], ranks);
        free(s[r].floats);
    }
}

static void test_one_tree(void **state)
{
    (void)state;
    for (int groups = 1; groups <= GROUPS_MAX; groups += groups < 18 ? 1 : 11) {
        summing alone = {.groups = groups, .count = COUNT};
        sum_up(&alone);
        check(&alone, 0);
        free(alone.floats);
        for (int ranks = 1; ranks <= MEETING_MAX && ranks <= groups; ranks++)
            sum_with(ranks, groups, COUNT);
    }
}

/* More numbers than go at a time, and in fewer than ranks. */
static void test_pieces(void **state)
{
    (void)state;
    sum_with(3, 4, LONG_COUNT);
    sum_with(5, 8, 3);
}

/* The ranks' images, one after the other, are the batch; each rank's are its groups'. */
static void test_images(void **state)
{
    (void)state;
    for (int images = 0; images < 40; images += 3)
        for (int count = 1; count <= 6; count++) {
            int64_t before = 0;
            for (int rank = 0; rank < count; rank++) {
                sumi_reduction r;
                attendant me = {&(meeting){.count = count}, rank, NULL};
                const sumi_ranks ranks = meeting_ranks(&me);
                assert_int_equal(sumi_reduction_init(&r, &ranks, 7, NULL), SUMI_OK);
                assert_int_equal(sumi_reduction_first(&r, images), before);
                assert_int_equal(sumi_reduction_border(&r, images, 0), 0);
                for (int g = 0; g < r.count; g++) {
                    int n = sumi_reduction_border(&r, images, g + 1) -
                            sumi_reduction_border(&r, images, g);
                    assert_true(n == images / 7 || n == images / 7 + 1);
                }
                before += sumi_reduction_images(&r, images);
                sumi_reduction_free(&r);
            }
            assert_int_equal(before, images);
        }
}

/* ---- While something else is done ------------------------------------------------------------ */

/* The branches of a rank, [branch][count]. */
static float *make_branches(const sumi_reduction *r, size_t count)
{
    float *all = calloc((size_t)r->count * count, sizeof *all);
    float *branches = calloc((size_t)r->branches * count, sizeof *branches);
    assert_true(all && branches);
    for (int g = 0; g < r->count; g++)
        for (size_t i = 0; i < count; i++)
            all[(size_t)g * count + i] = (float)number(r->first + g, i);
    sumi_reduce_floats_here(r, all, count, 0, count);
    for (int b = 0; b < r->branches; b++)
        memcpy(branches + (size_t)b * count, all + (size_t)r->branch[b] * count,
               count * sizeof *all);
    free(all);
    return branches;
}

typedef struct {
    attendant *me;
    bool second; /* the ranks have a second line */
    bool narrow;
    float *sums;
} exchanging;

/* Ranges of different lengths, from the last to the first, as backward has them. The whole is more
 * than a parcel: where there is a second line, that comes before the end is called for. */
static void *add_ranges(void *arg)
{
    static const size_t lengths[] = {1, 1000, 300000, 7, 65536};
    exchanging *run = arg;
    sumi_ranks ranks = meeting_ranks(run->me);
    sumi_reduction r;
    sumi_exchange *e;
    meeting *behind = run->me->behind->at;
    if (!run->second)
        ranks.behind = NULL;
    assert_int_equal(sumi_reduction_init(&r, &ranks, 8, NULL), SUMI_OK);
    run->sums = make_branches(&r, LONG_COUNT);
    assert_int_equal(sumi_exchange_create(&ranks, 8, run->narrow, 20, LONG_COUNT, &e, NULL),
                     SUMI_OK);
    sumi_exchange_begin(e, run->sums, LONG_COUNT);
    size_t left = LONG_COUNT;
    for (int i = 0; left > 0; i++) {
        size_t count = lengths[i % 5] < left ? lengths[i % 5] : left;
        left -= count;
        sumi_exchange_add(e, (sumi_range){left, count});
    }
    while (run->second && behind->exchanges == 0)
        ;
    sumi_exchange_end(e);
    assert_true(sumi_exchange_took(e) > 0);
    sumi_exchange_free(e);
    sumi_reduction_free(&r);
    return NULL;
}

static void exchange_with(int ranks, bool second, bool narrow, exchanging *runs)
{
    attendant people[MEETING_MAX];
    int64_t behind = 0;
    for (int r = 0; r < ranks; r++)
        runs[r] = (exchanging){&people[r], second, narrow, NULL};
    int64_t front = meeting_hold_both(ranks, people, add_ranges, runs, sizeof *runs, &behind);
    assert_true(second ? front == 0 && behind > 0 : front > 0 && behind == 0);
    for (int r = 1; r < ranks; r++)
        assert_memory_equal(runs[r].sums, runs[0].sums, LONG_COUNT * sizeof(float));
}

static void release_sums(exchanging *runs, int ranks)
{
    for (int r = 0; r < ranks; r++)
        free(runs[r].sums);
}

static void test_exchange(void **state)
{
    (void)state;
    for (int ranks = 2; ranks <= 3; ranks++)
        for (int second = 0; second < 2; second++) {
            exchanging runs[MEETING_MAX];
            exchange_with(ranks, second, false, runs);
            for (size_t i = 0; i < LONG_COUNT; i += 997)
                assert_true(runs[0].sums[i] == float_tree(0, 8, i));
            release_sums(runs, ranks);
        }
    sumi_exchange *none;
    assert_int_equal(sumi_exchange_create(NULL, 8, false, 1, 1, &none, NULL), SUMI_OK);
    assert_null(none);
}

/* Each term and the sum are rounded to 8 bits; all ranks have the same. */
static void test_narrow(void **state)
{
    (void)state;
    exchanging runs[MEETING_MAX];
    size_t rounded = 0;
    exchange_with(3, true, true, runs);
    for (size_t i = 0; i < LONG_COUNT; i += 97) {
        double terms = 0;
        uint32_t bits;
        for (int g = 0; g < 8; g++)
            terms += fabs(number(g, i));
        memcpy(&bits, &runs[0].sums[i], sizeof bits);
        assert_int_equal(bits & 0xffff, 0);
        double off = fabs((double)runs[0].sums[i] - tree(0, 8, i));
        assert_true(off <= 2 * terms / 256);
        rounded += off > 0;
    }
    assert_true(rounded > 0);
    release_sums(runs, 3);
}

static void test_refuses(void **state)
{
    (void)state;
    sumi_reduction r;
    sumi_error err = {""};
    const sumi_ranks bad[] = {{.rank = 2, .count = 2}, {.rank = -1, .count = 2}, {.count = 0}};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sumi_reduction_init(&r, &bad[i], 8, &err), SUMI_EINVAL);
        sumi_reduction_free(&r);
    }
    assert_string_equal(err.text, "rank 0 of 0 ranks");
    const sumi_ranks many = {.rank = 1, .count = 9};
    assert_int_equal(sumi_reduction_init(&r, &many, 8, &err), SUMI_EINVAL);
    assert_non_null(strstr(err.text, "groups is 8, and there are 9 ranks"));
    assert_int_equal(sumi_reduction_init(&r, NULL, 0, &err), SUMI_EINVAL);
    assert_int_equal(sumi_reduction_init(&r, NULL, SUMI_GROUPS_MAX + 1, &err), SUMI_EINVAL);
    /* As many branches as there can be. */
    attendant me = {&(meeting){.count = 3}, 1, NULL};
    const sumi_ranks three = meeting_ranks(&me);
    assert_int_equal(sumi_reduction_init(&r, &three, SUMI_GROUPS_MAX, &err), SUMI_OK);
    assert_true(r.branches > 1 && r.branches <= SUMI_BRANCHES_MAX);
    sumi_reduction_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_tree), cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_images),   cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_narrow),   cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
