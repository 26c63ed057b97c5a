/* The order of an epoch, and batches made ahead of time. */
#include "data_test.h"

#include <time.h>

enum { COUNT = 103, SIDE = 3, NUMBERS = SIDE * SIDE };

/* A set of 103 pictures; picture i is full of the value i, its label i % 7. */
static int set_setup(void **state)
{
    sumi_dataset *set = sumi_calloc(1, sizeof *set);
    if (!set || sumi_data_alloc(set, "set", COUNT, SIDE, SIDE, 1, NULL) != SUMI_OK)
        return -1;
    set->labels = sumi_calloc(COUNT, sizeof *set->labels);
    set->classes = 7;
    for (int i = 0; i < COUNT; i++) {
        memset(set->pixels + i * NUMBERS, i, NUMBERS);
        set->labels[i] = i % 7;
    }
    *state = set;
    return 0;
}

static int set_teardown(void **state)
{
    sumi_data_free(*state);
    return 0;
}

static sumi_batches *start(const sumi_dataset *set, int batch, uint64_t seed, int64_t first)
{
    sumi_batches *batches = NULL;
    sumi_error err = {{0}};
    check_ok(sumi_batches_create(set, batch, seed, first, &batches, &err), &err);
    return batches;
}

static void shuffle_is_a_permutation(void **state)
{
    (void)state;
    enum { N = 5000 };
    static int64_t a[N], b[N];
    static bool seen[N];
    sumi_shuffle(3, 0, a, N);
    for (int i = 0; i < N; i++) {
        assert_in_range(a[i], 0, N - 1);
        assert_false(seen[a[i]]);
        seen[a[i]] = true;
    }
    sumi_shuffle(3, 0, b, N);
    assert_memory_equal(a, b, sizeof a);
    sumi_shuffle(3, 1, b, N);
    assert_memory_not_equal(a, b, sizeof a);
    sumi_shuffle(4, 0, b, N);
    assert_memory_not_equal(a, b, sizeof a);
    sumi_shuffle(0, 0, b, 1);
    assert_int_equal(b[0], 0);
    sumi_shuffle(0, 0, b, 0);
}

/* Over many epochs each image comes first about equally often: 4 counts of mean 1000. */
static void shuffle_is_even(void **state)
{
    (void)state;
    int first[4] = {0}, last[4] = {0};
    for (int64_t epoch = 0; epoch < 4000; epoch++) {
        int64_t order[4];
        sumi_shuffle(9, epoch, order, 4);
        first[order[0]]++;
        last[order[3]]++;
    }
    for (int i = 0; i < 4; i++) {
        assert_in_range(first[i], 880, 1120);
        assert_in_range(last[i], 880, 1120);
    }
}

static void check_batch(const sumi_dataset *set, const sumi_data_batch *b)
{
    for (int i = 0; i < b->n; i++) {
        int64_t index = b->indices[i];
        assert_in_range(index, 0, set->count - 1);
        assert_int_equal(b->labels[i], set->labels[index]);
        for (int k = 0; k < NUMBERS; k++)
            assert_true(b->images[i * NUMBERS + k] == (float)index / 255.0f);
    }
}

static void epochs_are_whole(void **state)
{
    const sumi_dataset *set = *state;
    sumi_batches *batches = start(set, 10, 5, 0);
    assert_int_equal(sumi_batches_per_epoch(set, 10), 11);
    for (int epoch = 0; epoch < 3; epoch++) {
        int64_t order[COUNT];
        sumi_shuffle(5, epoch, order, COUNT);
        for (int index = 0; index < 11; index++) {
            sumi_data_batch b;
            sumi_batches_next(batches, &b);
            assert_int_equal(b.epoch, epoch);
            assert_int_equal(b.index, index);
            assert_int_equal(b.n, index == 10 ? 3 : 10);
            assert_memory_equal(b.indices, order + 10 * index, (size_t)b.n * sizeof *order);
            check_batch(set, &b);
        }
    }
    sumi_batches_free(batches);
}

/* The shares of the ranks, one after the other, are the whole batch. */
static void ranks_share_a_batch(void **state)
{
    enum { RANKS = 3 };
    const sumi_dataset *set = *state;
    sumi_error err = {{0}};
    sumi_reduction cut[RANKS];
    sumi_ranks ranks[RANKS];
    sumi_batches *whole = start(set, 10, 5, 3), *share[RANKS];
    for (int r = 0; r < RANKS; r++) {
        ranks[r] = (sumi_ranks){.rank = r, .count = RANKS};
        check_ok(sumi_reduction_init(&cut[r], &ranks[r], 4, &err), &err);
        check_ok(sumi_batches_create_share(set, 10, 5, 3, NULL, &cut[r], &share[r], &err), &err);
    }
    for (int i = 0; i < 20; i++) {
        sumi_data_batch all, part;
        int before = 0;
        sumi_batches_next(whole, &all);
        assert_true(all.first == 0 && all.whole == all.n);
        for (int r = 0; r < RANKS; r++) {
            sumi_batches_next(share[r], &part);
            assert_true(part.epoch == all.epoch && part.index == all.index);
            assert_true(part.first == before && part.whole == all.n);
            assert_int_equal(part.n, sumi_reduction_images(&cut[r], all.n));
            assert_memory_equal(part.indices, all.indices + before,
                                (size_t)part.n * sizeof *all.indices);
            check_batch(set, &part);
            before += part.n;
        }
        assert_int_equal(before, all.n);
    }
    for (int r = 0; r < RANKS; r++) {
        sumi_batches_free(share[r]);
        sumi_reduction_free(&cut[r]);
    }
    sumi_batches_free(whole);
}

