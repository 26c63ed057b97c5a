/* .npy: files that NumPy wrote, broken headers, round trips. */
#include "io/io_test.h"

static void expect_integers(const sumi_npy *array)
{
    for (size_t i = 0; i < array->count; i++) {
        double value = -1;
        switch (array->dtype) {
        case SUMI_NPY_F32:
            value = ((float *)array->data)[i];
            break;
        case SUMI_NPY_F64:
            value = ((double *)array->data)[i];
            break;
        case SUMI_NPY_U8:
            value = ((uint8_t *)array->data)[i];
            break;
        case SUMI_NPY_I32:
            value = ((int32_t *)array->data)[i];
            break;
        case SUMI_NPY_I64:
            value = (double)((int64_t *)array->data)[i];
            break;
        }
        assert_true(value == (double)i);
    }
}

static void test_numpy_files(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        sumi_npy_dtype dtype;
        int rank;
        int64_t shape[2];
    } cases[] = {
        {"float32.npy", SUMI_NPY_F32, 2, {2, 3}},  {"float64.npy", SUMI_NPY_F64, 2, {2, 3}},
        {"uint8.npy", SUMI_NPY_U8, 2, {2, 3}},     {"int32.npy", SUMI_NPY_I32, 2, {2, 3}},
        {"int64.npy", SUMI_NPY_I64, 2, {2, 3}},    {"version2.npy", SUMI_NPY_F32, 2, {2, 3}},
        {"version3.npy", SUMI_NPY_F32, 2, {2, 3}}, {"vector.npy", SUMI_NPY_I64, 1, {5}},
        {"empty.npy", SUMI_NPY_F32, 2, {0, 4}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[4096];
        sumi_npy array;
        sumi_error err = {""};
        if (sumi_npy_read(fixture_path(cases[i].name, path), &array, &err) != SUMI_OK)
            fail_msg("%s", err.text);
        assert_int_equal(array.dtype, cases[i].dtype);
        assert_int_equal(array.rank, cases[i].rank);
        size_t count = 1;
        for (int k = 0; k < array.rank; k++) {
            assert_int_equal(array.shape[k], cases[i].shape[k]);
            count *= (size_t)array.shape[k];
        }
        assert_int_equal(array.count, count);
        expect_integers(&array);
        sumi_npy_free(&array);
        assert_null(array.data);
    }
    char path[4096];
    sumi_npy scalar;
    assert_int_equal(sumi_npy_read(fixture_path("scalar.npy", path), &scalar, NULL), SUMI_OK);
    assert_int_equal(scalar.rank, 0);
    assert_int_equal(scalar.count, 1);
    assert_true(*(float *)scalar.data == 7);
    sumi_npy_free(&scalar);
    sumi_npy_free(NULL);
    assert_int_equal(sumi_npy_read("/no/such/file.npy", &scalar, NULL), SUMI_EIO);
}

#define TYPE(name)                                                                                 \
    "f: type \"" name "\" is not supported, only float32, float64, uint8, int32 and int64 in "     \
    "little-endian order"

