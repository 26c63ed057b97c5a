/* .pth: files that PyTorch wrote, hostile ones, and files that sumi writes. */
#include "io/io_test.h"
#include "io/pickle.h"
#include "io/zip.h"

static sumi_tensor_file read_fixture(const char *name)
{
    char path[4096];
    sumi_tensor_file file;
    sumi_error err = {""};
    if (sumi_tensor_file_read(fixture_path(name, path), &file, &err) != SUMI_OK)
        fail_msg("%s", err.text);
    return file;
}

static void expect_shape(const sumi_tensor_file *file, const char *name, int rank, int64_t first,
                         int64_t last)
{
    const sumi_file_tensor *tensor = sumi_tensor_file_find(file, name);
    assert_non_null(tensor);
    assert_int_equal(tensor->rank, rank);
    assert_int_equal(tensor->shape[0], first);
    assert_int_equal(tensor->shape[rank - 1], last);
}

static void test_state_dict(void **state)
{
    (void)state;
    static const char *const names[] = {"0.weight",
                                        "0.bias",
                                        "1.weight",
                                        "1.bias",
                                        "1.running_mean",
                                        "1.running_var",
                                        "1.num_batches_tracked"};
    static const char *const files[] = {"state_dict.pth", "rezipped.pth"};
    for (int k = 0; k < 2; k++) {
        sumi_tensor_file file = read_fixture(files[k]);
        int64_t tracked = -1;
        assert_int_equal(file.count, 7);
        assert_int_equal(file.metadata_count, 0);
        for (size_t i = 0; i < 7; i++)
            assert_string_equal(file.tensors[i].name, names[i]);
        expect_shape(&file, "0.weight", 4, 2, 3);
        expect_counted(&file, "0.weight", 18);
        for (int i = 1; i < 6; i++)
            expect_counted(&file, names[i], 2);
        assert_int_equal(file.tensors[6].rank, 0);
        assert_true(sumi_file_tensor_to_i64(&file.tensors[6], &tracked));
        assert_int_equal(tracked, 0);
        assert_null(file.copies);
        sumi_tensor_file_free(&file);
    }
}

static void test_dtypes(void **state)
{
    (void)state;
    sumi_tensor_file file = read_fixture("dtypes.pth");
    static const char *const floats[] = {"f32", "f64", "f16", "bf16"};
    int64_t wide[6];
    assert_int_equal(file.count, 8);
    for (int i = 0; i < 4; i++)
        expect_counted(&file, floats[i], 6);
    assert_true(sumi_file_tensor_to_i64(sumi_tensor_file_find(&file, "i64"), wide));
    for (int i = 0; i < 6; i++)
        assert_int_equal(wide[i], i);
    const int32_t narrow[6] = {0, 1, 2, 3, 4, 5};
    assert_memory_equal(sumi_tensor_file_find(&file, "i32")->data, narrow, sizeof narrow);
    assert_memory_equal(sumi_tensor_file_find(&file, "u8")->data, "\0\1\2\3\4\5", 6);
    assert_memory_equal(sumi_tensor_file_find(&file, "bool")->data, "\0\1\1\1\1\1", 6);
    sumi_tensor_file_free(&file);
}

static void expect_values(const sumi_tensor_file *file, const char *name, const float *values,
                          size_t count)
{
    float found[32];
    const sumi_file_tensor *tensor = sumi_tensor_file_find(file, name);
    assert_non_null(tensor);
    assert_int_equal(tensor->bytes, count * 4);
    assert_true(sumi_file_tensor_to_f32(tensor, found));
    for (size_t i = 0; i < count; i++)
        if (found[i] != values[i])
            fail_msg("%s[%zu] is %g, not %g", name, i, found[i], values[i]);
}

