/* The unpickler: what it builds, and a table of programs that it stops, each with its message. */
#include "io/io_test.h"
#include "io/pickle.h"

#define START "\x80\x02"
#define DICT "ccollections\nOrderedDict\n"
#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n"
#define FLOATS "ctorch\nFloatStorage\n"
#define STR(n, s) "X" n "\0\0\0" s
/* ("storage", FloatStorage, "0", "cpu", 6) as a storage */
#define STORAGE "(" STR("\7", "storage") FLOATS STR("\1", "0") STR("\3", "cpu") "K\6tQ"
/* The arguments of a tensor of 2 x 3 behind its storage and offset. */
#define REST                                                                                       \
    "K\2K\3\x86"                                                                                   \
    "K\3K\1\x86"                                                                                   \
    "\x89" DICT ")R"

typedef struct {
    const uint8_t *data;
    size_t size;
    sumi_status status;
    const char *message;
} program;

#define EMPTY "takes from an empty stack"
#define CUT "it ends in the middle of an operation"
#define TENSOR "a tensor's description has wrong kinds of values"
#define STORES "a storage's description has wrong kinds of values"

static const program programs[] = {
    /* Not a pickle, or not this protocol. */
    {BYTES(""), SUMI_EFORMAT, "p: byte 0: it is not a pickle"},
    {BYTES("\x80"), SUMI_EFORMAT, "p: byte 0: it is not a pickle"},
    {BYTES("}."), SUMI_EFORMAT, "p: byte 0: it is not a pickle"},
    {BYTES("\x80\x04}."), SUMI_EUNSUPPORTED,
     "p: pickle protocol 4, but only 2, which torch.save uses unless told otherwise, is supported"},
    {BYTES("\x80\0}."), SUMI_EUNSUPPORTED,
     "p: pickle protocol 0, but only 2, which torch.save uses unless told otherwise, is supported"},
    /* Endings. */
    {BYTES(START), SUMI_EFORMAT, "p: byte 2: " CUT},
    {BYTES(START "}"), SUMI_EFORMAT, "p: byte 3: " CUT},
    {BYTES(START "."), SUMI_EFORMAT, "p: byte 3: it does not end with one value"},
    {BYTES(START "NN."), SUMI_EFORMAT, "p: byte 5: it does not end with one value"},
    {BYTES(START "N(."), SUMI_EFORMAT, "p: byte 5: it does not end with one value"},
    {BYTES(START "(N."), SUMI_EFORMAT, "p: byte 5: it does not end with one value"},
    {BYTES(START "N.N"), SUMI_EFORMAT, "p: byte 4: more follows behind its end"},
    /* Operations that torch.save does not write. */
    {BYTES(START "\x93."), SUMI_EUNSUPPORTED,
     "p: byte 2: operation 0x93 is not one that torch.save writes"},
    {BYTES(START "\x8c\1a\x8c\1b\x93."), SUMI_EUNSUPPORTED,
     "p: byte 2: operation 0x8C is not one that torch.save writes"},
    {BYTES(START "N0."), SUMI_EUNSUPPORTED,
     "p: byte 3: operation 0x30 is not one that torch.save writes"},
    {BYTES(START "I1\n."), SUMI_EUNSUPPORTED,
     "p: byte 2: operation 0x49 is not one that torch.save writes"},
    {BYTES(START "P1\n."), SUMI_EUNSUPPORTED,
     "p: byte 2: operation 0x50 is not one that torch.save writes"},
    {BYTES(START "(ios\nsystem\n."), SUMI_EUNSUPPORTED,
     "p: byte 3: operation 0x69 is not one that torch.save writes"},
    {BYTES(START "(o."), SUMI_EUNSUPPORTED,
     "p: byte 3: operation 0x6F is not one that torch.save writes"},
    {BYTES(START "\x82\1."), SUMI_EUNSUPPORTED,
     "p: byte 2: operation 0x82 is not one that torch.save writes"},
    {BYTES(START "\0."), SUMI_EUNSUPPORTED,
     "p: byte 2: operation 0x00 is not one that torch.save writes"},
    /* Parameters that are none. */
    {BYTES(START "ctorch._utils\n_rebuild_parameter\n(N\x89NtR."), SUMI_EFORMAT,
     "p: byte 41: a parameter that is no tensor"},
    {BYTES(START "ctorch._utils\n_rebuild_parameter\n(tR."), SUMI_EFORMAT,
     "p: byte 38: a parameter that is no tensor"},
    {BYTES(START "ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nTensor\nNNNtR."), SUMI_EFORMAT,
     "p: byte 59: a tensor of a type that is none"},
    /* Foreign names. */
    {BYTES(START "cos\nsystem\n" STR("\2", "id") "\x85R."), SUMI_EUNSUPPORTED,
     "p: byte 13: it asks for the Python object \"os.system\", which a file of plain tensors does "
     "not need; it was refused and nothing was run"},
    {BYTES(START "c__builtin__\neval\n."), SUMI_EUNSUPPORTED,
     "p: byte 20: it asks for the Python object \"__builtin__.eval\", which a file of plain "
     "tensors does not need; it was refused and nothing was run"},
    {BYTES(START "ccollections\nOrderedDict.x\n."), SUMI_EUNSUPPORTED,
     "p: byte 29: it asks for the Python object \"collections.OrderedDict.x\", which a file of "
     "plain tensors does not need; it was refused and nothing was run"},
    {BYTES(START "ctorch\nCharStorage\n."), SUMI_EUNSUPPORTED,
     "p: byte 21: tensors of the type torch.CharStorage are not supported"},
    {BYTES(START "c\n\n."), SUMI_EUNSUPPORTED,
     "p: byte 5: it asks for the Python object \".\", which a file of plain tensors does not need; "
     "it was refused and nothing was run"},
    {BYTES(START "cos\nsyst\33[2Jem\n."), SUMI_EUNSUPPORTED,
     "p: byte 17: it asks for the Python object \"os.syst?[2Jem\", which a file of plain tensors "
     "does not need; it was refused and nothing was run"},
    {BYTES(START "cos"), SUMI_EFORMAT, "p: byte 3: it ends in the middle of a name"},
    {BYTES(START "cos\nsystem"), SUMI_EFORMAT, "p: byte 6: it ends in the middle of a name"},
    {BYTES(START "c\xFF\nx\n."), SUMI_EFORMAT, "p: byte 3: a name that is not UTF-8"},
    /* Operands that are cut off or too large. */
    {BYTES(START "K"), SUMI_EFORMAT, "p: byte 3: " CUT},
    {BYTES(START "M\1"), SUMI_EFORMAT, "p: byte 3: " CUT},
    {BYTES(START "J\1\0\0"), SUMI_EFORMAT, "p: byte 3: " CUT},
    {BYTES(START "G\0\0\0\0"), SUMI_EFORMAT, "p: byte 3: " CUT},
    {BYTES(START "\x8a"), SUMI_EFORMAT, "p: byte 3: " CUT},
    {BYTES(START "\x8a\2\1"), SUMI_EFORMAT, "p: byte 4: " CUT},
    {BYTES(START "\x8a\x09\0\0\0\0\0\0\0\0\1."), SUMI_EUNSUPPORTED,
     "p: byte 13: a whole number of more than 64 bits"},
    {BYTES(START "X\2\0\0\0a"), SUMI_EFORMAT, "p: byte 7: " CUT},
    {BYTES(START "X\xFF\xFF\xFF\xFF"
                 "a"),
     SUMI_EUNSUPPORTED, "p: byte 7: a string that is too long"},
    {BYTES(START "U\5a"), SUMI_EFORMAT, "p: byte 4: " CUT},
    {BYTES(START "X\1\0\0\0\xFF."), SUMI_EFORMAT, "p: byte 8: a string that is not UTF-8"},
    {BYTES(START "X\3\0\0\0\xED\xA0\x80."), SUMI_EFORMAT, "p: byte 10: a string that is not UTF-8"},
    /* The stack and the marks. */
    {BYTES(START "t."), SUMI_EFORMAT, "p: byte 3: goes back to a mark that is not there"},
    {BYTES(START "}u."), SUMI_EFORMAT, "p: byte 4: goes back to a mark that is not there"},
    {BYTES(START "\x85."), SUMI_EFORMAT, "p: byte 3: " EMPTY},
    {BYTES(START "N\x86."), SUMI_EFORMAT, "p: byte 4: " EMPTY},
    {BYTES(START "NN(N\x87."), SUMI_EFORMAT, "p: byte 7: " EMPTY},
    {BYTES(START "N(a."), SUMI_EFORMAT, "p: byte 5: " EMPTY},
    {BYTES(START "Na."), SUMI_EFORMAT, "p: byte 4: " EMPTY},
    {BYTES(START "](N(e."), SUMI_EFORMAT, "p: byte 7: puts items into None instead of a list"},
    {BYTES(START "R."), SUMI_EFORMAT, "p: byte 3: " EMPTY},
    {BYTES(START ")R."), SUMI_EFORMAT, "p: byte 4: " EMPTY},
    {BYTES(START "Q."), SUMI_EFORMAT, "p: byte 3: " EMPTY},
    {BYTES(START "b."), SUMI_EFORMAT, "p: byte 3: " EMPTY},
    {BYTES(START "}b."), SUMI_EFORMAT, "p: byte 4: " EMPTY},
    /* Items for the wrong container: CVE-2026-24747 began like this. */
    {BYTES(START "NNNs."), SUMI_EFORMAT, "p: byte 6: puts items into None instead of a dict"},
    {BYTES(START "]NNs."), SUMI_EFORMAT, "p: byte 6: puts items into a list instead of a dict"},
    {BYTES(START "}Na."), SUMI_EFORMAT, "p: byte 5: puts items into a dict instead of a list"},
    {BYTES(START ")(NNu."), SUMI_EFORMAT, "p: byte 7: puts items into a tuple instead of a dict"},
    {BYTES(START STORAGE "NNs."), SUMI_EFORMAT,
     "p: byte 56: puts items into a storage instead of a dict"},
    {BYTES(START DICT "NNs."), SUMI_EFORMAT,
     "p: byte 30: puts items into a class instead of a dict"},
    {BYTES(START "X\0\0\0\0}b."), SUMI_EFORMAT,
     "p: byte 9: puts items into a string instead of a dict"},
    {BYTES(START "}(NNNu."), SUMI_EFORMAT, "p: byte 8: a key without a value"},
    {BYTES(START "})b."), SUMI_EFORMAT, "p: byte 5: attributes that are not a dict"},
    /* The memo. */
    {BYTES(START "h\0."), SUMI_EFORMAT, "p: byte 4: recalls a value that it never remembered"},
    {BYTES(START "Nq\0h\1."), SUMI_EFORMAT, "p: byte 7: recalls a value that it never remembered"},
    {BYTES(START "Nj\0\0\0\1."), SUMI_EFORMAT,
     "p: byte 8: recalls a value that it never remembered"},
    {BYTES(START "q\0."), SUMI_EFORMAT, "p: byte 4: remembers a value that is not there"},
    {BYTES(START "Nq\1."), SUMI_EFORMAT, "p: byte 5: remembers values out of order"},
    {BYTES(START "Nr\xFF\xFF\xFF\xFF."), SUMI_EFORMAT, "p: byte 8: remembers values out of order"},
    /* Calls. */
    {BYTES(START "N)R."), SUMI_EFORMAT, "p: byte 5: calls something that is not a function"},
    {BYTES(START "K\1)R."), SUMI_EFORMAT, "p: byte 6: calls something that is not a function"},
    {BYTES(START DICT "NR."), SUMI_EFORMAT, "p: byte 29: calls something that is not a function"},
    {BYTES(START FLOATS ")R."), SUMI_EFORMAT, "p: byte 24: calls something that is not a function"},
    {BYTES(START DICT "]\x85R."), SUMI_EUNSUPPORTED,
     "p: byte 30: an OrderedDict in the form of Python 2"},
    /* Storages. */
    {BYTES(START STR("\1", "0") "Q."), SUMI_EFORMAT,
     "p: byte 9: a storage that is not described by five values"},
    {BYTES(START "(" STR("\7", "storage") FLOATS STR("\1", "0") STR("\3", "cpu") "tQ."),
     SUMI_EFORMAT, "p: byte 51: a storage that is not described by five values"},
    {BYTES(START "(" STR("\7", "module!") FLOATS STR("\1", "0") STR("\3", "cpu") "K\6tQ."),
     SUMI_EFORMAT, "p: byte 53: " STORES},
    {BYTES(START "(" STR("\7", "storage") DICT STR("\1", "0") STR("\3", "cpu") "K\6tQ."),
     SUMI_EFORMAT, "p: byte 58: " STORES},
    {BYTES(START "(" STR("\7", "storage") "K\2" STR("\1", "0") STR("\3", "cpu") "K\6tQ."),
     SUMI_EFORMAT, "p: byte 35: " STORES},
    {BYTES(START "(" STR("\7", "storage") FLOATS "K\0" STR("\3", "cpu") "K\6tQ."), SUMI_EFORMAT,
     "p: byte 49: " STORES},
    {BYTES(START "(" STR("\7", "storage") FLOATS STR("\1", "0") "NK\6tQ."), SUMI_EFORMAT,
     "p: byte 46: " STORES},
    {BYTES(START "(" STR("\7", "storage") FLOATS STR("\1", "0") STR("\3", "cpu") "J\xFF\xFF\xFF\xFF"
                                                                                 "tQ."),
     SUMI_EFORMAT, "p: byte 56: " STORES},
    {BYTES(START "(" STR("\7", "storage") FLOATS STR("\1", "0") STR("\3", "cpu") "NtQ."),
     SUMI_EFORMAT, "p: byte 52: " STORES},
    /* Tensors. */
    {BYTES(START REBUILD ")R."), SUMI_EFORMAT,
     "p: byte 37: a tensor that is not described by six or seven values"},
    {BYTES(START REBUILD "(" STORAGE "K\0" REST "NNtR."), SUMI_EFORMAT,
     "p: byte 131: a tensor that is not described by six or seven values"},
    {BYTES(START REBUILD "(NK\0" REST "tR."), SUMI_EFORMAT, "p: byte 79: " TENSOR},
    {BYTES(START REBUILD "(" STORAGE "N" REST "tR."), SUMI_EFORMAT, "p: byte 128: " TENSOR},
    {BYTES(START REBUILD "(" STORAGE "J\xFF\xFF\xFF\xFF" REST "tR."), SUMI_EFORMAT,
     "p: byte 132: " TENSOR},
    {BYTES(START REBUILD "(" STORAGE "K\0]K\1\x85\x89" DICT ")RtR."), SUMI_EFORMAT,
     "p: byte 123: " TENSOR},
    {BYTES(START REBUILD "(" STORAGE "K\0K\6\x85]\x89" DICT ")RtR."), SUMI_EFORMAT,
     "p: byte 123: " TENSOR},
    {BYTES(START REBUILD "(" STORAGE "K\0K\2K\3\x86K\1\x85\x89" DICT ")RtR."), SUMI_EFORMAT,
     "p: byte 127: " TENSOR},
    {BYTES(START REBUILD "(" STORAGE "K\0N\x85K\1\x85\x89" DICT ")RtR."), SUMI_EFORMAT,
     "p: byte 124: " TENSOR},
    {BYTES(START REBUILD "(" STORAGE "K\0J\xFF\xFF\xFF\xFF\x85K\1\x85\x89" DICT ")RtR."),
     SUMI_EFORMAT, "p: byte 128: " TENSOR},
    {BYTES(START REBUILD "(" STORAGE "K\0K\6\x85J\xFF\xFF\xFF\xFF\x85\x89" DICT ")RtR."),
     SUMI_EFORMAT, "p: byte 128: " TENSOR},
    {BYTES(START REBUILD "(" STORAGE "K\0K\6\x85K\1\x85K\0" DICT ")RtR."), SUMI_EFORMAT,
     "p: byte 126: " TENSOR},
    {BYTES(START REBUILD "(" STORAGE "K\0K\6\x85K\1\x85\x89NtR."), SUMI_EFORMAT,
     "p: byte 99: " TENSOR},
    {BYTES(START REBUILD "(" STORAGE "K\0K\6\x85K\1\x85\x89}NNstR."), SUMI_EFORMAT,
     "p: byte 102: " TENSOR},
    {BYTES(START REBUILD "(" STORAGE "K\0"
                         "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t(K\1K\1K\1K\1K\1K\1K\1K\1K\1t\x89}tR."),
     SUMI_EUNSUPPORTED, "p: byte 133: a tensor of more than 8 dimensions"},
};

