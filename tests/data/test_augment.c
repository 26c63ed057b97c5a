/* What is made of pictures: mirrored, moved, and the set that is told; and how far they look one
 * way. */
#include "data_test.h"

#include <math.h>

#include "data/augment.h"

enum { COUNT = 60, H = 6, W = 8, C = 3, NUMBERS = H * W * C, BATCH = 7 };

static void fill_image(int seed, float *out)
{
    for (int i = 0; i < NUMBERS; i++)
        out[i] = (float)((i * 37 + seed * 101) % 256) / 255;
}

static int set_setup(void **state)
{
    sumi_dataset *set = sumi_calloc(1, sizeof *set);
    if (!set || sumi_data_alloc(set, "set", COUNT, H, W, C, NULL) != SUMI_OK)
        return -1;
    for (size_t i = 0; i < (size_t)COUNT * NUMBERS; i++)
        set->pixels[i] = test_pixel(i);
    *state = set;
    return 0;
}

static int set_teardown(void **state)
{
    sumi_data_free(*state);
    return 0;
}

static const int shape[3] = {H, W, C};

static void change(const sumi_augment *augment, uint32_t step, uint64_t image, float *pixels,
                   float *numbers)
{
    float room[NUMBERS];
    sumi_augment_image(augment, step, image, shape, pixels, room, numbers);
}

/* Half of the images, and each of them to the bit. */
static void test_flip(void **state)
{
    (void)state;
    const sumi_augment augment = {.flip = true, .seed = 5};
    int mirrored = 0;
    for (int i = 0; i < 400; i++) {
        float image[NUMBERS], changed[NUMBERS];
        fill_image(i, image);
        memcpy(changed, image, sizeof image);
        change(&augment, (uint32_t)(i / 20), (uint64_t)(i % 20), changed, NULL);
        bool is = memcmp(image, changed, sizeof image) != 0;
        mirrored += is;
        for (int k = 0; is && k < NUMBERS; k++)
            assert_true(changed[k] == image[k / (W * C) * W * C + (W - 1 - k / C % W) * C + k % C]);
    }
    assert_in_range(mirrored, 160, 240);
}

/* Every move within reach comes up, and edges are repeated. */
static void test_crop(void **state)
{
    (void)state;
    const sumi_augment augment = {.crop = 2, .seed = 5};
    int seen[5][5] = {{0}};
    for (int i = 0; i < 500; i++) {
        float image[NUMBERS], changed[NUMBERS];
        fill_image(i, image);
        memcpy(changed, image, sizeof image);
        change(&augment, 3, (uint64_t)i, changed, NULL);
        int found = 0;
        for (int move = 0; move < 25 && !found; move++) {
            int down = move / 5 - 2, right = move % 5 - 2;
            bool same = true;
            for (int k = 0; same && k < NUMBERS; k++) {
                int y = k / (W * C) - down, x = k / C % W - right;
                y = y < 0 ? 0 : y >= H ? H - 1 : y;
                x = x < 0 ? 0 : x >= W ? W - 1 : x;
                same = changed[k] == image[(y * W + x) * C + k % C];
            }
            found = same;
            seen[down + 2][right + 2] += same;
        }
        assert_true(found);
    }
    for (int i = 0; i < 25; i++)
        assert_in_range(seen[i / 5][i % 5], 5, 40);
}

/* With probability 0 but for the mirror, which is told; the shares of the others are theirs. */
static void test_what_is_told(void **state)
{
    (void)state;
    enum { N = 2000 };
    int counts[SUMI_AUGMENT_NUMBERS] = {0};
    const sumi_augment augment = {.told = .3f, .seed = 8};
    for (int i = 0; i < N; i++) {
        float image[NUMBERS], changed[NUMBERS], numbers[SUMI_AUGMENT_NUMBERS];
        fill_image(i, image);
        memcpy(changed, image, sizeof image);
        change(&augment, 9, (uint64_t)i, changed, numbers);
        bool any = false;
        for (int k = 0; k < SUMI_AUGMENT_NUMBERS; k++) {
            counts[k] += numbers[k] != 0;
            any = any || numbers[k] != 0;
        }
        assert_true(any == (memcmp(image, changed, sizeof image) != 0));
        for (int k = 0; k < NUMBERS; k++)
            assert_true(changed[k] >= -1e-6f && changed[k] <= 1 + 1e-6f);
    }
    assert_in_range(counts[0], N * .45, N * .55);
    for (int k = 1; k < SUMI_AUGMENT_NUMBERS; k++)
        assert_in_range(counts[k], N * .26, N * .34);
}

/* The numbers say what was done: a picture that rises to the right tells a move, a turn, a scale.
 */
static void test_numbers_are_true(void **state)
{
    (void)state;
    enum { SIDE = 32 };
    static float image[SIDE * SIDE], room[SIDE * SIDE];
    const int square[3] = {SIDE, SIDE, 1};
    const sumi_augment augment = {.told = .15f, .seed = 2};
    int moves = 0, turns = 0, scales = 0;
    for (int i = 0; i < 600; i++) {
        float a[SUMI_AUGMENT_NUMBERS];
        for (int k = 0; k < SIDE * SIDE; k++)
            image[k] = (float)(k % SIDE) - .5f * (SIDE - 1);
        sumi_augment_image(&augment, 0, (uint64_t)i, square, image, room, a);
        /* Around the centre, where nothing was reflected. */
        const float *at = image + (SIDE / 2 - 1) * SIDE + SIDE / 2 - 1;
        double right = (double)(at[1] - at[0]), down = (double)(at[SIDE] - at[0]);
        double middle = (double)(at[0] + at[1] + at[SIDE] + at[SIDE + 1]) / 4;
        double sign = a[0] != 0 ? -1 : 1;
        bool moved = a[7] != 0, turned = a[4] != 0, scaled = a[2] != 0, stretched = a[5] != 0;
        if (stretched || fabsf(a[7]) > 1.5f || fabsf(a[2]) > 1.5f)
            continue;
        if (moved && !turned && !scaled) {
            assert_true(fabs(middle + sign * (double)a[7] * SIDE / 8) < 1e-3);
            moves++;
        }
        if (turned && !moved && !scaled) {
            assert_true(fabs(right - sign * (1 + (double)a[3])) < 1e-3);
            assert_true(fabs(fabs(down) - fabs((double)a[4])) < 1e-3);
            turns++;
        }
        if (scaled && !moved && !turned) {
            assert_true(fabs(right * exp2(.2 * (double)a[2]) - sign) < 1e-3);
            scales++;
        }
    }
    assert_true(moves > 20 && turns > 20 && scales > 20);
}

