/*
 * cli: what the commands share. The only layer that prints, parses argv or exits.
 *
 * Standard output carries results only. Progress, notes and errors go to standard error: as text,
 * or with --json as one JSON object a line. An error is one line, and every command returns its
 * exit code: 0, 1 (diff found a difference), 2 (usage), 10 + sumi_status, 130 (cancelled).
 */
#ifndef SUMI_CLI_H
#define SUMI_CLI_H

#include <limits.h>

#include "dist/dist.h"
#include "io/io.h"
#include "options.h"
#include "signals.h"

enum {
    SUMI_EXIT_DIFFERENT = 1,
    SUMI_EXIT_USAGE = 2,
    SUMI_EXIT_STATUS = 10,
    SUMI_EXIT_CANCELLED = 130
};

typedef struct {
    sumi_options options;
    sumi_signals *signals;
    sumi_context *ctx;  /* after sumi_cli_open */
    char *command_line; /* as the user typed it, quoted for a shell */
    bool quiet, json;
    /* One of `launched` processes that were started together: its number; they meet as ranks. */
    int launched, rank;
    sumi_dist *dist; /* after sumi_cli_begin_together, NULL where it is alone */
    sumi_ranks ranks;
    char build[65];
    sumi_error *held; /* what another rank than the first would have said of an error */
} sumi_cli;

/* One function a command; each returns the exit code. */
int sumi_cmd_data_list(sumi_cli *cli);
int sumi_cmd_data_info(sumi_cli *cli);
int sumi_cmd_data_preview(sumi_cli *cli);
int sumi_cmd_train(sumi_cli *cli);
int sumi_cmd_sample(sumi_cli *cli);
int sumi_cmd_predict(sumi_cli *cli);
int sumi_cmd_classify_train(sumi_cli *cli);
int sumi_cmd_eval(sumi_cli *cli);
int sumi_cmd_tune(sumi_cli *cli);
int sumi_cmd_convert(sumi_cli *cli);
int sumi_cmd_average(sumi_cli *cli);
int sumi_cmd_info(sumi_cli *cli);
int sumi_cmd_diff(sumi_cli *cli);
int sumi_cmd_verify(sumi_cli *cli);
int sumi_cmd_bench_train(sumi_cli *cli);
int sumi_cmd_bench_sample(sumi_cli *cli);
int sumi_cmd_devices(sumi_cli *cli);

/* open.c: creates cli->ctx with --threads, or with one thread for commands that do not compute.
 * Returns 0 or the exit code, with the error printed. */
int sumi_cli_open(sumi_cli *cli);
/* open.c: tells what a call that succeeded with this status has left as the context's message. */
void sumi_cli_warn(const sumi_cli *cli, sumi_status status);
/* open.c: sumi_model_load, which succeeds where a damaged checkpoint was passed over for an older
 * one: then the user is told. Every command loads through this. */
sumi_status sumi_cli_load(sumi_cli *cli, const char *path, sumi_model **out);
/* The tutorial's recipe and network, in files and on command lines of version 0.1; where a user
 * meets it, a note says what it is read as. */
#define SUMI_FORMER_RECIPE "seed"
#define SUMI_FORMER_RECIPE_NOTE "%s: \"seed\" is the former name of \"tutorial\", and read as it"
/* open.c: sets the fields of a model that the command has options for. */
void sumi_cli_model_config(const sumi_options *options, sumi_model_config *config);
/* open.c: what --precision says, or the config.json of a resumed run. */
sumi_precision sumi_cli_precision(const sumi_options *options);
/* open.c: the size of a model's images where nobody says: that of its training, or 32x32 where it
 * is not known. The tutorial's network trains on 28x28 and draws 32x32: true where that is so. */
bool sumi_cli_sample_size(const sumi_model_info_t *info, int *height, int *width);
/* open.c: the size of its training, or of the data where that is not known. Pictures that are
 * scored have it: the tutorial's network draws worse at 32x32. */
void sumi_cli_trained_size(const sumi_model_info_t *info, const sumi_dataset *data, int *height,
                           int *width);
/* labels.c: what --guidance and its like say to a sampling; *guide receives the model that --guide
 * names, the caller's to free. Returns 0 or the exit code, with the error printed. */
int sumi_cli_guidance(sumi_cli *cli, sumi_sample_config *config, sumi_model **guide);

