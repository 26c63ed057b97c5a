/* Pages: text from outside is safe in them, numbers are as in the C locale. */
#include "io_test.h"

#include "io/page.h"

static void test_text(void **state)
{
    (void)state;
    char text[4096] = "";
    FILE *page = fmemopen(text, sizeof text, "w");
    assert_non_null(page);
    sumi_page_text(page, "<a href=\"x\"> & 'y'");
    sumi_page_printf(page, " %d %.2f", 7, .5);
    fclose(page);
    assert_string_equal(text, "&lt;a href=&quot;x&quot;&gt; &amp; &#39;y&#39; 7 0.50");
}

static void test_frame(void **state)
{
    (void)state;
    for (int reload = 0; reload <= 5; reload += 5) {
        char text[8192] = "";
        FILE *page = fmemopen(text, sizeof text, "w");
        assert_non_null(page);
        sumi_page_begin(page, "<run>", "a & b", reload);
        sumi_page_end(page);
        fclose(page);
        assert_non_null(strstr(text, "<title>&lt;run&gt; - sumi</title>"));
        assert_non_null(strstr(text, "<p class=\"state\">a &amp; b</p>"));
        assert_int_equal(strstr(text, "http-equiv=\"refresh\" content=\"5\"") != NULL, reload == 5);
        assert_non_null(strstr(text, "</body></html>\n"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_frame)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
