/* Plots of any numbers and any text: UTF-8, no number that SVG cannot say. */
#include "fuzz.h"
#include "io/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char label[17] = {0}, *svg;
    size_t written;
    if (size < 18)
        return 0;
    memcpy(label, data + 1, 16);
    size_t count = (size - 17) / 16;
    double *x = malloc(count * sizeof *x + 1), *y = malloc(count * sizeof *y + 1);
    fuzz_check(x && y, "memory");
    if (count) {
        memcpy(x, data + 17, count * 8);
        memcpy(y, data + 17 + count * 8, count * 8);
    }
    const sumi_plot_series series[] = {{label, x, y, count}, {NULL, y, x, count / 2}};
    const sumi_plot plot = {.title = label,
                            .x_label = "Epoch",
                            .y_label = "Loss",
                            .series = series,
                            .series_count = 1 + (data[0] >> 1 & 1),
                            .log_y = data[0] & 1,
                            .thin_count = data[0] >> 2 & 1};
    sumi_error err;
    fuzz_check(sumi_plot_svg(&plot, &svg, &written, &err) == SUMI_OK, "a plot is drawn");
    fuzz_check(strlen(svg) == written && sumi_utf8_valid(svg, written), "it is text");
    free(svg);
    free(x);
    free(y);
    return 0;
}
