/*
 * The commands and options of sumi, in one table.
 *
 * From it come parsing, --help, the man page, bash completion and the keys of a run's config.json:
 * an option that is added to the table is at once in all five. Nothing here prints or exits.
 */
#ifndef SUMI_CLI_OPTIONS_H
#define SUMI_CLI_OPTIONS_H

#include <jansson.h>
#include <stdio.h>

#include "base/base.h"
#include "sumi.h"

typedef enum {
    SUMI_CMD_DATA_LIST,
    SUMI_CMD_DATA_INFO,
    SUMI_CMD_DATA_PREVIEW,
    SUMI_CMD_TRAIN,
    SUMI_CMD_SAMPLE,
    SUMI_CMD_PREDICT,
    SUMI_CMD_CLASSIFY_TRAIN,
    SUMI_CMD_EVAL,
    SUMI_CMD_TUNE,
    SUMI_CMD_CONVERT,
    SUMI_CMD_AVERAGE,
    SUMI_CMD_INFO,
    SUMI_CMD_DIFF,
    SUMI_CMD_VERIFY,
    SUMI_CMD_BENCH_TRAIN,
    SUMI_CMD_BENCH_SAMPLE,
    SUMI_CMD_DEVICES,
    SUMI_CMD_HELP,
    SUMI_CMD_VERSION,
    SUMI_CMD_COUNT
} sumi_command_id;

typedef struct {
    const char *name;     /* one or two words: "train", "data list" */
    const char *operands; /* as the help shows them; "" where there are none */
    int operands_min, operands_max;
    const char *summary; /* one line */
    const char *details; /* sentences, wrapped by the help */
    const char *example;
} sumi_command;

typedef enum {
    SUMI_ARG_FLAG,
    SUMI_ARG_INT,
    SUMI_ARG_REAL,
    SUMI_ARG_SIZE, /* HxW, or one number for a square */
    SUMI_ARG_STRING,
    SUMI_ARG_PATH, /* a string that completion takes for a file name */
    SUMI_ARG_CHOICE,
    SUMI_ARG_LIST, /* up to SUMI_LEVELS_MAX whole numbers with commas between them */
} sumi_arg_kind;

typedef struct {
    char name[24]; /* without the two dashes; unique within a command */
    char letter;   /* 0: no short form */
    sumi_arg_kind kind;
    int64_t low, high;  /* SUMI_ARG_INT, each side of SUMI_ARG_SIZE, each of a list */
    double least, most; /* SUMI_ARG_REAL */
    /* SUMI_ARG_CHOICE: words with | between them, or what lists them. */
    const char *choices;
    sumi_status (*choice_at)(int index, sumi_choice_t *out);
    const char *initial;     /* the default as text, parsed like any value; NULL: none */
    const char *metavar;     /* NULL for flags */
    char key[40];            /* where config.json keeps it ("train.batch"); "": nowhere */
    bool required, resuming; /* resuming: may be given together with --resume */
    unsigned commands;       /* one bit for each sumi_command_id that takes it */
    const char *help;
    const char *field; /* the field of a sumi_model_config that it sets; NULL: none */
    bool by_recipe;    /* a flag besides those of fields that a recipe may turn on */
} sumi_option;

enum { SUMI_OPTIONS_MAX = 160, SUMI_OPERANDS_MAX = 64 };

/* Ends with an entry whose name is NULL. */
extern const sumi_command sumi_command_table[SUMI_CMD_COUNT + 1];

/* Walks the options, from index 0 on; false past the last one. Those that describe a model are made
 * from the library's list of fields, the others are rows of a table. */
bool sumi_option_at(int index, sumi_option *out);

/* A choice's word number index, which ends at its length; NULL past the last. */
const char *sumi_option_choice(const sumi_option *option, int index, int *length);
bool sumi_option_belongs(const sumi_option *option, sumi_command_id command);
/* Whether it is a flag that a recipe may turn on, so that =off says something. */
bool sumi_option_turns_off(const sumi_option *option);
/* The index of the command's option of that name (length characters of it), which out (or NULL)
 * receives; -1 where it has none. */
