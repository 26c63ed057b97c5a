/* Finding a set by name or path, what is said when it is not there, and what all sets share. */
#include "data_test.h"

#include <sys/stat.h>

/* The environment that decides where sets are looked for: nowhere but in the test's folder. */
static int place_setup(void **state)
{
    if (dir_setup(state) != 0)
        return -1;
    unsetenv("SUMI_DATA");
    unsetenv("XDG_CACHE_HOME");
    return setenv("HOME", *state, 1);
}

static void put_fashion(void **state, const char *folder)
{
    static const char *const names[] = {"train", "t10k"};
    for (int i = 0; i < 2; i++) {
        char name[256];
        snprintf(name, sizeof name, "%s/%s-images-idx3-ubyte.gz", folder, names[i]);
        put_bytes(state, name, gzipped(idx_images(i ? 10 : 20, 6, 6)));
        snprintf(name, sizeof name, "%s/%s-labels-idx1-ubyte.gz", folder, names[i]);
        put_bytes(state, name, gzipped(idx_labels(i ? 10 : 20, 10)));
    }
}

static void fashion_is_found_in_each_place(void **state)
{
    char path[1024];
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    static const char *const places[] = {".cache/sumi/fashion-mnist", "xdg/sumi/fashion-mnist",
                                         "data", "data/fashion-mnist"};
    for (int i = 0; i < 4; i++) {
        put_fashion(state, places[i]);
        if (i == 1)
            setenv("XDG_CACHE_HOME", in_dir(state, "xdg", path), 1);
        if (i == 2)
            setenv("SUMI_DATA", in_dir(state, "data", path), 1);
        check_ok(sumi_data_open("fashion-mnist", NULL, &set, &err), &err);
        in_dir(state, places[i], path);
        assert_string_equal(set->path, path);
        assert_string_equal(set->name, "fashion-mnist");
        assert_int_equal(set->count, 20);
        assert_int_equal(set->classes, 10);
        assert_string_equal(set->class_names[0], "T-shirt/top");
        assert_string_equal(set->class_names[9], "Ankle boot");
        sumi_data_free(set);
    }
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.split = "test";
    check_ok(sumi_data_open("fashion-mnist", &config, &set, &err), &err);
    assert_int_equal(set->count, 10);
    sumi_data_free(set);
}

/* By path too the classes have their names, in Debian's folder and in torchvision's. */
static void fashion_is_known_by_its_folder(void **state)
{
    static const char *const paths[] = {"fashion-mnist", "fashion-mnist/train-images-idx3-ubyte.gz",
                                        "data/FashionMNIST", "data/FashionMNIST/raw"};
    put_fashion(state, "fashion-mnist");
    put_fashion(state, "data/FashionMNIST/raw");
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char path[1024];
        sumi_dataset *set = NULL;
        sumi_error err = {{0}};
        check_ok(sumi_data_open(in_dir(state, paths[i], path), NULL, &set, &err), &err);
        assert_int_equal(set->count, 20);
        assert_string_equal(set->class_names[8], "Bag");
        sumi_data_free(set);
    }
}

/* The folder above torchvision's download stands for it, unless there are two. */
static void idx_files_are_found_below(void **state)
{
    char path[1024];
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    put_fashion(state, "data/FashionMNIST/raw");
    put_file(state, "data/FashionMNIST/processed/training.pt", "x", 1);
    for (int i = 0; i < 2; i++) {
        check_ok(sumi_data_open(in_dir(state, i ? "data" : ".", path), NULL, &set, &err), &err);
        assert_int_equal(set->count, 20);
        assert_string_equal(set->name, "FashionMNIST");
        assert_string_equal(set->path, in_dir(state, "data/FashionMNIST", path));
        assert_string_equal(set->class_names[8], "Bag");
        sumi_data_free(set);
    }
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.split = "test";
    check_ok(sumi_data_open(in_dir(state, "data", path), &config, &set, &err), &err);
    assert_int_equal(set->count, 10);
    sumi_data_free(set);
    put_fashion(state, "data/MNIST/raw");
    check_failed(sumi_data_open(path, NULL, &set, &err), SUMI_EINVAL, &err, "data/FashionMNIST/raw",
                 "data/MNIST/raw", NULL);
    /* Where there are pictures, the folder is one of pictures. */
    write_png(state, "data/a.png", 4, 4, 1, 200);
    check_ok(sumi_data_open(path, NULL, &set, &err), &err);
    assert_int_equal(set->count, 1);
    sumi_data_free(set);
}

