/* SVG plots: well-formed whatever the data and the texts are, ticks, broken lines, size. */
#include <math.h>

#include "base/locale_test.h"
#include "io/io_test.h"

/* Checks that tags are balanced, attributes quoted, text escaped and bytes UTF-8: what an XML
 * parser asks of such a file. */
static void expect_well_formed(const char *svg, size_t size)
{
    const char *open[16];
    size_t lengths[16];
    int depth = 0;
    assert_int_equal(strlen(svg), size);
    assert_true(sumi_utf8_valid(svg, size));
    for (const char *c = svg; *c; c++) {
        if (*c == '&') {
            assert_true(!strncmp(c, "&amp;", 5) || !strncmp(c, "&lt;", 4) ||
                        !strncmp(c, "&gt;", 4) || !strncmp(c, "&quot;", 6));
        } else if (*c == '<' && c[1] == '/') {
            assert_true(depth-- > 0);
            assert_memory_equal(c + 2, open[depth], lengths[depth]);
            assert_int_equal(c[2 + lengths[depth]], '>');
        } else if (*c == '<') {
            const char *name = c + 1;
            bool quoted = false;
            size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz");
            assert_true(length > 0);
            for (c = name; *c != '>' || quoted; c++) {
                assert_true(*c && (*c != '<'));
                quoted ^= *c == '"';
            }
            if (c[-1] != '/') {
                assert_true(depth < 16);
                open[depth] = name;
                lengths[depth++] = length;
            }
        } else {
            assert_true((uint8_t)*c >= 0x20 || *c == '\n');
        }
    }
    assert_int_equal(depth, 0);
    assert_null(strstr(svg, "nan"));
    assert_null(strstr(svg, "inf"));
}

static char *draw(const sumi_plot *plot, size_t *size)
{
    char *svg;
    sumi_error err = {""};
    if (sumi_plot_svg(plot, &svg, size, &err) != SUMI_OK)
        fail_msg("%s", err.text);
    expect_well_formed(svg, *size);
    return svg;
}

static int count_of(const char *text, const char *what)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, what)); at++)
        count++;
    return count;
}

/* That the plot has exactly these tick labels; legends use the class, too, so there are none. */
static void expect_ticks(const sumi_plot *plot, const char *const *labels)
{
    size_t size;
    char *svg = draw(plot, &size);
    int expected = 0;
    for (; labels[expected]; expected++) {
        char text[64];
        snprintf(text, sizeof text, "\">%s</text>", labels[expected]);
        if (!strstr(svg, text))
            fail_msg("no tick \"%s\" in\n%s", labels[expected], svg);
    }
    if (count_of(svg, "class=\"tick\"") != expected)
        fail_msg("%d ticks, not %d, in\n%s", count_of(svg, "class=\"tick\""), expected, svg);
    free(svg);
}

static void test_ticks(void **state)
{
    (void)state;
    const double epochs[] = {0, 1, 2, 3, 4}, loss[] = {0.91, 0.42, 0.27, 0.21, 0.18};
    sumi_plot_series series = {NULL, epochs, loss, 5};
    sumi_plot plot = {.series = &series, .series_count = 1};
    expect_ticks(&plot, (const char *const[]){"0", "1", "2", "3", "4", "0", "0.2", "0.4", "0.6",
                                              "0.8", "1.0", NULL});
}

static void test_tick_forms(void **state)
{
    (void)state;
    const double steps[] = {0, 50000}, small[] = {0.00002, 0.00006};
    sumi_plot_series series = {NULL, steps, small, 2};
    sumi_plot plot = {.series = &series, .series_count = 1};
    expect_ticks(&plot, (const char *const[]){"0", "10k", "20k", "30k", "40k", "50k", "2e-5",
                                              "3e-5", "4e-5", "5e-5", "6e-5", NULL});
    const double negative[] = {-2000000, 2500000}, flat[] = {7, 7};
    series = (sumi_plot_series){NULL, negative, flat, 2};
    expect_ticks(&plot, (const char *const[]){"-2M", "-1M", "0", "1M", "2M", "6.6", "6.8", "7.0",
                                              "7.2", "7.4", NULL});
}