int sumi_option_find(sumi_command_id command, const char *name, size_t length, sumi_option *out);

/* ---- Parsing (parse.c) ----------------------------------------------------------------------- */

typedef struct {
    bool given; /* on the command line, in the environment or in a file of options */
    bool set;   /* there is a value: given, from a run's config.json, or a default */
    bool kept;  /* it is from config.json */
    int64_t integer;
    double real;
    int height, width;
    const char *text; /* points into argv, the table or the config */
} sumi_option_value;

typedef struct {
    sumi_command_id command;
    bool help;                                  /* --help was seen: the rest was not looked at */
    sumi_option_value values[SUMI_OPTIONS_MAX]; /* by the option's index */
    const char *operands[SUMI_OPERANDS_MAX];
    int operand_count;
    json_t *owned;      /* texts that a file gave; NULL: none */
    json_t *run_config; /* what --config named where that is a run's; NULL: none */
} sumi_options;

/* argv without the program's name. SUMI_EINVAL with one line that names the option, what was
 * expected and what was found, and what was perhaps meant. */
sumi_status sumi_options_parse(int argc, const char *const *argv, sumi_options *out,
                               sumi_error *err);
/* The same, and what is not on the command line from the environment and the file of --config.
 * Released by free in either case. */
sumi_status sumi_options_read(int argc, const char *const *argv, sumi_options *out,
                              sumi_error *err);
void sumi_options_free(sumi_options *options);
/* sources.c: what is not on the command line. */
sumi_status sumi_options_sources(sumi_options *options, sumi_error *err);
/* The variable that stands for an option of a command: SUMI_TRAIN_LR, SUMI_DATA_INFO_SIZE. */
void sumi_option_variable(const sumi_option *option, sumi_command_id command, char out[64]);
/* Takes what config.json says for every option of the command that has a key and was not given;
 * ranges are checked as on the command line. config must outlive options. */
sumi_status sumi_options_config(sumi_options *options, const char *path, const json_t *config,
                                sumi_error *err);
/* Sets an option as if it had been given; source is for messages, and text must outlive options.
 * SUMI_EFORMAT where it is no value of that option. */
sumi_status sumi_options_give(sumi_options *options, const char *source, const char *name,
                              const char *text, sumi_error *err);
/* The command that the words name: one word, or two. *used receives how many. */
sumi_status sumi_command_find(int argc, const char *const *argv, sumi_command_id *out, int *used,
                              sumi_error *err);
/* The candidate (NULL-terminated list) nearest to word by edit distance (insert, delete, replace,
 * swap of neighbours); NULL where none is near enough to be a slip of the fingers. */
const char *sumi_suggest(const char *word, const char *const *candidates);

/* Values by name, of the kind that the table says: a wrong name or kind is a programmer's error. */
bool sumi_option_given(const sumi_options *options, const char *name);
bool sumi_option_said(const sumi_options *options, const char *name); /* given, or in config.json */
bool sumi_option_flag(const sumi_options *options, const char *name);
int64_t sumi_option_int(const sumi_options *options, const char *name);      /* 0 where not set */
double sumi_option_real(const sumi_options *options, const char *name);      /* 0 where not set */
const char *sumi_option_text(const sumi_options *options, const char *name); /* NULL: not set */
/* 0 and 0 where not set. */
void sumi_option_size(const sumi_options *options, const char *name, int *height, int *width);

/* ---- Text made from the table (help.c, man.c, completion.c) ---------------------------------- */

void sumi_help_program(FILE *out);
void sumi_help_command(FILE *out, sumi_command_id id);
/* Every command that begins with the word group, as in "data list"; false, with nothing printed,
 * where none does. */
bool sumi_help_group(FILE *out, const char *group);
void sumi_help_man(FILE *out);
void sumi_help_bash_completion(FILE *out);

#endif