static void test_refused_numpy_files(void **state)
{
    (void)state;
    static const struct {
        const char *name, *message;
    } cases[] = {
        {"bad_float16.npy", TYPE("<f2")},
        {"bad_int8.npy", TYPE("|i1")},
        {"bad_bool.npy", TYPE("|b1")},
        {"bad_complex64.npy", TYPE("<c8")},
        {"bad_object.npy", TYPE("|O")},
        {"bad_big_endian.npy", TYPE(">f4")},
        {"bad_record.npy", "f: .npy header: descr is not the name of one type"},
        {"bad_fortran.npy",
         "f: .npy header: fortran_order is True; save numpy.ascontiguousarray(x) instead"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        blob b = fixture(cases[i].name);
        sumi_npy array = {.count = 77};
        sumi_error err = {""};
        expect_error(cases[i].name, sumi_npy_parse("f", b.data, b.size, &array, &err), &err,
                     SUMI_EUNSUPPORTED, cases[i].message);
        assert_int_equal(array.count, 77);
        blob_free(&b);
    }
}

/* Format 1.0 with this header and so many bytes of data. */
static blob build(const char *header, size_t data)
{
    size_t size = strlen(header);
    blob b = {calloc(1, 10 + size + data + 1), 10 + size + data};
    assert_non_null(b.data);
    memcpy(b.data, "\x93NUMPY\1\0", 8);
    sumi_put(b.data + 8, size, 2);
    memcpy(b.data + 10, header, size);
    return b;
}

#define NO_DICT "f: .npy header: it is not a dict"
#define D "'descr': '<f4', "
#define F "'fortran_order': False, "

static const struct {
    const char *header;
    size_t data;
    sumi_status status;
    const char *message;
} headers[] = {
    {"{" D F "'shape': (2,), }", 8, SUMI_OK, ""},
    {"{'shape':(2,),'fortran_order':False,'descr':'<f4'}\n", 8, SUMI_OK, ""},
    {"{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": ()}   \n", 4, SUMI_OK, ""},
    {"{" D F "'shape': (2, 1), }", 8, SUMI_OK, ""},
    {"{" D F "'shape': (2, 1,), }", 8, SUMI_OK, ""},
    {"{" D F "'shape': (1,1,1,1,1,1,1,2)}", 8, SUMI_OK, ""},
    {"", 0, SUMI_EFORMAT, NO_DICT},
    {"[]", 0, SUMI_EFORMAT, NO_DICT},
    {"{", 0, SUMI_EFORMAT, NO_DICT},
    {"{'descr'", 0, SUMI_EFORMAT, NO_DICT},
    {"{'descr", 0, SUMI_EFORMAT, NO_DICT},
    {"{descr: 1}", 0, SUMI_EFORMAT, NO_DICT},
    {"{'de\\x73cr': 1}", 0, SUMI_EFORMAT, NO_DICT},
    {"{'a key that is longer than any that NumPy writes': 1}", 0, SUMI_EFORMAT, NO_DICT},
    {"{" D F "'shape': (2,)", 8, SUMI_EFORMAT, NO_DICT},
    {"{" D "'fortran_order': False 'shape': (2,)}", 8, SUMI_EFORMAT, NO_DICT},
    {"{" D F "'shape': (2,)} x", 8, SUMI_EFORMAT,
     NO_DICT " with just descr, fortran_order and shape"},
    {"{}", 8, SUMI_EFORMAT, NO_DICT " with just descr, fortran_order and shape"},
    {"{" D F "}", 8, SUMI_EFORMAT, NO_DICT " with just descr, fortran_order and shape"},
    {"{" D "'shape': (2,)}", 8, SUMI_EFORMAT, NO_DICT " with just descr, fortran_order and shape"},
    {"{" F "'shape': (2,)}", 8, SUMI_EFORMAT, NO_DICT " with just descr, fortran_order and shape"},
    {"{" D D F "'shape': (2,)}", 8, SUMI_EFORMAT, "f: .npy header: unexpected key \"descr\""},
    {"{" D F "'shape': (2,), 'x': 1}", 8, SUMI_EFORMAT, "f: .npy header: unexpected key \"x\""},
    {"{'descr': 4}", 8, SUMI_EUNSUPPORTED, "f: .npy header: descr is not the name of one type"},
    {"{'descr': '<f4}", 8, SUMI_EUNSUPPORTED, "f: .npy header: descr is not the name of one type"},
    {"{'descr': ''}", 8, SUMI_EUNSUPPORTED, TYPE("")},
    {"{'descr': 'f4'}", 8, SUMI_EUNSUPPORTED, TYPE("f4")},
    {"{'descr': '<f4 '}", 8, SUMI_EUNSUPPORTED, TYPE("<f4 ")},
    {"{" D "'fortran_order': 0}", 8, SUMI_EFORMAT,
     "f: .npy header: fortran_order is neither True nor False"},
    {"{" D F "'shape': 2}", 8, SUMI_EFORMAT, "f: .npy header: shape is not a tuple"},
    {"{" D F "'shape': (2)}", 8, SUMI_EFORMAT, "f: .npy header: shape is not a tuple"},
    {"{" D F "'shape': [2]}", 8, SUMI_EFORMAT, "f: .npy header: shape is not a tuple"},
    {"{" D F "'shape': (2", 8, SUMI_EFORMAT,
     "f: .npy header: shape is not a tuple of whole numbers"},
    {"{" D F "'shape': (,)}", 8, SUMI_EFORMAT,
     "f: .npy header: shape is not a tuple of whole numbers"},
    {"{" D F "'shape': (2,,)}", 8, SUMI_EFORMAT,
     "f: .npy header: shape is not a tuple of whole numbers"},
    {"{" D F "'shape': (1 2)}", 8, SUMI_EFORMAT,
     "f: .npy header: shape is not a tuple of whole numbers"},
    {"{" D F "'shape': (-2,)}", 8, SUMI_EFORMAT,
     "f: .npy header: shape is not a tuple of whole numbers"},
    {"{" D F "'shape': (2L,)}", 8, SUMI_EFORMAT,
     "f: .npy header: shape is not a tuple of whole numbers"},
    {"{" D F "'shape': (99999999999999999999,)}", 8, SUMI_EFORMAT,
     "f: .npy header: shape is not a tuple of whole numbers"},
    {"{" D F "'shape': (1,1,1,1,1,1,1,1,2)}", 8, SUMI_EUNSUPPORTED,
     "f: .npy header: more than 8 dimensions"},
    {"{" D F "'shape': (4611686018427387904,)}", 0, SUMI_EFORMAT, "f: the .npy shape overflows"},
    {"{" D F "'shape': (4294967296,4294967296)}", 0, SUMI_EFORMAT, "f: the .npy shape overflows"},
    {"{" D F "'shape': (2,)}", 7, SUMI_EFORMAT,
     "f: the .npy shape needs 8 bytes, but 7 follow the header"},
    {"{" D F "'shape': (2,)}", 9, SUMI_EFORMAT,
     "f: the .npy shape needs 8 bytes, but 9 follow the header"},
    {"{" D F "'shape': (1000000000000,)}", 8, SUMI_EFORMAT,
     "f: the .npy shape needs 4000000000000 bytes, but 8 follow the header"},
};

static void test_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        blob b = build(headers[i].header, headers[i].data);
        sumi_npy array;
        sumi_error err = {""};
        expect_error(headers[i].header, sumi_npy_parse("f", b.data, b.size, &array, &err), &err,
                     headers[i].status, headers[i].message);
        if (headers[i].status == SUMI_OK)
            sumi_npy_free(&array);
        blob_free(&b);
    }
}