/* Slices share one storage; those that are not contiguous come as copies. */
static void test_views(void **state)
{
    (void)state;
    sumi_tensor_file file = read_fixture("views.pth");
    float transposed[24];
    for (int i = 0; i < 24; i++)
        transposed[i] = (float)(i % 4 * 6 + i / 4);
    expect_counted(&file, "whole", 24);
    expect_values(&file, "transposed", transposed, 24);
    expect_shape(&file, "transposed", 2, 6, 4);
    expect_values(&file, "rows", (float[]){6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}, 12);
    expect_values(&file, "columns", (float[]){2, 3, 8, 9, 14, 15, 20, 21}, 8);
    expect_values(&file, "repeated", (float[]){0, 1, 2, 0, 1, 2}, 6);
    expect_values(&file, "steps", (float[]){0, 3, 12, 15}, 4);
    assert_int_equal(sumi_tensor_file_find(&file, "empty")->bytes, 0);
    assert_int_equal(sumi_tensor_file_find(&file, "empty")->shape[1], 5);
    const uint8_t *whole = sumi_tensor_file_find(&file, "whole")->data;
    assert_ptr_equal(sumi_tensor_file_find(&file, "rows")->data, whole + 24);
    assert_non_null(file.copies);
    sumi_tensor_file_free(&file);
}

#define REFUSED ", which a file of plain tensors does not need; it was refused and nothing was run"
#define SAVE_ALONE "; save model.state_dict() alone"

static void test_refused_files(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        sumi_status status;
        const char *message;
    } cases[] = {
        {"os_system.pth", SUMI_EUNSUPPORTED,
         "f: data.pkl: byte 27: it asks for the Python object \"posix.system\"" REFUSED},
        {"module.pth", SUMI_EUNSUPPORTED,
         "f: data.pkl: byte 41: it asks for the Python object "
         "\"torch.nn.modules.container.Sequential\"" REFUSED},
        {"uint16.pth", SUMI_EUNSUPPORTED,
         "f: data.pkl: byte 46: it asks for the Python object "
         "\"torch._utils._rebuild_tensor_v3\"" REFUSED},
        {"int8.pth", SUMI_EUNSUPPORTED,
         "f: data.pkl: byte 83: tensors of the type torch.CharStorage are not supported"},
        {"protocol4.pth", SUMI_EUNSUPPORTED,
         "f: data.pkl: pickle protocol 4, but only 2, which torch.save uses unless told otherwise, "
         "is supported"},
        {"short_storage.pth", SUMI_EFORMAT,
         "f: tensor \"f32\": a storage of 6 F32, but its entry has 20 bytes"},
        {"big_endian.pth", SUMI_EUNSUPPORTED, "f: its byte order is not little-endian"},
        {"nothing.pth", SUMI_EUNSUPPORTED,
         "f: not a state_dict: \"epoch\" is an int, not a tensor" SAVE_ALONE},
        {"untyped.pth", SUMI_EUNSUPPORTED,
         "f: not a state_dict: \"w\" is a storage, not a tensor" SAVE_ALONE},
        {"list.pth", SUMI_EUNSUPPORTED,
         "f: holds a list, not a state_dict; save model.state_dict()"},
        {"int_key.pth", SUMI_EUNSUPPORTED, "f: not a state_dict: a key is an int, not a string"},
        {"compressed.pth", SUMI_EUNSUPPORTED,
         "f: entry \"state_dict/data.pkl\": it is compressed; only stored entries, as torch.save "
         "writes them, are read"},
        {"legacy.pth", SUMI_EFORMAT,
         "f: not a PyTorch .pth but a PyTorch file in the format before 1.6; load it in a newer "
         "PyTorch and save its state_dict again"},
        {"tar.pth", SUMI_EFORMAT,
         "f: not a PyTorch .pth but a tar archive; load it in a newer PyTorch and save its "
         "state_dict again"},
        {"dtypes.safetensors", SUMI_EFORMAT, "f: not a PyTorch .pth but a safetensors file"},
        {"gray8.png", SUMI_EFORMAT, "f: not a PyTorch .pth but a PNG picture"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        blob b = fixture(cases[i].name);
        sumi_tensor_file file = {.count = 77};
        sumi_error err = {""};
        expect_error(cases[i].name, sumi_pth_parse("f", b.data, b.size, &file, &err), &err,
                     cases[i].status, cases[i].message);
        assert_int_equal(file.count, 77);
        blob_free(&b);
    }
    /* TorchScript archives compress their code, which is seen first. */
    blob b = fixture("torchscript.pth");
    sumi_tensor_file file;
    assert_int_equal(sumi_pth_parse("f", b.data, b.size, &file, NULL), SUMI_EUNSUPPORTED);
    blob_free(&b);
}

/* ---- Archives made here ---------------------------------------------------------------------- */

