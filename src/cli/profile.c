/*
 * sumi bench --profile: each operation's time, speed and share of the machine's peak; what it moves
 * to and from memory at least; and which of the two limits it, as in a roofline. Speed is counted
 * in operations of the direct convolution, so fast algorithms may pass 100 % of a peak, and so may
 * tensors that a cache still holds.
 */
#include "profile.h"

#include <stdlib.h>
#include <string.h>

enum { ENTRIES_MAX = 512, ROW_PX = 22, CHART_PX = 520, LABEL_PX = 300, TOP_PX = 48 };

typedef struct {
    const sumi_profile_entry *entries;
    int count;
    double total_ms, gflop, bytes;
    double peak, bandwidth; /* in GFLOP/s and 1e9 bytes a second */
    const char *precision;
} profile;

static double speed(const sumi_profile_entry *entry)
{
    return entry->time_ms > 0 ? entry->gflop / (entry->time_ms * 1e-3) : 0;
}

/* The time that the multiply-adds, and the bytes, would take at the machine's peaks. */
static double compute_ms(const profile *p, const sumi_profile_entry *entry)
{
    return 1e3 * entry->gflop / p->peak;
}

static double memory_ms(const profile *p, const sumi_profile_entry *entry)
{
    return 1e-6 * entry->bytes / p->bandwidth;
}

static const char *limit_name(const profile *p, const sumi_profile_entry *entry)
{
    return memory_ms(p, entry) > compute_ms(p, entry) ? "memory" : "multiply-adds";
}

static double limit_ms(const profile *p, const sumi_profile_entry *entry)
{
    double compute = compute_ms(p, entry), memory = memory_ms(p, entry);
    return memory > compute ? memory : compute;
}

static const char *pass_name(const sumi_profile_entry *entry)
{
    return entry->backward ? "backward" : "forward";
}

static void print_table(const profile *p)
{
    double limit = 0;
    printf("%-9s %-22s %-8s %9s %6s %9s %7s %9s %7s  %-13s %8s\n", "op", "layer", "pass", "ms",
           "share", "GFLOP/s", "of peak", "MB", "GB/s", "limit", "of limit");
    for (int i = 0; i < p->count; i++) {
        const sumi_profile_entry *entry = &p->entries[i];
        printf("%-9s %-22s %-8s %9.3f %5.1f%%", entry->op, entry->layer, pass_name(entry),
               entry->time_ms, 100 * entry->time_ms / p->total_ms);
        if (entry->gflop > 0)
            printf(" %9.1f %6.0f%%", speed(entry), 100 * speed(entry) / p->peak);
        else
            printf(" %9s %7s", "", "");
        if (entry->bytes > 0 && entry->time_ms > 0)
            printf(" %9.2f %7.1f  %-13s %7.0f%%", 1e-6 * entry->bytes,
                   1e-6 * entry->bytes / entry->time_ms, limit_name(p, entry),
                   100 * limit_ms(p, entry) / entry->time_ms);
        printf("\n");
        limit += limit_ms(p, entry);
    }
    double all = p->gflop / (p->total_ms * 1e-3);
    printf("%-9s %-22s %-8s %9.3f %5.1f%% %9.1f %6.0f%% %9.2f %7.1f  %-13s %7.0f%%\n", "all", "",
           "", p->total_ms, 100.0, all, 100 * all / p->peak, 1e-6 * p->bytes,
           1e-6 * p->bytes / p->total_ms, "", 100 * limit / p->total_ms);
    printf("peak: %.1f GFLOP/s, measured with multiply-adds in registers; memory: %.1f GB/s, "
           "measured reading and writing 256 MiB; precision: %s\n",
           p->peak, p->bandwidth, p->precision);
}

static int print_json(const sumi_cli *cli, const profile *p, const sumi_profile_config *config)
{
    char cpu[256];
    if (!sumi_cpu_name(cpu, sizeof cpu))
        snprintf(cpu, sizeof cpu, "unknown");
    json_t *list = json_array();
    for (int i = 0; i < p->count; i++) {
        const sumi_profile_entry *entry = &p->entries[i];
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:s, s:f}", "op", entry->op, "layer",
                            entry->layer, "pass", pass_name(entry), "ms", entry->time_ms, "gflop",
                            entry->gflop, "bytes", entry->bytes, "limit", limit_name(p, entry),
                            "limit_ms", limit_ms(p, entry)));
    }
    return sumi_cli_result(
        cli, json_pack(
                 "{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:s, s:s, s:o}",
                 "what", "profile", "mode", config->training ? "train" : "sample", "isa",
                 sumi_context_isa(cli->ctx), "precision", p->precision, "threads",
                 sumi_context_threads(cli->ctx), "height", config->height, "width", config->width,
                 "batch", config->n, "ms", p->total_ms, "gflop", p->gflop, "bytes", p->bytes,
                 "peak_gflops", p->peak, "memory_gbytes_per_s", p->bandwidth, "version",
                 sumi_version(), "cpu", cpu, "ops", list));
}