/* Parts of a set: disjoint, whole together, the same again, and a function of the count. */
static void parts_of_a_set(void **state)
{
    enum { N = 700, HELD = 256 };
    static const char *const splits[] = {"rest", "held-back", "rest"};
    char path[1024];
    uint8_t seen[N] = {0};
    int64_t first[2] = {-1, -1};
    sumi_npy array = {.dtype = SUMI_NPY_U8, .rank = 3, .shape = {N, 1, 2}, .count = 2 * N};
    uint8_t *pixels = array.data = calloc(2, N);
    for (int i = 0; i < N; i++) {
        pixels[2 * i] = (uint8_t)(i / 256);
        pixels[2 * i + 1] = (uint8_t)i;
    }
    assert_int_equal(sumi_npy_write(in_dir(state, "x.npy", path), &array, NULL), SUMI_OK);
    free(pixels);
    for (int p = 0; p < 3; p++) {
        sumi_dataset *set = NULL;
        sumi_error err = {{0}};
        sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
        config.split = splits[p];
        check_ok(sumi_data_open(path, &config, &set, &err), &err);
        assert_int_equal(set->count, p == 1 ? HELD : N - HELD);
        for (int64_t i = 0; i < set->count && p < 2; i++)
            seen[set->pixels[2 * i] * 256 + set->pixels[2 * i + 1]]++;
        int64_t number = set->pixels[2 * 100] * 256 + set->pixels[2 * 100 + 1];
        if (p == 2)
            assert_int_equal(number, first[0]);
        else
            first[p] = number;
        sumi_data_free(set);
    }
    for (int i = 0; i < N; i++)
        assert_int_equal(seen[i], 1);
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    config.split = "rest";
    check_failed(sumi_data_open("shapes", &config, &set, &err), SUMI_EINVAL, &err,
                 "has a test split", NULL);
}

static void put_idx_pair(void **state, const char *folder, const char *prefix, bool gz)
{
    static const char *const splits[] = {"train", "test"};
    for (uint32_t i = 0; i < 2; i++) {
        char name[256];
        blob images = idx_images(8 - i, 5, 5), labels = idx_labels(8 - i, 4);
        snprintf(name, sizeof name, "%s/%s%s-images-idx3-ubyte%s", folder, prefix, splits[i],
                 gz ? ".gz" : "");
        put_bytes(state, name, gz ? gzipped(images) : images);
        snprintf(name, sizeof name, "%s/%s%s-labels-idx1-ubyte%s", folder, prefix, splits[i],
                 gz ? ".gz" : "");
        put_bytes(state, name, gz ? gzipped(labels) : labels);
    }
}

/* EMNIST's files have the part's name before the split's. */
static void idx_files_may_have_a_prefix(void **state)
{
    char path[1024];
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    put_idx_pair(state, "EMNIST/raw", "emnist-letters-", true);
    for (int i = 0; i < 2; i++) {
        config.split = i ? "test" : "train";
        check_ok(sumi_data_open(in_dir(state, "EMNIST", path), &config, &set, &err), &err);
        assert_int_equal(set->count, 8 - i);
        assert_int_equal(set->classes, 4);
        assert_int_equal(set->notice_count, 1);
        assert_non_null(strstr(set->notices[0].text, "rows and columns exchanged"));
        sumi_data_free(set);
    }
    put_idx_pair(state, "EMNIST/raw", "emnist-digits-", false);
    put_idx_pair(state, "EMNIST/raw", "emnist-balanced-", true);
    check_failed(sumi_data_open(path, NULL, &set, &err), SUMI_EINVAL, &err, "EMNIST/raw", "3 sets",
                 "(emnist-balanced, emnist-digits, emnist-letters)",
                 "EMNIST/raw/emnist-balanced-train-images-idx3-ubyte.gz", NULL);
    check_ok(sumi_data_open(in_dir(state, "EMNIST/raw/emnist-digits-train-images-idx3-ubyte", path),
                            NULL, &set, &err),
             &err);
    assert_int_equal(set->classes, 4);
    sumi_data_free(set);
    put_idx_pair(state, "one", "qmnist-", false);
    check_ok(sumi_data_open(in_dir(state, "one", path), NULL, &set, &err), &err);
    assert_int_equal(set->notice_count, 0);
    sumi_data_free(set);
    assert_int_equal(unlink(in_dir(state, "one/qmnist-train-images-idx3-ubyte", path)), 0);
    check_failed(sumi_data_open(in_dir(state, "one", path), NULL, &set, &err), SUMI_EIO, &err,
                 "qmnist-train-images-idx3-ubyte", "train split", NULL);
}

