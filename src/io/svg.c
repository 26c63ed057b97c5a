/*
 * A line plot as SVG 1.1: axes with round ticks, a light grid, a legend.
 *
 * Numbers are put together from integers, so that a program's locale cannot put commas into the
 * file. Points that fall into one pixel column are drawn as their first, lowest, highest and last,
 * which looks the same and keeps a plot of a million steps small.
 */
#include <math.h>
#include <stdlib.h>

#include "io/internal.h"

enum { WIDTH = 720, HEIGHT = 440, LEFT = 76, RIGHT = 28, TOP = 56, BOTTOM = 60, TICKS_MAX = 24 };

static const char *const colours[] = {"#2f6fb3", "#d9642c", "#2a9466", "#a6478f",
                                      "#b8860b", "#5b5fc7", "#c0394b", "#4a8a99"};

enum { COLOUR_COUNT = sizeof colours / sizeof colours[0] };

/* One axis: data in [low, high] (logarithms where log is set) lies on pixels begin to end. */
typedef struct {
    bool log;
    double low, high, begin, end;
    double ticks[TICKS_MAX]; /* data values */
    int tick_count;
    double step; /* between ticks; 0 between powers of ten */
} axis;

/* ---- Text ------------------------------------------------------------------------------------ */

/* value with so many decimals, trailing zeros dropped where trim is set; |value| below 1e15. */
static void put_fixed(sumi_text *out, double value, int decimals, bool trim)
{
    long long scale = 1;
    for (int i = 0; i < decimals; i++)
        scale *= 10;
    long long scaled = llround(fabs(value) * (double)scale);
    while (trim && decimals > 0 && scaled % 10 == 0) {
        scaled /= 10;
        scale /= 10;
        decimals--;
    }
    sumi_text_printf(out, "%s%lld", value < 0 && scaled ? "-" : "", scaled / scale);
    if (decimals > 0)
        sumi_text_printf(out, ".%0*lld", decimals, scaled % scale);
}

static void put_pixel(sumi_text *out, double value)
{
    put_fixed(out, value, 1, true);
}

static void put_escaped(sumi_text *out, const char *text)
{
    char *clean = sumi_clean_copy(text);
    out->failed |= !clean;
    for (const char *c = clean; c && *c; c++) {
        if (*c == '&')
            sumi_text_puts(out, "&amp;");
        else if (*c == '<')
            sumi_text_puts(out, "&lt;");
        else if (*c == '>')
            sumi_text_puts(out, "&gt;");
        else if (*c == '"')
            sumi_text_puts(out, "&quot;");
        else if (memcmp(c, "\xEF\xBF\xBE", 3 < strlen(c) ? 3 : strlen(c)) == 0 ||
                 memcmp(c, "\xEF\xBF\xBF", 3 < strlen(c) ? 3 : strlen(c)) == 0)
            sumi_text_add(out, "?", 1), c += 2; /* U+FFFE and U+FFFF may not stand in XML */
        else
            sumi_text_add(out, c, 1);
    }
    free(clean);
}

