/* Folders of pictures: order, classes, sizes, colour, and everything odd that a folder can hold. */
#include "data_test.h"

#include <sys/stat.h>

static sumi_dataset *open_ok(const char *path, const sumi_dataset_config *config)
{
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    check_ok(sumi_data_open(path, config, &set, &err), &err);
    return set;
}

static void check_values(const sumi_dataset *set, int count, const uint8_t *values)
{
    size_t bytes = (size_t)set->height * (size_t)set->width * (size_t)set->channels;
    assert_int_equal(set->count, count);
    for (int i = 0; i < count; i++) {
        for (size_t k = 0; k < bytes; k++)
            assert_int_equal(set->pixels[(size_t)i * bytes + k], values[i]);
    }
}

static void reads_in_order_of_name(void **state)
{
    write_png(state, "b.png", 6, 5, 1, 20);
    write_png(state, "a.PNG", 6, 5, 1, 10);
    write_png(state, "B.jpeg", 6, 5, 1, 5); /* told by content, not by its name */
    write_png(state, ".hidden.png", 6, 5, 1, 99);
    put_file(state, "notes.txt", "x", 1);
    sumi_dataset *set = open_ok(*state, NULL);
    assert_int_equal(set->height, 6);
    assert_int_equal(set->width, 5);
    assert_int_equal(set->channels, 1);
    assert_int_equal(set->classes, 0);
    assert_null(set->labels);
    check_values(set, 3, (const uint8_t[]){5, 10, 20});
    sumi_data_free(set);
}

/* What is transparent is white, or the grey that is asked for; what is not stays. */
static void transparent_pictures_lie_over_a_grey(void **state)
{
    static const float greys[] = {1, 0, .5f};
    static const int first[] = {255, 0, 128};
    char path[1024];
    uint8_t *data = NULL;
    size_t size = 0;
    sumi_error err = {{0}};
    int last[3];
    snprintf(path, sizeof path, "%s/io/fixtures/gray_alpha.png", SUMI_TEST_DIR);
    check_ok(sumi_file_read(path, 1 << 20, &data, &size, &err), &err);
    put_file(state, "a.png", data, size);
    free(data);
    for (int i = 0; i < 3; i++) {
        sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
        config.background = greys[i];
        sumi_dataset *set = open_ok(*state, &config);
        assert_int_equal(set->pixels[0], first[i]); /* its alpha is 0 */
        last[i] = set->pixels[set->width - 1];      /* and here 255 */
        sumi_data_free(set);
    }
    assert_true(last[0] == last[1] && last[1] == last[2]);
    sumi_dataset *set = NULL;
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.background = 1.5f;
    check_failed(sumi_data_open(*state, &config, &set, &err), SUMI_EINVAL, &err,
                 "background is 1.5, expected 0 to 1", NULL);
}

static void reads_jpeg(void **state)
{
    char path[1024];
    uint8_t *data = NULL;
    size_t size = 0;
    sumi_error err = {{0}};
    snprintf(path, sizeof path, "%s/data/golden/dot.jpg", SUMI_TEST_DIR);
    check_ok(sumi_file_read(path, 1 << 20, &data, &size, &err), &err);
    put_file(state, "dot.jpg", data, size);
    free(data);
    sumi_dataset *set = open_ok(*state, NULL);
    assert_int_equal(set->height, 8);
    assert_int_equal(set->width, 8);
    assert_int_equal(set->channels, 3);
    assert_in_range(set->pixels[0], 195, 205);
    assert_in_range(set->pixels[1], 95, 105);
    assert_in_range(set->pixels[2], 45, 55);
    sumi_data_free(set);
}

static void sub_folders_are_classes(void **state)
{
    write_png(state, "dog/1.png", 4, 4, 1, 30);
    write_png(state, "cat/2.png", 4, 4, 1, 20);
    write_png(state, "cat/1.png", 4, 4, 1, 10);
    write_png(state, "emu/deep/er/1.png", 4, 4, 1, 40);
    write_png(state, ".git/1.png", 4, 4, 1, 99);
    put_file(state, "empty/readme.txt", "x", 1);
    sumi_dataset *set = open_ok(*state, NULL);
    check_values(set, 4, (const uint8_t[]){10, 20, 30, 40});
    assert_int_equal(set->classes, 3);
    assert_string_equal(set->class_names[0], "cat");
    assert_string_equal(set->class_names[1], "dog");
    assert_string_equal(set->class_names[2], "emu");
    static const int32_t labels[] = {0, 0, 1, 2};
    assert_memory_equal(set->labels, labels, sizeof labels);
    sumi_data_free(set);
    /* A picture of no class: then the folders are no classes. */
    write_png(state, "aaa.png", 4, 4, 1, 7);
    set = open_ok(*state, NULL);
    check_values(set, 5, (const uint8_t[]){7, 10, 20, 30, 40});
    assert_int_equal(set->classes, 0);
    assert_null(set->labels);
    sumi_data_free(set);
}

static void splits_are_sub_folders(void **state)
{
    write_png(state, "train/cat/1.png", 4, 4, 1, 1);
    write_png(state, "train/dog/1.png", 4, 4, 1, 2);
    write_png(state, "test/cat/1.png", 4, 4, 1, 3);
    sumi_dataset *set = open_ok(*state, NULL);
    check_values(set, 2, (const uint8_t[]){1, 2});
    assert_string_equal(set->class_names[1], "dog");
    sumi_data_free(set);
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.split = "test";
    set = open_ok(*state, &config);
    check_values(set, 1, (const uint8_t[]){3});
    sumi_data_free(set);
}

