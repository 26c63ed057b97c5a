/*
 * sumi sample --label: what the images shall show, by the number or the name of a label, or all of
 * them in turn. And --guidance: how far they are led there.
 */
#include "sample_job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { EACH = 8, ALL_MOST = 160 }; /* images of a label, and of all */

/* -1 where the model has no such label. A name comes before a number. */
static int find_label(const sumi_model *model, int classes, const char *text)
{
    char *end;
    for (int i = 0; i < classes; i++) {
        const char *name = sumi_model_class_name(model, i);
        if (name != NULL && strcmp(name, text) == 0)
            return i;
    }
    errno = 0;
    long value = text[0] >= '0' && text[0] <= '9' ? strtol(text, &end, 10) : -1;
    return value >= 0 && errno == 0 && *end == '\0' && value < classes ? (int)value : -1;
}

/* "0 (t-shirt), 1 (trouser), ..." as far as it fits. */
static void list_labels(const sumi_model *model, int classes, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < classes; i++) {
        const char *name = sumi_model_class_name(model, i);
        int length =
            snprintf(out + used, size - used, "%s%d%s%.40s%s", i > 0 ? ", " : "", i,
                     name != NULL ? " (" : "", name != NULL ? name : "", name != NULL ? ")" : "");
        if (length < 0 || (size_t)length >= size - used - sizeof ", ...") {
            snprintf(out + used, size - used, ", ...");
            return;
        }
        used += (size_t)length;
    }
}

/* --label all draws each label as often: 8 times where nobody says how many images, less often
 * where there are many labels. A grid has a row for each then. */
static void settle_rows(const sumi_cli *cli, sample_job *job, int classes)
{
    static const char *const fixed[] = {"count", "index", "noise", "interpolate", "strip"};
    sumi_sample_config *config = &job->config;
    bool free_count = !job->inverse;
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        free_count = free_count && !sumi_option_given(&cli->options, fixed[i]);
    if (free_count && classes <= ALL_MOST)
        config->count = classes * (ALL_MOST / classes < EACH ? ALL_MOST / classes : EACH);
    if (config->count >= classes)
        job->rows = (sumi_kind_rows){classes, (int)(config->first_index % classes)};
}

int sumi_sample_labels(sumi_cli *cli, sample_job *job, const sumi_model *model)
{
    const char *text = sumi_option_text(&cli->options, "label");
    double number = 0;
    if (text == NULL)
        return 0;
    if (sumi_model_get_field(model, "classes", &number, NULL) != SUMI_OK || number < 1)
        return sumi_cli_usage(cli, "--label: %s was trained without labels", job->model_path);
    int classes = (int)number;
    bool all = strcmp(text, "all") == 0;
    int label = all ? 0 : find_label(model, classes, text);
    if (label < 0) {
        char list[512];
        list_labels(model, classes, list, sizeof list);
        return sumi_cli_usage(cli, "--label: expected all or one of %s, found '%s'", list, text);
    }
    if (all)
        settle_rows(cli, job, classes);
    int count = job->config.count;
    job->labels = sumi_calloc((size_t)count, sizeof *job->labels);
    if (job->labels == NULL)
        return sumi_cli_fail(cli, SUMI_ENOMEM, "out of memory for the labels; give a smaller -n");
    for (int i = 0; i < count; i++)
        job->labels[i] = all ? (int)((job->config.first_index + i) % classes) : label;
    job->config.labels = job->labels;
    return 0;
}

int sumi_cli_guidance(sumi_cli *cli, sumi_sample_config *config, sumi_model **guide)
{
    const sumi_options *options = &cli->options;
    static const char *const parts[] = {"guide", "guidance-from", "guidance-to"};
    const char *path = sumi_option_text(options, "guide");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (sumi_option_given(options, parts[i]) && !sumi_option_given(options, "guidance"))
            return sumi_cli_usage(cli, "--%s: it needs --guidance", parts[i]);
    /* Else it is as it was: an evaluation has the model's own. */
    if (sumi_option_given(options, "guidance"))
        config->guidance = (float)sumi_option_real(options, "guidance");
    if (sumi_option_given(options, "guidance-from"))
        config->guidance_from = (float)sumi_option_real(options, "guidance-from");
    if (sumi_option_given(options, "guidance-to"))
        config->guidance_to = (float)sumi_option_real(options, "guidance-to");
    if (!(config->guidance_from < config->guidance_to))
        return sumi_cli_usage(cli,
                              "--guidance-to: expected more than --guidance-from, %g, found %g",
                              (double)config->guidance_from, (double)config->guidance_to);
    if (path == NULL)
        return 0;
    sumi_status status = sumi_cli_load(cli, path, guide);
    config->guide = *guide;
    return status == SUMI_OK ? 0 : sumi_cli_fail_context(cli, status);
}