#define START "\x80\x02"
#define STR(n, s) "X" n "\0\0\0" s
#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n"
#define STORE(type, key, count)                                                                    \
    "(" STR("\7", "storage") "ctorch\n" type "\n" STR("\1", key) STR("\3", "cpu") count "tQ"
/* A tensor of FloatStorage "0" with six elements. */
#define TENSOR(offset, shape, stride)                                                              \
    REBUILD "(" STORE("FloatStorage", "0", "K\6") offset shape stride "\x89}tR"
#define DICT1(value) START "}" STR("\1", "w") value "s."

/* An archive with this pickle and the floats 0 to 5 as storage 0. */
static blob archive(temp_folder *temp, const uint8_t *pickle, size_t size)
{
    static const float values[6] = {0, 1, 2, 3, 4, 5};
    const sumi_zip_entry entries[] = {{"m/data.pkl", pickle, size},
                                      {"m/data/0", (const uint8_t *)values, 24}};
    const char *path = temp_path(temp, "m.pth");
    sumi_file *file;
    blob out = {0};
    assert_int_equal(sumi_file_begin(path, &file, NULL), SUMI_OK);
    assert_int_equal(sumi_zip_write(file, entries, 2, SUMI_ZIP_CLASSIC_MAX, NULL), SUMI_OK);
    assert_int_equal(sumi_file_commit(file, NULL), SUMI_OK);
    assert_int_equal(sumi_file_read(path, 1 << 20, &out.data, &out.size, NULL), SUMI_OK);
    return out;
}

#define LEAVES "f: tensor \"w\": its shape, strides and offset leave its storage of 6 elements"
#define BIG "\x8a\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F"