static void test_prefixes(void **state)
{
    (void)state;
    static const struct {
        const uint8_t *data;
        size_t size;
        sumi_status status;
        const char *message;
    } cases[] = {
        {BYTES(""), SUMI_EFORMAT, "f: not an .npy file but an empty file"},
        {BYTES("\x93NUMPY\1\0\0"), SUMI_EFORMAT, "f: not an .npy file"},
        {BYTES("hello, world"), SUMI_EFORMAT, "f: not an .npy file"},
        {BYTES("PK\3\4 an .npz archive"), SUMI_EFORMAT,
         "f: not an .npy file but a ZIP archive (.pth)"},
        {BYTES("\x93NUMPY\0\0\0\0"), SUMI_EUNSUPPORTED, "f: .npy format 0.0, only 1.0 to 3.0"},
        {BYTES("\x93NUMPY\4\0\0\0"), SUMI_EUNSUPPORTED, "f: .npy format 4.0, only 1.0 to 3.0"},
        {BYTES("\x93NUMPY\1\1\0\0"), SUMI_EUNSUPPORTED, "f: .npy format 1.1, only 1.0 to 3.0"},
        {BYTES("\x93NUMPY\1\0\1\0"), SUMI_EFORMAT, "f: the .npy header is cut off"},
        {BYTES("\x93NUMPY\2\0\0\0"), SUMI_EFORMAT, "f: the .npy header is cut off"},
        {BYTES("\x93NUMPY\2\0\xFF\xFF\xFF\xFF{}"), SUMI_EFORMAT, "f: the .npy header is cut off"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        blob b = blob_copy(cases[i].data, cases[i].size);
        sumi_npy array;
        sumi_error err = {""};
        expect_error(cases[i].message, sumi_npy_parse("f", b.data, b.size, &array, &err), &err,
                     cases[i].status, cases[i].message);
        blob_free(&b);
    }
    blob b = {calloc(1, 12 + 65537 + 1), 12 + 65537};
    sumi_npy array;
    sumi_error err = {""};
    assert_non_null(b.data);
    memcpy(b.data, "\x93NUMPY\2\0\1\0\1\0", 12);
    expect_error("long", sumi_npy_parse("f", b.data, b.size, &array, &err), &err, SUMI_EUNSUPPORTED,
                 "f: an .npy header of 65537 bytes");
    blob_free(&b);
}

static void test_truncation_and_bits(void **state)
{
    (void)state;
    blob whole = fixture("float32.npy");
    sumi_npy array;
    for (size_t size = 0; size < whole.size; size++) {
        blob cut = blob_copy(whole.data, size);
        assert_int_equal(sumi_npy_parse("f", cut.data, cut.size, &array, NULL), SUMI_EFORMAT);
        blob_free(&cut);
    }
    for (size_t bit = 0; bit < 128 * 8; bit++) {
        blob b = blob_copy(whole.data, whole.size);
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (sumi_npy_parse("f", b.data, b.size, &array, NULL) == SUMI_OK) {
            assert_true(array.count == 6 || array.count == 3);
            sumi_npy_free(&array);
        }
        blob_free(&b);
    }
    blob_free(&whole);
}

static void test_round_trip(void **state)
{
    static const struct {
        sumi_npy_dtype dtype;
        size_t size;
        int rank;
        int64_t shape[4];
    } cases[] = {
        {SUMI_NPY_F32, 4, 4, {2, 1, 3, 2}}, {SUMI_NPY_F64, 8, 1, {12}},
        {SUMI_NPY_U8, 1, 2, {3, 4}},        {SUMI_NPY_I32, 4, 3, {12, 1, 1}},
        {SUMI_NPY_I64, 8, 0, {0}},          {SUMI_NPY_F32, 4, 2, {0, 7}},
    };
    uint8_t bytes[96];
    for (int i = 0; i < 96; i++)
        bytes[i] = (uint8_t)(7 * i);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = temp_path(*state, "a.npy");
        sumi_npy array = {
            .dtype = cases[i].dtype, .rank = cases[i].rank, .count = 1, .data = bytes};
        sumi_npy back;
        blob raw = {0};
        for (int k = 0; k < array.rank; k++) {
            array.shape[k] = cases[i].shape[k];
            array.count *= (size_t)array.shape[k];
        }
        assert_int_equal(sumi_npy_write(path, &array, NULL), SUMI_OK);
        assert_int_equal(sumi_npy_read(path, &back, NULL), SUMI_OK);
        assert_int_equal(back.dtype, array.dtype);
        assert_int_equal(back.rank, array.rank);
        assert_memory_equal(back.shape, array.shape, sizeof array.shape);
        assert_int_equal(back.count, array.count);
        assert_memory_equal(back.data, bytes, array.count * cases[i].size);
        sumi_npy_free(&back);
        assert_int_equal(sumi_file_read(path, 4096, &raw.data, &raw.size, NULL), SUMI_OK);
        assert_int_equal((raw.size - array.count * cases[i].size) % 64, 0);
        blob_free(&raw);
    }
}

