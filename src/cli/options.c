/*
 * The table of options. options.h says what is made from it; options_train.c,
 * options_run.c, options_sample.c and options_other.c have its rows, commands.c the commands.
 */
#include "options.h"

#include <string.h>

#include "option_rows.h"

const char *sumi_option_choice(const sumi_option *option, int index, int *length)
{
    const char *word = option->choices;
    if (option->choice_at != NULL) {
        sumi_choice_t choice = SUMI_CHOICE_INIT;
        word = option->choice_at(index, &choice) == SUMI_OK ? choice.name : NULL;
    } else
        for (; word != NULL && index > 0; index--) {
            const char *bar = strchr(word, '|');
            word = bar != NULL ? bar + 1 : NULL;
        }
    if (word != NULL)
        *length = (int)strcspn(word, "|");
    return word;
}

/* time_dim of the part net: --time-dim, which config.json keeps as model.time_dim. */
static void option_of(const sumi_field_t *field, sumi_option *out)
{
    static const struct {
        sumi_arg_kind kind;
        const char *metavar;
    } kinds[] = {[SUMI_FIELD_INT] = {SUMI_ARG_INT, "N"},
                 [SUMI_FIELD_INT64] = {SUMI_ARG_INT, "N"},
                 [SUMI_FIELD_FLOAT] = {SUMI_ARG_REAL, "X"},
                 [SUMI_FIELD_BOOL] = {SUMI_ARG_FLAG, NULL},
                 [SUMI_FIELD_CHOICE] = {SUMI_ARG_CHOICE, "NAME"},
                 [SUMI_FIELD_LIST] = {SUMI_ARG_LIST, "N,N"}};
    bool net = strcmp(field->part, "net") == 0, flag = field->kind == SUMI_FIELD_BOOL;
    *out = (sumi_option){.kind = kinds[field->kind].kind,
                         .metavar = kinds[field->kind].metavar,
                         .low = (int64_t)field->low,
                         .high = (int64_t)field->high,
                         .least = field->low,
                         .most = field->high,
                         .choice_at = field->choice_at,
                         .initial = flag ? NULL : field->initial,
                         .commands = BIT(TRAIN) | (net ? BENCH : 0),
                         .help = field->about,
                         .field = field->name};
    snprintf(out->key, sizeof out->key, "model.%s", field->name);
    snprintf(out->name, sizeof out->name, "%s", field->name);
    for (char *c = out->name; *c != '\0'; c++)
        if (*c == '_')
            *c = '-';
}

/* The whole table, which is made when it is first asked for. */
static sumi_option table[SUMI_OPTIONS_MAX];
static int table_count;

static void add_rows(const sumi_option *rows, int count)
{
    for (int i = 0; i < count && table_count < SUMI_OPTIONS_MAX; i++)
        table[table_count++] = rows[i];
}

static void make_table(void)
{
    sumi_field_t field = SUMI_FIELD_INIT;
    add_rows(sumi_option_rows_train, sumi_option_rows_train_count);
    add_rows(sumi_option_rows_run, sumi_option_rows_run_count);
    for (int i = 0; sumi_model_field_at(i, &field) == SUMI_OK; i++) {
        sumi_option option;
        if (!field.settable || field.from_data)
            continue;
        option_of(&field, &option);
        add_rows(&option, 1);
    }
    add_rows(sumi_option_rows_sample, sumi_option_rows_sample_count);
    add_rows(sumi_option_rows_other, sumi_option_rows_other_count);
}

bool sumi_option_at(int index, sumi_option *out)
{
    if (table_count == 0)
        make_table();
    if (index < 0 || index >= table_count)
        return false;
    *out = table[index];
    return true;
}

bool sumi_option_belongs(const sumi_option *option, sumi_command_id command)
{
    return (option->commands >> command & 1u) != 0;
}

bool sumi_option_turns_off(const sumi_option *option)
{
    return option->kind == SUMI_ARG_FLAG && (option->field != NULL || option->by_recipe);
}

int sumi_option_find(sumi_command_id command, const char *name, size_t length, sumi_option *out)
{
    sumi_option option;
    for (int i = 0; sumi_option_at(i, &option); i++)
        if (sumi_option_belongs(&option, command) && strlen(option.name) == length &&
            memcmp(option.name, name, length) == 0) {
            if (out != NULL)
                *out = option;
            return i;
        }
    return -1;
}
