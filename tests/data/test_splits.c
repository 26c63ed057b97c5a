/* Which sub-folders of a folder of pictures are splits, and what is said about it. */
#include "data_test.h"

/* Opens the test's folder; NULL and a message where that fails. */
static sumi_dataset *open_split(void **state, const char *split, sumi_status *status,
                                sumi_error *err)
{
    sumi_dataset *set = NULL;
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.split = split;
    *err = (sumi_error){""};
    *status = sumi_data_open(*state, &config, &set, err);
    return set;
}

/* The split has just these values, one picture each, in order. */
static void check_split(void **state, const char *split, int count, const uint8_t *values)
{
    sumi_status status;
    sumi_error err;
    sumi_dataset *set = open_split(state, split, &status, &err);
    check_ok(status, &err);
    assert_int_equal(set->count, count);
    for (int i = 0; i < count; i++)
        assert_int_equal(set->pixels[i * 16], values[i]);
    assert_int_equal(set->split, strcmp(split, "train") == 0  ? SUMI_SPLIT_TRAIN
                                 : strcmp(split, "test") == 0 ? SUMI_SPLIT_TEST
                                                              : SUMI_SPLIT_ALL);
    sumi_data_free(set);
}

static void check_refused(void **state, const char *split, sumi_status expected, const char *part,
                          const char *other)
{
    sumi_status status;
    sumi_error err;
    assert_null(open_split(state, split, &status, &err));
    check_failed(status, expected, &err, *state, part, other, NULL);
}

/* Folders without pictures never undo a split. */
static void empty_folders_do_not_count(void **state)
{
    char path[1024];
    write_png(state, "train/a/1.png", 4, 4, 1, 40);
    write_png(state, "train/b/1.png", 4, 4, 1, 80);
    write_png(state, "test/a/1.png", 4, 4, 1, 120);
    put_file(state, "annotations/train.json", "{}", 2);
    put_file(state, "labels/train/a/1.txt", "0", 1);
    put_file(state, "meta/deep/er/x.webp", "0", 1);
    put_file(state, ".cache/1.png", "none", 4);
    put_file(state, "__MACOSX/train/a/1.png", "none", 4);
    in_dir(state, "empty/x", path);
    in_dir(state, "val/x", path); /* a split without pictures is none */
    put_file(state, "README.md", "x", 1);
    check_split(state, "train", 2, (const uint8_t[]){40, 80});
    check_split(state, "test", 1, (const uint8_t[]){120});
    sumi_status status;
    sumi_error err;
    sumi_dataset *set = open_split(state, "train", &status, &err);
    check_ok(status, &err);
    assert_int_equal(set->classes, 2);
    assert_string_equal(set->class_names[0], "a");
    assert_int_equal(set->notice_count, 1);
    assert_string_equal(set->notices[0].text, "the train split is train; not read: test");
    assert_false(set->notices[0].warning);
    sumi_data_free(set);
}

static void usual_names_are_splits(void **state)
{
    static const char *const cases[][2] = {
        {"train", "test"},
        {"Train", "Test"},
        {"TRAIN", "TEST"},
        {"training", "testing"},
        {"Training", "Testing"},
        {"train", "val"},
        {"train", "valid"},
        {"train", "Validation"},
        {"training_set", "test_set"},
        {"train2017", "val2017"},
        {"train-images", "test images"},
        {"trainset", "testset"},
        {"training_data", "eval"},
        {"TrainingPhotos", "dev"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *folder = NULL;
        char name[300];
        assert_int_equal(dir_setup(&folder), 0);
        snprintf(name, sizeof name, "%s/x.png", cases[i][0]);
        write_png(&folder, name, 4, 4, 1, 10);
        snprintf(name, sizeof name, "%s/x.png", cases[i][1]);
        write_png(&folder, name, 4, 4, 1, 20);
        check_split(&folder, "train", 1, (const uint8_t[]){10});
        check_split(&folder, "test", 1, (const uint8_t[]){20});
        assert_int_equal(dir_teardown(&folder), 0);
    }
    (void)state;
}

static void other_names_are_classes(void **state)
{
    static const char *const names[] = {"trains",  "tester",  "value",    "device",
                                        "contest", "trainer", "validity", "testament"};
    sumi_status status;
    sumi_error err;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[300];
        snprintf(name, sizeof name, "%s/x.png", names[i]);
        write_png(state, name, 4, 4, 1, 40);
    }
    sumi_dataset *set = open_split(state, "train", &status, &err);
    check_ok(status, &err);
    assert_int_equal(set->classes, 8);
    assert_int_equal(set->notice_count, 0);
    sumi_data_free(set);
    check_refused(state, "test", SUMI_EINVAL, "no test split", "train and test");
}

static void a_test_split_comes_before_validation(void **state)
{
    write_png(state, "train/x.png", 4, 4, 1, 40);
    write_png(state, "val/x.png", 4, 4, 1, 80);
    check_split(state, "test", 1, (const uint8_t[]){80});
    write_png(state, "test/x.png", 4, 4, 1, 120);
    check_split(state, "test", 1, (const uint8_t[]){120});
    check_split(state, "all", 3, (const uint8_t[]){120, 40, 80});
}

/* Trains among cars, and pictures beside splits: nobody can tell, so both readings are named. */
static void two_readings_are_refused(void **state)
{
    write_png(state, "train/1.png", 4, 4, 1, 40);
    write_png(state, "car/1.png", 4, 4, 1, 80);
    check_refused(state, "train", SUMI_EINVAL, "train can be splits, which leaves out car/1.png",
                  "--split all");
    check_split(state, "all", 2, (const uint8_t[]){80, 40});
    write_png(state, "test/1.png", 4, 4, 1, 120);
    check_refused(state, "test", SUMI_EINVAL, "train, test can be splits", "/train; for classes");
    sumi_status status;
    sumi_error err;
    sumi_dataset *set = open_split(state, "all", &status, &err);
    check_ok(status, &err);
    assert_int_equal(set->classes, 3);
    assert_string_equal(set->class_names[1], "test");
    sumi_data_free(set);
}