/* One image has no part, a tenth of many is 10,000 at most, and labels go along. */
static void parts_of_few_and_of_many(void **state)
{
    enum { MANY = 100001 };
    char path[1024], beside[1024];
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    sumi_npy array = {.dtype = SUMI_NPY_U8, .rank = 3, .shape = {1, 1, 1}, .count = 1};
    uint8_t *pixels = array.data = malloc(MANY);
    assert_non_null(pixels);
    for (int i = 0; i < MANY; i++)
        pixels[i] = (uint8_t)(i % 200);
    assert_int_equal(sumi_npy_write(in_dir(state, "x.npy", path), &array, NULL), SUMI_OK);
    config.split = "rest";
    check_failed(sumi_data_open(path, &config, &set, &err), SUMI_EINVAL, &err,
                 "one image cannot be split", NULL);
    array.shape[0] = MANY;
    array.count = MANY;
    assert_int_equal(sumi_npy_write(path, &array, NULL), SUMI_OK);
    array.rank = 1; /* each image's label is its pixel */
    assert_int_equal(sumi_npy_write(in_dir(state, "x-labels.npy", beside), &array, NULL), SUMI_OK);
    free(pixels);
    for (int p = 0; p < 2; p++) {
        config.split = p ? "held-back" : "rest";
        check_ok(sumi_data_open(path, &config, &set, &err), &err);
        assert_int_equal(set->count, p ? 10000 : MANY - 10000);
        for (int64_t i = 0; i < set->count; i++)
            assert_int_equal(set->labels[i], set->pixels[i]);
        sumi_data_free(set);
    }
}

/* Variables that are empty or say nothing of use are as if they were not set. */
static void the_environment_may_be_odd(void **state)
{
    char path[1024], found[1024];
    sumi_error err = {{0}};
    static const char *const no_names[] = {"", ".hidden", "a/b", "..", "nothing"};
    put_fashion(state, ".cache/sumi/mine");
    setenv("SUMI_DATA", "", 1);
    setenv("XDG_CACHE_HOME", "relative", 1);
    assert_true(sumi_find_named("mine", found, sizeof found));
    assert_string_equal(found, in_dir(state, ".cache/sumi/mine", path));
    for (size_t i = 0; i < sizeof no_names / sizeof *no_names; i++)
        assert_false(sumi_find_named(no_names[i], found, sizeof found));
    assert_false(sumi_find_named("mine", found, 20)); /* too long to be told */
    /* A single file may lie there, too. */
    put_bytes(state, "data/one", idx_images(2, 4, 4));
    setenv("SUMI_DATA", in_dir(state, "data", path), 1);
    assert_true(sumi_find_named("one", found, sizeof found));
    unsetenv("SUMI_DATA");
    unsetenv("HOME");
    assert_false(sumi_find_named("mine", found, sizeof found));
    sumi_dataset *set = NULL;
    check_failed(sumi_data_open("digits", NULL, &set, &err), SUMI_EIO, &err, "$SUMI_DATA (not set)",
                 "~/.cache/sumi", NULL);
    char looked[1024];
    assert_false(sumi_find_fashion(SUMI_SPLIT_TRAIN, "/nonexistent/f", found, looked, 1024));
    assert_string_equal(looked, "$SUMI_DATA (not set), /nonexistent/f");
}