static const struct {
    const uint8_t *pickle;
    size_t size;
    sumi_status status;
    const char *message;
} views[] = {
    {BYTES(DICT1(TENSOR("K\0", "K\2K\3\x86", "K\3K\1\x86"))), SUMI_OK, ""},
    {BYTES(DICT1(TENSOR("K\0", ")", ")"))), SUMI_OK, ""},
    {BYTES(DICT1(TENSOR("K\5", ")", ")"))), SUMI_OK, ""},
    {BYTES(DICT1(TENSOR("K\6", ")", ")"))), SUMI_EFORMAT, LEAVES},
    {BYTES(DICT1(TENSOR("K\1", "K\5\x85", "K\1\x85"))), SUMI_OK, ""},
    {BYTES(DICT1(TENSOR("K\1", "K\6\x85", "K\1\x85"))), SUMI_EFORMAT, LEAVES},
    {BYTES(DICT1(TENSOR("K\0", "K\6\x85", "K\2\x85"))), SUMI_EFORMAT, LEAVES},
    {BYTES(DICT1(TENSOR("K\0", "K\3\x85", "K\2\x85"))), SUMI_OK, ""},
    {BYTES(DICT1(TENSOR("K\1", "K\3\x85", "K\2\x85"))), SUMI_OK, ""},
    {BYTES(DICT1(TENSOR("K\2", "K\3\x85", "K\2\x85"))), SUMI_EFORMAT, LEAVES},
    {BYTES(DICT1(TENSOR("K\0", "K\1\x85", BIG "\x85"))), SUMI_OK, ""},
    {BYTES(DICT1(TENSOR("K\0", "K\2\x85", BIG "\x85"))), SUMI_EFORMAT, LEAVES},
    {BYTES(DICT1(TENSOR("K\0", "K\3\x85", BIG "\x85"))), SUMI_EFORMAT, LEAVES},
    {BYTES(DICT1(TENSOR("K\0", "K\5\x85", BIG "\x85"))), SUMI_EFORMAT, LEAVES},
    {BYTES(DICT1(TENSOR(BIG, "K\2\x85", BIG "\x85"))), SUMI_EFORMAT, LEAVES},
    {BYTES(DICT1(TENSOR(BIG, ")", ")"))), SUMI_EFORMAT, LEAVES},
    {BYTES(DICT1(TENSOR("K\0", BIG "\x85", "K\1\x85"))), SUMI_EFORMAT, LEAVES},
    {BYTES(DICT1(TENSOR("K\0", BIG BIG "\x86", "K\0K\0\x86"))), SUMI_EFORMAT, LEAVES},
    {BYTES(DICT1(TENSOR("K\6", "K\0\x85", "K\1\x85"))), SUMI_OK, ""},
    {BYTES(DICT1(TENSOR("K\7", "K\0\x85", "K\1\x85"))), SUMI_EFORMAT, LEAVES},
    {BYTES(DICT1(TENSOR("K\0", "K\0" BIG "\x86", "K\1K\1\x86"))), SUMI_OK, ""},
    {BYTES(DICT1(TENSOR("K\0", "J\0\0\0\1\x85", "K\0\x85"))), SUMI_EUNSUPPORTED,
     "f: tensor \"w\": its views repeat elements to more than the file's 488 bytes"},
    {BYTES(DICT1(REBUILD "(" STORE("FloatStorage", "1", "K\6") "K\0)"
                                                               ")\x89}tR")),
     SUMI_EFORMAT, "f: tensor \"w\": there is no storage \"1\""},
    {BYTES(DICT1(REBUILD "(" STORE("FloatStorage", "\0", "K\6") "K\0)"
                                                                ")\x89}tR")),
     SUMI_EFORMAT, "f: tensor \"w\": there is no storage \"\""},
    {BYTES(DICT1(REBUILD "(" STORE("FloatStorage", "0", "K\5") "K\0)"
                                                               ")\x89}tR")),
     SUMI_EFORMAT, "f: tensor \"w\": a storage of 5 F32, but its entry has 24 bytes"},
    {BYTES(DICT1(REBUILD "(" STORE("DoubleStorage", "0", "K\6") "K\0)"
                                                                ")\x89}tR")),
     SUMI_EFORMAT, "f: tensor \"w\": a storage of 6 F64, but its entry has 24 bytes"},
    {BYTES(DICT1(REBUILD "(" STORE("DoubleStorage", "0", "K\3") "K\0)"
                                                                ")\x89}tR")),
     SUMI_OK, ""},
    {BYTES(DICT1(REBUILD "(" STORE("FloatStorage", "0", BIG) "K\0)"
                                                             ")\x89}tR")),
     SUMI_EFORMAT,
     "f: tensor \"w\": a storage of 9223372036854775807 F32, but its entry has 24 bytes"},
    /* 2^62 + 6 floats wrap to 24 bytes. */
    {BYTES(DICT1(REBUILD "(" STORE("FloatStorage", "0", "\x8a\x08\6\0\0\0\0\0\0\x40") "K\0)"
                                                                                      ")\x89}tR")),
     SUMI_EFORMAT,
     "f: tensor \"w\": a storage of 4611686018427387910 F32, but its entry has 24 bytes"},
    {BYTES(START "}(" STR("\1", "w") TENSOR("K\0", ")", ")") STR("\1", "w")
               TENSOR("K\0", ")", ")") "u."),
     SUMI_EFORMAT, "f: two tensors have the name \"w\""},
    {BYTES(START "}" STR("\2", "w\0") TENSOR("K\0", ")", ")") "s."), SUMI_EFORMAT,
     "f: a tensor's name has a zero byte"},
    {BYTES(DICT1("}")), SUMI_EUNSUPPORTED,
     "f: not a state_dict: \"w\" is a dict, not a tensor" SAVE_ALONE},
    {BYTES(DICT1("N")), SUMI_EUNSUPPORTED,
     "f: not a state_dict: \"w\" is None, not a tensor" SAVE_ALONE},
    {BYTES(DICT1("ctorch\nFloatStorage\n")), SUMI_EUNSUPPORTED,
     "f: not a state_dict: \"w\" is a class, not a tensor" SAVE_ALONE},
    {BYTES(START "N."), SUMI_EUNSUPPORTED,
     "f: holds None, not a state_dict; save model.state_dict()"},
    {BYTES(START TENSOR("K\0", ")", ")") "."), SUMI_EUNSUPPORTED,
     "f: holds a tensor, not a state_dict; save model.state_dict()"},
    {BYTES(START "}."), SUMI_OK, ""},
    /* A dict that is its own value. */
    {BYTES(START "}q\0" STR("\1", "w") "h\0s."), SUMI_EUNSUPPORTED,
     "f: not a state_dict: \"w\" is a dict, not a tensor" SAVE_ALONE},
};

