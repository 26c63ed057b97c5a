/*
 * Memory that runs out: every allocation of every reader and writer fails once, and the call must
 * say so and leave nothing behind (the sanitizer build sees leaks).
 *
 * The linker sends sumi's own allocations through the __wrap functions. jansson is given them where
 * it writes; where it reads, its lexer calls a lack of memory a wrong text.
 */
#include "io/io_test.h"

#include <png.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
png_infop __real_png_create_info_struct(png_const_structrp png);
png_infop __wrap_png_create_info_struct(png_const_structrp png);

static long failing; /* the number of the allocation that fails, counted down; 0: none */

static bool fails(void)
{
    return failing > 0 && failing-- == 1;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return fails() ? NULL : __real_realloc(block, size);
}

png_infop __wrap_png_create_info_struct(png_const_structrp png)
{
    return fails() ? NULL : __real_png_create_info_struct(png);
}

/* One use of the library; what it made is released again. */
typedef sumi_status (*use_fn)(const char *path, sumi_error *err);

/* Runs use again and again, each time with a later allocation failing, until none is left. */
static long run_with_failures(const char *path, use_fn use)
{
    for (long n = 1;; n++) {
        sumi_error err = {""};
        failing = n;
        sumi_status status = use(path, &err);
        bool was_reached = failing == 0;
        failing = 0;
        if (status == SUMI_OK && !was_reached)
            return n;
        if (status != SUMI_ENOMEM && status != SUMI_OK)
            fail_msg("%s, allocation %ld: %s \"%s\"", path, n, sumi_status_name(status), err.text);
        if (status == SUMI_ENOMEM && !strstr(err.text, "memory"))
            fail_msg("%s, allocation %ld: \"%s\"", path, n, err.text);
        assert_in_range(n, 1, 5000);
    }
}

static sumi_status use_tensors(const char *path, sumi_error *err)
{
    sumi_tensor_file file;
    sumi_status status = sumi_tensor_file_read(path, &file, err);
    if (status == SUMI_OK)
        sumi_tensor_file_free(&file);
    return status;
}

static sumi_status use_image(const char *path, sumi_error *err)
{
    sumi_image image;
    sumi_status status = sumi_image_read(path, &image, err);
    if (status == SUMI_OK)
        sumi_image_free(&image);
    return status;
}

static sumi_status use_npy(const char *path, sumi_error *err)
{
    sumi_npy array;
    sumi_status status = sumi_npy_read(path, &array, err);
    if (status == SUMI_OK)
        sumi_npy_free(&array);
    return status;
}

static sumi_status use_json(const char *path, sumi_error *err)
{
    json_t *json;
    sumi_status status = sumi_json_read(path, &json, err);
    if (status == SUMI_OK)
        json_decref(json);
    return status;
}

static void *no_memory(size_t size)
{
    (void)size;
    return NULL;
}

/* jansson then returns without a text, and without a code behind it, which Valgrind and the memory
 * sanitizer know. */
static void test_json_begins(void **state)
{
    (void)state;
    json_t *json = NULL;
    sumi_error err = {""};
    json_malloc_t before;
    json_free_t release;
    json_get_alloc_funcs(&before, &release);
    json_set_alloc_funcs(no_memory, release);
    sumi_status status = sumi_json_parse("a.json", (const uint8_t *)"[1]", 3, &json, &err);
    json_set_alloc_funcs(before, release);
    assert_int_equal(status, SUMI_ENOMEM);
    assert_non_null(strstr(err.text, "a.json"));
    assert_null(json);
}

static void test_readers(void **state)
{
    static const struct {
        const char *name;
        use_fn use;
        long least;
    } cases[] = {
        {"dtypes.safetensors", use_tensors, 12},
        {"odd.safetensors", use_tensors, 6},
        {"state_dict.pth", use_tensors, 20},
        {"views.pth", use_tensors, 30},
        {"rgb_alpha.png", use_image, 2},
        {"rgb.jpg", use_image, 2},
        {"float32.npy", use_npy, 2},
    };
    char path[4096];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_true(run_with_failures(fixture_path(cases[i].name, path), cases[i].use) >
                    cases[i].least);
    const char *json = temp_path(*state, "a.json");
    static const char text[] = "{\"a\": [1, 2.5, \"text\", {\"b\": null}]}";
    assert_int_equal(sumi_file_save(json, text, strlen(text), NULL), SUMI_OK);
    assert_true(run_with_failures(json, use_json) > 1);
}