/* A tick's number for people: 0.05, 250, 20k, 1.5M, 1e-5. step tells how many decimals matter. */
static void put_tick(sumi_text *out, double value, double step)
{
    double size = fabs(value);
    if (size < step * 1e-6) {
        sumi_text_puts(out, "0");
        return;
    }
    if (size >= 1e15 || size < 1e-4) {
        int exponent = (int)floor(log10(size) + 1e-9);
        put_fixed(out, value / pow(10, exponent), 2, true);
        sumi_text_printf(out, "e%d", exponent);
        return;
    }
    static const struct {
        double unit;
        const char *suffix;
    } units[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
    for (int i = 0; i < 4 && size >= 1e4; i++) {
        if (size < units[i].unit)
            continue;
        put_fixed(out, value / units[i].unit, 3, true);
        sumi_text_puts(out, units[i].suffix);
        return;
    }
    int decimals = step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
    put_fixed(out, value, decimals < 9 ? decimals : 9, false);
}

/* ---- Axes ------------------------------------------------------------------------------------ */

/* 1, 2 or 5 times a power of ten: the smallest that is at least rough. */
static double round_step(double rough)
{
    double power = pow(10, floor(log10(rough)));
    double times = rough / power;
    return power * (times <= 1.0001 ? 1 : times <= 2.0001 ? 2 : times <= 5.0001 ? 5 : 10);
}

/* Ticks on a linear axis; widen moves the ends out to them. */
static void linear_ticks(axis *a, int wanted, double step_min, bool widen)
{
    a->step = round_step(fmax((a->high - a->low) / wanted, step_min));
    double first = widen ? floor(a->low / a->step + 1e-9) : ceil(a->low / a->step - 1e-9);
    double last = widen ? ceil(a->high / a->step - 1e-9) : floor(a->high / a->step + 1e-9);
    for (double i = first; i <= last && a->tick_count < TICKS_MAX; i++)
        a->ticks[a->tick_count++] = i * a->step;
    if (widen) {
        a->low = first * a->step;
        a->high = last * a->step;
    }
}

/* Ticks on a logarithmic axis, whose ends are exponents: powers of ten (some left out where there
 * are many), with 2 and 5 times them where there are few, round numbers where there is hardly one.
 */
static void log_ticks(axis *a)
{
    double span = a->high - a->low, margin = fmax(span * 0.04, 0.02);
    a->low -= margin;
    a->high += margin;
    if (span < 0.8) {
        axis linear = {.low = pow(10, a->low), .high = pow(10, a->high)};
        linear_ticks(&linear, 6, 0, false);
        memcpy(a->ticks, linear.ticks, sizeof a->ticks);
        a->tick_count = linear.tick_count;
        a->step = linear.step;
        return;
    }
    int first = (int)floor(a->low), last = (int)ceil(a->high);
    int stride = 1 + (last - first) / 10;
    static const int digits[] = {1, 2, 5};
    for (int e = first; e <= last; e += stride) {
        for (int i = 0; i < (span < 2.5 ? 3 : 1); i++) {
            double exponent = e + log10(digits[i]);
            if (exponent >= a->low && exponent <= a->high && a->tick_count < TICKS_MAX)
                a->ticks[a->tick_count++] = digits[i] * pow(10, e);
        }
    }
}

static double place(const axis *a, double value)
{
    double at = a->log ? log10(value) : value;
    return a->begin + (at - a->low) / (a->high - a->low) * (a->end - a->begin);
}

/* Whether a point can be drawn; numbers beyond 1e30 are taken for infinite. */
static bool is_drawable(const sumi_plot *plot, double x, double y)
{
    return isfinite(x) && isfinite(y) && fabs(x) < 1e15 && fabs(y) < 1e30 &&
           (!plot->log_y || y > 1e-30);
}

/* A range that has a width, also where all values are one, or as good as one. */
static void open_range(axis *a)
{
    double size = fmax(fabs(a->low), fabs(a->high));
    if (a->high - a->low > fmax(1e-12 * size, 1e-30))
        return;
    double half = size < 1e-25 ? 0.5 : size * 0.05;
    a->low -= half;
    a->high += half;
}

static void make_axes(const sumi_plot *plot, axis *x, axis *y, bool *any)
{
    bool whole = true;
    *x = (axis){.low = INFINITY, .high = -INFINITY, .begin = LEFT, .end = WIDTH - RIGHT};
    *y = (axis){.log = plot->log_y,
                .low = INFINITY,
                .high = -INFINITY,
                .begin = HEIGHT - BOTTOM,
                .end = TOP};
    for (size_t s = 0; s < plot->series_count; s++) {
        for (size_t i = 0; i < plot->series[s].count; i++) {
            double px = plot->series[s].x[i], py = plot->series[s].y[i];
            if (!is_drawable(plot, px, py))
                continue;
            whole &= px == floor(px);
            x->low = fmin(x->low, px);
            x->high = fmax(x->high, px);
            double at = plot->log_y ? log10(py) : py;
            y->low = fmin(y->low, at);
            y->high = fmax(y->high, at);
        }
    }
    *any = x->low <= x->high;
    if (!*any) {
        x->low = y->low = 0;
        x->high = y->high = 1;
        y->log = false;
    }
    if (whole && x->low == x->high)
        x->low -= 1, x->high += 1;
    open_range(x);
    /* A dozen epochs get a tick each. */
    linear_ticks(x, whole && x->high - x->low <= 12 ? 12 : 8, whole ? 1 : 0, false);
    if (y->log) {
        log_ticks(y);
    } else {
        open_range(y);
        linear_ticks(y, 6, 0, true);
    }
}

/* ---- Drawing --------------------------------------------------------------------------------- */

/* The tick's own size tells how many decimals a logarithmic axis needs. */
static double tick_step(const axis *a, double value)
{
    return a->step > 0 ? a->step : pow(10, floor(log10(value) + 1e-9));
}

static void put_line(sumi_text *out, const char *class, double x1, double y1, double x2, double y2)
{
    sumi_text_printf(out, "<line class=\"%s\" x1=\"", class);
    put_pixel(out, x1);
    sumi_text_puts(out, "\" y1=\"");
    put_pixel(out, y1);
    sumi_text_puts(out, "\" x2=\"");
    put_pixel(out, x2);
    sumi_text_puts(out, "\" y2=\"");
    put_pixel(out, y2);
    sumi_text_puts(out, "\"/>\n");
}

static void begin_text(sumi_text *out, const char *attributes, double x, double y)
{
    sumi_text_printf(out, "<text %s x=\"", attributes);
    put_pixel(out, x);
    sumi_text_puts(out, "\" y=\"");
    put_pixel(out, y);
    sumi_text_puts(out, "\">");
}

static void put_frame(sumi_text *out, const sumi_plot *plot, const axis *x, const axis *y)
{
    for (int i = 0; i < y->tick_count; i++) {
        double at = place(y, y->ticks[i]);
        put_line(out, "grid", LEFT, at, WIDTH - RIGHT, at);
        begin_text(out, "class=\"tick\" text-anchor=\"end\"", LEFT - 10, at + 4);
        put_tick(out, y->ticks[i], tick_step(y, y->ticks[i]));
        sumi_text_puts(out, "</text>\n");
    }
    for (int i = 0; i < x->tick_count; i++) {
        double at = place(x, x->ticks[i]);
        put_line(out, "axis", at, HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 5);
        begin_text(out, "class=\"tick\" text-anchor=\"middle\"", at, HEIGHT - BOTTOM + 20);
        put_tick(out, x->ticks[i], x->step);
        sumi_text_puts(out, "</text>\n");
    }
    put_line(out, "axis", LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM);
    if (plot->title) {
        begin_text(out, "class=\"title\"", LEFT, 32);
        put_escaped(out, plot->title);
        sumi_text_puts(out, "</text>\n");
    }
    if (plot->x_label) {
        begin_text(out, "class=\"label\" text-anchor=\"middle\"", (LEFT + WIDTH - RIGHT) / 2.0,
                   HEIGHT - 16);
        put_escaped(out, plot->x_label);
        sumi_text_puts(out, "</text>\n");
    }
    if (plot->y_label) {
        sumi_text_printf(out,
                         "<text class=\"label\" text-anchor=\"middle\" "
                         "transform=\"translate(20 %d) rotate(-90)\">",
                         (TOP + HEIGHT - BOTTOM) / 2);
        put_escaped(out, plot->y_label);
        sumi_text_puts(out, "</text>\n");
    }
}

/* Points of one pixel column that wait to be drawn. */
typedef struct {
    long column;
    int count;
    double x, first, low, high, last;
    int low_at, high_at;
} column;

static void put_point(sumi_text *out, double x, double y, bool *open)
{
    sumi_text_puts(out, *open ? " " : "<polyline points=\"");
    *open = true;
    put_pixel(out, x);
    sumi_text_puts(out, ",");
    put_pixel(out, y);
}

static void flush_column(sumi_text *out, column *c, bool *open)
{
    if (c->count == 0)
        return;
    put_point(out, c->x, c->first, open);
    if (c->count > 2) {
        bool low_first = c->low_at < c->high_at;
        put_point(out, c->x, low_first ? c->low : c->high, open);
        put_point(out, c->x, low_first ? c->high : c->low, open);
    }
    if (c->count > 1)
        put_point(out, c->x, c->last, open);
    c->count = 0;
}

static void end_line(sumi_text *out, column *c, bool *open)
{
    flush_column(out, c, open);
    if (*open)
        sumi_text_puts(out, "\"/>\n");
    *open = false;
}

static void put_series(sumi_text *out, const sumi_plot *plot, size_t index, const axis *x,
                       const axis *y)
{
    enum { SPARSE = 40, SPARSE_THIN = 1 };
    const bool thin = index < plot->thin_count;
    const size_t dots = thin ? SPARSE_THIN : SPARSE; /* up to so many points have a dot each */
    const sumi_plot_series *series = &plot->series[index];
    const char *colour = colours[index % COLOUR_COUNT];
    column c = {0};
    bool open = false, dense = series->count > 2 * WIDTH;
    sumi_text_printf(out, "<g class=\"%s\" stroke=\"%s\" stroke-opacity=\"%s\" fill=\"none\">\n",
                     thin ? "thin" : "series", colour,
                     thin    ? "0.55"
                     : dense ? "0.7"
                             : "1");
    for (size_t i = 0; i < series->count; i++) {
        if (!is_drawable(plot, series->x[i], series->y[i])) {
            end_line(out, &c, &open);
            continue;
        }
        double px = place(x, series->x[i]), py = place(y, series->y[i]);
        long at = dense ? lround(px) : (long)i;
        if (c.count && c.column != at)
            flush_column(out, &c, &open);
        if (c.count == 0)
            c = (column){.column = at, .x = px, .first = py, .low = py, .high = py};
        if (py < c.low)
            c.low = py, c.low_at = c.count;
        if (py > c.high)
            c.high = py, c.high_at = c.count;
        c.last = py;
        c.count++;
    }
    end_line(out, &c, &open);
    for (size_t i = 0; series->count <= dots && i < series->count; i++) {
        if (!is_drawable(plot, series->x[i], series->y[i]))
            continue;
        sumi_text_puts(out, "<circle r=\"3\" cx=\"");
        put_pixel(out, place(x, series->x[i]));
        sumi_text_puts(out, "\" cy=\"");
        put_pixel(out, place(y, series->y[i]));
        sumi_text_printf(out, "\" fill=\"%s\" stroke=\"#fff\" stroke-width=\"1\"/>\n", colour);
    }
    sumi_text_puts(out, "</g>\n");
}

/* Labelled series, top right, on a background that lets nothing through but the lines' hue. */
static void put_legend(sumi_text *out, const sumi_plot *plot)
{
    enum { ROW = 20, PAD = 10, SWATCH = 22, CHAR_WIDTH = 7 };
    size_t longest = 0;
    int rows = 0;
    for (size_t s = 0; s < plot->series_count; s++) {
        const char *label = plot->series[s].label;
        size_t length = 0;
        if (!label)
            continue;
        for (const char *c = label; *c; c++)
            length += ((uint8_t)*c & 0xC0) != 0x80;
        longest = length > longest ? length : longest;
        rows++;
    }
    if (rows == 0)
        return;
    int width = SWATCH + 3 * PAD + CHAR_WIDTH * (int)(longest < 60 ? longest : 60);
    int left = WIDTH - RIGHT - width - 4, top = TOP + 4, row = 0;
    sumi_text_printf(out,
                     "<rect class=\"legend\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" "
                     "rx=\"4\"/>\n",
                     left, top, width, rows * ROW + PAD);
    for (size_t s = 0; s < plot->series_count; s++) {
        if (!plot->series[s].label)
            continue;
        int y = top + PAD / 2 + ROW * row++ + ROW / 2;
        sumi_text_printf(out,
                         "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"%s\" "
                         "stroke-width=\"%s\" stroke-linecap=\"round\"/>\n",
                         left + PAD, y, left + PAD + SWATCH, y, colours[s % COLOUR_COUNT],
                         s < plot->thin_count ? "1" : "2.5");
        begin_text(out, "class=\"tick\"", left + 2 * PAD + SWATCH, y + 4);
        put_escaped(out, plot->series[s].label);
        sumi_text_puts(out, "</text>\n");
    }
}

sumi_status sumi_plot_svg(const sumi_plot *plot, char **svg, size_t *size, sumi_error *err)
{
    sumi_text out = {0};
    axis x, y;
    bool any;
    make_axes(plot, &x, &y, &any);
    sumi_text_printf(&out,
                     "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                     "viewBox=\"0 0 %d %d\" font-family=\"system-ui, -apple-system, 'Segoe UI', "
                     "'DejaVu Sans', Helvetica, Arial, sans-serif\">\n",
                     WIDTH, HEIGHT, WIDTH, HEIGHT);
    sumi_text_puts(&out, "<style>\n"
                         ".title { font-size: 17px; font-weight: 600; fill: #222 }\n"
                         ".label { font-size: 13px; fill: #444 }\n"
                         ".tick { font-size: 12px; fill: #555 }\n"
                         ".grid { stroke: #e8e8e8 }\n"
                         ".axis { stroke: #888 }\n"
                         ".legend { fill: #fff; fill-opacity: 0.88; stroke: #ddd }\n"
                         ".series { stroke-width: 1.8; stroke-linejoin: round; "
                         "stroke-linecap: round }\n"
                         ".thin { stroke-width: 1; stroke-linejoin: round }\n"
                         "</style>\n");
    sumi_text_printf(&out, "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", WIDTH, HEIGHT);
    put_frame(&out, plot, &x, &y);
    for (size_t s = 0; s < plot->series_count; s++)
        put_series(&out, plot, s, &x, &y);
    put_legend(&out, plot);
    if (!any) {
        begin_text(&out, "class=\"label\" text-anchor=\"middle\"", (LEFT + WIDTH - RIGHT) / 2.0,
                   (TOP + HEIGHT - BOTTOM) / 2.0);
        sumi_text_puts(&out, "no data yet</text>\n");
    }
    sumi_text_puts(&out, "</svg>\n");
    if (out.failed) {
        sumi_text_free(&out);
        return sumi_fail_memory(err, "a plot", 1 << 16);
    }
    *svg = out.data;
    *size = out.size;
    return SUMI_OK;
}