static void test_stopped_programs(void **state)
{
    (void)state;
    assert_true(sizeof programs / sizeof programs[0] >= 60);
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        /* An exact copy, so that a sanitizer sees a read past its end. */
        uint8_t *data = malloc(programs[i].size ? programs[i].size : 1);
        char label[32];
        sumi_pickle pickle;
        sumi_error err = {""};
        assert_non_null(data);
        memcpy(data, programs[i].data, programs[i].size);
        snprintf(label, sizeof label, "%zu", i);
        expect_error(label, sumi_pickle_parse("p", data, programs[i].size, &pickle, &err), &err,
                     programs[i].status, programs[i].message);
        free(data);
    }
}

static sumi_pickle parse(const uint8_t *data, size_t size)
{
    sumi_pickle pickle;
    sumi_error err = {""};
    if (sumi_pickle_parse("p", data, size, &pickle, &err) != SUMI_OK)
        fail_msg("%s", err.text);
    return pickle;
}

static const sumi_pickle_value *root(const sumi_pickle *p)
{
    return &p->values[p->root];
}

static const sumi_pickle_value *item(const sumi_pickle *p, const sumi_pickle_value *v, uint32_t i)
{
    assert_true(i < v->as.list.count);
    return &p->values[v->as.list.items[i]];
}