static void read_epoch(const sumi_dataset *set, const sumi_augment *augment, int64_t start,
                       int count, float *images, float *numbers)
{
    sumi_batches *batches;
    sumi_error err = {""};
    check_ok(sumi_batches_create_augmented(set, BATCH, 4, start, augment, &batches, &err), &err);
    for (int i = 0; i < count; i++) {
        sumi_data_batch batch;
        sumi_batches_next(batches, &batch);
        assert_true((batch.augmentation != NULL) == (augment->told > 0));
        memcpy(images, batch.images, (size_t)batch.n * NUMBERS * sizeof *images);
        images += batch.n * NUMBERS;
        if (batch.augmentation)
            memcpy(numbers, batch.augmentation,
                   (size_t)batch.n * SUMI_AUGMENT_NUMBERS * sizeof *numbers);
        numbers += batch.n * SUMI_AUGMENT_NUMBERS;
    }
    sumi_batches_free(batches);
}

/* Batches that begin later are the same; another epoch has other changes of the same image. */
static void test_batches(void **state)
{
    const sumi_dataset *set = *state;
    enum { PER_EPOCH = (COUNT + BATCH - 1) / BATCH, ALL = 2 * COUNT };
    static float images[ALL * NUMBERS], late[ALL * NUMBERS], plain[ALL * NUMBERS];
    static float numbers[ALL * SUMI_AUGMENT_NUMBERS], told[ALL * SUMI_AUGMENT_NUMBERS];
    const sumi_augment augment = {.flip = true, .crop = 1, .told = .2f, .seed = 3};
    const sumi_augment none = {0};
    read_epoch(set, &augment, 0, 2 * PER_EPOCH, images, numbers);
    read_epoch(set, &augment, 5, 2 * PER_EPOCH - 5, late, told);
    size_t skipped = 5 * BATCH;
    assert_memory_equal(images + skipped * NUMBERS, late, (ALL - skipped) * NUMBERS * sizeof *late);
    assert_memory_equal(numbers + skipped * SUMI_AUGMENT_NUMBERS, told,
                        (ALL - skipped) * SUMI_AUGMENT_NUMBERS * sizeof *told);
    read_epoch(set, &none, 0, 2 * PER_EPOCH, plain, told);
    assert_memory_not_equal(images, plain, sizeof images);
    assert_memory_not_equal(numbers, numbers + COUNT * SUMI_AUGMENT_NUMBERS,
                            COUNT * SUMI_AUGMENT_NUMBERS * sizeof *numbers);
}

/* Of label 1 the left half is dark; those of label 0 are dark on either side as often. */
static void test_asymmetry(void **state)
{
    (void)state;
    enum { N = 200, SIDE = 4 };
    sumi_dataset set = {0};
    double asymmetry = -1;
    int label = -2;
    check_ok(sumi_data_alloc(&set, "set", N, SIDE, SIDE, 1, NULL), &(sumi_error){""});
    set.labels = sumi_calloc(N, sizeof *set.labels);
    set.classes = 2;
    for (int i = 0; i < N; i++) {
        set.labels[i] = i % 2;
        for (int k = 0; k < SIDE * SIDE; k++) {
            bool left = k % SIDE < SIDE / 2;
            set.pixels[i * SIDE * SIDE + k] = (i % 4 == 0 ? !left : left) ? 0 : 200;
        }
    }
    check_ok(sumi_data_asymmetry(&set, &asymmetry, &label, NULL), &(sumi_error){""});
    assert_int_equal(label, 1);
    assert_true(fabs(asymmetry - 1) < 1e-9);
    set.classes = 0;
    check_ok(sumi_data_asymmetry(&set, &asymmetry, &label, NULL), &(sumi_error){""});
    assert_int_equal(label, -1);
    assert_true(fabs(asymmetry - .25) < 1e-9); /* three quarters look one way */
    set.count = 30;                            /* too few to tell */
    check_ok(sumi_data_asymmetry(&set, &asymmetry, &label, NULL), &(sumi_error){""});
    assert_true(asymmetry == 0);
    set.count = N;
    sumi_data_clear(&set);
}

static void test_refusals(void **state)
{
    (void)state;
    static const sumi_augment bad[] = {{.crop = -1}, {.crop = H}, {.told = -.1f}, {.told = 1.5f}};
    static const char *const says[] = {"crop is -1", "crop is 6, expected 0 to below 6",
                                       "augment is -0.1", "augment is 1.5, expected 0 to 1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sumi_error err = {""};
        check_failed(sumi_augment_check(&bad[i], H, W, &err), SUMI_EINVAL, &err, says[i], NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flip),         cmocka_unit_test(test_crop),
        cmocka_unit_test(test_what_is_told), cmocka_unit_test(test_numbers_are_true),
        cmocka_unit_test(test_batches),      cmocka_unit_test(test_asymmetry),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, set_setup, set_teardown);
}
