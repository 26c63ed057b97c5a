/* The flat TOML that files of options are written in: what is read, and what is refused why. */
#include "io_test.h"

static json_t *parse(const char *text)
{
    json_t *json = NULL;
    sumi_error err = {""};
    if (sumi_toml_parse("f.toml", (const uint8_t *)text, strlen(text), &json, &err) != SUMI_OK)
        fail_msg("%s: %s", text, err.text);
    return json;
}

static void expect(const char *text, const char *compact)
{
    json_t *json = parse(text);
    char *found = json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9));
    assert_string_equal(found, compact);
    free(found);
    json_decref(json);
}

static void test_what_is_read(void **state)
{
    (void)state;
    expect("", "{}");
    expect("\xEF\xBB\xBF# nothing\n\n  \t\r\n", "{}");
    expect("a = 1\nb=-2 # two\nc-d_e = +3_000", "{\"a\":1,\"b\":-2,\"c-d_e\":3000}");
    expect("x = 1.5\r\ny = 2e3\nz = -0.5E-1\n", "{\"x\":1.5,\"y\":2000.0,\"z\":-0.05}");
    expect("a = 0\nb = 0.5\nc = -0", "{\"a\":0,\"b\":0.5,\"c\":0}");
    expect("a = 'x\ty'", "{\"a\":\"x\\ty\"}");
    expect("a = true\nb = false", "{\"a\":true,\"b\":false}");
    expect("a = \"x # y\" # z\nb = 'C:\\x'", "{\"a\":\"x # y\",\"b\":\"C:\\\\x\"}");
    expect("a = \"\\b\\t\\n\\f\\r\\\"\\\\\"", "{\"a\":\"\\b\\t\\n\\f\\r\\\"\\\\\"}");
    expect("a = \"\\u00e9\\U0001F600\\u20AC~\"", "{\"a\":\"\\u00E9\\uD83D\\uDE00\\u20AC~\"}");
    expect("a = \"\\u0041\\u007e\\u00AB\"\r\n#\t\r", "{\"a\":\"A~\\u00AB\"}");
    expect("a = \"\xC3\xA9\"\nb = ''", "{\"a\":\"\\u00E9\",\"b\":\"\"}");
    expect("a = [1, 2,2 ]\nb = []\nc = [ # one\n 'x',\n\n \"y\", # two\n]\n",
           "{\"a\":[1,2,2],\"b\":[],\"c\":[\"x\",\"y\"]}");
    expect("a = 9223372036854775807\nb = -9223372036854775808",
           "{\"a\":9223372036854775807,\"b\":-9223372036854775808}");
}

