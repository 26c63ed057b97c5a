/* What is said about a set that was read: files left out, sizes that differ, a picture in colour,
 * sumi's own runs, pictures that cannot be read, nearly black ones, names that are there twice. */
#include "data_test.h"

#include <sys/stat.h>

static sumi_dataset *open_with(const char *path, const sumi_dataset_config *config)
{
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    check_ok(sumi_data_open(path, config, &set, &err), &err);
    return set;
}

/* One notice has all texts of the NULL-ended list in it. */
static void check_notice(const sumi_dataset *set, int warning, ...)
{
    for (int i = 0; i < set->notice_count; i++) {
        bool all = set->notices[i].warning == (warning != 0);
        va_list texts;
        va_start(texts, warning);
        for (const char *text; all && (text = va_arg(texts, const char *)) != NULL;)
            all = strstr(set->notices[i].text, text) != NULL;
        va_end(texts);
        assert_null(strchr(set->notices[i].text, '\n'));
        if (all)
            return;
    }
    for (int i = 0; i < set->notice_count; i++)
        print_error("notice: %s\n", set->notices[i].text);
    fail_msg("the notice is missing");
}

static void ordinary_sets_are_read_without_a_word(void **state)
{
    write_png(state, "pics/a.png", 4, 4, 1, 200);
    write_png(state, "pics/b.jpe", 4, 4, 1, 200);
    write_png(state, "pics/c.JFIF", 4, 4, 1, 200);
    write_png(state, "pics/d.pjpeg", 4, 4, 1, 200);
    put_file(state, "pics/.DS_Store", "x", 1);
    put_file(state, "pics/Thumbs.db", "x", 1);
    put_file(state, "pics/desktop.ini", "x", 1);
    put_file(state, "pics/__MACOSX/._a.png", "x", 1);
    put_file(state, "pics/@eaDir/a.png/thumb.jpg", "x", 1);
    put_file(state, "pics/.git/a.webp", "x", 1);
    char path[1024];
    sumi_dataset *set = open_with(in_dir(state, "pics", path), NULL);
    assert_int_equal(set->count, 4);
    assert_int_equal(set->notice_count, 0);
    assert_int_equal(set->skipped_count, 0);
    sumi_data_free(set);
}

static void files_left_out_are_counted_by_ending(void **state)
{
    static const char *const names[] = {"a.webp", "b.WEBP", "c.Webp", "d.gif",
                                        "e.heic", "f.txt",  "README", "sub/g.tif"};
    write_png(state, "x.png", 4, 4, 1, 200);
    for (int i = 0; i < 8; i++)
        put_file(state, names[i], "x", 1);
    sumi_dataset *set = open_with(*state, NULL);
    check_notice(set, true, "left out 8 files", "3 .webp (a.webp)", "1 .gif (d.gif)", "1 .heic",
                 "1 .tif (sub/g.tif)", "1 .txt (f.txt)", "1 without an ending (README)", NULL);
    assert_int_equal(set->notice_count, 1);
    sumi_data_free(set);
}

static void notes_beside_pictures_are_no_warning(void **state)
{
    write_png(state, "x.png", 4, 4, 1, 200);
    put_file(state, "labels.csv", "x", 1);
    sumi_dataset *set = open_with(*state, NULL);
    check_notice(set, false, "left out 1 file,", "1 .csv (labels.csv)", NULL);
    sumi_data_free(set);
}

static void many_endings_are_cut_short(void **state)
{
    write_png(state, "x.png", 4, 4, 1, 200);
    for (int i = 0; i < 400; i++) {
        char name[64];
        snprintf(name, sizeof name, "x.e%d", i);
        put_file(state, name, "x", 1);
    }
    sumi_dataset *set = open_with(*state, NULL);
    check_notice(set, false, "left out 400 files", "others", NULL);
    assert_true(strlen(set->notices[0].text) < 400);
    sumi_data_free(set);
}

