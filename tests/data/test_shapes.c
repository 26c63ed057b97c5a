/* The drawn set: pure, balanced, inside its frame, and the same bytes as ever. */
#include "data_test.h"

static sumi_dataset *open_shapes(int h, int w, int c, const char *split)
{
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.height = h;
    config.width = w;
    config.channels = c;
    config.split = split;
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    check_ok(sumi_data_open("shapes", &config, &set, &err), &err);
    return set;
}

static void has_the_promised_size(void **state)
{
    (void)state;
    sumi_dataset *set = open_shapes(0, 0, 0, "train");
    assert_int_equal(set->count, 60000);
    assert_int_equal(set->height, 28);
    assert_int_equal(set->width, 28);
    assert_int_equal(set->channels, 1);
    assert_int_equal(set->classes, 10);
    assert_string_equal(set->name, "shapes");
    assert_string_equal(set->path, "");
    assert_string_equal(set->class_names[0], "disc");
    assert_string_equal(set->class_names[9], "crescent");
    int seen[10] = {0};
    for (int64_t i = 0; i < set->count; i++)
        seen[set->labels[i]]++;
    for (int i = 0; i < 10; i++)
        assert_int_equal(seen[i], 6000);
    sumi_data_free(set);
    set = open_shapes(0, 0, 0, "test");
    assert_int_equal(set->count, 10000);
    sumi_data_free(set);
}

static void splits_and_pictures_differ(void **state)
{
    (void)state;
    sumi_dataset *train = open_shapes(0, 0, 0, "train"), *test = open_shapes(0, 0, 0, "test");
    uint8_t a[784], b[784];
    sumi_data_read_bytes(train, 10, a);
    sumi_data_read_bytes(test, 10, b);
    assert_memory_not_equal(a, b, 784);
    sumi_data_read_bytes(train, 20, b);
    assert_memory_not_equal(a, b, 784);
    sumi_data_read_bytes(train, 10, b);
    assert_memory_equal(a, b, 784);
    sumi_data_free(train);
    sumi_data_free(test);
}

/* Drawing some rows gives those rows of the whole; floats are the bytes over 255. */
static void rows_and_floats_agree(void **state)
{
    (void)state;
    enum { H = 23, W = 31, BYTES = H * W * 3 };
    sumi_dataset *set = open_shapes(H, W, 3, "train");
    for (int64_t i = 0; i < 30; i++) {
        uint8_t whole[BYTES], rows[5 * W * 3];
        float image[BYTES];
        int32_t label = -2;
        sumi_data_read_bytes(set, i, whole);
        set->draw(set, i, 7, 5, rows);
        assert_memory_equal(rows, whole + 7 * W * 3, sizeof rows);
        sumi_data_read(set, i, image, &label);
        assert_int_equal(label, i % 10);
        for (int p = 0; p < BYTES; p++)
            assert_true(image[p] == (float)whole[p] / 255.0f);
    }
    sumi_data_free(set);
}

/* A grey picture has its figure on black, whole (nothing touches the frame hard) and visible. */
static void figures_are_whole_and_visible(void **state)
{
    (void)state;
    sumi_dataset *set = open_shapes(0, 0, 0, "train");
    for (int64_t i = 0; i < 2000; i++) {
        uint8_t p[784];
        sumi_data_read_bytes(set, i, p);
        int lit = 0, brightest = 0;
        for (int k = 0; k < 784; k++) {
            lit += p[k] > 60;
            brightest = p[k] > brightest ? p[k] : brightest;
        }
        assert_in_range(lit, 25, 600);
        assert_in_range(brightest, 90, 255);
        assert_true(p[0] < 60 && p[27] < 60 && p[756] < 60 && p[783] < 60);
    }
    sumi_data_free(set);
}