static void loose_pictures_beside_splits_are_refused(void **state)
{
    write_png(state, "Train/1.png", 4, 4, 1, 40);
    write_png(state, "validation/1.png", 4, 4, 1, 80);
    write_png(state, "cover.jpg", 4, 4, 1, 120);
    check_refused(state, "train", SUMI_EINVAL, "Train, validation can be splits", "cover.jpg");
}

static void the_same_split_twice_is_refused(void **state)
{
    write_png(state, "train/1.png", 4, 4, 1, 40);
    write_png(state, "Training/1.png", 4, 4, 1, 80);
    write_png(state, "test/1.png", 4, 4, 1, 120);
    check_refused(state, "train", SUMI_EINVAL, "Training and train can both be the train split",
                  "--split all");
    check_split(state, "test", 1, (const uint8_t[]){120});
}

static void a_missing_split_is_named(void **state)
{
    write_png(state, "test/1.png", 4, 4, 1, 120);
    put_file(state, "train/1.webp", "x", 1);
    check_refused(state, "train", SUMI_EIO, "no train split", "pictures in test only");
    check_split(state, "test", 1, (const uint8_t[]){120});
}

/* A folder around the splits, and splits within each class. */
static void splits_may_lie_deeper(void **state)
{
    sumi_status status;
    sumi_error err;
    write_png(state, "images/train/cat/1.png", 4, 4, 1, 40);
    write_png(state, "images/train/dog/1.png", 4, 4, 1, 80);
    write_png(state, "images/val/cat/1.png", 4, 4, 1, 120);
    put_file(state, "labels/train/1.txt", "0", 1);
    check_split(state, "train", 2, (const uint8_t[]){40, 80});
    check_split(state, "test", 1, (const uint8_t[]){120});
    sumi_dataset *set = open_split(state, "train", &status, &err);
    assert_int_equal(set->classes, 2);
    assert_string_equal(set->class_names[1], "dog");
    assert_string_equal(set->notices[0].text,
                        "the train split is images/train; not read: images/val");
    sumi_data_free(set);
    write_png(state, "extra/1.png", 4, 4, 1, 160);
    check_refused(state, "train", SUMI_EINVAL, "images/train can be splits", "extra/1.png");
}

static void each_class_may_have_splits(void **state)
{
    static const char *const names[] = {"set/ant/test/1.png", "set/ant/train/1.png",
                                        "set/ant/train/2.png", "set/bee/test/1.png",
                                        "set/bee/train/1.png"};
    for (int i = 0; i < 5; i++)
        write_png(state, names[i], 4, 4, 1, (uint8_t)(40 * (i + 1)));
    check_split(state, "train", 3, (const uint8_t[]){80, 120, 200});
    check_split(state, "test", 2, (const uint8_t[]){40, 160});
    sumi_status status;
    sumi_error err;
    sumi_dataset *set = open_split(state, "train", &status, &err);
    assert_int_equal(set->classes, 2);
    assert_string_equal(set->class_names[0], "ant");
    static const int32_t labels[] = {0, 0, 1};
    assert_memory_equal(set->labels, labels, sizeof labels);
    assert_string_equal(set->notices[0].text,
                        "the train split is set/ant/train; not read: set/ant/test (the same in 1 "
                        "other folders)");
    sumi_data_free(set);
}

/* Below the folder itself a train alone is a class like any other. */
static void a_lone_name_deep_down_is_no_split(void **state)
{
    write_png(state, "vehicles/train/1.png", 4, 4, 1, 40);
    write_png(state, "vehicles/car/1.png", 4, 4, 1, 80);
    write_png(state, "user/test/1.png", 4, 4, 1, 120);
    check_split(state, "train", 3, (const uint8_t[]){120, 80, 40});
}

static void all_is_for_folders(void **state)
{
    char path[1024];
    put_bytes(state, "train-images-idx3-ubyte", idx_images(3, 4, 4));
    sumi_status status;
    sumi_error err;
    assert_null(open_split(state, "all", &status, &err));
    check_failed(status, SUMI_EINVAL, &err, "folders of pictures", NULL);
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.split = "all";
    sumi_dataset *set = NULL;
    check_failed(sumi_data_open("shapes", &config, &set, &err), SUMI_EINVAL, &err, "shapes", "all",
                 NULL);
    check_failed(
        sumi_data_open(in_dir(state, "train-images-idx3-ubyte", path), &config, &set, &err),
        SUMI_EINVAL, &err, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(empty_folders_do_not_count, dir_setup, dir_teardown),
        cmocka_unit_test(usual_names_are_splits),
        cmocka_unit_test_setup_teardown(other_names_are_classes, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(a_test_split_comes_before_validation, dir_setup,
                                        dir_teardown),
        cmocka_unit_test_setup_teardown(two_readings_are_refused, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(loose_pictures_beside_splits_are_refused, dir_setup,
                                        dir_teardown),
        cmocka_unit_test_setup_teardown(the_same_split_twice_is_refused, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(a_missing_split_is_named, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(splits_may_lie_deeper, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(each_class_may_have_splits, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(a_lone_name_deep_down_is_no_split, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(all_is_for_folders, dir_setup, dir_teardown),
    };
    return cmocka_run_group_tests_name("splits", tests, NULL, NULL);
}
