/* Types, conversions, look-up, telling files apart. */
#include <math.h>

#include "io/io_test.h"

static void test_dtypes(void **state)
{
    (void)state;
    static const struct {
        sumi_file_dtype dtype;
        const char *name;
        size_t size;
    } cases[] = {{SUMI_FILE_F32, "F32", 4},   {SUMI_FILE_F64, "F64", 8},  {SUMI_FILE_F16, "F16", 2},
                 {SUMI_FILE_BF16, "BF16", 2}, {SUMI_FILE_I64, "I64", 8},  {SUMI_FILE_I32, "I32", 4},
                 {SUMI_FILE_U8, "U8", 1},     {SUMI_FILE_BOOL, "BOOL", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(sumi_dtype_name(cases[i].dtype), cases[i].name);
        assert_int_equal(sumi_dtype_size(cases[i].dtype), cases[i].size);
    }
    assert_string_equal(sumi_dtype_name((sumi_file_dtype)99), "unknown");
    assert_int_equal(sumi_dtype_size((sumi_file_dtype)99), 0);
}

static sumi_file_tensor flat(sumi_file_dtype dtype, int64_t count, const void *data)
{
    return (sumi_file_tensor){"t", dtype, 1, {count}, data, (size_t)count * sumi_dtype_size(dtype),
                              0};
}

static void test_halves(void **state)
{
    (void)state;
    static const struct {
        uint16_t bits;
        float value;
    } cases[] = {
        {0x0000, 0},        {0x3C00, 1},        {0xC000, -2},          {0x7BFF, 65504},
        {0x0400, 0x1p-14},  {0x0001, 0x1p-24},  {0x03FF, 0x1.ff8p-15}, {0x3555, 0.333251953125f},
        {0x7C00, INFINITY}, {0xFC00, -INFINITY}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bytes[2];
        float value;
        sumi_put(bytes, cases[i].bits, 2);
        sumi_file_tensor tensor = flat(SUMI_FILE_F16, 1, bytes);
        assert_true(sumi_file_tensor_to_f32(&tensor, &value));
        assert_true(value == cases[i].value);
    }
    float value;
    sumi_file_tensor tensor = flat(SUMI_FILE_F16, 1, "\x01\x7C");
    assert_true(sumi_file_tensor_to_f32(&tensor, &value) && isnan(value));
    tensor = flat(SUMI_FILE_F16, 1, "\x00\x80");
    assert_true(sumi_file_tensor_to_f32(&tensor, &value) && value == 0 && signbit(value));
}

static void test_conversions(void **state)
{
    (void)state;
    /* One byte in front, so that every value lies unaligned. */
    uint8_t bytes[33] = {0};
    float floats[2];
    int64_t integers[2];
    double doubles[2] = {0.1, -1e300};
    memcpy(bytes + 1, doubles, 16);
    sumi_file_tensor tensor = flat(SUMI_FILE_F64, 2, bytes + 1);
    assert_true(sumi_file_tensor_to_f32(&tensor, floats));
    assert_true(floats[0] == 0.1f && floats[1] == -INFINITY);
    assert_false(sumi_file_tensor_to_i64(&tensor, integers));
    tensor = flat(SUMI_FILE_BF16, 2, (const uint8_t *)"\x80\x3F\x49\x40");
    assert_true(sumi_file_tensor_to_f32(&tensor, floats));
    assert_true(floats[0] == 1 && floats[1] == 3.140625f);
    const int64_t counts[2] = {INT64_MIN, 5};
    memcpy(bytes + 1, counts, 16);
    tensor = flat(SUMI_FILE_I64, 2, bytes + 1);
    assert_true(sumi_file_tensor_to_i64(&tensor, integers));
    assert_true(integers[0] == INT64_MIN && integers[1] == 5);
    assert_false(sumi_file_tensor_to_f32(&tensor, floats));
    const int32_t narrow[2] = {INT32_MIN, -5};
    memcpy(bytes + 1, narrow, 8);
    tensor = flat(SUMI_FILE_I32, 2, bytes + 1);
    assert_true(sumi_file_tensor_to_i64(&tensor, integers));
    assert_true(integers[0] == INT32_MIN && integers[1] == -5);
    assert_false(sumi_file_tensor_to_f32(&tensor, floats));
    static const sumi_file_dtype neither[] = {SUMI_FILE_U8, SUMI_FILE_BOOL};
    for (int i = 0; i < 2; i++) {
        tensor = flat(neither[i], 1, bytes);
        assert_false(sumi_file_tensor_to_f32(&tensor, floats));
        assert_false(sumi_file_tensor_to_i64(&tensor, integers));
    }
}

static void test_look_up(void **state)
{
    (void)state;
    sumi_file_tensor tensors[] = {flat(SUMI_FILE_U8, 1, "a"), flat(SUMI_FILE_U8, 1, "b")};
    char first[] = "first", second[] = "second", key[] = "k", value[] = "v";
    tensors[0].name = first;
    tensors[1].name = second;
    sumi_file_pair pair = {key, value};
    sumi_tensor_file file = {
        .tensors = tensors, .count = 2, .metadata = &pair, .metadata_count = 1};
    assert_ptr_equal(sumi_tensor_file_find(&file, "second"), &tensors[1]);
    assert_null(sumi_tensor_file_find(&file, "third"));
    assert_string_equal(sumi_tensor_file_meta(&file, "k"), "v");
    assert_null(sumi_tensor_file_meta(&file, "v"));
    sumi_tensor_file_free(NULL);
}

/* What is no model is called by its name. */
static void test_other_archives(void **state)
{
    (void)state;
    static const struct {
        const char *file, *message;
    } cases[] = {
        {"arrays.npz", "not a model but an .npz archive of NumPy arrays; save one array as .npy "
                       "with numpy.save"},
        {"packed.npz", "not a model but an .npz archive of NumPy arrays; save one array as .npy "
                       "with numpy.save"},
        {"pictures.zip", "not a model but a ZIP archive of pictures; unpack it"},
        {"bare2.pkl", "not a model but a Python pickle; load it in Python and save the model's "
                      "state_dict with torch.save"},
        {"bare4.pkl", "not a model but a Python pickle; load it in Python and save the model's "
                      "state_dict with torch.save"},
        {"torchscript.pth", "a TorchScript program, not a state_dict; save model.state_dict() with "
                            "torch.save"},
        {"legacy.pth",
         "not a model but a PyTorch file in the format before 1.6; load it in a newer "
         "PyTorch and save its state_dict again"},
        {"vector.npy", "not a model but an .npy file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[4096];
        sumi_tensor_file file;
        sumi_error err = {""};
        sumi_status status = sumi_tensor_file_read(fixture_path(cases[i].file, path), &file, &err);
        assert_true(status == SUMI_EFORMAT || status == SUMI_EUNSUPPORTED);
        if (!strstr(err.text, cases[i].message))
            fail_msg("%s", err.text);
    }
}

static void test_sniff(void **state)
{
    (void)state;
    static const struct {
        const uint8_t *data;
        size_t size;
        const char *kind;
    } cases[] = {
        {BYTES(""), "an empty file"},
        {BYTES("PK\3\4....."), "pth"},
        {BYTES("PK\3\4\24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\5\0\0\0a.npy"),
         "an .npz archive of NumPy arrays"},
        {BYTES("PK\3\4\24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2\0\0\0a/"
               "PK\3\4\24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\7\0\0\0a/B.JPG"),
         "a ZIP archive of pictures"},
        {BYTES("PK\3\4\24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xFF\xFF\0\0a.npy"), "pth"},
        {BYTES("\x08\x07\x12\7pytorch"), "an ONNX model"},
        {BYTES("\x80\4\x95\1\0\0\0\0\0\0\0N."), "a Python pickle"},
        {BYTES("PK\5\6....."), "an empty ZIP archive"},
        {BYTES("\x93NUMPY\1\0"), "npy"},
        {BYTES("\x89PNG\r\n\x1a\n...."), "png"},
        {BYTES("\xff\xd8\xff\xe0"), "jpeg"},
        {BYTES("\x1f\x8b\x08"), "gzip"},
        {BYTES("\0\0\x08\x03...."), "idx"},
        {BYTES("\0\0\x07\x03...."), "unknown"},
        {BYTES("\x02\0\0\0\0\0\0\0{}"), "safetensors"},
        {BYTES("\x5b\0\0\0\0\0\0\0{}"), "safetensors"},
        {BYTES(" {\"a\": 1}"), "json"},
        {BYTES("[1]"), "json"},
        {BYTES("<!DOCTYPE html>\n<html>"), "an HTML page"},
        {BYTES("\n\n  <HTML lang=\"en\">"), "an HTML page"},
        {BYTES("\xef\xbb\xbf<!doctype HTML>"), "an HTML page"},
        {BYTES("<?xml version=\"1.0\"?>"), "an XML document"},
        {BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"),
         "a git-lfs pointer"},
        {BYTES("GGUF\3\0\0\0"), "a GGUF model"},
        {BYTES("BM1234"), "a BMP picture"},
        {BYTES("hello"), "unknown"},
        {BYTES("P"), "unknown"},
        {BYTES("   "), "unknown"},
        {BYTES("\0"), "unknown"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(sumi_sniff(cases[i].data, cases[i].size), cases[i].kind);
}

static void test_read_by_content(void **state)
{
    temp_folder *temp = *state;
    static const struct {
        const char *content, *message;
        sumi_status status;
    } cases[] = {
        {"", "not a model but an empty file", SUMI_EFORMAT},
        {"<!DOCTYPE html><title>Sign in</title>",
         "not a model but an HTML page; download the file itself, not the page that shows it",
         SUMI_EFORMAT},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
         "not a model but a git-lfs pointer; run git lfs pull to fetch the file it stands for",
         SUMI_EFORMAT},
        {"{\"a\": 1}", "not a model but a JSON file", SUMI_EFORMAT},
        {"nonsense", "not a model: neither safetensors nor a PyTorch .pth", SUMI_EFORMAT},
    };
    const char *path = temp_path(temp, "model");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char message[5000];
        sumi_tensor_file file;
        sumi_error err = {""};
        assert_int_equal(sumi_file_save(path, cases[i].content, strlen(cases[i].content), NULL),
                         SUMI_OK);
        snprintf(message, sizeof message, "%s: %s", path, cases[i].message);
        expect_error(cases[i].content, sumi_tensor_file_read(path, &file, &err), &err,
                     cases[i].status, message);
    }
    sumi_tensor_file file;
    assert_int_equal(sumi_tensor_file_read(temp_path(temp, "missing"), &file, NULL), SUMI_EIO);
    static const char *const good[] = {"dtypes.pth", "dtypes.safetensors"};
    for (int i = 0; i < 2; i++) {
        char name[4096];
        assert_int_equal(sumi_tensor_file_read(fixture_path(good[i], name), &file, NULL), SUMI_OK);
        assert_int_equal(file.count, 8);
        sumi_tensor_file_free(&file);
    }
}

static void test_write_checks(void **state)
{
    temp_folder *temp = *state;
    static char good[] = "w", bad[] = "\xFF", reserved[] = "__metadata__";
    static const uint8_t data[16];
    const sumi_file_tensor fine = {good, SUMI_FILE_F32, 2, {2, 2}, data, 16, 0};
    sumi_file_tensor cases[8];
    static const char *const messages[] = {
        "f: the name of tensor 0 is not UTF-8",
        "f: the name of tensor 0 is not UTF-8",
        "f: tensor \"w\": dtype 8, rank 2",
        "f: tensor \"w\": dtype 0, rank 9",
        "f: tensor \"w\": dtype 0, rank -1",
        "f: tensor \"w\": 15 bytes do not fit its shape and type",
        "f: tensor \"w\": 16 bytes do not fit its shape and type",
        "f: tensor \"w\": 16 bytes do not fit its shape and type",
    };
    for (int i = 0; i < 8; i++)
        cases[i] = fine;
    cases[0].name = NULL;
    cases[1].name = bad;
    cases[2].dtype = (sumi_file_dtype)8;
    cases[3].rank = 9;
    cases[4].rank = -1;
    cases[5].bytes = 15;
    cases[6].shape[0] = -2;
    cases[7].data = NULL;
    for (int i = 0; i < 8; i++) {
        sumi_error err = {""};
        sumi_tensor_file file = {.tensors = &cases[i], .count = 1};
        expect_error(messages[i], sumi_safetensors_write("f", &file, &err), &err, SUMI_EINVAL,
                     messages[i]);
        expect_error(messages[i], sumi_pth_write("f", &file, &err), &err, SUMI_EINVAL, messages[i]);
    }
    sumi_error err = {""};
    sumi_file_tensor twice[2] = {fine, fine};
    sumi_tensor_file file = {.tensors = twice, .count = 2};
    expect_error("twice", sumi_pth_write("f", &file, &err), &err, SUMI_EINVAL,
                 "f: two tensors have the name \"w\"");
    twice[1].name = reserved;
    expect_error("reserved", sumi_safetensors_write("f", &file, &err), &err, SUMI_EINVAL,
                 "f: no tensor may be named __metadata__");
    assert_int_equal(temp_entries(temp->path), 0);
    const char *path = temp_path(temp, "no/such/folder");
    twice[1].name = bad + 1;
    assert_int_equal(sumi_pth_write(path, &file, &err), SUMI_EIO);
    assert_int_equal(sumi_safetensors_write(path, &file, &err), SUMI_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dtypes),
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_conversions),
        cmocka_unit_test(test_look_up),
        cmocka_unit_test(test_other_archives),
        cmocka_unit_test(test_sniff),
        cmocka_unit_test_setup_teardown(test_read_by_content, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_write_checks, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