/* Drawn twice as large and averaged down, a picture is nearly the same one. */
static void size_does_not_change_the_picture(void **state)
{
    (void)state;
    sumi_dataset *small = open_shapes(28, 28, 1, "train"), *large = open_shapes(56, 56, 1, "train");
    for (int64_t i = 0; i < 50; i++) {
        uint8_t a[784], b[56 * 56];
        sumi_data_read_bytes(small, i, a);
        sumi_data_read_bytes(large, i, b);
        double apart = 0;
        for (int y = 0; y < 28; y++) {
            for (int x = 0; x < 28; x++) {
                const uint8_t *at = b + 112 * y + 2 * x;
                apart += abs(a[28 * y + x] - (at[0] + at[1] + at[56] + at[57]) / 4);
            }
        }
        assert_true(apart / 784 < 6.0);
    }
    sumi_data_free(small);
    sumi_data_free(large);
}

static void any_size_can_be_drawn(void **state)
{
    (void)state;
    static const int sizes[][2] = {{4, 4}, {4, 300}, {300, 4}, {5, 7}, {128, 96}};
    static uint8_t pixels[300 * 300 * 3];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int c = 1; c <= 3; c += 2) {
            sumi_dataset *set = open_shapes(sizes[i][0], sizes[i][1], c, "train");
            for (int64_t k = 0; k < 200; k++)
                sumi_data_read_bytes(set, k, pixels);
            sumi_data_free(set);
        }
    }
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.height = 3;
    config.width = 28;
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    check_failed(sumi_data_open("shapes", &config, &set, &err), SUMI_EINVAL, &err, "at least 4",
                 "3x28", NULL);
}

/* The generator is part of every run's data hash: a change of one pixel must be deliberate. */
static void bytes_are_pinned(void **state)
{
    (void)state;
    char hex[65];
    sumi_dataset *set = open_shapes(0, 0, 0, "train");
    sumi_data_hash(set, hex);
    assert_string_equal(hex, "35989cc54524b6272d71407bd5e09153cc05a4c34ad3ae7a7d21a1f13ed1f1d6");
    sumi_data_free(set);
    set = open_shapes(0, 0, 3, "test");
    char other[65];
    sumi_data_hash(set, other);
    assert_string_not_equal(hex, other);
    sumi_data_free(set);
}

static void draw_nothing(const sumi_dataset *set, int64_t index, int row, int rows, uint8_t *pixels)
{
    (void)index;
    (void)row;
    memset(pixels, 0, (size_t)rows * (size_t)set->width * (size_t)set->channels);
}

/* Drawing a thousand large pictures takes minutes. */
static void hash_is_computed_once(void **state)
{
    (void)state;
    char first[65], second[65];
    sumi_dataset *set = open_shapes(0, 0, 0, "train");
    sumi_data_hash(set, first);
    set->draw = draw_nothing;
    sumi_data_hash(set, second);
    assert_string_equal(second, first);
    sumi_data_free(set);
}

static atomic_int cancel;

static void draw_and_cancel(const sumi_dataset *set, int64_t index, int row, int rows,
                            uint8_t *pixels)
{
    draw_nothing(set, index, row, rows, pixels);
    assert_true(index <= 3);
    atomic_store(&cancel, index == 3);
}

/* After the picture in which it was cancelled none is read. */
static void measuring_can_be_cancelled(void **state)
{
    (void)state;
    float mean[3] = {0}, deviation[3] = {0};
    sumi_error err;
    sumi_dataset *set = open_shapes(0, 0, 0, "train");
    set->draw = draw_and_cancel;
    check_failed(sumi_data_statistics(set, mean, deviation, &cancel, &err), SUMI_CANCELLED, &err,
                 "cancelled", NULL);
    sumi_data_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_the_promised_size),
        cmocka_unit_test(splits_and_pictures_differ),
        cmocka_unit_test(rows_and_floats_agree),
        cmocka_unit_test(figures_are_whole_and_visible),
        cmocka_unit_test(size_does_not_change_the_picture),
        cmocka_unit_test(any_size_can_be_drawn),
        cmocka_unit_test(bytes_are_pinned),
        cmocka_unit_test(hash_is_computed_once),
        cmocka_unit_test(measuring_can_be_cancelled),
    };
    return cmocka_run_group_tests_name("shapes", tests, NULL, NULL);
}