static void test_constants(void **state)
{
    (void)state;
    sumi_pickle p = parse(BYTES(START "(N\x88\x89K\xFFM\xFF\xFFJ\xFE\xFF\xFF\xFF"
                                      "\x8a\0\x8a\1\x80\x8a\5\0\0\0\0\1"
                                      "\x8a\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F"
                                      "G\xBF\xF8\0\0\0\0\0\0X\2\0\0\0\xC3\xA9U\2hi)t."));
    static const struct {
        sumi_pickle_kind kind;
        int64_t integer;
    } expected[] = {{SUMI_PICKLE_NONE, 0},         {SUMI_PICKLE_BOOL, 1},
                    {SUMI_PICKLE_BOOL, 0},         {SUMI_PICKLE_INT, 255},
                    {SUMI_PICKLE_INT, 65535},      {SUMI_PICKLE_INT, -2},
                    {SUMI_PICKLE_INT, 0},          {SUMI_PICKLE_INT, -128},
                    {SUMI_PICKLE_INT, 4294967296}, {SUMI_PICKLE_INT, INT64_MAX}};
    assert_int_equal(root(&p)->kind, SUMI_PICKLE_TUPLE);
    assert_int_equal(root(&p)->as.list.count, 14);
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(item(&p, root(&p), i)->kind, expected[i].kind);
        if (i)
            assert_int_equal(item(&p, root(&p), i)->as.integer, expected[i].integer);
    }
    assert_true(item(&p, root(&p), 10)->as.real == -1.5);
    assert_memory_equal(item(&p, root(&p), 11)->as.string.text, "\xC3\xA9", 2);
    assert_memory_equal(item(&p, root(&p), 12)->as.string.text, "hi", 2);
    assert_int_equal(item(&p, root(&p), 13)->as.list.count, 0);
    sumi_pickle_free(&p);
}