static void test_view_bounds(void **state)
{
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        blob b = archive(*state, views[i].pickle, views[i].size);
        char label[32];
        sumi_tensor_file file;
        sumi_error err = {""};
        snprintf(label, sizeof label, "%zu", i);
        expect_error(label, sumi_pth_parse("f", b.data, b.size, &file, &err), &err, views[i].status,
                     views[i].message);
        if (views[i].status == SUMI_OK) {
            /* Every byte can be read: a sanitizer watches. */
            float values[8];
            for (size_t k = 0; k < file.count; k++)
                sumi_file_tensor_to_f32(&file.tensors[k], values);
            sumi_tensor_file_free(&file);
        } else {
            blob_free(&b);
        }
    }
}

static void expect_entries(temp_folder *temp, const sumi_zip_entry *entries, size_t count,
                           sumi_status status, const char *message)
{
    const char *path = temp_path(temp, "m.pth");
    sumi_file *target;
    blob b = {0};
    sumi_tensor_file file;
    sumi_error err = {""};
    assert_int_equal(sumi_file_begin(path, &target, NULL), SUMI_OK);
    assert_int_equal(sumi_zip_write(target, entries, count, SUMI_ZIP_CLASSIC_MAX, NULL), SUMI_OK);
    assert_int_equal(sumi_file_commit(target, NULL), SUMI_OK);
    assert_int_equal(sumi_file_read(path, 1 << 25, &b.data, &b.size, NULL), SUMI_OK);
    expect_error(message, sumi_pth_parse("f", b.data, b.size, &file, &err), &err, status, message);
    if (status == SUMI_OK)
        sumi_tensor_file_free(&file);
    else
        blob_free(&b);
}

/* Dicts in a dict: "model.NAME", and which part of it the dicts are; what is no tensor is passed
 * over. Parameters are tensors. */
static void test_dicts_in_a_dict(void **state)
{
    (void)state;
    sumi_tensor_file file = read_fixture("checkpoint.pth");
    assert_int_equal(file.count, 7);
    assert_int_equal(file.tensors[0].outer, strlen("model."));
    expect_counted(&file, "model.0.weight", 18);
    sumi_tensor_file_free(&file);
    file = read_fixture("parameter.pth");
    assert_int_equal(file.count, 1);
    assert_int_equal(file.tensors[0].outer, 0);
    expect_counted(&file, "w", 2);
    sumi_tensor_file_free(&file);
}

/* A dict that holds itself, and dicts that hold each other many times over. */
static void test_knots(void **state)
{
    static const uint8_t self[] = START "}q\0X\1\0\0\0ah\0s.";
    const sumi_zip_entry knot[] = {{"m/data.pkl", self, sizeof self - 1}};
    expect_entries(*state, knot, 1, SUMI_EUNSUPPORTED,
                   "f: not a state_dict: \"a\" is a dict, not a tensor; save model.state_dict() "
                   "alone");
    /* {"z": (d1, d2, ...), "a": d20}, where each d holds the one before it fifty times. */
    blob b = blob_copy(BYTES(START "}q\0X\1\0\0\0z("));
    for (uint8_t level = 1; level <= 20; level++) {
        blob_splice(&b, b.size, 0, (const uint8_t[]){'}', 'q', level}, 3);
        for (uint8_t i = 0; i < 50 && level > 1; i++) {
            const uint8_t item[] = {'X', 1, 0, 0, 0, (uint8_t)('0' + i), 'h', (uint8_t)(level - 1),
                                    's'};
            blob_splice(&b, b.size, 0, item, sizeof item);
        }
    }
    blob_splice(&b, b.size, 0, BYTES("tsX\1\0\0\0ah\x14s."));
    const sumi_zip_entry many[] = {{"m/data.pkl", b.data, b.size}};
    expect_entries(*state, many, 1, SUMI_EUNSUPPORTED,
                   "f: not a state_dict: \"z\" is a tuple, not a tensor; save model.state_dict() "
                   "alone");
    blob_free(&b);
}