/* Beside a set of that name, a file or folder here is the one, or the other, and that is said. */
static void names_that_are_here_too(void **state)
{
    char path[1024], before[1024];
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    assert_non_null(getcwd(before, sizeof before));
    put_bytes(state, "data/digits/train-images-idx3-ubyte", idx_images(4, 4, 4));
    put_bytes(state, "here/digits/train-images-idx3-ubyte", idx_images(3, 4, 4));
    put_bytes(state, "here/shapes", idx_images(3, 4, 4));
    put_bytes(state, "here/fashion-mnist", idx_images(3, 4, 4));
    setenv("SUMI_DATA", in_dir(state, "data", path), 1);
    assert_int_equal(chdir(in_dir(state, "here", path)), 0);
    check_ok(sumi_data_open("digits", NULL, &set, &err), &err);
    assert_int_equal(set->count, 3);
    assert_non_null(strstr(set->notices[0].text, "digits is the one here, not "));
    sumi_data_free(set);
    check_ok(sumi_data_open("shapes", NULL, &set, &err), &err);
    assert_string_equal(set->notices[0].text, "shapes is the built-in data set; the file of that "
                                              "name here is ./shapes");
    sumi_data_free(set);
    if (!sumi_is_dir(SUMI_SYSTEM_FASHION))
        check_failed(sumi_data_open("fashion-mnist", NULL, &set, &err), SUMI_EIO, &err,
                     "what is here is ./fashion-mnist", NULL);
    put_fashion(state, "data/fashion-mnist");
    check_ok(sumi_data_open("fashion-mnist", NULL, &set, &err), &err);
    assert_non_null(strstr(set->notices[0].text, "the data set in "));
    sumi_data_free(set);
    /* The same place by two names is one. */
    setenv("SUMI_DATA", in_dir(state, "here", path), 1);
    check_ok(sumi_data_open("digits", NULL, &set, &err), &err);
    assert_int_equal(set->notice_count, 0);
    sumi_data_free(set);
    assert_int_equal(chdir(before), 0);
}

static void missing_fashion_says_what_to_do(void **state)
{
    char found[1024], looked[1024], path[1024];
    sumi_error err = {{0}};
    assert_false(sumi_find_fashion(SUMI_SPLIT_TRAIN, "/nonexistent/f", found, looked, 1024));
    check_failed(sumi_fail_no_fashion(looked, &err), SUMI_EIO, &err, "$SUMI_DATA (not set)",
                 in_dir(state, ".cache/sumi/fashion-mnist", path), "/nonexistent/f",
                 "apt install dataset-fashion-mnist", NULL);
    setenv("SUMI_DATA", "/nonexistent/s", 1);
    assert_false(sumi_find_fashion(SUMI_SPLIT_TRAIN, "/nonexistent/f", found, looked, 1024));
    assert_non_null(strstr(looked, "/nonexistent/s/fashion-mnist, /nonexistent/s, "));
    /* Through the front door, wherever Debian's package is not installed. */
    sumi_dataset *set = NULL;
    sumi_status status = sumi_data_open("fashion-mnist", NULL, &set, &err);
    if (sumi_is_dir(SUMI_SYSTEM_FASHION))
        check_ok(status, &err);
    else
        check_failed(status, SUMI_EIO, &err, "apt install", SUMI_SYSTEM_FASHION, NULL);
    sumi_data_free(set);
}

static void other_names_are_looked_up(void **state)
{
    char path[1024];
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    check_failed(sumi_data_open("digits", NULL, &set, &err), SUMI_EIO, &err, "digits",
                 "$SUMI_DATA (not set)", in_dir(state, ".cache/sumi", path), "fashion-mnist", NULL);
    setenv("SUMI_DATA", in_dir(state, "data", path), 1);
    check_failed(sumi_data_open("digits", NULL, &set, &err), SUMI_EIO, &err, path, NULL);
    put_fashion(state, "data/digits");
    check_ok(sumi_data_open("digits", NULL, &set, &err), &err);
    assert_string_equal(set->name, "digits");
    assert_null(set->class_names);
    sumi_data_free(set);
    check_failed(sumi_data_open("no/digits", NULL, &set, &err), SUMI_EIO, &err,
                 "no/digits: no such file or folder", NULL);
    check_failed(sumi_data_open("Fashion_MNIST", NULL, &set, &err), SUMI_EIO, &err, "did you mean",
                 "\"fashion-mnist\"", NULL);
    check_failed(sumi_data_open("shape", NULL, &set, &err), SUMI_EIO, &err, "\"shapes\"", NULL);
    check_failed(sumi_data_open("", NULL, &set, &err), SUMI_EINVAL, &err, NULL);
    check_failed(sumi_data_open(NULL, NULL, &set, &err), SUMI_EINVAL, &err, NULL);
    assert_int_equal(sumi_data_open("no/digits", NULL, &set, NULL), SUMI_EIO);
}