static void check_size_chosen(void **state, const char *folder, int h, int w, const char *text)
{
    char path[1024];
    sumi_dataset *set = open_with(in_dir(state, folder, path), NULL);
    assert_int_equal(set->height, h);
    assert_int_equal(set->width, w);
    check_notice(set, true, "sizes", text, "--size", NULL);
    sumi_data_free(set);
}

/* Whatever the names are, the size is the same. */
static void sizes_that_differ_are_told(void **state)
{
    static const int sizes[][2] = {{20, 30}, {20, 30}, {64, 40}, {20, 30}, {7, 100}};
    char path[1024], name[64];
    for (int turn = 0; turn < 5; turn++) {
        for (int i = 0; i < 5; i++) {
            snprintf(name, sizeof name, "%d/%d.png", turn, (i + turn) % 5);
            write_png(state, name, sizes[i][0], sizes[i][1], 1, 200);
        }
        snprintf(name, sizeof name, "%d", turn);
        check_size_chosen(state, name, 20, 30, "heights from 7 to 64 and widths from 30 to 100");
    }
    write_png(state, "medians/a.png", 100, 8, 1, 200);
    write_png(state, "medians/b.png", 17, 61, 1, 200);
    write_png(state, "medians/c.png", 33, 30, 3, 200);
    write_png(state, "medians/d.png", 50, 40, 1, 200);
    check_size_chosen(state, "medians", 32, 32,
                      "4 sizes, heights from 17 to 100"); /* of 17 33 50 100, 8 30 40 61 */
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.height = config.width = 12;
    config.channels = 1;
    sumi_dataset *set = open_with(in_dir(state, "medians", path), &config);
    assert_int_equal(set->height, 12);
    assert_int_equal(set->notice_count, 0); /* it was asked for */
    sumi_data_free(set);
    config.width = 0; /* one side alone */
    set = open_with(path, &config);
    assert_int_equal(set->height, 12);
    assert_int_equal(set->width, 32);
    check_notice(set, true, "4 sizes", "12x32", NULL);
    sumi_data_free(set);
}

static void one_picture_in_colour_is_told(void **state)
{
    write_png(state, "a.png", 4, 4, 1, 200);
    write_png(state, "b.png", 4, 4, 1, 200);
    write_png(state, "sub/c.png", 4, 4, 3, 200);
    sumi_dataset *set = open_with(*state, NULL);
    assert_int_equal(set->channels, 3);
    check_notice(set, true, "1 of 3 pictures is in colour", "sub/c.png", "--channels 1", NULL);
    sumi_data_free(set);
    for (int channels = 1; channels <= 3; channels += 2) {
        sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
        config.channels = channels;
        set = open_with(*state, &config);
        assert_int_equal(set->notice_count, 0);
        sumi_data_free(set);
    }
}

/* Files of a run, as far as they tell what it is. */
static void put_run(void **state, const char *folder, const char *const *files)
{
    char name[256];
    for (; *files; files++) {
        snprintf(name, sizeof name, "%s/%s", folder, *files);
        put_file(state, name, "{}", 2);
    }
    snprintf(name, sizeof name, "%s/samples/epoch_000.png", folder);
    write_png(state, name, 40, 40, 1, 9);
}