static void test_roots(void **state)
{
    static const uint8_t pickle[] = START "}.";
    char deep[600];
    memset(deep, 'r', sizeof deep);
    memcpy(deep + 512, "/data.pkl", 10);
#define PICKLE(name)                                                                               \
    {                                                                                              \
        name, pickle, sizeof pickle - 1                                                            \
    }
    const sumi_zip_entry none[] = {PICKLE("m/data.pk"), PICKLE("data.pkl"), PICKLE("m/n/data.pkl")};
    const sumi_zip_entry two[] = {PICKLE("m/data.pkl"), PICKLE("n/data.pkl")};
    const sumi_zip_entry script[] = {PICKLE("m/data.pkl"), PICKLE("m/constants.pkl")};
    const sumi_zip_entry fine[] = {PICKLE("n/data.pklx"), PICKLE("/data.pkl")};
    const sumi_zip_entry far[] = {PICKLE(deep)};
    expect_entries(*state, none, 3, SUMI_EFORMAT,
                   "f: a ZIP archive, but without the data.pkl of a PyTorch file");
    expect_entries(*state, two, 2, SUMI_EFORMAT, "f: more than one data.pkl");
    expect_entries(*state, script, 2, SUMI_EUNSUPPORTED,
                   "f: a TorchScript program, not a state_dict; save model.state_dict() with "
                   "torch.save");
    expect_entries(*state, fine, 2, SUMI_OK, "");
    expect_entries(*state, far, 1, SUMI_EUNSUPPORTED, "f: a folder name of 512 bytes");
}

/* ---- The metadata's record ------------------------------------------------------------------- */

static void test_metadata_record(void **state)
{
    static const uint8_t pickle[] = START "}.";
    static const struct {
        const char *text;
        sumi_status status;
        const char *message;
    } cases[] = {
        {"{}", SUMI_OK, ""},
        {" {\"a\": \"\", \"\": \"b\"}\n", SUMI_OK, ""},
        {"[]", SUMI_EFORMAT, "f: extra/sumi.json is not an object"},
        {"{\"sumi.timesteps\": 7}", SUMI_EFORMAT,
         "f: extra/sumi.json \"sumi.timesteps\" is not a string"},
        {"{\"a\": \"b\", \"c\": {}}", SUMI_EFORMAT, "f: extra/sumi.json \"c\" is not a string"},
        {"{\"a\": \"b\", \"a\": \"c\"}", SUMI_EFORMAT,
         "f: extra/sumi.json: line 1, column 14: duplicate object key near '\"a\"'"},
        {"{\"a\": \"b\"", SUMI_EFORMAT,
         "f: extra/sumi.json: line 1, column 9: '}' expected near end of file"},
        {"", SUMI_EFORMAT,
         "f: extra/sumi.json: line 1, column 0: '[' or '{' expected near end of file"},
        {"{\"a\": \"\\u0000\"}", SUMI_EFORMAT,
         "f: extra/sumi.json: line 1, column 14: \\u0000 is not allowed without JSON_ALLOW_NUL "
         "near '\"\\u0000\"'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const sumi_zip_entry entries[] = {
            PICKLE("m/data.pkl"),
            {"m/extra/sumi.json", (const uint8_t *)cases[i].text, strlen(cases[i].text)}};
        expect_entries(*state, entries, 2, cases[i].status, cases[i].message);
    }
    /* Of another folder, or not quite that name: another program's. */
    const sumi_zip_entry others[] = {PICKLE("m/data.pkl"), PICKLE("m/sumi.json"),
                                     PICKLE("n/extra/sumi.json"), PICKLE("m/extra/sumi.json2")};
    expect_entries(*state, others, 4, SUMI_OK, "");
    size_t size = (16 << 20) + 1;
    char *large = calloc(size, 1);
    assert_non_null(large);
    const sumi_zip_entry entries[] = {PICKLE("m/data.pkl"),
                                      {"m/extra/sumi.json", (const uint8_t *)large, size}};
    expect_entries(*state, entries, 2, SUMI_EUNSUPPORTED,
                   "f: extra/sumi.json: 16777217 bytes of JSON, at most 16777216 are allowed");
    free(large);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void test_round_trip(void **state)
{
    static const char *const names[] = {"state_dict.pth", "dtypes.pth", "views.pth"};
    for (int k = 0; k < 3; k++) {
        const char *path = temp_path(*state, "m.pth");
        sumi_tensor_file file = read_fixture(names[k]), back;
        sumi_error err = {""};
        if (sumi_pth_write(path, &file, &err) != SUMI_OK ||
            sumi_tensor_file_read(path, &back, &err) != SUMI_OK)
            fail_msg("%s", err.text);
        assert_int_equal(back.count, file.count);
        assert_null(back.copies);
        for (size_t i = 0; i < file.count; i++) {
            const sumi_file_tensor *one = &file.tensors[i], *two = &back.tensors[i];
            assert_string_equal(one->name, two->name);
            assert_int_equal(one->dtype, two->dtype);
            assert_int_equal(one->rank, two->rank);
            assert_memory_equal(one->shape, two->shape, (size_t)one->rank * sizeof one->shape[0]);
            assert_int_equal(one->bytes, two->bytes);
            if (one->bytes)
                assert_memory_equal(one->data, two->data, one->bytes);
            assert_int_equal((size_t)((const uint8_t *)two->data - (uint8_t *)back.buffer) % 64, 0);
        }
        sumi_tensor_file_free(&back);
        sumi_tensor_file_free(&file);
    }
}

static void test_write_many(void **state)
{
    enum { COUNT = 2500 };
    const char *path = temp_path(*state, "m.pth");
    static char names[COUNT][16];
    static uint8_t values[COUNT];
    sumi_file_tensor *tensors = calloc(COUNT, sizeof *tensors);
    sumi_tensor_file file = {.tensors = tensors, .count = COUNT}, back;
    assert_non_null(tensors);
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "t%d", i);
        values[i] = (uint8_t)(i % 251);
        tensors[i] = (sumi_file_tensor){names[i], SUMI_FILE_U8, 1, {1}, &values[i], 1, 0};
    }
    assert_int_equal(sumi_pth_write(path, &file, NULL), SUMI_OK);
    assert_int_equal(sumi_tensor_file_read(path, &back, NULL), SUMI_OK);
    assert_int_equal(back.count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_string_equal(back.tensors[i].name, names[i]);
        assert_int_equal(*(const uint8_t *)back.tensors[i].data, i % 251);
    }
    sumi_tensor_file_free(&back);
    file.count = 0;
    assert_int_equal(sumi_pth_write(path, &file, NULL), SUMI_OK);
    assert_int_equal(sumi_tensor_file_read(path, &back, NULL), SUMI_OK);
    assert_int_equal(back.count, 0);
    sumi_tensor_file_free(&back);
    free(tensors);
}

