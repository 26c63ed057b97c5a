/* Where sets lie: relative paths, paths at the limit of the system, names that are nearly others,
 * and folders that are read without a file being opened. */
#include "data_test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "data/augment.h"
#include "data/folder.h"

static void touch(void **state, const char *name)
{
    char path[1024];
    int fd = open(in_dir(state, name, path), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    close(fd);
}

static void relative_paths(void **state)
{
    char before[1024];
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    uint8_t pixels[12] = {0};
    sumi_npy array = {SUMI_NPY_U8, 3, {3, 2, 2}, 12, pixels};
    assert_non_null(getcwd(before, sizeof before));
    put_bytes(state, "emnist-x-train-images-idx3-ubyte", idx_images(3, 4, 4));
    put_bytes(state, "emnist-x-train-labels-idx1-ubyte", idx_labels(3, 2));
    put_bytes(state, "images-idx3", idx_images(3, 4, 4));
    put_bytes(state, "labels-idx1", idx_labels(3, 2));
    assert_int_equal(chdir(*state), 0);
    check_ok(sumi_data_open("emnist-x-train-images-idx3-ubyte", NULL, &set, &err), &err);
    assert_true(set->classes == 2 && set->notice_count == 1);
    assert_string_equal(set->name, "emnist-x-train-images-idx3-ubyte");
    assert_true(set->path[0] == '/');
    sumi_data_free(set);
    check_ok(sumi_data_open("images-idx3", NULL, &set, &err), &err);
    assert_int_equal(set->classes, 2);
    sumi_data_free(set);
    check_ok(sumi_npy_write("my-test.npy", &array, &err), &err);
    config.split = "test";
    check_ok(sumi_data_open("my-test.npy", &config, &set, &err), &err);
    sumi_data_free(set);
    config.split = "all";
    check_failed(sumi_data_open("my-test.npy", &config, &set, &err), SUMI_EINVAL, &err,
                 "the split \"all\" is for folders", NULL);
    assert_true(sumi_has_last_part("raw", "raw") && sumi_has_last_part("/a/raw", "raw"));
    assert_false(sumi_has_last_part("raw/a", "raw"));
    assert_int_equal(chdir(before), 0);
}

/* ---- Long paths ------------------------------------------------------------------------------ */

enum { NAME = 200, PATH = 4096 };

/* Makes folders of long names, each in the one before, until a path of about `length` bytes is
 * reached; that becomes the folder of this process. */
static void go_deep(void **state, size_t length, char path[PATH])
{
    char name[NAME + 1];
    memset(name, 'd', NAME);
    strcpy(path, *state);
    assert_int_equal(chdir(path), 0);
    while (strlen(path) + 2 < length) {
        size_t left = length - strlen(path) - 1;
        name[left < NAME ? left : NAME] = '\0';
        assert_int_equal(mkdir(name, 0777), 0);
        assert_int_equal(chdir(name), 0);
        strcat(strcat(path, "/"), name);
        name[left < NAME ? left : NAME] = 'd';
    }
}

static void put_here(const char *name, blob b)
{
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(b.data, 1, b.size, file), b.size);
    assert_int_equal(fclose(file), 0);
    free(b.data);
}

/* What lies too deep for a path ends the reading with its name; nothing is read beyond a buffer. */
static void paths_that_are_too_long(void **state)
{
    char before[1024], deep[PATH], name[NAME + 32];
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    assert_non_null(getcwd(before, sizeof before));
    go_deep(state, PATH - 56, deep);
    memset(name, 'n', NAME);
    strcpy(name + NAME, ".png");
    put_here(name, idx_images(1, 1, 1)); /* never opened */
    check_failed(sumi_data_open(*state, NULL, &set, &err), SUMI_EINVAL, &err, NULL);
    check_failed(sumi_data_open(deep, NULL, &set, &err), SUMI_EINVAL, &err, NULL);
    strcpy(name + NAME, "-train-images-idx3-ubyte");
    put_here(name + NAME - 40, idx_images(3, 4, 4)); /* a name of a set that is no path */
    put_here(name + NAME - 10, idx_images(3, 4, 4));
    assert_int_equal(sumi_idx_count(deep), 1);
    assert_int_equal(mkdir("run", 0777), 0);
    put_here("run/config.json", idx_images(1, 1, 1));
    assert_int_equal(sumi_fail_no_run(deep, &err), SUMI_EIO);
    assert_int_equal(sumi_fail_no_run(*state, &err), SUMI_EIO);
    assert_int_equal(chdir(before), 0);
}

