/* Sets from .npy arrays, with and without labels, and what is said about other arrays. */
#include "data_test.h"

static void put_array(void **state, const char *name, sumi_npy_dtype dtype, const void *data,
                      int rank, const int64_t *shape)
{
    char path[1024];
    sumi_error err = {{0}};
    sumi_npy array = {.dtype = dtype, .rank = rank, .count = 1};
    array.data = (void *)(uintptr_t)data;
    for (int i = 0; i < rank; i++) {
        array.shape[i] = shape[i];
        array.count *= (size_t)shape[i];
    }
    check_ok(sumi_npy_write(in_dir(state, name, path), &array, &err), &err);
}

static sumi_status open_x(void **state, sumi_dataset **set, sumi_error *err)
{
    char path[1024];
    return sumi_data_open(in_dir(state, "x.npy", path), NULL, set, err);
}

static void reads_bytes_and_floats(void **state)
{
    enum { COUNT = 3 * 4 * 5 };
    uint8_t pixels[COUNT];
    float floats[COUNT];
    double doubles[COUNT];
    for (int i = 0; i < COUNT; i++) {
        pixels[i] = test_pixel((size_t)i);
        floats[i] = (float)pixels[i] / 255.0f;
        doubles[i] = (double)pixels[i] / 255.0;
    }
    static const sumi_npy_dtype types[] = {SUMI_NPY_U8, SUMI_NPY_F32, SUMI_NPY_F64};
    const void *data[] = {pixels, floats, doubles};
    for (int i = 0; i < 3; i++) {
        sumi_dataset *set = NULL;
        sumi_error err = {{0}};
        put_array(state, "x.npy", types[i], data[i], 3, (int64_t[]){3, 4, 5});
        check_ok(open_x(state, &set, &err), &err);
        assert_int_equal(set->count, 3);
        assert_int_equal(set->height, 4);
        assert_int_equal(set->width, 5);
        assert_int_equal(set->channels, 1);
        assert_memory_equal(set->pixels, pixels, COUNT);
        assert_string_equal(set->name, "x.npy");
        sumi_data_free(set);
        put_array(state, "x.npy", types[i], data[i], 4, (int64_t[]){2, 2, 5, 3});
        check_ok(open_x(state, &set, &err), &err);
        assert_int_equal(set->count, 2);
        assert_int_equal(set->channels, 3);
        assert_memory_equal(set->pixels, pixels, COUNT);
        sumi_data_free(set);
    }
}

static void labels_lie_beside(void **state)
{
    uint8_t pixels[12] = {0};
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    put_array(state, "x.npy", SUMI_NPY_U8, pixels, 3, (int64_t[]){3, 2, 2});
    put_array(state, "x_labels.npy", SUMI_NPY_I64, (int64_t[]){4, 0, 1}, 1, (int64_t[]){3});
    check_ok(open_x(state, &set, &err), &err);
    assert_int_equal(set->classes, 5);
    assert_int_equal(set->labels[0], 4);
    assert_int_equal(set->labels[2], 1);
    sumi_data_free(set);
    put_array(state, "x-labels.npy", SUMI_NPY_I32, (int32_t[]){2, 0, 1}, 1, (int64_t[]){3});
    check_ok(open_x(state, &set, &err), &err);
    assert_int_equal(set->classes, 3);
    sumi_data_free(set);
    put_array(state, "x-labels.npy", SUMI_NPY_U8, (uint8_t[]){2, 0}, 1, (int64_t[]){2});
    check_failed(open_x(state, &set, &err), SUMI_ESHAPE, &err, "x-labels.npy", "3 images",
                 "found 2", NULL);
    put_array(state, "x-labels.npy", SUMI_NPY_I64, (int64_t[]){0, 10000, 0}, 1, (int64_t[]){3});
    check_failed(open_x(state, &set, &err), SUMI_EUNSUPPORTED, &err, "found 10000 at 1", NULL);
    put_array(state, "x-labels.npy", SUMI_NPY_I32, (int32_t[]){0, 0, -1}, 1, (int64_t[]){3});
    check_failed(open_x(state, &set, &err), SUMI_EFORMAT, &err, "found -1 at 2", NULL);
    put_array(state, "x-labels.npy", SUMI_NPY_F32, (float[]){0, 1, 2}, 1, (int64_t[]){3});
    check_failed(open_x(state, &set, &err), SUMI_EUNSUPPORTED, &err, "integer labels", NULL);
}