static char first_name[] = "first", second_name[] = "second", key[] = "key", value[] = "value";

static sumi_tensor_file two_tensors(sumi_file_tensor tensors[2], sumi_file_pair *pair)
{
    static const float data[6] = {0, 1, 2, 3, 4, 5};
    tensors[0] = (sumi_file_tensor){first_name, SUMI_FILE_F32, 2, {2, 3}, data, 24, 0};
    tensors[1] = (sumi_file_tensor){second_name, SUMI_FILE_I64, 0, {0}, data, 8, 0};
    *pair = (sumi_file_pair){key, value};
    return (sumi_tensor_file){
        .tensors = tensors, .count = 2, .metadata = pair, .metadata_count = 1};
}

static sumi_status write_safetensors(const char *path, sumi_error *err)
{
    sumi_file_tensor tensors[2];
    sumi_file_pair pair;
    sumi_tensor_file file = two_tensors(tensors, &pair);
    return sumi_safetensors_write(path, &file, err);
}

static sumi_status write_pth(const char *path, sumi_error *err)
{
    sumi_file_tensor tensors[2];
    sumi_file_pair pair;
    sumi_tensor_file file = two_tensors(tensors, &pair);
    return sumi_pth_write(path, &file, err);
}

static sumi_status write_npy(const char *path, sumi_error *err)
{
    static uint8_t data[6];
    const sumi_npy array = {SUMI_NPY_U8, 1, {6}, 6, data};
    return sumi_npy_write(path, &array, err);
}

static sumi_status write_png(const char *path, sumi_error *err)
{
    static uint8_t pixels[12];
    sumi_image grid;
    sumi_status status = sumi_image_grid(pixels, 3, 2, 2, 1, &grid, err);
    if (status == SUMI_OK) {
        status = sumi_png_write(path, &grid, "comment that is no UTF-8: \xff", err);
        sumi_image_free(&grid);
    }
    return status;
}

static sumi_status write_svg(const char *path, sumi_error *err)
{
    static const double x[3] = {0, 1, 2};
    const sumi_plot_series series = {"s", x, x, 3};
    const sumi_plot plot = {"t", "x", "y", &series, 1, false, 0};
    char *svg;
    size_t size;
    sumi_status status = sumi_plot_svg(&plot, &svg, &size, err);
    if (status == SUMI_OK) {
        status = sumi_file_save(path, svg, size, err);
        free(svg);
    }
    return status;
}