/* An images file whose labels' packed name would be too long, and an array of that kind. */
static void names_beside_that_are_too_long(void **state)
{
    char before[1024], deep[PATH], path[PATH];
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    uint8_t pixels[12] = {0};
    sumi_npy array = {SUMI_NPY_U8, 3, {3, 2, 2}, 12, pixels};
    assert_non_null(getcwd(before, sizeof before));
    go_deep(state, PATH - 2 - sizeof "images-idx3-ubyte", deep);
    put_here("images-idx3-ubyte", idx_images(3, 4, 4));
    check_ok(sumi_npy_write("x.npy", &array, &err), &err);
    assert_int_equal(chdir(before), 0);
    assert_true(snprintf(path, sizeof path, "%s/images-idx3-ubyte", deep) < PATH);
    check_ok(sumi_data_open(path, NULL, &set, &err), &err);
    assert_int_equal(set->classes, 0);
    sumi_data_free(set);
    assert_true(snprintf(path, sizeof path, "%s/x.npy", deep) < PATH);
    check_ok(sumi_data_open(path, NULL, &set, &err), &err);
    assert_int_equal(set->classes, 0);
    sumi_data_free(set);
    /* Of an environment that is too long nothing is found, and nothing is cut. */
    char found[1024], looked[PATH];
    setenv("HOME", deep, 1);
    setenv("SUMI_DATA", deep, 1);
    unsetenv("XDG_CACHE_HOME");
    assert_false(sumi_find_named("mine", found, sizeof found));
    assert_false(sumi_find_fashion(SUMI_SPLIT_TRAIN, "/nonexistent", found, looked, sizeof found));
    assert_string_equal(looked, "/nonexistent");
    unsetenv("SUMI_DATA");
    setenv("HOME", "/nonexistent", 1);
}

/* ---- Listings -------------------------------------------------------------------------------- */

