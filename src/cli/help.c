/*
 * The --help texts, for the program and for each command, from the table of options.c.
 */
#include "text.h"

#include <string.h>

enum { HELP_WIDTH = 80, HELP_COLUMN = 26 };

const sumi_exit_code sumi_exit_codes[] = {
    {"0", "Done."},
    {"1", "sumi diff or sumi verify found a difference."},
    {"2", "The command line is wrong."},
    {"12", "Out of memory."},
    {"13", "A setting is out of its range."},
    {"14", "A file could not be opened, read or written."},
    {"15", "A file is not what it claims to be."},
    {"16", "Sizes that do not fit together."},
    {"17", "Valid, but not something this build does."},
    {"130", "Stopped by Ctrl-C, SIGTERM or SIGHUP."},
    {NULL, NULL},
};

const sumi_variable sumi_variables[] = {
    {"SUMI_DATA", "A folder in which named data sets are looked for first."},
    {"SUMI_ISA",
     "generic, avx2, avx2vnni, avx512, avx512vnni or amx: computes with that instruction "
     "set."},
    {"SUMI_COMMAND_OPTION",
     "Stands for an option of a command: SUMI_TRAIN_LR for --lr of sumi train, "
     "SUMI_DATA_INFO_SIZE. "
     "Flags take 1 or 0. The command line goes before it, and it before --config."},
    {"NO_COLOR", "Set to anything: no colour on the terminal."},
    {NULL, NULL},
};

void sumi_option_remark(const sumi_option *option, char *out, size_t size)
{
    size_t used = 0;
    const char *word;
    int length;
    out[0] = '\0';
    if (option->kind == SUMI_ARG_CHOICE && sumi_option_choice(option, 1, &length) != NULL) {
        for (int i = 0; (word = sumi_option_choice(option, i, &length)) != NULL; i++) {
            int more = snprintf(out + used, size - used, "%s%.*s", i > 0 ? ", " : " One of ",
                                length, word);
            used += (size_t)more < size - used ? (size_t)more : size - used - 1;
        }
        used += (size_t)snprintf(out + used, size - used, ".");
    }
    if (option->initial != NULL)
        snprintf(out + used, size - used, " Default: %s.", option->initial);
}

/* Prints text from the given column on, wrapped at words, further lines indented. */
static void wrap(FILE *out, const char *text, int column, int indent)
{
    while (*text != '\0') {
        int length = (int)strcspn(text, " ");
        if (column > indent && column + 1 + length > HELP_WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", length, text);
        column += length;
        text += length;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

/* A left column with its explanation beside it, or below where it is too wide. */
static void entry(FILE *out, const char *left, int column, const char *text)
{
    int used = fprintf(out, "  %s", left);
    if (used + 1 >= column)
        fprintf(out, "\n%*s", column, "");
    else
        fprintf(out, "%*s", column - used, "");
    wrap(out, text, column, column);
}

void sumi_help_program(FILE *out)
{
    fputs("sumi trains and samples denoising diffusion models on images.\n\n"
          "Usage: sumi COMMAND [OPTION...] [ARGUMENT...]\n\nCommands:\n",
          out);
    for (const sumi_command *command = sumi_command_table; command->name != NULL; command++)
        entry(out, command->name, 18, command->summary);
    fputs("\nBegin with:\n"
          "  sumi train shapes --minutes 2 --out runs/first\n"
          "  sumi sample runs/first --solver ddim --steps 50 --out x.png\n\n"
          "sumi help COMMAND explains a command; sumi help --man prints the manual page.\n",
          out);
}

static void print_option(FILE *out, const sumi_option *option)
{
    char left[96], remark[384], text[768], letter[8] = "    ";
    if (option->letter != '\0')
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", letter, option->name,
             option->metavar != NULL ? " " : "", option->metavar != NULL ? option->metavar : "");
    sumi_option_remark(option, remark, sizeof remark);
    snprintf(text, sizeof text, "%s%s", option->help, remark);
    entry(out, left, HELP_COLUMN, text);
}

void sumi_help_command(FILE *out, sumi_command_id id)
{
    const sumi_command *command = &sumi_command_table[id];
    fprintf(out, "Usage: sumi %s%s%s [OPTION...]\n\n%s.\n", command->name,
            command->operands[0] != '\0' ? " " : "", command->operands, command->summary);
    if (command->details[0] != '\0')
        wrap(out, command->details, 0, 0);
    fputs("\nOptions:\n", out);
    sumi_option option;
    for (int i = 0; sumi_option_at(i, &option); i++)
        if (sumi_option_belongs(&option, id))
            print_option(out, &option);
    fprintf(out, "\nExample:\n  %s\n", command->example);
}

bool sumi_help_group(FILE *out, const char *group)
{
    size_t length = strlen(group);
    bool found = false;
    for (const sumi_command *command = sumi_command_table; command->name != NULL; command++) {
        if (strncmp(command->name, group, length) != 0 || command->name[length] != ' ')
            continue;
        if (!found)
            fprintf(out, "Usage: sumi %s COMMAND [OPTION...]\n\nCommands:\n", group);
        found = true;
        entry(out, command->name, 18, command->summary);
    }
    if (found)
        fprintf(out, "\nsumi help %s COMMAND explains one.\n", group);
    return found;
}