static void test_log_ticks(void **state)
{
    (void)state;
    const double x[] = {1, 2, 3}, wide[] = {1000, 0.5, 0.00013}, narrow[] = {0.011, 0.02, 0.06};
    sumi_plot_series series = {NULL, x, wide, 3};
    sumi_plot plot = {.series = &series, .series_count = 1, .log_y = true};
    expect_ticks(&plot, (const char *const[]){"1", "2", "3", "0.0001", "0.001", "0.01", "0.1", "1",
                                              "10", "100", "1000", NULL});
    /* Less than a decade: round steps instead of powers of ten. */
    series.y = narrow;
    expect_ticks(
        &plot, (const char *const[]){"1", "2", "3", "0.02", "0.03", "0.04", "0.05", "0.06", NULL});
}

/* The first series may stand behind the others, thin and without dots. */
static void test_thin_series(void **state)
{
    (void)state;
    const double x[] = {0, 1, 2}, y[] = {3, 2, 1};
    const sumi_plot_series series[] = {{"steps", x, y, 3}, {"means", x, y, 2}, {"one", x, y, 1}};
    sumi_plot plot = {.series = series, .series_count = 2, .thin_count = 1};
    char *svg;
    size_t size;
    assert_int_equal(sumi_plot_svg(&plot, &svg, &size, NULL), SUMI_OK);
    const char *thin = strstr(svg, "<g class=\"thin\""),
               *thick = strstr(svg, "<g class=\"series\"");
    assert_true(thin && thick && thin < thick);
    const char *dot = strstr(svg, "<circle");
    assert_true(dot > thick);
    free(svg);
    /* Of one point there is no line: it is a dot. */
    plot = (sumi_plot){.series = series + 2, .series_count = 1, .thin_count = 1};
    assert_int_equal(sumi_plot_svg(&plot, &svg, &size, NULL), SUMI_OK);
    assert_non_null(strstr(svg, "<circle"));
    free(svg);
}

static void test_texts_are_escaped(void **state)
{
    (void)state;
    const double x[] = {0, 1}, y[] = {0, 1};
    const sumi_plot_series series[] = {{"<script>alert(\"x\")</script>", x, y, 2},
                                       {"caf\xC3\xA9 & \xE5\xA2\xA8", x, y, 2},
                                       {"a\x1B[31m\nb", x, y, 2},
                                       {"\xFF\xFE", x, y, 2},
                                       {"\xEF\xBF\xBE\xEF\xBF\xBF\xEF\xBF\xBD", x, y, 2},
                                       {"", x, y, 2}};
    const sumi_plot plot = {"T & <t>", "x > 1", "\"y\"", series, 6, false, 0};
    size_t size;
    char *svg = draw(&plot, &size);
    assert_null(strstr(svg, "<script"));
    assert_non_null(strstr(svg, "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;"));
    assert_non_null(strstr(svg, "caf\xC3\xA9 &amp; \xE5\xA2\xA8"));
    assert_non_null(strstr(svg, ">a?[31m?b<"));
    assert_non_null(strstr(svg, ">\\xFF\\xFE<"));
    assert_non_null(strstr(svg, ">??\xEF\xBF\xBD<"));
    assert_non_null(strstr(svg, ">T &amp; &lt;t&gt;<"));
    assert_non_null(strstr(svg, ">x &gt; 1<"));
    assert_non_null(strstr(svg, ">&quot;y&quot;<"));
    assert_int_equal(count_of(svg, "class=\"series\""), 6);
    free(svg);
}

static void test_lines_break(void **state)
{
    (void)state;
    const double x[] = {0, 1, 2, 3, 4, 5, 6}, y[] = {1, 2, NAN, 3, 4, INFINITY, 5};
    const double zeros[] = {1, 2, 0, 3, 4, -1, 5};
    sumi_plot_series series = {NULL, x, y, 7};
    sumi_plot plot = {.series = &series, .series_count = 1};
    for (int log = 0; log < 2; log++) {
        size_t size;
        series.y = log ? zeros : y;
        plot.log_y = log;
        char *svg = draw(&plot, &size);
        assert_int_equal(count_of(svg, "<polyline"), 3);
        assert_int_equal(count_of(svg, "<circle"), 5);
        free(svg);
    }
}