static void test_containers(void **state)
{
    (void)state;
    /* {1: [2, 3, 4], 5: (6,), 7: (8, 9)} with every way of adding items. */
    sumi_pickle p = parse(BYTES(START "}K\1]K\2a(K\3K\4es(K\5K\6\x85K\7K\x08K\x09\x86u."));
    assert_int_equal(root(&p)->kind, SUMI_PICKLE_DICT);
    assert_int_equal(root(&p)->as.list.count, 6);
    const sumi_pickle_value *list = item(&p, root(&p), 1);
    assert_int_equal(list->kind, SUMI_PICKLE_LIST);
    assert_int_equal(list->as.list.count, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(item(&p, list, i)->as.integer, 2 + i);
    assert_int_equal(item(&p, item(&p, root(&p), 3), 0)->as.integer, 6);
    assert_int_equal(item(&p, item(&p, root(&p), 5), 1)->as.integer, 9);
    sumi_pickle_free(&p);
    /* A list that holds itself, and one value recalled from both kinds of slot. */
    p = parse(BYTES(START "]q\0h\0aj\0\0\0\0a."));
    assert_int_equal(root(&p)->as.list.count, 2);
    assert_ptr_equal(item(&p, root(&p), 0), root(&p));
    sumi_pickle_free(&p);
    /* A slot may be written again. */
    p = parse(BYTES(START "(K\1q\0K\2r\0\0\0\0h\0t."));
    assert_int_equal(item(&p, root(&p), 2)->as.integer, 2);
    sumi_pickle_free(&p);
    /* Attributes of a state_dict are dropped. */
    p = parse(BYTES(START DICT ")R}" STR("\1", "x") "K\1sb."));
    assert_int_equal(root(&p)->kind, SUMI_PICKLE_DICT);
    assert_int_equal(root(&p)->as.list.count, 0);
    sumi_pickle_free(&p);
}

static void test_tensor(void **state)
{
    (void)state;
    static const uint8_t with_metadata[] = START REBUILD "(" STORAGE "K\1" REST "}tR.";
    sumi_pickle p = parse(with_metadata, sizeof with_metadata - 1);
    sumi_pickle_tensor tensor;
    assert_int_equal(root(&p)->kind, SUMI_PICKLE_TENSOR);
    sumi_pickle_get_tensor(&p, p.root, &tensor);
    assert_int_equal(tensor.dtype, SUMI_FILE_F32);
    assert_memory_equal(tensor.key.text, "0", 1);
    assert_int_equal(tensor.key.size, 1);
    assert_int_equal(tensor.storage_count, 6);
    assert_int_equal(tensor.offset, 1);
    assert_int_equal(tensor.rank, 2);
    assert_int_equal(tensor.shape[0], 2);
    assert_int_equal(tensor.shape[1], 3);
    assert_int_equal(tensor.stride[0], 3);
    assert_int_equal(tensor.stride[1], 1);
    sumi_pickle_free(&p);
}

static void test_storage_names(void **state)
{
    (void)state;
    static const char *const names[] = {
        [SUMI_FILE_F32] = "FloatStorage", [SUMI_FILE_F64] = "DoubleStorage",
        [SUMI_FILE_F16] = "HalfStorage",  [SUMI_FILE_BF16] = "BFloat16Storage",
        [SUMI_FILE_I64] = "LongStorage",  [SUMI_FILE_I32] = "IntStorage",
        [SUMI_FILE_U8] = "ByteStorage",   [SUMI_FILE_BOOL] = "BoolStorage"};
    for (int i = SUMI_FILE_F32; i <= SUMI_FILE_BOOL; i++)
        assert_string_equal(sumi_pickle_storage_name((sumi_file_dtype)i), names[i]);
    assert_null(sumi_pickle_storage_name((sumi_file_dtype)99));
}

/* A start, then `count` times the same bytes. */
static void expect_repeated(const char *start, const char *unit, size_t unit_size, size_t count,
                            sumi_status status, const char *message)
{
    sumi_text text = {0};
    sumi_pickle pickle;
    sumi_error err = {""};
    sumi_text_puts(&text, start);
    for (size_t i = 0; i < count; i++)
        sumi_text_add(&text, unit, unit_size);
    assert_false(text.failed);
    expect_error(message,
                 sumi_pickle_parse("p", (const uint8_t *)text.data, text.size, &pickle, &err), &err,
                 status, message);
    sumi_text_free(&text);
}

static void test_limits(void **state)
{
    (void)state;
    expect_repeated(START, "(", 1, 65, SUMI_EUNSUPPORTED,
                    "p: byte 67: values are nested too deeply");
    expect_repeated(START, "(", 1, 64, SUMI_EFORMAT, "p: byte 66: " CUT);
    expect_repeated(START, "N", 1, (1 << 20) + 1, SUMI_EUNSUPPORTED,
                    "p: byte 1048579: the stack grows too high");
    expect_repeated(START "]", "Na", 2, 2000001, SUMI_EUNSUPPORTED,
                    "p: byte 4000001: it has more than 4 million operations");
    expect_repeated(START, "q", 1, 64 << 20, SUMI_EUNSUPPORTED,
                    "p: byte 0: it is larger than 64 MiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stopped_programs), cmocka_unit_test(test_constants),
        cmocka_unit_test(test_containers),       cmocka_unit_test(test_tensor),
        cmocka_unit_test(test_storage_names),    cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