static void runs_in_the_folder_are_no_data(void **state)
{
    static const char *const whole[] = {
        "config.json", "run.lock", "train.log", "metrics.jsonl", "checkpoints/step_1/manifest.json",
        NULL};
    static const char *const running[] = {"config.json", "run.lock", NULL};
    static const char *const tidied[] = {"config.json", "train.log", NULL};
    static const char *const bare[] = {"config.json", "metrics.csv", NULL};
    static const char *const nameless[] = {"train.log", "metrics.csv", NULL};
    static const char *const foreign[] = {"config.json", NULL};
    sumi_dataset *set;
    write_png(state, "a.png", 4, 4, 1, 100);
    put_run(state, "runs/x-20260101", whole);
    put_run(state, "deep/er/still/run", running);
    put_run(state, "renamed", tidied);
    put_run(state, "bare", bare);
    put_run(state, "z", nameless);
    set = open_with(*state, NULL);
    assert_int_equal(set->count, 1);
    assert_int_equal(set->height, 4);
    check_notice(set, false, "5 runs of sumi", "bare and others", NULL);
    sumi_data_free(set);
    /* Others call a file config.json, too. */
    put_run(state, "vendor", foreign);
    set = open_with(*state, NULL);
    assert_int_equal(set->count, 2);
    sumi_data_free(set);
    /* Nor do runs undo splits, or count as a class. */
    char path[1024];
    sumi_error err = {{0}};
    write_png(state, "sp/train/a/1.png", 4, 4, 1, 100);
    write_png(state, "sp/test/a/1.png", 4, 4, 1, 100);
    put_run(state, "sp/runs/one", whole);
    set = open_with(in_dir(state, "sp", path), NULL);
    assert_int_equal(set->count, 1);
    assert_int_equal(set->classes, 1);
    sumi_data_free(set);
    set = NULL;
    check_failed(sumi_data_open(in_dir(state, "renamed", path), NULL, &set, &err), SUMI_EFORMAT,
                 &err, path, "is a run of sumi", "--resume", NULL);
    check_failed(sumi_data_open(in_dir(state, "runs", path), NULL, &set, &err), SUMI_EFORMAT, &err,
                 "sumi's own runs (x-20260101)", NULL);
}

static void put_bad_pictures(void **state)
{
    char path[1024];
    uint8_t *data = NULL;
    size_t size = 0;
    sumi_error err = {{0}};
    write_png(state, "a/1.png", 5, 5, 1, 50);
    write_png(state, "a/2.png", 5, 5, 1, 60);
    write_png(state, "b/1.png", 5, 5, 1, 70);
    check_ok(sumi_file_read(in_dir(state, "a/1.png", path), 1 << 20, &data, &size, &err), &err);
    put_file(state, "a/cut.png", data, size / 2);
    put_file(state, "b/empty.jpg", data, 0);
    put_file(state, "b/page.png", "<!DOCTYPE html><html></html>", 28);
    /* A header of 60,000 x 60,000 pixels. */
    data[16 + 2] = data[20 + 2] = 0xea;
    data[16 + 3] = data[20 + 3] = 0x60;
    put_file(state, "c/huge.png", data, size);
    assert_int_equal(symlink("nowhere", in_dir(state, "c/link.jpeg", path)), 0);
    free(data);
}

static void all_bad_pictures_are_listed(void **state)
{
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    put_bad_pictures(state);
    check_failed(sumi_data_open(*state, NULL, &set, &err), SUMI_EFORMAT, &err, *state,
                 "5 of 8 pictures cannot be read",
                 "a/cut.png: ", "b/empty.jpg: ", "b/page.png: ", "c/huge.png: ", "--skip-bad",
                 NULL);
    for (int i = 0; i < 100; i++) {
        char name[64];
        snprintf(name, sizeof name, "d/a-rather-long-name-of-a-file-%03d.png", i);
        put_file(state, name, "x", 1);
    }
    check_failed(sumi_data_open(*state, NULL, &set, &err), SUMI_EFORMAT, &err,
                 "105 of 108 pictures cannot be read", " others", "--skip-bad leaves", NULL);
}

