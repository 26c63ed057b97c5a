/*
 * What the help, the man page and the completion share: walking the table and wrapping text.
 */
#ifndef SUMI_CLI_TEXT_H
#define SUMI_CLI_TEXT_H

#include "options.h"

/* What the exit codes mean, one line each, ended by a NULL code. */
typedef struct {
    const char *code, *meaning;
} sumi_exit_code;
extern const sumi_exit_code sumi_exit_codes[];
/* Environment variables, ended by a NULL name. */
typedef struct {
    const char *name, *meaning;
} sumi_variable;
extern const sumi_variable sumi_variables[];

/* What follows an option's help: its choices and its default, such as " One of fp32, bf16. Default:
 * fp32."; "" where there is nothing to say. */
void sumi_option_remark(const sumi_option *option, char *out, size_t size);

#endif