/* A shape whose numbers take every integer form of the pickle; no data, so no memory. */
static void test_write_large_shape(void **state)
{
    const char *path = temp_path(*state, "m.pth");
    char name[] = "w";
    sumi_file_tensor tensor = {name, SUMI_FILE_F32, 5, {0, 255, 256, 2147483647, 1}, NULL, 0, 0};
    sumi_tensor_file file = {.tensors = &tensor, .count = 1}, back;
    assert_int_equal(sumi_pth_write(path, &file, NULL), SUMI_OK);
    assert_int_equal(sumi_tensor_file_read(path, &back, NULL), SUMI_OK);
    assert_memory_equal(back.tensors[0].shape, tensor.shape, 5 * sizeof tensor.shape[0]);
    sumi_tensor_file_free(&back);
}

static void test_write_metadata(void **state)
{
    const char *path = temp_path(*state, "m.pth");
    char name[] = "w", size[] = "sumi.height", pixels[] = "28", who[] = "who \"\xe5\xa2\xa8\"\n";
    char nothing[] = "", latin[] = "\xe9";
    const float number = 3;
    sumi_file_tensor tensor = {name, SUMI_FILE_F32, 0, {0}, &number, sizeof number, 0};
    sumi_file_pair pairs[] = {{size, pixels}, {who, nothing}, {nothing, who}};
    sumi_tensor_file file = {&tensor, 1, pairs, 3, NULL, NULL}, back;
    sumi_error err = {""};
    assert_int_equal(sumi_pth_write(path, &file, NULL), SUMI_OK);
    assert_int_equal(sumi_tensor_file_read(path, &back, NULL), SUMI_OK);
    assert_int_equal(back.count, 1);
    assert_int_equal(back.metadata_count, 3);
    for (int i = 0; i < 3; i++)
        assert_string_equal(sumi_tensor_file_meta(&back, pairs[i].key), pairs[i].value);
    sumi_tensor_file_free(&back);
    pairs[1].key = size;
    expect_error("twice", sumi_pth_write("f", &file, &err), &err, SUMI_EINVAL,
                 "f: metadata \"sumi.height\" occurs twice");
    pairs[1].key = latin;
    expect_error("UTF-8", sumi_pth_write("f", &file, &err), &err, SUMI_EINVAL,
                 "f: metadata \"\\xE9\" is not UTF-8");
    /* A value may be a file's name. */
    pairs[1] = (sumi_file_pair){who, latin};
    assert_int_equal(sumi_pth_write(path, &file, NULL), SUMI_OK);
    assert_int_equal(sumi_tensor_file_read(path, &back, NULL), SUMI_OK);
    assert_string_equal(sumi_tensor_file_meta(&back, who), "\\xE9");
    sumi_tensor_file_free(&back);
    char *large = malloc((16 << 20) + 1);
    assert_non_null(large);
    memset(large, 'a', 16 << 20);
    large[16 << 20] = 0;
    pairs[0].value = large;
    file.metadata_count = 1;
    expect_error("large", sumi_pth_write("f", &file, &err), &err, SUMI_EINVAL,
                 "f: 16777234 bytes of metadata, at most 16777216 are allowed");
    free(large);
}

