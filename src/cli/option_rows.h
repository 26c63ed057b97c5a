/*
 * The rows of the table of options, for the files that hold them and for options.c, which walks
 * them. Everybody else sees options.h only.
 */
#ifndef SUMI_CLI_OPTION_ROWS_H
#define SUMI_CLI_OPTION_ROWS_H

#include "data/data.h"
#include "options.h"

#define BIT(command) (1u << SUMI_CMD_##command)

enum {
    DATA_SET = BIT(DATA_INFO) | BIT(DATA_PREVIEW),
    BENCH = BIT(BENCH_TRAIN) | BIT(BENCH_SAMPLE),
    COMPUTE = BIT(TRAIN) | BIT(SAMPLE) | BIT(PREDICT) | BENCH,
    EVALUATE = BIT(CLASSIFY_TRAIN) | BIT(EVAL) | BIT(TUNE),
    PICTURES_MAX = 1000000,
};

/* In the order in which the help shows them; those that describe a model, which options.c makes
 * from the library's list of fields, stand between train and sample. */
extern const sumi_option sumi_option_rows_train[], sumi_option_rows_run[],
    sumi_option_rows_sample[], sumi_option_rows_other[];
extern const int sumi_option_rows_train_count, sumi_option_rows_run_count,
    sumi_option_rows_sample_count, sumi_option_rows_other_count;

#endif
