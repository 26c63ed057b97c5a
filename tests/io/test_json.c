/* JSON: refused texts, typed members, and how a file looks. */
#include <math.h>

#include "io/io_test.h"

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const uint8_t *data;
        size_t size;
        const char *message;
    } cases[] = {
        {BYTES(""), "f: line 1, column 0: '[' or '{' expected near end of file"},
        {BYTES("{\n  \"a\": 1,\n  \"a\": 2\n}"),
         "f: line 3, column 5: duplicate object key near '\"a\"'"},
        {BYTES("{\"a\": 1} x"), "f: line 1, column 10: end of file expected near 'x'"},
        {BYTES("{\"a\": \"\xFF\"}"), "f: line 1, column 7: unable to decode byte 0xff near '\"'"},
        {BYTES("{\"a\": NaN}"), "f: line 1, column 9: invalid token near 'NaN'"},
        {BYTES("7"), "f: line 1, column 1: '[' or '{' expected near '7'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *json = NULL;
        sumi_error err = {""};
        expect_error(cases[i].message,
                     sumi_json_parse("f", cases[i].data, cases[i].size, &json, &err), &err,
                     SUMI_EFORMAT, cases[i].message);
        assert_null(json);
    }
    /* Valid, but beyond what jansson or sumi takes: numbers, nesting, size. */
    json_t *json = NULL;
    sumi_error err = {""};
    expect_error("large", sumi_json_parse("f", BYTES("{\"a\": 1e999}"), &json, &err), &err,
                 SUMI_EUNSUPPORTED, "f: line 1, column 11: real number overflow near '1e999'");
    expect_error("long", sumi_json_parse("f", BYTES("[99999999999999999999]"), &json, &err), &err,
                 SUMI_EUNSUPPORTED,
                 "f: line 1, column 21: too big integer near "
                 "'99999999999999999999'");
    size_t size = (16 << 20) + 1;
    blob b = {calloc(1, size), size};
    assert_non_null(b.data);
    memset(b.data, '[', size);
    assert_int_equal(sumi_json_parse("f", b.data, 100000, &json, &err), SUMI_EUNSUPPORTED);
    expect_error("size", sumi_json_parse("f", b.data, size, &json, &err), &err, SUMI_EUNSUPPORTED,
                 "f: 16777217 bytes of JSON, at most 16777216 are allowed");
    blob_free(&b);
    assert_int_equal(sumi_json_read("/no/such/file.json", &json, NULL), SUMI_EIO);
}

static void test_members(void **state)
{
    (void)state;
    static const char text[] = "{\"i\": 5, \"r\": 0.5, \"s\": \"x\", \"b\": true, \"n\": null, "
                               "\"o\": {}, \"a\": [], \"big\": 9007199254740993}";
    json_t *json;
    int64_t integer = -1;
    double real = -1;
    const char *string = NULL;
    sumi_error err = {""};
    assert_int_equal(sumi_json_parse("f", (const uint8_t *)text, strlen(text), &json, &err),
                     SUMI_OK);
    assert_int_equal(sumi_json_int("f", json, "i", 5, 5, &integer, &err), SUMI_OK);
    assert_int_equal(integer, 5);
    assert_int_equal(sumi_json_int("f", json, "big", 0, INT64_MAX, &integer, &err), SUMI_OK);
    assert_true(integer == 9007199254740993);
    assert_int_equal(sumi_json_real("f", json, "r", 0.5, 0.5, &real, &err), SUMI_OK);
    assert_true(real == 0.5);
    assert_int_equal(sumi_json_real("f", json, "i", 0, 10, &real, &err), SUMI_OK);
    assert_true(real == 5);
    assert_int_equal(sumi_json_string("f", json, "s", &string, &err), SUMI_OK);
    assert_string_equal(string, "x");
    expect_error("low", sumi_json_int("f", json, "i", 6, 9, &integer, &err), &err, SUMI_EFORMAT,
                 "f: \"i\": expected 6 to 9, found 5");
    expect_error("high", sumi_json_int("f", json, "i", -2, 4, &integer, &err), &err, SUMI_EFORMAT,
                 "f: \"i\": expected -2 to 4, found 5");
    expect_error("real", sumi_json_real("f", json, "r", 0, 0.25, &real, &err), &err, SUMI_EFORMAT,
                 "f: \"r\": expected 0 to 0.25, found 0.5");
    static const struct {
        const char *key, *found;
    } others[] = {{"r", "a number with a fraction"},
                  {"s", "a string"},
                  {"b", "a truth value"},
                  {"n", "null"},
                  {"o", "an object"},
                  {"a", "an array"},
                  {"none", "nothing"}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        char message[128];
        snprintf(message, sizeof message, "f: \"%s\": expected a whole number, found %s",
                 others[i].key, others[i].found);
        expect_error(message, sumi_json_int("f", json, others[i].key, 0, 9, &integer, &err), &err,
                     SUMI_EFORMAT, message);
    }
    expect_error("string", sumi_json_string("f", json, "i", &string, &err), &err, SUMI_EFORMAT,
                 "f: \"i\": expected a string, found a whole number");
    expect_error("number", sumi_json_real("f", json, "s", 0, 1, &real, &err), &err, SUMI_EFORMAT,
                 "f: \"s\": expected a number, found a string");
    expect_error("array", sumi_json_int("f", json_object_get(json, "a"), "i", 0, 1, &integer, &err),
                 &err, SUMI_EFORMAT, "f: \"i\": expected a whole number, found nothing");
    json_decref(json);
}