static void settings_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *split;
        int channels, height, width;
        const char *text;
    } cases[] = {
        {"validation", 0, 0, 0, "validation"},
        {"train", 17, 0, 0, "found 17"},
        {"train", 2, 0, 0, "1 or 3 channels, not 2"},
        {"train", -1, 0, 0, "found -1"},
        {"train", 0, -5, 8, "-5x8"},
        {"train", 0, 8, 16385, "8x16385"},
        {"train", 0, 16385, 8, "16385x8"},
        {"train", 0, 8, -1, "8x-1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
        config.split = cases[i].split;
        config.channels = cases[i].channels;
        config.height = cases[i].height;
        config.width = cases[i].width;
        sumi_dataset *set = NULL;
        sumi_error err = {{0}};
        check_failed(sumi_data_open("shapes", &config, &set, &err), SUMI_EINVAL, &err,
                     cases[i].text, NULL);
        assert_null(set);
    }
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    sumi_dataset *set = NULL;
    static const float greys[] = {-.1f, 1.1f};
    for (int i = 0; i < 2; i++) {
        config.background = greys[i];
        assert_int_equal(sumi_data_open("shapes", &config, &set, NULL), SUMI_EINVAL);
    }
    config.background = 1;
    config.split = NULL;
    assert_int_equal(sumi_data_open("shapes", &config, &set, NULL), SUMI_OK);
    assert_int_equal(set->count, 60000);
    sumi_data_free(set);
}