/* ---- Several processes (together.c) ---------------------------------------------------------- */

/* Finds out whether there are others: all but the first are silent from here on. */
void sumi_cli_find_others(sumi_cli *cli);
/* Starts what processes reach each other by, where the command is one that several share; else it
 * is refused. After signals are taken care of. Returns 0, or the exit code with the error told. */
int sumi_cli_begin_together(sumi_cli *cli);
/* Makes the context one of those of the other processes, where there are such. Returns 0 or the
 * exit code, with the error printed. */
int sumi_cli_join(sumi_cli *cli);
/* What all have come to: 0, or the exit code of the first that failed, whose error is printed. */
int sumi_cli_meet(sumi_cli *cli, int code);
/* False for all but the first: what is printed once, it prints. */
bool sumi_cli_talks(const sumi_cli *cli);

/* ---- Talking (report.c) ---------------------------------------------------------------------- */

/* Prints the error and returns its exit code. */
int sumi_cli_fail(const sumi_cli *cli, sumi_status status, const char *message);
/* The same with the context's last error. */
int sumi_cli_fail_context(const sumi_cli *cli, sumi_status status);
/* The same for a command line that cannot be parsed: the message names its command, or none. */
int sumi_cli_fail_usage(const sumi_cli *cli, const char *message);
int sumi_cli_usage(const sumi_cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A line for the reader on standard error; --quiet drops it. kind is the key in JSON: "note",
 * "warning", "next"; as text a note stands alone and the others have their name in front. */
void sumi_cli_note(const sumi_cli *cli, const char *kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* What is to be known about how the set was read. */
void sumi_cli_notices(const sumi_cli *cli, const sumi_dataset *set);
/* Prints an object as one line on standard output and releases it. NULL says that memory was out.
 */
int sumi_cli_result(const sumi_cli *cli, json_t *object);
/* Text of any length, malloc'ed: a command to type must be whole, however long its paths are. NULL
 * without memory. */
char *sumi_cli_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints a text that may come from a file, padded to width, as sumi_clean_text gives it. All that
 * is not JSON and has a file's bytes in it goes through here, or through sumi_fail. */
void sumi_cli_put(FILE *out, int width, const char *text);
/* Prints an object on standard output as lines of "key value", inner objects indented. */
void sumi_cli_print(const json_t *object);
/* "1:02:03" or "02:03". */
void sumi_format_duration(double seconds, char out[32]);
/* A number as Python prints it: the fewest digits that give the same double back. */
void sumi_format_shortest(double value, char out[32]);
/* argv as one line that a shell reads back as the same words; malloc'ed, NULL without memory. */
char *sumi_shell_line(int argc, const char *const *argv);

/* ---- Output files (output.c) ----------------------------------------------------------------- */

/* Refuses, before long work starts, a path at which no file can be written: no such folder, a
 * folder that may not be written to, or something there that is not a plain file or is write-
 * protected. */
sumi_status sumi_check_output(const char *path, sumi_error *err);
/* The same for a folder that is there or can be made. */
sumi_status sumi_check_output_dir(const char *path, sumi_error *err);

/* Pictures as they come, to a grid (x.png), one file each (DIR/) or an array (x.npy), by the ending
 * of path. Files of a folder are whole when add returns, and so are an array's images, in PATH.part
 * until end; a grid needs all and is written by end. Memory grows with n for a grid alone. Zero it,
 * set what is asked for, then begin, add ... and either end or stop. */
typedef struct {
    const char *path;
    int64_t first_index;              /* number of the first picture, for file names */
    int n, h, w, c;                   /* n: as many as there will be */
    const char *comment, *parameters; /* go into the PNG files; either may be NULL */
    int done;                         /* that were added */
    sumi_kind_rows rows;              /* of a grid, where there are kinds: a row for each */
    uint8_t *grid;                    /* [n][h][w][c] */
    sumi_npy_stream *array;
} sumi_output;

sumi_status sumi_output_begin(sumi_output *output, sumi_error *err);
/* pixels: [n][h][w][c] */
sumi_status sumi_output_add(sumi_output *output, const uint8_t *pixels, int n, sumi_error *err);
/* What was added is the result, even if it is less than was announced, but at least one. */
sumi_status sumi_output_end(sumi_output *output, sumi_error *err);
/* What is on disk stays there; a grid is not. */
void sumi_output_stop(sumi_output *output);

#endif