/* Byte for byte what numpy.save writes. */
static void test_same_bytes_as_numpy(void **state)
{
    static const char *const names[] = {"float32.npy", "float64.npy", "uint8.npy",  "int32.npy",
                                        "int64.npy",   "vector.npy",  "scalar.npy", "empty.npy"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *path = temp_path(*state, "a.npy");
        blob theirs = fixture(names[i]), ours = {0};
        sumi_npy array;
        assert_int_equal(sumi_npy_parse("f", theirs.data, theirs.size, &array, NULL), SUMI_OK);
        assert_int_equal(sumi_npy_write(path, &array, NULL), SUMI_OK);
        assert_int_equal(sumi_file_read(path, 4096, &ours.data, &ours.size, NULL), SUMI_OK);
        assert_int_equal(ours.size, theirs.size);
        assert_memory_equal(ours.data, theirs.data, ours.size);
        sumi_npy_free(&array);
        blob_free(&ours);
        blob_free(&theirs);
    }
}

static void test_write_checks(void **state)
{
    (void)state;
    float data[6] = {0};
    const sumi_npy good = {SUMI_NPY_F32, 2, {2, 3}, 6, data};
    sumi_npy bad[5];
    for (int i = 0; i < 5; i++)
        bad[i] = good;
    bad[0].count = 5;
    bad[1].rank = 9;
    bad[2].rank = -1;
    bad[3].dtype = (sumi_npy_dtype)5;
    bad[4].shape[0] = -2;
    for (int i = 0; i < 5; i++) {
        sumi_error err = {""};
        expect_error("write", sumi_npy_write("f", &bad[i], &err), &err, SUMI_EINVAL,
                     "f: the array's type, shape and count do not fit");
    }
}