/* However long names are, one is there and so is what to do. */
static void long_names_leave_the_hint(void **state)
{
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    char name[700], path[1024];
    memset(name, 'n', sizeof name);
    name[0] = 'a';
    name[200] = name[400] = '/';
    memcpy(name + 600, "-1.png", 7);
    for (; name[601] < '4'; name[601]++)
        put_file(state, name, "x", 1);
    check_failed(sumi_data_open(*state, NULL, &set, &err), SUMI_EFORMAT, &err,
                 "3 of 3 pictures cannot be read: annn", "--skip-bad leaves", NULL);
    name[400] = '\0';
    check_failed(sumi_data_open(in_dir(state, name, path), NULL, &set, &err), SUMI_EFORMAT, &err,
                 "3 of 3 pictures cannot be read: nnn", "--skip-bad leaves", NULL);
    static const char *const splits[] = {"/train/1.png", "/test/1.png", "/other/1.png"};
    name[0] = 'b';
    for (int i = 0; i < 3; i++) {
        strcpy(name + 400, splits[i]);
        write_png(state, name, 4, 4, 1, 100);
    }
    name[400] = '\0';
    in_dir(state, name, path);
    check_failed(sumi_data_open(path, NULL, &set, &err), SUMI_EINVAL, &err,
                 "test can be splits, which leaves out other/1.png", "--split all", NULL);
}

static void bad_pictures_are_skipped_when_asked(void **state)
{
    static const char *const skipped[] = {
        "a/cut.png: ", "b/empty.jpg: ", "b/page.png: ", "c/huge.png: ", "c/link.jpeg: "};
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.skip_bad = true;
    put_bad_pictures(state);
    sumi_dataset *set = open_with(*state, &config);
    assert_int_equal(set->count, 3);
    static const int32_t labels[] = {0, 0, 1};
    assert_memory_equal(set->labels, labels, sizeof labels);
    assert_int_equal(set->pixels[2 * 25], 70);
    assert_true(set->skip_bad);
    assert_int_equal(set->skipped_count, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(strncmp(set->skipped[i], skipped[i], strlen(skipped[i])), 0);
    check_notice(set, true, "left out 5 of 8 pictures", "a/cut.png", "c/link.jpeg", NULL);
    /* Without them the set is the same, but for the class that has none left. */
    char first[65], other[65], path[1024];
    sumi_data_hash(set, first);
    sumi_data_free(set);
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"a/cut.png", "b/empty.jpg", "b/page.png"};
        assert_int_equal(unlink(in_dir(state, names[i], path)), 0);
    }
    set = open_with(*state, &config);
    sumi_data_hash(set, other);
    assert_string_equal(first, other);
    sumi_data_free(set);
    /* At several sizes, too. */
    write_png(state, "a/0.png", 9, 9, 1, 40);
    set = open_with(*state, &config);
    assert_int_equal(set->count, 4);
    assert_int_equal(set->height, 5);
    check_notice(set, true, "2 sizes", NULL);
    sumi_data_free(set);
}

static void nothing_left_is_an_error(void **state)
{
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.skip_bad = true;
    put_file(state, "1.png", "x", 1);
    put_file(state, "2.png", "", 0);
    check_failed(sumi_data_open(*state, &config, &set, &err), SUMI_EFORMAT, &err,
                 "2 of 2 pictures cannot be read", NULL);
    assert_null(set);
}

static void nearly_black_pixels_are_told(void **state)
{
    static const struct {
        uint8_t most;
        const char *text;
    } cases[] = {{0, "all pixels are 0"}, {1, "multiply by 255"}, {16, "no pixel is above 16"}};
    char path[1024];
    sumi_error err = {{0}};
    for (int i = 0; i < 3; i++) {
        uint8_t pixels[32] = {0};
        pixels[17] = cases[i].most;
        sumi_npy array = {SUMI_NPY_U8, 3, {2, 4, 4}, 32, pixels};
        check_ok(sumi_npy_write(in_dir(state, "x.npy", path), &array, &err), &err);
        sumi_dataset *set = open_with(path, NULL);
        check_notice(set, true, cases[i].text, NULL);
        sumi_data_free(set);
        blob b = idx_images(2, 4, 4);
        memcpy(b.data + 16, pixels, sizeof pixels);
        put_bytes(state, "x-idx", i == 1 ? gzipped(b) : b);
        set = open_with(in_dir(state, "x-idx", path), NULL);
        check_notice(set, true, cases[i].text, NULL);
        sumi_data_free(set);
    }
    write_png(state, "masks/a.png", 4, 4, 1, 1);
    write_png(state, "masks/b.png", 4, 4, 3, 0);
    sumi_dataset *set = open_with(in_dir(state, "masks", path), NULL);
    check_notice(set, true, "0 or 1 of 255", NULL);
    sumi_data_free(set);
    float values[16] = {1};
    sumi_npy array = {SUMI_NPY_F32, 3, {1, 4, 4}, 16, values};
    check_ok(sumi_npy_write(in_dir(state, "x.npy", path), &array, &err), &err);
    set = open_with(path, NULL);
    assert_int_equal(set->notice_count, 0); /* 1.0 is white */
    sumi_data_free(set);
}