static void other_files_are_named_for_what_they_are(void **state)
{
    char path[1024];
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    static const struct {
        const char *content, *text;
    } cases[] = {
        {"<!DOCTYPE html><html></html>", "an HTML page"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "a git-lfs pointer"},
        {"PK\003\004 something that is no data set", "not a data set"},
        {"", "an empty file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_file(state, "file", cases[i].content, strlen(cases[i].content));
        check_failed(sumi_data_open(in_dir(state, "file", path), NULL, &set, &err), SUMI_EFORMAT,
                     &err, path, cases[i].text, NULL);
    }
    put_file(state, "one.jpg", "\xff\xd8\xff\xe0", 4);
    check_failed(sumi_data_open(in_dir(state, "one.jpg", path), NULL, &set, &err), SUMI_EFORMAT,
                 &err, path, "one picture", NULL);
    put_file(state, "odd", "no kind at all", 14);
    check_failed(sumi_data_open(in_dir(state, "odd", path), NULL, &set, &err), SUMI_EFORMAT, &err,
                 path, "is of an unknown kind", NULL);
    strcat(path, "/within");
    check_failed(sumi_data_open(path, NULL, &set, &err), SUMI_EIO, &err, path, NULL);
    write_png(state, "one.png", 4, 4, 1, 9);
    check_failed(sumi_data_open(in_dir(state, "one.png", path), NULL, &set, &err), SUMI_EFORMAT,
                 &err, path, "one picture", NULL);
    assert_int_equal(mkfifo(in_dir(state, "fifo", path), 0600), 0);
    check_failed(sumi_data_open(path, NULL, &set, &err), SUMI_EIO, &err, path, NULL);
}

static void reads_bytes_over_255(void **state)
{
    put_bytes(state, "x", idx_images(2, 16, 16));
    char path[1024];
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    check_ok(sumi_data_open(in_dir(state, "x", path), NULL, &set, &err), &err);
    for (int i = 0; i < 256; i++)
        set->pixels[256 + i] = (uint8_t)i;
    float image[256];
    int32_t label = 5;
    sumi_data_read(set, 1, image, &label);
    assert_int_equal(label, -1);
    for (int i = 0; i < 256; i++)
        assert_true(image[i] == (float)i / 255.0f);
    sumi_data_free(set);
    sumi_data_free(NULL);
}

/* SHA-256 of five little-endian 64-bit sizes, the pixels, and little-endian 32-bit labels. */
static void hash_covers_everything(void **state)
{
    (void)state;
    uint8_t pixels[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    int32_t labels[2] = {1, 0};
    sumi_dataset set = {.count = 2,
                        .height = 2,
                        .width = 2,
                        .channels = 1,
                        .classes = 2,
                        .pixels = pixels,
                        .labels = labels};
    char first[65], other[65], by_hand[65];
    sumi_data_hash(&set, first);
    uint8_t all[5 * 8 + 8 + 8] = {2};
    all[8] = all[16] = all[32] = 2;
    all[24] = 1;
    memcpy(all + 40, pixels, 8);
    all[48] = 1;
    sumi_sha256 sha;
    sumi_sha256_init(&sha);
    sumi_sha256_update(&sha, all, sizeof all);
    sumi_sha256_final(&sha, by_hand);
    assert_string_equal(first, by_hand);
    pixels[7] ^= 1;
    sumi_data_hash(&set, other);
    assert_string_not_equal(first, other);
    pixels[7] ^= 1;
    labels[1] = 1;
    sumi_data_hash(&set, other);
    assert_string_not_equal(first, other);
    labels[1] = 0;
    set.height = 1;
    set.width = 4;
    sumi_data_hash(&set, other);
    assert_string_not_equal(first, other);
}

static void sizes_are_capped_before_memory_is_taken(void **state)
{
    (void)state;
    sumi_dataset set = {0};
    sumi_error err = {{0}};
    static const int64_t cases[][4] = {
        {0, 4, 4, 1},           {-1, 4, 4, 1},         {1LL << 31, 1, 1, 1},
        {1, 0, 4, 1},           {1, 4, 16385, 1},      {1, 4, 4, 17},
        {1, 4, 0, 1},           {1, 16385, 4, 1},      {1, 4, 4, 0},
        {300, 16384, 16384, 1}, {0x7fffffff, 6, 6, 1}, {0x7fffffff, 16384, 16384, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_failed(sumi_data_alloc(&set, "dir/x", cases[i][0], (int)cases[i][1], (int)cases[i][2],
                                     (int)cases[i][3], &err),
                     cases[i][0] < 1 || cases[i][1] < 1 || cases[i][2] < 1 ? SUMI_EFORMAT
                                                                           : SUMI_EUNSUPPORTED,
                     &err, "dir/x", "64 GiB", NULL);
    assert_null(set.pixels);
}

/* What fits under the cap but neither into memory nor on a disk is refused, not begun. */
static void sets_larger_than_memory_are_refused(void **state)
{
    (void)state;
    sumi_dataset set = {0};
    sumi_error err = {{0}};
    size_t memory = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    int64_t count = (int64_t)(memory >> 20) + 1; /* of 1 MiB each */
    setenv("TMPDIR", "/nowhere/at/all", 1);      /* no room on a disk either */
    if (memory < SUMI_PIXELS_MAX - (1 << 20))
        check_failed(sumi_data_alloc(&set, "dir/x", count, 1024, 1024, 1, &err), SUMI_ENOMEM, &err,
                     "dir/x", "1024x1024x1", "more memory than this machine has", "--size", NULL);
    unsetenv("TMPDIR");
    assert_null(set.pixels);
}

static void list_tells_what_is_there(void **state)
{
    sumi_data_entry entries[4];
    assert_int_equal(sumi_data_list(entries, 0), 2);
    assert_int_equal(sumi_data_list(entries, 4), 2);
    assert_string_equal(entries[0].name, "fashion-mnist");
    assert_string_equal(entries[1].name, "shapes");
    assert_true(entries[1].available);
    if (!sumi_is_dir(SUMI_SYSTEM_FASHION)) {
        assert_false(entries[0].available);
        assert_string_equal(entries[0].where, "apt install dataset-fashion-mnist");
    }
    put_fashion(state, ".cache/sumi/fashion-mnist");
    sumi_data_list(entries, 4);
    char path[1024];
    assert_true(entries[0].available);
    assert_string_equal(entries[0].where, in_dir(state, ".cache/sumi/fashion-mnist", path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fashion_is_found_in_each_place, place_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(fashion_is_known_by_its_folder, place_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(parts_of_a_set, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(idx_files_are_found_below, place_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(idx_files_may_have_a_prefix, place_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(parts_of_few_and_of_many, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(the_environment_may_be_odd, place_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(names_that_are_here_too, place_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(missing_fashion_says_what_to_do, place_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(other_names_are_looked_up, place_setup, dir_teardown),
        cmocka_unit_test(settings_are_checked),
        cmocka_unit_test_setup_teardown(other_files_are_named_for_what_they_are, place_setup,
                                        dir_teardown),
        cmocka_unit_test_setup_teardown(reads_bytes_over_255, place_setup, dir_teardown),
        cmocka_unit_test(hash_covers_everything),
        cmocka_unit_test(sizes_are_capped_before_memory_is_taken),
        cmocka_unit_test(sets_larger_than_memory_are_refused),
        cmocka_unit_test_setup_teardown(list_tells_what_is_there, place_setup, dir_teardown),
    };
    return cmocka_run_group_tests_name("open", tests, NULL, NULL);
}