/* From any start, and at any pace, the batches are those of a run from the beginning. */
static void starts_in_the_middle(void **state)
{
    const sumi_dataset *set = *state;
    for (int64_t first = 0; first < 30; first += 7) {
        sumi_batches *whole = start(set, 16, 1, 0), *part = start(set, 16, 1, first);
        sumi_data_batch a, b;
        for (int64_t i = 0; i < first; i++)
            sumi_batches_next(whole, &a);
        for (int i = 0; i < 20; i++) {
            sumi_batches_next(whole, &a);
            if (i % 5 == 0)
                nanosleep(&(struct timespec){0, 300000}, NULL);
            sumi_batches_next(part, &b);
            assert_int_equal(a.epoch, b.epoch);
            assert_int_equal(a.index, b.index);
            assert_int_equal(a.n, b.n);
            assert_memory_equal(a.indices, b.indices, (size_t)a.n * sizeof *a.indices);
            assert_memory_equal(a.images, b.images, (size_t)a.n * NUMBERS * sizeof(float));
        }
        sumi_batches_free(whole);
        sumi_batches_free(part);
    }
}

static void odd_sizes_work(void **state)
{
    sumi_dataset *set = *state;
    sumi_data_batch b;
    sumi_batches *batches = start(set, 1000, 2, 0);
    for (int i = 0; i < 3; i++) {
        sumi_batches_next(batches, &b);
        assert_int_equal(b.n, COUNT);
        assert_int_equal(b.epoch, i);
    }
    sumi_batches_free(batches);
    batches = start(set, 1, 2, COUNT);
    sumi_batches_next(batches, &b);
    assert_int_equal(b.epoch, 1);
    assert_int_equal(b.index, 0);
    assert_int_equal(b.n, 1);
    sumi_batches_free(batches);
    /* No labels in the set: none in the batch. */
    int32_t *labels = set->labels;
    set->labels = NULL;
    batches = start(set, 4, 2, 0);
    sumi_batches_next(batches, &b);
    assert_null(b.labels);
    sumi_batches_free(batches);
    set->labels = labels;
}

static void bad_arguments_are_refused(void **state)
{
    sumi_batches *batches = NULL;
    sumi_error err = {{0}};
    check_failed(sumi_batches_create(*state, 0, 1, 0, &batches, &err), SUMI_EINVAL, &err,
                 "at least 1", NULL);
    check_failed(sumi_batches_create(*state, 4, 1, -1, &batches, &err), SUMI_EINVAL, &err,
                 "found 4 and -1", NULL);
    assert_null(batches);
    sumi_batches_free(NULL);
}

/* Freed at once, before and while the thread fills; drawn pictures make the filling slow. */
static void can_be_freed_at_any_time(void **state)
{
    (void)state;
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.height = config.width = 64;
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    check_ok(sumi_data_open("shapes", &config, &set, &err), &err);
    for (int i = 0; i < 40; i++) {
        sumi_batches *batches = start(set, 128, 1, i);
        sumi_data_batch b;
        if (i % 4 == 1)
            sumi_batches_next(batches, &b);
        if (i % 4 >= 2)
            nanosleep(&(struct timespec){0, 200000 * i}, NULL);
        sumi_batches_free(batches);
    }
    sumi_data_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shuffle_is_a_permutation),
        cmocka_unit_test(shuffle_is_even),
        cmocka_unit_test_setup_teardown(epochs_are_whole, set_setup, set_teardown),
        cmocka_unit_test_setup_teardown(starts_in_the_middle, set_setup, set_teardown),
        cmocka_unit_test_setup_teardown(odd_sizes_work, set_setup, set_teardown),
        cmocka_unit_test_setup_teardown(bad_arguments_are_refused, set_setup, set_teardown),
        cmocka_unit_test_setup_teardown(ranks_share_a_batch, set_setup, set_teardown),
        cmocka_unit_test(can_be_freed_at_any_time),
    };
    return cmocka_run_group_tests_name("batches", tests, NULL, NULL);
}