/* Built-in names win, and that is said; "./shapes" is the folder. */
static void names_that_are_there_twice_are_told(void **state)
{
    char before[1024], path[1024];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(*state), 0);
    setenv("HOME", *state, 1);
    setenv("SUMI_DATA", in_dir(state, "store", path), 1);
    write_png(state, "shapes/a.png", 4, 4, 1, 200);
    sumi_dataset *set = open_with("shapes", NULL);
    assert_int_equal(set->count, 60000);
    check_notice(set, true, "shapes is the built-in data set", "folder", "./shapes", NULL);
    sumi_data_free(set);
    set = open_with("./shapes", NULL);
    assert_int_equal(set->count, 1);
    assert_int_equal(set->notice_count, 0);
    sumi_data_free(set);
    put_bytes(state, "store/fashion-mnist/train-images-idx3-ubyte", idx_images(3, 4, 4));
    write_png(state, "fashion-mnist/a.png", 4, 4, 1, 200);
    set = open_with("fashion-mnist", NULL);
    assert_int_equal(set->count, 3);
    check_notice(set, true, "fashion-mnist is the data set in", "/store/fashion-mnist",
                 "./fashion-mnist", NULL);
    sumi_data_free(set);
    write_png(state, "mine/a.png", 4, 4, 1, 200);
    write_png(state, "store/mine/a.png", 4, 4, 1, 200);
    set = open_with("mine", NULL);
    check_notice(set, true, "mine is the one here, not", "/store/mine", NULL);
    sumi_data_free(set);
    /* One and the same folder is no two. */
    assert_int_equal(chdir(in_dir(state, "store", path)), 0);
    set = open_with("mine", NULL);
    assert_int_equal(set->notice_count, 0);
    sumi_data_free(set);
    set = open_with("fashion-mnist", NULL);
    assert_int_equal(set->notice_count, 0);
    sumi_data_free(set);
    assert_int_equal(chdir(before), 0);
    unsetenv("SUMI_DATA");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ordinary_sets_are_read_without_a_word, dir_setup,
                                        dir_teardown),
        cmocka_unit_test_setup_teardown(files_left_out_are_counted_by_ending, dir_setup,
                                        dir_teardown),
        cmocka_unit_test_setup_teardown(notes_beside_pictures_are_no_warning, dir_setup,
                                        dir_teardown),
        cmocka_unit_test_setup_teardown(many_endings_are_cut_short, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(sizes_that_differ_are_told, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(one_picture_in_colour_is_told, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(runs_in_the_folder_are_no_data, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(all_bad_pictures_are_listed, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(long_names_leave_the_hint, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(bad_pictures_are_skipped_when_asked, dir_setup,
                                        dir_teardown),
        cmocka_unit_test_setup_teardown(nothing_left_is_an_error, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(nearly_black_pixels_are_told, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(names_that_are_there_twice_are_told, dir_setup,
                                        dir_teardown),
    };
    return cmocka_run_group_tests_name("notices", tests, NULL, NULL);
}