static void sizes_are_brought_together(void **state)
{
    write_png(state, "1.png", 6, 8, 1, 50);
    write_png(state, "2.png", 31, 17, 1, 60);
    write_png(state, "3.png", 2, 90, 1, 70);
    sumi_dataset *set = open_ok(*state, NULL);
    assert_int_equal(set->height, 8); /* of 2, 6, 31: the multiple of 4 that is nearest to 6 */
    assert_int_equal(set->width, 16); /* of 8, 17, 90 */
    check_values(set, 3, (const uint8_t[]){50, 60, 70});
    sumi_data_free(set);
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.height = 13;
    config.width = 3;
    config.channels = 3;
    set = open_ok(*state, &config);
    assert_int_equal(set->height, 13);
    assert_int_equal(set->width, 3);
    assert_int_equal(set->channels, 3);
    check_values(set, 3, (const uint8_t[]){50, 60, 70});
    sumi_data_free(set);
}

/* One colour picture anywhere makes the set a colour set, unless config says otherwise. */
static void colour_wins(void **state)
{
    write_png(state, "1.png", 5, 5, 1, 50);
    write_png(state, "2.png", 5, 5, 1, 60);
    write_png(state, "3.png", 5, 5, 3, 70);
    write_png(state, "4.png", 5, 5, 1, 80);
    sumi_dataset *set = open_ok(*state, NULL);
    assert_int_equal(set->channels, 3);
    check_values(set, 4, (const uint8_t[]){50, 60, 70, 80});
    sumi_data_free(set);
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.channels = 1;
    set = open_ok(*state, &config);
    assert_int_equal(set->channels, 1);
    check_values(set, 4, (const uint8_t[]){50, 60, 70, 80});
    sumi_data_free(set);
}

static void bad_pictures_are_named(void **state)
{
    write_png(state, "a/1.png", 5, 5, 1, 50);
    put_file(state, "a/2.png", "this is no picture", 18);
    char path[1024];
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    check_failed(sumi_data_open(*state, NULL, &set, &err), SUMI_EFORMAT, &err,
                 in_dir(state, "a/2.png", path), NULL);
    unlink(path);
    assert_int_equal(symlink("nowhere.png", in_dir(state, "a/3.png", path)), 0);
    check_failed(sumi_data_open(*state, NULL, &set, &err), SUMI_EIO, &err, path, NULL);
}

static void empty_folders_say_so(void **state)
{
    char path[1024];
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    check_failed(sumi_data_open(*state, NULL, &set, &err), SUMI_EFORMAT, &err, *state, "is empty",
                 NULL);
    in_dir(state, "sub/.x", path);
    check_failed(sumi_data_open(*state, NULL, &set, &err), SUMI_EFORMAT, &err, "is empty", NULL);
    put_file(state, "a.webp", "x", 1);
    put_file(state, "sub/b.gif", "x", 1);
    check_failed(sumi_data_open(*state, NULL, &set, &err), SUMI_EFORMAT, &err, "no .png",
                 "2 other files", NULL);
}

/* Links to folders above, to each other and to the side end; links to pictures count. */
static void link_loops_end(void **state)
{
    char path[1024];
    write_png(state, "a/1.png", 4, 4, 1, 1);
    write_png(state, "b/1.png", 4, 4, 1, 2);
    assert_int_equal(symlink("..", in_dir(state, "a/up", path)), 0);
    assert_int_equal(symlink("../b", in_dir(state, "a/b", path)), 0);
    assert_int_equal(symlink("../a", in_dir(state, "b/a", path)), 0);
    assert_int_equal(symlink("self", in_dir(state, "self", path)), 0);
    assert_int_equal(symlink("1.png", in_dir(state, "b/2.png", path)), 0);
    assert_int_equal(mkfifo(in_dir(state, "a/fifo.png", path), 0600), 0);
    sumi_dataset *set = open_ok(*state, NULL);
    /* The first way to b, by a/b, is the one that counts. */
    check_values(set, 3, (const uint8_t[]){1, 2, 2});
    sumi_data_free(set);
}

static void deep_nesting_is_refused(void **state)
{
    char name[600] = "";
    for (int i = 0; i < 70; i++)
        strcat(name, "d/");
    strcat(name, "1.png");
    write_png(state, name, 4, 4, 1, 1);
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    check_failed(sumi_data_open(*state, NULL, &set, &err), SUMI_EUNSUPPORTED, &err, "nested deeper",
                 NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_in_order_of_name, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(reads_jpeg, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(transparent_pictures_lie_over_a_grey, dir_setup,
                                        dir_teardown),
        cmocka_unit_test_setup_teardown(sub_folders_are_classes, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(splits_are_sub_folders, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(sizes_are_brought_together, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(colour_wins, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(bad_pictures_are_named, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(empty_folders_say_so, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(link_loops_end, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(deep_nesting_is_refused, dir_setup, dir_teardown),
    };
    return cmocka_run_group_tests_name("folder", tests, NULL, NULL);
}