/* Numbers of up to 63 characters are read, and no byte of a longer one. */
static void test_long_numbers(void **state)
{
    (void)state;
    for (int length = 60; length <= 66; length++) {
        char text[96] = "a = 0.";
        json_t *json = NULL;
        sumi_error err = {""};
        memset(text + 6, '0', (size_t)length - 3);
        memcpy(text + 6 + length - 3, "5", 2);
        sumi_status status =
            sumi_toml_parse("f.toml", (const uint8_t *)text, strlen(text), &json, &err);
        assert_int_equal(status, length <= 63 ? SUMI_OK : SUMI_EFORMAT);
        if (status != SUMI_OK)
            assert_non_null(strstr(err.text, "line 1: expected a value"));
        json_decref(json);
    }
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"a", "line 1: expected ="},
        {"= 1", "with a key of letters"},
        {"a = ", "line 1: expected a value"},
        {"a = 1 b = 2", "line 1: expected the end of the line"},
        {"a = 1\nb = x", "line 2: expected a value"},
        {"a = 1\n\na = 2", "line 3: a is there twice"},
        {"[train]\na = 1", "tables ([name]) are not read"},
        {"train.a = 1", "dotted keys are not read"},
        {"\"a\" = 1", "with a key of letters"},
        {"a = \"\"\"x\"\"\"", "over several lines"},
        {"a = '''x'''", "over several lines"},
        {"a = \"x", "a string without an end"},
        {"a = 'x\n'", "a string without an end"},
        {"a = \"\\q\"", "an unknown escape"},
        {"a = \"\\", "an unknown escape"},
        {"a = \"\\u12\"", "hexadecimal"},
        {"a = \"\\uD800\"", "is no character"},
        {"a = \"\\u0000\"", "is no character"},
        {"a = \"\\UFFFFFFFF\"", "is no character"},
        {"a = \"\x01\"", "a control character in a string"},
        {"a = 1 # \x02", "a control character in a comment"},
        {"a = 1\rb = 2", "expected the end of the line"},
        {"a = 012", "expected a value"},
        {"a = 1__0", "expected a value"},
        {"a = _1", "expected a value"},
        {"a = 1.", "expected a value"},
        {"a = .5", "expected a value"},
        {"a = +-1", "expected a value"},
        {"a = -", "expected a value"},
        {"a = -x", "expected a value"},
        {"a = 1\r", "expected the end of the line"},
        {"-", "line 1: expected ="},
        {"a = [1,", "expected a value"},
        {"a = [", "expected a value"},
        {"a = [ # x", "expected a value"},
        {"a = 1:", "dates and times"},
        {"a = 1-2", "malformed"},
        {"a = 1e", "malformed"},
        {"a = 1e999", "too large"},
        {"a = 9223372036854775808", "too large"},
        {"a = inf", "expected a value"},
        {"a = nan", "expected a value"},
        {"a = 0x10", "expected the end of the line"},
        {"a = 1979-05-27T07:32:00Z", "dates and times"},
        {"a = 07:32:00", "dates and times"},
        {"a = [1, 2", "expected , or ]"},
        {"a = [1 2]", "expected , or ]"},
        {"a = [,]", "expected a value"},
        {"a = [[1]]", "arrays of arrays"},
        {"a = {b = 1}", "expected a value"},
        {"a = True", "expected a value"},
        {"a = \xFF", "is not UTF-8"},
        {"a = \"\\u004G\"", "hexadecimal"},
        {"a = \"\\u004g\"", "hexadecimal"},
        {"a = \"\\u00", "hexadecimal"},
        {"a = \"\x7F\"", "a control character in a string"},
        {"a = 1 # \x7F", "a control character in a comment"},
        {"[", "tables ([name]) are not read"},
        {"a = [1, x]", "expected a value"},
        {"a = [1, [2]]", "arrays of arrays"},
        {"a = [ # \x01\n1]", "a control character in a comment"},
        {"a = 11111111111111111111111111111111111111111111111111111111111111111111111111111111111"
         "111111111111111111111111111111111111111111111111111",
         ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *json = NULL;
        sumi_error err = {""};
        sumi_status status = sumi_toml_parse("f.toml", (const uint8_t *)cases[i].text,
                                             strlen(cases[i].text), &json, &err);
        if (status != SUMI_EFORMAT || json != NULL || strstr(err.text, cases[i].says) == NULL)
            fail_msg("%s: status %d: %s", cases[i].text, (int)status, err.text);
        assert_non_null(strstr(err.text, "f.toml: "));
    }
}

static void test_limits(void **state)
{
    (void)state;
    json_t *json = NULL;
    sumi_error err = {""};
    size_t size = SUMI_TOML_BYTES_MAX + 1;
    char *text = sumi_calloc(size + 1, 1);
    memset(text, '\n', size);
    assert_int_equal(sumi_toml_parse("f", (uint8_t *)text, size, &json, &err), SUMI_EUNSUPPORTED);
    assert_int_equal(sumi_toml_parse("f", (uint8_t *)text, size - 1, &json, &err), SUMI_OK);
    json_decref(json);
    memset(text, 'k', 100);
    assert_int_equal(sumi_toml_parse("f", (uint8_t *)text, 200, &json, &err), SUMI_EFORMAT);
    memcpy(text, "a = [", 5);
    for (size_t i = 5; i < 5000; i += 2)
        memcpy(text + i, "1,", 2);
    assert_int_equal(sumi_toml_parse("f", (uint8_t *)text, 5000, &json, &err), SUMI_EFORMAT);
    assert_non_null(strstr(err.text, "too many values"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_read),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_long_numbers),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