/* ---- Damage ---------------------------------------------------------------------------------- */

static void test_every_truncation_is_refused(void **state)
{
    (void)state;
    blob whole = fixture("dtypes.pth");
    for (size_t size = 0; size < whole.size; size++) {
        blob cut = blob_copy(whole.data, size);
        sumi_tensor_file file;
        assert_int_equal(sumi_pth_parse("f", cut.data, cut.size, &file, NULL), SUMI_EFORMAT);
        blob_free(&cut);
    }
    blob_free(&whole);
}

/* Every bit of a whole file: refused, or the tensors are what they were. */
static void test_every_bit(void **state)
{
    (void)state;
    blob whole = fixture("state_dict.pth");
    for (size_t bit = 0; bit < whole.size * 8; bit++) {
        blob b = blob_copy(whole.data, whole.size);
        sumi_tensor_file file;
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (sumi_pth_parse("f", b.data, b.size, &file, NULL) == SUMI_OK) {
            assert_int_equal(file.count, 7);
            expect_counted(&file, "0.weight", 18);
            expect_counted(&file, "1.running_var", 2);
            sumi_tensor_file_free(&file);
        } else {
            blob_free(&b);
        }
    }
    blob_free(&whole);
}

/* The pickle alone, where no CRC is in front: any flipped bit may build something else, never break
 * a bound. */
static void test_every_pickle_bit(void **state)
{
    blob whole = fixture("state_dict.pth");
    sumi_zip zip;
    assert_int_equal(sumi_zip_parse("f", whole.data, whole.size, &zip, NULL), SUMI_OK);
    const sumi_zip_entry *entry = sumi_zip_find(&zip, "state_dict/data.pkl");
    assert_non_null(entry);
    for (size_t bit = 0; bit < entry->size * 8; bit++) {
        blob b = blob_copy(entry->data, entry->size);
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        sumi_pickle pickle;
        if (sumi_pickle_parse("f", b.data, b.size, &pickle, NULL) == SUMI_OK)
            sumi_pickle_free(&pickle);
        /* The same pickle in an archive with a right CRC, for a part of the bits: it writes. */
        if (bit % 16 == 0) {
            blob a = archive(*state, b.data, b.size);
            sumi_tensor_file file;
            if (sumi_pth_parse("f", a.data, a.size, &file, NULL) == SUMI_OK)
                sumi_tensor_file_free(&file);
            else
                blob_free(&a);
        }
        blob_free(&b);
    }
    sumi_zip_free(&zip);
    blob_free(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_dict),
        cmocka_unit_test(test_dtypes),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_refused_files),
        cmocka_unit_test_setup_teardown(test_view_bounds, temp_setup, temp_teardown),
        cmocka_unit_test(test_dicts_in_a_dict),
        cmocka_unit_test_setup_teardown(test_knots, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_roots, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_round_trip, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_write_many, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_write_large_shape, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_metadata_record, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_write_metadata, temp_setup, temp_teardown),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_every_bit),
        cmocka_unit_test_setup_teardown(test_every_pickle_bit, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