static void what_is_left_out(void **state)
{
    static const char *const names[] = {
        "a.txt",  "b.txt",  "c.",
        "README", "d.webp", "e.ENDING-THAT-IS-FAR-TOO-LONG-FOR-ONE-OF-A-PICTURE"};
    char out[256], path[1024];
    bool pictures = false;
    sumi_error err = {{0}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        touch(state, names[i]);
    touch(state, "one/config.json");
    in_dir(state, "one/checkpoints/x", path); /* a run of which only that is left */
    touch(state, "two/config.json");
    snprintf(path, sizeof path, "%s/", (const char *)*state);
    for (int slash = 0; slash < 2; slash++) {
        sumi_listing list = {.limit = 0};
        check_ok(sumi_listing_read(&list, slash ? path : *state, &err), &err);
        assert_true(list.count == 0 && list.runs == 1 && list.other_files == 7);
        assert_string_equal(list.run, "one");
        sumi_listing_left_out(&list, out, sizeof out, &pictures);
        assert_true(pictures);
        assert_string_equal(out, "1 .webp (d.webp), 3 without an ending (README), "
                                 "2 .txt (a.txt), 1 .json (two/config.json)");
        /* Less room, fewer kinds. */
        sumi_listing_left_out(&list, out, 96, &pictures);
        assert_string_equal(out, "1 .webp (d.webp), 3 without an ending (README), 2 .txt (a.txt), "
                                 "1 others");
        sumi_listing_left_out(&list, out, 12, &pictures);
        assert_string_equal(out, "7 others");
        sumi_listing_free(&list);
    }
    sumi_listing list = {.limit = 0};
    check_failed(sumi_listing_read(&list, "", &err), SUMI_EIO, &err, NULL);
    sumi_listing_free(&list);
}

static void too_many_classes(void **state)
{
    char name[32], **names = NULL;
    int count = 0;
    sumi_listing list = {.limit = 0};
    sumi_error err = {{0}};
    for (int i = 0; i <= SUMI_CLASSES_MAX; i++) {
        snprintf(name, sizeof name, "%05d/x.png", i);
        touch(state, name);
    }
    check_ok(sumi_listing_read(&list, *state, &err), &err);
    check_failed(
        sumi_listing_classes(&list, strlen(*state) + 1, &names, &count), SUMI_EUNSUPPORTED, &err,
        "10000: expected at most 10000 sub-folders with pictures (classes), found more", NULL);
    for (int i = 0; i < count; i++)
        free(names[i]);
    free(names);
    sumi_listing_free(&list);
}

/* ---- Sets of IDX files ----------------------------------------------------------------------- */

static void splits_that_are_missing(void **state)
{
    char path[1024];
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    put_bytes(state, "a-test-images-idx3-ubyte", idx_images(3, 4, 4));
    put_bytes(state, "b-test-images-idx3-ubyte", idx_images(3, 4, 4));
    check_failed(sumi_data_open(*state, NULL, &set, &err), SUMI_EINVAL, &err, "(a, b)",
                 "such as a-...-images-idx3-ubyte", NULL);
    put_bytes(state, "test-images-idx3-ubyte", idx_images(3, 4, 4));
    check_failed(sumi_data_open(*state, NULL, &set, &err), SUMI_EIO, &err,
                 ": no train-images-idx3-ubyte[.gz] (the train split) is in this folder", NULL);
    static const uint8_t starts[][2] = {{0x1f, 0}, {0x1f, 0x8a}};
    for (size_t size = 1; size <= 2; size++) {
        put_file(state, "short-images-idx3-ubyte", starts[size - 1], size);
        assert_int_equal(
            sumi_idx_images_parse("f", starts[size - 1], size, &(sumi_dataset){0}, &err),
            SUMI_EFORMAT);
        check_failed(
            sumi_data_open(in_dir(state, "short-images-idx3-ubyte", path), NULL, &set, &err),
            SUMI_EFORMAT, &err, path, NULL);
    }
}

static void validation_twice(void **state)
{
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    write_png(state, "train/1.png", 4, 4, 1, 40);
    write_png(state, "val/1.png", 4, 4, 1, 80);
    write_png(state, "validation/1.png", 4, 4, 1, 120);
    config.split = "test";
    check_failed(sumi_data_open(*state, &config, &set, &err), SUMI_EINVAL, &err,
                 "val and validation can both be the validation split", NULL);
}

/* ---- Sizes and mirrors ----------------------------------------------------------------------- */

static void large_files_and_maps(void **state)
{
    static const uint8_t bytes[16];
    static const int64_t bad[] = {1, 4, 4, 17};
    sumi_dataset set = {0};
    sumi_error err = {{0}};
    assert_false(sumi_data_is_large(*state));
    assert_false(sumi_data_is_large("/no/such/file"));
    check_failed(sumi_data_take_map(&set, "f", bytes, sizeof bytes, 0, bad, &err),
                 SUMI_EUNSUPPORTED, &err, "f: 1 images of 4x4x17", NULL);
    assert_null(set.mapped);
}

/* Only one of the sizes may be another. */
static void fits_one_size(void **state)
{
    char path[1024];
    put_bytes(state, "x", idx_images(3, 6, 8));
    for (int i = 0; i < 3; i++) {
        sumi_dataset *set = NULL;
        sumi_error err = {{0}};
        sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
        config.height = i == 0 ? 4 : 6;
        config.width = i == 1 ? 4 : 8;
        config.channels = i == 2 ? 3 : 1;
        check_ok(sumi_data_open(in_dir(state, "x", path), &config, &set, &err), &err);
        assert_true(set->height == config.height && set->width == config.width);
        assert_int_equal(set->channels, config.channels);
        sumi_data_free(set);
    }
}

static void symmetric_pictures(void **state)
{
    (void)state;
    static uint8_t pixels[50 * 16];
    sumi_dataset set = {.count = 50, .height = 4, .width = 4, .channels = 1, .pixels = pixels};
    double asymmetry = -1;
    int label = -2;
    check_ok(sumi_data_asymmetry(&set, &asymmetry, &label, NULL), &(sumi_error){""});
    assert_true(asymmetry == 0 && label == -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(relative_paths, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(paths_that_are_too_long, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(names_beside_that_are_too_long, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(what_is_left_out, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(too_many_classes, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(splits_that_are_missing, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(validation_twice, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(large_files_and_maps, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(fits_one_size, dir_setup, dir_teardown),
        cmocka_unit_test(symmetric_pictures),
    };
    return cmocka_run_group_tests_name("places", tests, NULL, NULL);
}