static const uint8_t colours[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
static const uint8_t *const frames[2] = {colours, colours};
static const sumi_animation moving = {2, 2, 3, 2, frames, 50, 100};

static sumi_status write_gif(const char *path, sumi_error *err)
{
    return sumi_gif_write(path, &moving, "comment", err);
}

static sumi_status write_apng(const char *path, sumi_error *err)
{
    return sumi_apng_write(path, &moving, "comment", err);
}

static sumi_status write_npz(const char *path, sumi_error *err)
{
    const sumi_npy array = {SUMI_NPY_U8, 1, {12}, 12, (void *)(uintptr_t)colours};
    return sumi_npz_write(path, "arr_0", &array, err);
}

static sumi_status write_rows(const char *path, sumi_error *err)
{
    const sumi_npy type = {.dtype = SUMI_NPY_U8, .rank = 2, .shape = {4, 3}};
    sumi_npy_stream *stream;
    sumi_status status = sumi_npy_begin(path, &type, &stream, err);
    if (status != SUMI_OK)
        return status;
    for (int i = 0; i < 2 && status == SUMI_OK; i++)
        status = sumi_npy_add(stream, colours + 6 * i, 2, err);
    if (status == SUMI_OK)
        return sumi_npy_end(stream, err);
    sumi_npy_stop(stream);
    char part[4096];
    snprintf(part, sizeof part, "%s.part", path);
    remove(part);
    return status;
}

static sumi_status write_events(const char *path, sumi_error *err)
{
    static const uint8_t png[100];
    sumi_text text = {0};
    sumi_event_png(&text, 0, 1, "samples", png, sizeof png);
    sumi_status status = text.failed ? sumi_fail_memory(err, path, sizeof png)
                                     : sumi_file_save(path, text.data, text.size, err);
    sumi_text_free(&text);
    return status;
}

/* What cannot be looked at for want of memory is no end of the file. */
static sumi_status scan_events(const char *path, sumi_error *err)
{
    bool image;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    int64_t keep = sumi_events_scan(file, 1, &image);
    fclose(file);
    assert_true(keep == -1 || (keep > 100 && image));
    return keep < 0 ? sumi_fail_memory(err, path, 0) : SUMI_OK;
}

/* Text of a picture that tells how it was made, read back. */
static sumi_status use_parameters(const char *path, sumi_error *err)
{
    char *text = NULL;
    sumi_status status = sumi_png_parameters(path, &text, err);
    free(text);
    return status;
}

static sumi_status use_toml(const char *path, sumi_error *err)
{
    static const char text[] = "a = \"b\\u00e9\"\nc = [1, 'x', true]\n";
    json_t *json = NULL;
    sumi_status status = sumi_toml_parse(path, (const uint8_t *)text, sizeof text - 1, &json, err);
    json_decref(json);
    return status;
}

static json_t *json_to_write; /* made before memory runs out */

static sumi_status write_json(const char *path, sumi_error *err)
{
    return sumi_json_write(path, json_to_write, err);
}

/* With metadata, which PyTorch's files do not have. */
static void test_pth_metadata(void **state)
{
    const char *path = temp_path(*state, "m.pth");
    assert_int_equal(write_pth(path, NULL), SUMI_OK);
    assert_true(run_with_failures(path, use_tensors) > 12);
}

static void test_scanning(void **state)
{
    const char *path = temp_path(*state, "events");
    assert_int_equal(write_events(path, NULL), SUMI_OK);
    assert_true(run_with_failures(path, scan_events) == 2);
}

static void test_parameters(void **state)
{
    const char *path = temp_path(*state, "p.png");
    const sumi_image image = {2, 2, 3, (uint8_t *)(uintptr_t)colours};
    assert_int_equal(sumi_png_write_with(path, &image, NULL, "{}", NULL), SUMI_OK);
    assert_true(run_with_failures(path, use_parameters) >= 2);
}

static void test_toml(void **state)
{
    (void)state;
    json_set_alloc_funcs(__wrap_malloc, free);
    assert_true(run_with_failures("f.toml", use_toml) > 10);
    json_set_alloc_funcs(__real_malloc, free);
}

static void test_writers(void **state)
{
    temp_folder *temp = *state;
    static const use_fn writers[] = {write_safetensors, write_pth,  write_npy,   write_png,
                                     write_svg,         write_json, write_gif,   write_apng,
                                     write_npz,         write_rows, write_events};
    json_to_write = json_pack("{s:[i, f], s:s}", "list", 1, 0.5, "text", "x");
    assert_non_null(json_to_write);
    json_set_alloc_funcs(__wrap_malloc, free);
    for (size_t i = 0; i < sizeof writers / sizeof writers[0]; i++) {
        const char *path = temp_path(temp, "out");
        assert_true(run_with_failures(path, writers[i]) > 3);
        /* Only the last, whole file is there: no temporary one. */
        assert_int_equal(temp_entries(temp->path), 1);
    }
    json_set_alloc_funcs(__real_malloc, free);
    json_decref(json_to_write);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_begins),
        cmocka_unit_test_setup_teardown(test_readers, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_pth_metadata, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_parameters, temp_setup, temp_teardown),
        cmocka_unit_test(test_toml),
        cmocka_unit_test_setup_teardown(test_scanning, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_writers, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