/* Only beside a name that ends in .npy, and as one row. */
static void labels_elsewhere_are_none(void **state)
{
    uint8_t pixels[12] = {0};
    char path[1024], other[1024];
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    put_array(state, "x.npy", SUMI_NPY_U8, pixels, 3, (int64_t[]){3, 2, 2});
    put_array(state, "x-labels.npy", SUMI_NPY_I64, (int64_t[]){0, 0, 1}, 2, (int64_t[]){3, 1});
    check_failed(open_x(state, &set, &err), SUMI_ESHAPE, &err, "x-labels.npy", NULL);
    put_array(state, "x-labels.npy", SUMI_NPY_F64, (double[]){0, 0, 1}, 1, (int64_t[]){3});
    check_failed(open_x(state, &set, &err), SUMI_EUNSUPPORTED, &err, "integer labels", NULL);
    static const char *const names[] = {"x", "x.npy.part", "npy"};
    in_dir(state, "x.npy", path);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rename(path, in_dir(state, names[i], other)), 0);
        strcpy(path, other);
        check_ok(sumi_data_open(path, NULL, &set, &err), &err);
        assert_true(set->count == 3 && set->classes == 0);
        sumi_data_free(set);
    }
}

static void other_arrays_are_refused(void **state)
{
    static const uint8_t wide[SUMI_SIDE_MAX + 1];
    float data[68] = {0};
    sumi_dataset *set = NULL;
    sumi_error err = {{0}};
    put_array(state, "x.npy", SUMI_NPY_F32, data, 2, (int64_t[]){8, 8});
    check_failed(open_x(state, &set, &err), SUMI_ESHAPE, &err, "x.npy", "found 2 dimensions", NULL);
    put_array(state, "x.npy", SUMI_NPY_F32, data, 4, (int64_t[]){1, 2, 2, 17});
    check_failed(open_x(state, &set, &err), SUMI_ESHAPE, &err, "[1][2][2][17]", NULL);
    put_array(state, "x.npy", SUMI_NPY_F32, data, 4, (int64_t[]){1, 2, 2, 0});
    check_failed(open_x(state, &set, &err), SUMI_ESHAPE, &err, "[1][2][2][0]", NULL);
    put_array(state, "x.npy", SUMI_NPY_I32, data, 3, (int64_t[]){2, 4, 4});
    check_failed(open_x(state, &set, &err), SUMI_EUNSUPPORTED, &err, "integers", NULL);
    for (int i = 0; i < 2; i++) {
        int64_t shape[] = {1, i ? 1 : SUMI_SIDE_MAX + 1, i ? SUMI_SIDE_MAX + 1 : 1};
        put_array(state, "x.npy", SUMI_NPY_U8, wide, 3, shape);
        check_failed(open_x(state, &set, &err), SUMI_EUNSUPPORTED, &err,
                     i ? "images of 1x16385" : "images of 16385x1", NULL);
    }
    put_array(state, "x.npy", SUMI_NPY_F32, data, 3, (int64_t[]){0, 4, 4});
    check_failed(open_x(state, &set, &err), SUMI_EFORMAT, &err, "no images", NULL);
    data[40] = 1.5f;
    put_array(state, "x.npy", SUMI_NPY_F32, data, 3, (int64_t[]){4, 4, 4});
    check_failed(open_x(state, &set, &err), SUMI_EFORMAT, &err, "found 1.5 in image 2", NULL);
    data[40] = (float)-0.01;
    put_array(state, "x.npy", SUMI_NPY_F32, data, 3, (int64_t[]){4, 4, 4});
    check_failed(open_x(state, &set, &err), SUMI_EFORMAT, &err, "found -0.01", NULL);
    data[40] = strtof("nan", NULL);
    put_array(state, "x.npy", SUMI_NPY_F32, data, 3, (int64_t[]){4, 4, 4});
    check_failed(open_x(state, &set, &err), SUMI_EFORMAT, &err, "nan in image", "at [", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_bytes_and_floats, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(labels_lie_beside, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(labels_elsewhere_are_none, dir_setup, dir_teardown),
        cmocka_unit_test_setup_teardown(other_arrays_are_refused, dir_setup, dir_teardown),
    };
    return cmocka_run_group_tests_name("npy_set", tests, NULL, NULL);
}