/* An array of `rows` rows of 2 x 3 bytes that count up is at name. */
static void expect_rows(temp_folder *temp, const char *name, int64_t rows)
{
    sumi_npy array;
    assert_int_equal(sumi_npy_read(temp_path(temp, name), &array, NULL), SUMI_OK);
    assert_true(array.dtype == SUMI_NPY_U8 && array.rank == 3);
    assert_true(array.shape[0] == rows && array.shape[1] == 2 && array.shape[2] == 3);
    for (size_t i = 0; i < array.count; i++)
        assert_int_equal(((uint8_t *)array.data)[i], i);
    sumi_npy_free(&array);
}

/* Row by row: at any time what is beside the final name is an array of the rows so far. */
static void test_streams(void **state)
{
    temp_folder *temp = *state;
    static const sumi_npy type = {.dtype = SUMI_NPY_U8, .rank = 3, .shape = {1000, 2, 3}};
    const char *path = temp_path(temp, "a.npy");
    uint8_t data[30];
    sumi_npy_stream *stream;
    sumi_error err = {""};
    for (int i = 0; i < 30; i++)
        data[i] = (uint8_t)i;
    assert_int_equal(sumi_npy_begin(path, &type, &stream, NULL), SUMI_OK);
    assert_int_equal(sumi_npy_add(stream, data, 2, NULL), SUMI_OK);
    expect_rows(temp, "a.npy.part", 2);
    assert_int_equal(sumi_npy_add(stream, data, -1, &err), SUMI_EINVAL);
    assert_int_equal(sumi_npy_add(stream, data, 999, &err), SUMI_EINVAL);
    assert_non_null(strstr(err.text, "a.npy: more rows than were announced"));
    assert_int_equal(sumi_npy_add(stream, data + 12, 3, NULL), SUMI_OK);
    assert_int_equal(sumi_npy_end(stream, NULL), SUMI_OK);
    expect_rows(temp, "a.npy", 5);
    assert_false(sumi_is_file(temp_path(temp, "a.npy.part")));
    /* One that stops leaves its rows, or nothing. */
    for (int rows = 0; rows < 2; rows++) {
        assert_int_equal(sumi_npy_begin(path, &type, &stream, NULL), SUMI_OK);
        assert_int_equal(sumi_npy_add(stream, data, rows, NULL), SUMI_OK);
        sumi_npy_stop(stream);
        assert_int_equal(sumi_is_file(temp_path(temp, "a.npy.part")), rows == 1);
    }
    expect_rows(temp, "a.npy.part", 1);
    expect_rows(temp, "a.npy", 5);
    sumi_npy_stop(NULL);
}

static void test_stream_checks(void **state)
{
    (void)state;
    sumi_npy bad[5];
    sumi_npy_stream *stream = NULL;
    for (int i = 0; i < 5; i++)
        bad[i] = (sumi_npy){.dtype = SUMI_NPY_U8, .rank = 2, .shape = {4, 6}};
    bad[0].rank = 0;
    bad[1].dtype = (sumi_npy_dtype)5;
    bad[2].shape[0] = -1;
    bad[3].shape[1] = -6;
    bad[4].shape[0] = bad[4].shape[1] = INT64_C(1) << 40;
    for (int i = 0; i < 5; i++) {
        sumi_error err = {""};
        expect_error("stream", sumi_npy_begin("f", &bad[i], &stream, &err), &err, SUMI_EINVAL,
                     "f: the array's type and shape do not fit");
    }
    const sumi_npy good = {.dtype = SUMI_NPY_U8, .rank = 2, .shape = {4, 6}};
    assert_int_equal(sumi_npy_begin("/no/such/folder/a.npy", &good, &stream, NULL), SUMI_EIO);
    assert_null(stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_streams, temp_setup, temp_teardown),
        cmocka_unit_test(test_stream_checks),
        cmocka_unit_test(test_numpy_files),
        cmocka_unit_test(test_refused_numpy_files),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_truncation_and_bits),
        cmocka_unit_test_setup_teardown(test_round_trip, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_same_bytes_as_numpy, temp_setup, temp_teardown),
        cmocka_unit_test(test_write_checks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
