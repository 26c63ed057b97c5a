/*
 * .npz files: what is written is a ZIP archive of one .npy with the same numbers, byte for byte the
 * file that numpy.load was seen to read.
 */
#include "io/io_test.h"
#include "io/zip.h"

static sumi_npy pictures(uint8_t *pixels)
{
    for (int i = 0; i < 2 * 3 * 4 * 3; i++)
        pixels[i] = (uint8_t)(i * 37);
    return (sumi_npy){.dtype = SUMI_NPY_U8, .rank = 4, .shape = {2, 3, 4, 3}, .data = pixels};
}

static void test_write(void **state)
{
    temp_folder *temp = *state;
    const char *path = temp_path(temp, "a.npz");
    uint8_t pixels[72], *data;
    size_t size;
    sumi_zip zip;
    sumi_npy found, array = pictures(pixels);
    assert_int_equal(sumi_npz_write(path, "arr_0", &array, NULL), SUMI_OK);
    assert_int_equal(sumi_file_read(path, 1 << 20, &data, &size, NULL), SUMI_OK);
    assert_int_equal(sumi_zip_parse(path, data, size, &zip, NULL), SUMI_OK);
    assert_int_equal(zip.count, 1);
    const sumi_zip_entry *entry = sumi_zip_find(&zip, "arr_0.npy");
    assert_non_null(entry);
    assert_int_equal(sumi_npy_parse(path, entry->data, entry->size, &found, NULL), SUMI_OK);
    assert_true(found.dtype == SUMI_NPY_U8 && found.rank == 4);
    assert_memory_equal(found.shape, array.shape, 4 * sizeof *array.shape);
    assert_memory_equal(found.data, pixels, sizeof pixels);
    sumi_npy_free(&found);
    sumi_zip_free(&zip);
    /* numpy.load(path)["arr_0"] is these numbers. */
    char hex[65];
    sumi_sha256 sha;
    sumi_sha256_init(&sha);
    sumi_sha256_update(&sha, data, size);
    sumi_sha256_final(&sha, hex);
    assert_string_equal(hex, "2b2bc30e1dc2e36e932e730d4f6f547b1bfda1de2ca8a5b493ce1073c47492e0");
    free(data);
}

static void test_refusals(void **state)
{
    temp_folder *temp = *state;
    const char *path = temp_path(temp, "a.npz");
    char name[300];
    uint8_t pixels[72];
    sumi_error err = {""};
    sumi_npy array = pictures(pixels);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    assert_int_equal(sumi_npz_write(path, name, &array, &err), SUMI_EINVAL);
    assert_non_null(strstr(err.text, "the array's name has more than 200 bytes"));
    array.shape[1] = -1;
    assert_int_equal(sumi_npz_write(path, "arr_0", &array, &err), SUMI_EINVAL);
    assert_non_null(strstr(err.text, "the array's type and shape do not fit"));
    array = pictures(pixels);
    assert_int_equal(sumi_npz_write("/no/such/folder/a.npz", "arr_0", &array, &err), SUMI_EIO);
    assert_false(sumi_is_file(path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_write, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_refusals, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