/* ---- The picture ----------------------------------------------------------------------------- */

/* Bars as long as an operation takes, one below the other where the one before ended, so that the
 * step reads from the top left to the bottom right. */
static void draw_bars(FILE *out, const profile *p)
{
    double begin_ms = 0, px_per_ms = CHART_PX / p->total_ms;
    for (int i = 0; i < p->count; i++) {
        const sumi_profile_entry *entry = &p->entries[i];
        double width = entry->time_ms * px_per_ms;
        int y = TOP_PX + i * ROW_PX;
        double share = entry->gflop > 0 ? speed(entry) / p->peak : 0;
        const char *colour = entry->gflop <= 0 ? "#8d99ae"
                             : share >= 1.5    ? "#2a9d8f"
                             : share >= 0.8    ? "#e9c46a"
                                               : "#e76f51";
        fprintf(out,
                "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s %s %s</text>\n"
                "<rect x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\" fill=\"%s\"><title>%s %s "
                "%s: %.3f ms, %.1f GFLOP/s</title></rect>\n"
                "<text x=\"%.2f\" y=\"%d\" fill=\"#666\">%.2f ms</text>\n",
                LABEL_PX - 8, y + 15, entry->layer, entry->op, pass_name(entry),
                LABEL_PX + begin_ms * px_per_ms, y + 3, width < 0.5 ? 0.5 : width, ROW_PX - 6,
                colour, entry->layer, entry->op, pass_name(entry), entry->time_ms, speed(entry),
                LABEL_PX + begin_ms * px_per_ms + width + 5, y + 15, entry->time_ms);
        begin_ms += entry->time_ms;
    }
}

static sumi_status write_svg(const profile *p, const char *path, sumi_error *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return sumi_fail(err, SUMI_ENOMEM, "%s: out of memory for the picture", path);
    int height = TOP_PX + p->count * ROW_PX + 24, width = LABEL_PX + CHART_PX + 90;
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
            "<text x=\"16\" y=\"22\" font-size=\"15\">%.1f ms, %.0f GFLOP/s of a peak of %.0f; "
            "green: 1.5 times the peak or more, yellow: 0.8, grey: no multiply-adds</text>\n",
            width, height, width, height, p->total_ms, p->gflop / (p->total_ms * 1e-3), p->peak);
    draw_bars(out, p);
    fprintf(out, "</svg>\n");
    sumi_status status = fclose(out) == 0 ? sumi_file_save(path, text, size, err)
                                          : sumi_fail(err, SUMI_ENOMEM, "%s: out of memory", path);
    free(text);
    return status;
}

/* ---- The command ----------------------------------------------------------------------------- */

/* Drops what neither computes nor moves anything, nor takes any time to speak of: backward of the
 * embedding and such. */
static int keep_what_counts(sumi_profile_entry *entries, int count)
{
    int kept = 0;
    for (int i = 0; i < count; i++)
        if (entries[i].gflop > 0 || entries[i].bytes > 0 || entries[i].time_ms >= 0.001)
            entries[kept++] = entries[i];
    return kept;
}

int sumi_cli_profile(sumi_cli *cli, const sumi_model *model, const sumi_profile_config *config,
                     const char *svg)
{
    sumi_profile_entry *entries = sumi_calloc(ENTRIES_MAX, sizeof *entries);
    if (entries == NULL)
        return sumi_cli_fail(cli, SUMI_ENOMEM, "out of memory for the profile");
    profile p = {.entries = entries, .precision = sumi_option_text(&cli->options, "precision")};
    sumi_status status = sumi_profile(cli->ctx, model, config, entries, ENTRIES_MAX, &p.count);
    if (status == SUMI_OK)
        status = sumi_measure_peak(cli->ctx, &p.peak);
    if (status == SUMI_OK)
        status = sumi_measure_bandwidth(cli->ctx, &p.bandwidth);
    if (status != SUMI_OK) {
        free(entries);
        return sumi_cli_fail_context(cli, status);
    }
    p.count = keep_what_counts(entries, p.count);
    for (int i = 0; i < p.count; i++) {
        p.total_ms += entries[i].time_ms;
        p.gflop += entries[i].gflop;
        p.bytes += entries[i].bytes;
    }
    int code = 0;
    sumi_error err = {""};
    if (svg != NULL && write_svg(&p, svg, &err) != SUMI_OK)
        code = sumi_cli_fail(cli, SUMI_EIO, err.text);
    else if (cli->json)
        code = print_json(cli, &p, config);
    else
        print_table(&p);
    free(entries);
    return code;
}