static void test_nothing_to_draw(void **state)
{
    (void)state;
    const double x[] = {NAN, 1, 2}, y[] = {1, NAN, INFINITY};
    const sumi_plot_series none = {"none", x, y, 3}, empty = {NULL, NULL, NULL, 0};
    const sumi_plot plots[] = {{.series = &none, .series_count = 1},
                               {.series = &empty, .series_count = 1},
                               {.series_count = 0},
                               {.series = &none, .series_count = 1, .log_y = true}};
    for (int i = 0; i < 4; i++) {
        size_t size;
        char *svg = draw(&plots[i], &size);
        assert_non_null(strstr(svg, "no data yet"));
        assert_null(strstr(svg, "<polyline"));
        free(svg);
    }
}

static void test_odd_ranges(void **state)
{
    (void)state;
    static const double cases[][4] = {{0, 0, 0, 0},
                                      {5, 5, 3, 3},
                                      {1e14, 1e14, 1e29, -1e29},
                                      {-3, 4, 1e-30, 2e-30},
                                      {0.1, 0.1, 1e29, 1e29},
                                      {1, 1 + 1e-14, 1, 1 + 1e-14},
                                      {1e15, 1, 2, 3},
                                      {0, 1, -1e-300, 1e-300},
                                      {0, 1e-300, 1, 2},
                                      {-1e-9, 1e-9, 0, 1},
                                      {0, 1e-320, 0, 1e-320},
                                      {1e-20, 1e-20, 1e-20, 1e-20},
                                      {0, 1, 1e30, 1},
                                      {123456789, 123456790, 0, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sumi_plot_series series = {"s", &cases[i][0], &cases[i][2], 2};
        for (int log = 0; log < 2; log++) {
            sumi_plot plot = {.series = &series, .series_count = 1, .log_y = log};
            size_t size;
            free(draw(&plot, &size));
        }
    }
}

/* A million points stay a small file that keeps every extreme. */
static void test_many_points(void **state)
{
    (void)state;
    enum { COUNT = 1000000 };
    double *x = malloc(COUNT * sizeof *x), *y = malloc(COUNT * sizeof *y);
    assert_true(x && y);
    for (int i = 0; i < COUNT; i++) {
        x[i] = i;
        y[i] = sin(i * 0.37);
    }
    y[777777] = 100;
    const sumi_plot_series series = {"loss", x, y, COUNT};
    const sumi_plot plot = {.series = &series, .series_count = 1};
    size_t size;
    char *svg = draw(&plot, &size);
    assert_true(size < 100000);
    /* The largest value lies on the top tick of the axis. */
    assert_non_null(strstr(svg, ",56 "));
    assert_int_equal(count_of(svg, "<polyline"), 1);
    free(svg);
    free(x);
    free(y);
}

/* Another locale's decimal comma must not get into the file. */
static void test_locale(void **state)
{
    const double x[] = {0, 0.5, 1}, y[] = {0.125, 0.25, 0.0625};
    const sumi_plot_series series = {NULL, x, y, 3};
    const sumi_plot plot = {.series = &series, .series_count = 1};
    size_t size, again;
    char *before = draw(&plot, &size);
    if (!enter_locale(*state, "fr_FR", "UTF-8")) {
        leave_locale();
        free(before);
        skip();
    }
    char *after = draw(&plot, &again);
    leave_locale();
    assert_string_equal(before, after);
    free(before);
    free(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ticks),
        cmocka_unit_test(test_tick_forms),
        cmocka_unit_test(test_log_ticks),
        cmocka_unit_test(test_thin_series),
        cmocka_unit_test(test_texts_are_escaped),
        cmocka_unit_test(test_lines_break),
        cmocka_unit_test(test_nothing_to_draw),
        cmocka_unit_test(test_odd_ranges),
        cmocka_unit_test(test_many_points),
        cmocka_unit_test_setup_teardown(test_locale, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
