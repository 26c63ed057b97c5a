/* safetensors: fixtures by the reference library, a table of broken files, round trips. */
#include "io/io_test.h"

/* A file from a header's text and so many zero bytes of data. */
static blob build(const char *header, size_t data_size)
{
    size_t size = strlen(header);
    blob b = {calloc(1, 8 + size + data_size + 1), 8 + size + data_size};
    assert_non_null(b.data);
    sumi_put(b.data, size, 8);
    memcpy(b.data + 8, header, size);
    return b;
}

#define T(dtype, shape, offsets)                                                                   \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define EXACTLY "f: tensor \"a\": expected exactly dtype, shape and data_offsets"

static const struct {
    const char *header;
    size_t data;
    sumi_status status;
    const char *message;
} broken[] = {
    {"{}x", 0, SUMI_EFORMAT, "f: header, byte 3: end of file expected near 'x'"},
    {"{\"a\":1", 0, SUMI_EFORMAT, "f: header, byte 6: '}' expected near end of file"},
    {"{a:1}", 0, SUMI_EFORMAT, "f: header, byte 2: string or '}' expected near 'a'"},
    {"{\"\xFF\":1}", 0, SUMI_EFORMAT, "f: header, byte 2: unable to decode byte 0xff near '\"'"},
    {"{\"\\u0000\":1}", 0, SUMI_EFORMAT,
     "f: header, byte 9: NUL byte in object key not supported near '\"\\u0000\"'"},
    {"{\"\\ud800\":1}", 0, SUMI_EFORMAT,
     "f: header, byte 9: invalid Unicode '\\uD800' near '\"\\ud800\"'"},
    {"{\"a\":1,\"a\":1}", 0, SUMI_EFORMAT, "f: header, byte 10: duplicate object key near '\"a\"'"},
    {"{\"a\":" T("F32", "[1]", "[0,4]") ",\"a\":" T("F32", "[1]", "[4,8]") "}", 8, SUMI_EFORMAT,
     "f: header, byte 57: duplicate object key near '\"a\"'"},
    {"{\"a\":1}", 0, SUMI_EFORMAT, EXACTLY},
    {"{\"a\":[]}", 0, SUMI_EFORMAT, EXACTLY},
    {"{\"a\":{}}", 0, SUMI_EFORMAT, EXACTLY},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 0, SUMI_EFORMAT, EXACTLY},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, SUMI_EFORMAT, EXACTLY},
    {"{\"a\":{\"shape\":[],\"data_offsets\":[0,4]}}", 4, SUMI_EFORMAT, EXACTLY},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"x\":0}}", 4, SUMI_EFORMAT,
     EXACTLY},
    {"{\"a\":{\"dtype\":7,\"shape\":[],\"data_offsets\":[0,4]}}", 4, SUMI_EFORMAT,
     "f: tensor \"a\": dtype is not a string"},
    {"{\"a\":" T("F33", "[1]", "[0,4]") "}", 4, SUMI_EFORMAT,
     "f: tensor \"a\": unknown dtype \"F33\""},
    {"{\"a\":" T("f32", "[1]", "[0,4]") "}", 4, SUMI_EFORMAT,
     "f: tensor \"a\": unknown dtype \"f32\""},
    {"{\"a\":" T("F32\\u0000", "[1]", "[0,4]") "}", 4, SUMI_EFORMAT,
     "f: header, byte 25: \\u0000 is not allowed without JSON_ALLOW_NUL near '\"F32\\u0000\"'"},
    {"{\"a\":" T("I8", "[1]", "[0,1]") "}", 1, SUMI_EUNSUPPORTED,
     "f: tensor \"a\": dtype I8 is not supported"},
    {"{\"a\":" T("F8_E4M3", "[1]", "[0,1]") "}", 1, SUMI_EUNSUPPORTED,
     "f: tensor \"a\": dtype F8_E4M3 is not supported"},
    {"{\"a\":" T("F32", "1", "[0,4]") "}", 4, SUMI_EFORMAT,
     "f: tensor \"a\": shape is not an array"},
    {"{\"a\":" T("F32", "[-1]", "[0,4]") "}", 4, SUMI_EFORMAT,
     "f: tensor \"a\": dimension 0 is not a whole number from 0"},
    {"{\"a\":" T("F32", "[1,1.0]", "[0,4]") "}", 4, SUMI_EFORMAT,
     "f: tensor \"a\": dimension 1 is not a whole number from 0"},
    {"{\"a\":" T("F32", "[\"1\"]", "[0,4]") "}", 4, SUMI_EFORMAT,
     "f: tensor \"a\": dimension 0 is not a whole number from 0"},
    {"{\"a\":" T("F32", "[true]", "[0,4]") "}", 4, SUMI_EFORMAT,
     "f: tensor \"a\": dimension 0 is not a whole number from 0"},
    {"{\"a\":" T("F32", "[99999999999999999999]", "[0,4]") "}", 4, SUMI_EFORMAT,
     "f: header, byte 49: too big integer near '99999999999999999999'"},
    {"{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, SUMI_EUNSUPPORTED,
     "f: tensor \"a\": 9 dimensions, at most 8 are supported"},
    {"{\"a\":" T("F32", "[4294967296,4294967296]", "[0,4]") "}", 4, SUMI_EFORMAT,
     "f: tensor \"a\": its shape overflows"},
    {"{\"a\":" T("F64", "[2305843009213693952]", "[0,0]") "}", 0, SUMI_EFORMAT,
     "f: tensor \"a\": its shape overflows"},
    {"{\"a\":" T("F32", "[1]", "4") "}", 4, SUMI_EFORMAT,
     "f: tensor \"a\": data_offsets is not an array of two numbers"},
    {"{\"a\":" T("F32", "[1]", "[0]") "}", 4, SUMI_EFORMAT,
     "f: tensor \"a\": data_offsets is not an array of two numbers"},
    {"{\"a\":" T("F32", "[1]", "[0,4,8]") "}", 4, SUMI_EFORMAT,
     "f: tensor \"a\": data_offsets is not an array of two numbers"},
    {"{\"a\":" T("F32", "[1]", "[-4,0]") "}", 4, SUMI_EFORMAT,
     "f: tensor \"a\": data_offsets is not an array of two numbers"},
    {"{\"a\":" T("F32", "[1]", "[0,4.0]") "}", 4, SUMI_EFORMAT,
     "f: tensor \"a\": data_offsets is not an array of two numbers"},
    {"{\"a\":" T("F32", "[1]", "[4,0]") "}", 4, SUMI_EFORMAT,
     "f: tensor \"a\": data_offsets 4 to 0, but the file has 4 bytes of data"},
    {"{\"a\":" T("F32", "[1]", "[0,4]") "}", 3, SUMI_EFORMAT,
     "f: tensor \"a\": data_offsets 0 to 4, but the file has 3 bytes of data"},
    {"{\"a\":" T("F32", "[1]", "[9223372036854775804,9223372036854775807]") "}", 4, SUMI_EFORMAT,
     "f: tensor \"a\": data_offsets 9223372036854775804 to 9223372036854775807, but the file has "
     "4 bytes of data"},
    {"{\"a\":" T("F32", "[1]", "[0,3]") "}", 3, SUMI_EFORMAT,
     "f: tensor \"a\": dtype and shape need 4 bytes, data_offsets give 3"},
    {"{\"a\":" T("F32", "[]", "[0,0]") "}", 0, SUMI_EFORMAT,
     "f: tensor \"a\": dtype and shape need 4 bytes, data_offsets give 0"},
    {"{\"a\":" T("F32", "[0,9223372036854775807]", "[0,4]") "}", 4, SUMI_EFORMAT,
     "f: tensor \"a\": dtype and shape need 0 bytes, data_offsets give 4"},
    {"{\"a\":" T("F32", "[1]", "[1,5]") "}", 5, SUMI_EFORMAT,
     "f: tensor \"a\" begins at byte 1 of the data, after a hole from byte 0"},
    {"{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[5,9]") "}", 9, SUMI_EFORMAT,
     "f: tensor \"b\" begins at byte 5 of the data, after a hole from byte 4"},
    {"{\"b\":" T("F32", "[2]", "[0,8]") ",\"a\":" T("F32", "[1]", "[4,8]") "}", 8, SUMI_EFORMAT,
     "f: tensor \"a\" begins at byte 4 of the data, inside the one before it, which ends at byte "
     "8"},
    {"{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[0,4]") "}", 4, SUMI_EFORMAT,
     "f: tensor \"b\" begins at byte 0 of the data, inside the one before it, which ends at byte "
     "4"},
    {"{\"a\":" T("F32", "[1]", "[0,4]") "}", 5, SUMI_EFORMAT,
     "f: 5 bytes of data, but the tensors end at byte 4"},
    {"{}", 1, SUMI_EFORMAT, "f: 1 bytes of data, but the tensors end at byte 0"},
    {"{\"__metadata__\":1}", 0, SUMI_EFORMAT, "f: __metadata__ is not an object"},
    {"{\"__metadata__\":[\"a\"]}", 0, SUMI_EFORMAT, "f: __metadata__ is not an object"},
    {"{\"__metadata__\":{\"k\":1}}", 0, SUMI_EFORMAT, "f: __metadata__ \"k\" is not a string"},
    {"{\"__metadata__\":{\"a\":\"b\",\"k\":null}}", 0, SUMI_EFORMAT,
     "f: __metadata__ \"k\" is not a string"},
    {"[]", 0, SUMI_EFORMAT, "f: not a safetensors file: its header does not begin with '{'"},
    {" {}", 0, SUMI_EFORMAT, "f: not a safetensors file: its header does not begin with '{'"},
    {"\xEF\xBB\xBF{}", 0, SUMI_EFORMAT,
     "f: not a safetensors file: its header does not begin with '{'"},
};

