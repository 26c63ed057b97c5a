/*
 * sumi diff: where two models differ, tensor by tensor.
 */
#include "tensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int equal, different;
    json_t *list; /* of the tensors that differ; NULL without --json */
} tally;

typedef struct {
    const char *name, *what; /* what differs, in one or two words */
    char a[224], b[224];     /* type and shape on each side, "" where missing */
    double max_abs, relative_l2;
    bool numbers; /* the last two mean something */
} difference;

static void describe(const sumi_file_tensor *tensor, char out[224])
{
    char shape[192];
    sumi_tensor_shape(tensor, shape);
    snprintf(out, 224, "%s%s", sumi_dtype_name(tensor->dtype), shape);
}

/* The values as doubles; NULL for a type that is not made of numbers, or without memory. */
static double *values_of(const sumi_file_tensor *tensor, size_t *count)
{
    *count = tensor->bytes / sumi_dtype_size(tensor->dtype);
    double *values = sumi_calloc(*count + 1, sizeof *values);
    float *reals = sumi_calloc(*count + 1, sizeof *reals);
    int64_t *whole = sumi_calloc(*count + 1, sizeof *whole);
    bool fine = values != NULL && reals != NULL && whole != NULL;
    if (fine && sumi_file_tensor_to_f32(tensor, reals)) {
        for (size_t i = 0; i < *count; i++)
            values[i] = reals[i];
    } else if (fine && sumi_file_tensor_to_i64(tensor, whole)) {
        for (size_t i = 0; i < *count; i++)
            values[i] = (double)whole[i];
    } else {
        free(values);
        values = NULL;
    }
    free(reals);
    free(whole);
    return values;
}

/* max |a - b| and |a - b| / |a|; a NaN on one side alone is infinitely far away. */
static void measure(const sumi_file_tensor *a, const sumi_file_tensor *b, difference *d)
{
    size_t count_a = 0, count_b = 0;
    double *x = values_of(a, &count_a), *y = values_of(b, &count_b);
    double squares = 0, norm = 0;
    d->numbers = x != NULL && y != NULL && count_a == count_b;
    for (size_t i = 0; d->numbers && i < count_a; i++) {
        double gap = isnan(x[i]) && isnan(y[i]) ? 0 : fabs(x[i] - y[i]);
        if (isnan(gap))
            gap = x[i] == y[i] ? 0 : INFINITY;
        d->max_abs = fmax(d->max_abs, gap);
        squares += gap * gap;
        norm += isfinite(x[i]) ? x[i] * x[i] : 0;
    }
    d->relative_l2 = squares == 0 ? 0 : sqrt(squares) / sqrt(norm);
    free(x);
    free(y);
}

static void report(const sumi_cli *cli, tally *t, const difference *d)
{
    t->different++;
    if (!cli->json) {
        sumi_cli_put(stdout, 36, d->name);
        printf(" %s", d->what);
        if (d->a[0] == '\0' || d->b[0] == '\0' || strcmp(d->a, d->b) != 0)
            printf("  %s | %s", d->a[0] != '\0' ? d->a : "-", d->b[0] != '\0' ? d->b : "-");
        if (d->numbers)
            printf("  max %.6g, relative %.3g", d->max_abs, d->relative_l2);
        putchar('\n');
        return;
    }
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:s}", "name", d->name, "what", d->what, "a", d->a, "b", d->b);
    if (object != NULL && d->numbers && isfinite(d->max_abs) && isfinite(d->relative_l2)) {
        json_object_set_new(object, "max_abs", json_real(d->max_abs));
        json_object_set_new(object, "relative_l2", json_real(d->relative_l2));
    }
    json_array_append_new(t->list, object);
}

static void compare(const sumi_cli *cli, const sumi_file_tensor *a, const sumi_file_tensor *b,
                    tally *t)
{
    bool tolerant = sumi_option_given(&cli->options, "tolerance");
    difference d = {.name = a->name};
    describe(a, d.a);
    if (b == NULL) {
        d.what = "only in A";
        report(cli, t, &d);
        return;
    }
    describe(b, d.b);
    bool same_shape = a->rank == b->rank;
    for (int i = 0; i < a->rank && same_shape; i++)
        same_shape = a->shape[i] == b->shape[i];
    bool same = same_shape && a->dtype == b->dtype && a->bytes == b->bytes &&
                memcmp(a->data, b->data, a->bytes) == 0;
    if (same_shape && !same)
        measure(a, b, &d);
    if (same ||
        (tolerant && d.numbers && d.max_abs <= sumi_option_real(&cli->options, "tolerance"))) {
        t->equal++;
        return;
    }
    d.what = !same_shape ? "shape" : a->dtype != b->dtype ? "type" : "values";
    report(cli, t, &d);
}

static int finish(const sumi_cli *cli, tally *t)
{
    int code = t->different == 0 ? 0 : SUMI_EXIT_DIFFERENT;
    if (!cli->json) {
        printf("%d tensors equal, %d different\n", t->equal, t->different);
        return code;
    }
    int written = sumi_cli_result(cli, json_pack("{s:i, s:i, s:O}", "equal", t->equal, "different",
                                                 t->different, "differences", t->list));
    return written != 0 ? written : code;
}

int sumi_cmd_diff(sumi_cli *cli)
{
    sumi_tensor_file a, b;
    sumi_error err = {""};
    tally t = {0};
    memset(&b, 0, sizeof b);
    int code = sumi_cli_open(cli);
    if (code != 0)
        return code;
    sumi_status status = sumi_tensors_open(cli, cli->options.operands[0], &a, &err);
    if (status == SUMI_OK)
        status = sumi_tensors_open(cli, cli->options.operands[1], &b, &err);
    if (status == SUMI_OK) {
        t.list = json_array();
        for (size_t i = 0; i < a.count; i++)
            compare(cli, &a.tensors[i], sumi_tensor_file_find(&b, a.tensors[i].name), &t);
        for (size_t i = 0; i < b.count; i++) {
            difference d = {.name = b.tensors[i].name, .what = "only in B"};
            describe(&b.tensors[i], d.b);
            if (sumi_tensor_file_find(&a, d.name) == NULL)
                report(cli, &t, &d);
        }
        code = finish(cli, &t);
    } else {
        code = sumi_cli_fail(cli, status, err.text);
    }
    json_decref(t.list);
    sumi_tensor_file_free(&a);
    sumi_tensor_file_free(&b);
    return code;
}