static void test_round_trip(void **state)
{
    const char *path = temp_path(*state, "a.json");
    json_t *json = json_pack("{s:i, s:s, s:[f, b], s:{}}", "z", 1, "a", "caf\xC3\xA9", "list",
                             0.001, 1, "empty"),
           *back;
    blob b = {0};
    assert_non_null(json);
    assert_int_equal(sumi_json_write(path, json, NULL), SUMI_OK);
    assert_int_equal(sumi_file_read(path, 4096, &b.data, &b.size, NULL), SUMI_OK);
    assert_string_equal((char *)b.data, "{\n  \"z\": 1,\n  \"a\": \"caf\xC3\xA9\",\n  \"list\": [\n"
                                        "    0.001,\n    true\n  ],\n  \"empty\": {}\n}\n");
    blob_free(&b);
    assert_int_equal(sumi_json_read(path, &back, NULL), SUMI_OK);
    assert_true(json_equal(json, back));
    json_decref(back);
    json_decref(json);
    sumi_error err = {""};
    expect_error("NULL", sumi_json_write("f", NULL, &err), &err, SUMI_EINVAL,
                 "f: there is no value to write");
}

/* Numbers are as short as can be, and still the same to the last bit. */
static void test_reals(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0.3, "[\n  0.3\n]\n"},
        {0.0003, "[\n  0.0003\n]\n"},
        {1, "[\n  1.0\n]\n"},
        {1e-30, "[\n  1e-30\n]\n"},
        {0.1 + 0.2, "[\n  0.30000000000000004\n]\n"},
        {5e-324, "[\n  4.94065645841247e-324\n]\n"},
        {1.7976931348623157e308, "[\n  1.7976931348623157e308\n]\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = temp_path(*state, "a.json");
        json_t *json = json_pack("[f]", cases[i].value), *back;
        blob b = {0};
        assert_non_null(json);
        assert_int_equal(sumi_json_write(path, json, NULL), SUMI_OK);
        assert_int_equal(sumi_file_read(path, 4096, &b.data, &b.size, NULL), SUMI_OK);
        assert_string_equal((char *)b.data, cases[i].text);
        assert_int_equal(sumi_json_read(path, &back, NULL), SUMI_OK);
        assert_true(json_real_value(json_array_get(back, 0)) == cases[i].value);
        json_decref(back);
        json_decref(json);
        blob_free(&b);
    }
}

/* In one line, in the order in which it was made, whatever the locale. */
static void test_compact(void **state)
{
    (void)state;
    json_t *json = json_pack("{s:f, s:[i, n, b]}", "z", .1, "a", 7, 1);
    char *text = sumi_json_compact(json);
    assert_string_equal(text, "{\"z\":0.1,\"a\":[7,null,true]}");
    free(text);
    json_decref(json);
    assert_null(sumi_json_compact(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_compact),
        cmocka_unit_test_setup_teardown(test_round_trip, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_reals, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