static void test_broken_headers(void **state)
{
    (void)state;
    assert_true(sizeof broken / sizeof broken[0] >= 40);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        blob b = build(broken[i].header, broken[i].data);
        sumi_tensor_file file = {.count = 77};
        sumi_error err = {""};
        expect_error(broken[i].header, sumi_safetensors_parse("f", b.data, b.size, &file, &err),
                     &err, broken[i].status, broken[i].message);
        assert_int_equal(file.count, 77);
        blob_free(&b);
    }
}

static void test_broken_prefixes(void **state)
{
    (void)state;
    static const struct {
        const uint8_t *data;
        size_t size;
        const char *message;
    } cases[] = {
        {BYTES(""), "f: not a safetensors file but an empty file"},
        {BYTES("\2\0\0"), "f: 3 bytes are too few for a safetensors file"},
        {BYTES("\0\0\0\0\0\0\0\0"), "f: 8 bytes are too few for a safetensors file"},
        {BYTES("\0\0\0\0\0\0\0\0{"), "f: 9 bytes are too few for a safetensors file"},
        {BYTES("\0\0\0\0\0\0\0\0{}"),
         "f: not a safetensors file: its header does not begin with '{'"},
        {BYTES("\1\0\0\0\0\0\0\0{}"),
         "f: not a safetensors file: its header does not begin with '{'"},
        {BYTES("\3\0\0\0\0\0\0\0{}"),
         "f: a header of 3 bytes does not fit a file of 10 bytes: is it cut off?"},
        {BYTES("\1\xE1\xF5\5\0\0\0\0{}"),
         "f: not a safetensors file: a header of 100000001 bytes, at most 100000000 are allowed"},
        {BYTES("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}"),
         "f: not a safetensors file: a header of 18446744073709551615 bytes, at most 100000000 are "
         "allowed"},
        {BYTES("<!DOCTYPE html><html></html>"),
         "f: not a safetensors file but an HTML page; download the file itself, not the page that "
         "shows it"},
        {BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n"),
         "f: not a safetensors file but a git-lfs pointer; run git lfs pull to fetch the file it "
         "stands for"},
        {BYTES("PK\3\4\0\0\0\0\0\0\0\0"), "f: not a safetensors file but a ZIP archive (.pth)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        blob b = blob_copy(cases[i].data, cases[i].size);
        sumi_tensor_file file;
        sumi_error err = {""};
        expect_error(cases[i].message, sumi_safetensors_parse("f", b.data, b.size, &file, &err),
                     &err, SUMI_EFORMAT, cases[i].message);
        blob_free(&b);
    }
}

static void test_accepted_headers(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data, count;
    } cases[] = {
        {"{}", 0, 0},
        {"{} \n\t ", 0, 0},
        {"{\"__metadata__\":{}}", 0, 0},
        {"{\"a\":" T("F32", "[]", "[0,4]") "}", 4, 1},
        {"{\"b\":" T("F32", "[1]", "[4,8]") ",\"a\":" T("F32", "[1]", "[0,4]") "}", 8, 2},
        {"{\"e\":" T("F32", "[0]", "[4,4]") ",\"a\":" T("F32", "[1]", "[0,4]") "}", 4, 2},
        {"{\"e\":" T("F32", "[0,9]", "[0,0]") ",\"a\":" T("F32", "[1]", "[0,4]") "}", 4, 2},
        {"{\"a\":" T("BOOL", "[1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, 1},
        {"{\"\":" T("U8", "[1]", "[0,1]") "}", 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        blob b = build(cases[i].header, cases[i].data);
        sumi_tensor_file file;
        sumi_error err = {""};
        expect_error(cases[i].header, sumi_safetensors_parse("f", b.data, b.size, &file, &err),
                     &err, SUMI_OK, "");
        assert_int_equal(file.count, cases[i].count);
        assert_ptr_equal(file.buffer, b.data);
        sumi_tensor_file_free(&file);
    }
}

static void test_reference_files(void **state)
{
    (void)state;
    static const char *const counted[] = {"f32", "f64", "f16", "bf16"};
    sumi_tensor_file file;
    char path[4096];
    int64_t scalar, integers[6];
    assert_int_equal(sumi_safetensors_read(fixture_path("dtypes.safetensors", path), &file, NULL),
                     SUMI_OK);
    assert_int_equal(file.count, 8);
    for (int i = 0; i < 4; i++)
        expect_counted(&file, counted[i], 6);
    assert_true(sumi_file_tensor_to_i64(sumi_tensor_file_find(&file, "i64"), integers));
    for (int i = 0; i < 6; i++)
        assert_int_equal(integers[i], i);
    assert_memory_equal(sumi_tensor_file_find(&file, "u8")->data, "\0\1\2\3\4\5", 6);
    assert_memory_equal(sumi_tensor_file_find(&file, "bool")->data, "\0\1\1\1\1\1", 6);
    assert_string_equal(sumi_tensor_file_meta(&file, "note"), "caf\xC3\xA9");
    sumi_tensor_file_free(&file);
    assert_int_equal(sumi_safetensors_read(fixture_path("odd.safetensors", path), &file, NULL),
                     SUMI_OK);
    assert_int_equal(sumi_tensor_file_find(&file, "scalar")->rank, 0);
    assert_true(sumi_file_tensor_to_i64(sumi_tensor_file_find(&file, "scalar"), &scalar));
    assert_int_equal(scalar, 7);
    assert_int_equal(sumi_tensor_file_find(&file, "empty")->bytes, 0);
    assert_int_equal(sumi_tensor_file_find(&file, "empty")->shape[1], 5);
    expect_counted(&file, "w", 6);
    sumi_tensor_file_free(&file);
}

static void test_round_trip(void **state)
{
    temp_folder *temp = *state;
    const char *path = temp_path(temp, "m.safetensors"), *again = temp_path(temp, "n.safetensors");
    char flag[] = "flag", w[] = "w \"\\\xC3\xA9", count[] = "count", none[] = "none";
    char key[] = "k\n", value[] = "{\"v\": 1}";
    const float weights[6] = {0, 1, 2, 3, 4, 5};
    const int64_t steps = 123456789012;
    sumi_file_tensor tensors[] = {
        {flag, SUMI_FILE_BOOL, 1, {1}, "\1", 1, 0},
        {w, SUMI_FILE_F32, 2, {2, 3}, weights, 24, 0},
        {count, SUMI_FILE_I64, 0, {0}, &steps, 8, 0},
        {none, SUMI_FILE_F32, 2, {0, 3}, NULL, 0, 0},
    };
    sumi_file_pair pair = {key, value};
    sumi_tensor_file file = {
        .tensors = tensors, .count = 4, .metadata = &pair, .metadata_count = 1};
    sumi_tensor_file back;
    sumi_error err = {""};
    assert_int_equal(sumi_safetensors_write(path, &file, &err), SUMI_OK);
    assert_int_equal(sumi_safetensors_read(path, &back, &err), SUMI_OK);
    assert_int_equal(back.count, 4);
    for (int i = 0; i < 4; i++) {
        assert_string_equal(back.tensors[i].name, tensors[i].name);
        assert_int_equal(back.tensors[i].rank, tensors[i].rank);
        assert_int_equal(back.tensors[i].bytes, tensors[i].bytes);
        if (tensors[i].bytes)
            assert_memory_equal(back.tensors[i].data, tensors[i].data, tensors[i].bytes);
        /* Each tensor is aligned to its own elements within the file, as PyTorch needs it. */
        size_t at = (size_t)((const uint8_t *)back.tensors[i].data - (const uint8_t *)back.buffer);
        assert_int_equal(at % sumi_dtype_size(back.tensors[i].dtype), 0);
    }
    assert_int_equal(back.metadata_count, 1);
    assert_string_equal(sumi_tensor_file_meta(&back, key), value);
    /* What was read can be written again, and is the same file. */
    assert_int_equal(sumi_safetensors_write(again, &back, &err), SUMI_OK);
    sumi_tensor_file_free(&back);
    blob one = {0}, two = {0};
    assert_int_equal(sumi_file_read(path, 4096, &one.data, &one.size, &err), SUMI_OK);
    assert_int_equal(sumi_file_read(again, 4096, &two.data, &two.size, &err), SUMI_OK);
    assert_int_equal(one.size, two.size);
    assert_memory_equal(one.data, two.data, one.size);
    blob_free(&one);
    blob_free(&two);
}

/* A value may be a file's name; what is UTF-8 already is never changed, so that writing again what
 * was read changes nothing. */
static void test_metadata_of_any_bytes(void **state)
{
    const char *path = temp_path(*state, "m.safetensors");
    char keys[3][2] = {"a", "b", "c"}, latin[] = "caf\xE9", utf8[] = "\\xE9", text[] = "\xC3\xA9";
    sumi_file_pair pairs[3] = {{keys[0], latin}, {keys[1], utf8}, {keys[2], text}};
    sumi_tensor_file file = {.metadata = pairs, .metadata_count = 3}, back;
    for (int again = 0; again < 2; again++) {
        assert_int_equal(sumi_safetensors_write(path, again ? &back : &file, NULL), SUMI_OK);
        if (again)
            sumi_tensor_file_free(&back);
        assert_int_equal(sumi_safetensors_read(path, &back, NULL), SUMI_OK);
        assert_string_equal(sumi_tensor_file_meta(&back, "a"), "caf\\xE9");
        assert_string_equal(sumi_tensor_file_meta(&back, "b"), utf8);
        assert_string_equal(sumi_tensor_file_meta(&back, "c"), text);
    }
    sumi_tensor_file_free(&back);
}

static void test_metadata_checks(void **state)
{
    (void)state;
    char key[] = "k", bad[] = "\xFF", value[] = "v";
    sumi_file_pair pairs[2] = {{key, value}, {key, value}};
    sumi_tensor_file file = {.metadata = pairs, .metadata_count = 2};
    sumi_error err = {""};
    expect_error("twice", sumi_safetensors_write("f", &file, &err), &err, SUMI_EINVAL,
                 "f: metadata \"k\" occurs twice");
    pairs[1] = (sumi_file_pair){bad, value};
    expect_error("bytes", sumi_safetensors_write("f", &file, &err), &err, SUMI_EINVAL,
                 "f: metadata \"\\xFF\" is not UTF-8");
}

static void test_every_truncation_is_refused(void **state)
{
    (void)state;
    blob whole = fixture("dtypes.safetensors");
    for (size_t size = 0; size < whole.size; size++) {
        blob cut = blob_copy(whole.data, size);
        sumi_tensor_file file;
        assert_int_equal(sumi_safetensors_parse("f", cut.data, cut.size, &file, NULL),
                         SUMI_EFORMAT);
        blob_free(&cut);
    }
    blob_splice(&whole, whole.size, 0, "x", 1);
    sumi_tensor_file file;
    assert_int_equal(sumi_safetensors_parse("f", whole.data, whole.size, &file, NULL),
                     SUMI_EFORMAT);
    blob_free(&whole);
}

/* A flipped bit may go unseen only where the header still says the same things; what is then read
 * must lie within the file. */
static void test_every_header_bit(void **state)
{
    (void)state;
    blob whole = fixture("dtypes.safetensors");
    size_t header = 8 + (size_t)sumi_get64(whole.data), refused = 0;
    for (size_t bit = 0; bit < header * 8; bit++) {
        blob b = blob_copy(whole.data, whole.size);
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        sumi_tensor_file file;
        if (sumi_safetensors_parse("f", b.data, b.size, &file, NULL) != SUMI_OK) {
            blob_free(&b);
            refused++;
            continue;
        }
        size_t sum = 0;
        for (size_t i = 0; i < file.count; i++)
            sum += file.tensors[i].bytes;
        assert_int_equal(sum, whole.size - header);
        sumi_tensor_file_free(&file);
    }
    assert_true(refused > header * 4);
    blob_free(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken_headers),
        cmocka_unit_test(test_broken_prefixes),
        cmocka_unit_test(test_accepted_headers),
        cmocka_unit_test(test_reference_files),
        cmocka_unit_test_setup_teardown(test_round_trip, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_metadata_of_any_bytes, temp_setup, temp_teardown),
        cmocka_unit_test(test_metadata_checks),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_every_header_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
