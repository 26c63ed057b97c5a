/*
 * The manual page sumi(1) in man(7) macros, from the table of options.c.
 */
#include "text.h"

#include <string.h>

/* Room for the escapes is left below the 80 columns that lint asks for. */
enum { LINE_MAX_LENGTH = 70 };

/* The day of the release that the page describes; changes with SUMI_VERSION. */
static const char release_date[] = "2026-11-24";

/* Text for roff: backslashes and hyphens are escaped (a bare hyphen may be typeset as a dash, and
 * then a pasted option does not work), and no line starts with a control character. */
static void roff(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    for (; *text != '\0'; text++) {
        if (*text == '-')
            fputs("\\-", out);
        else if (*text == '\\')
            fputs("\\e", out);
        else
            fputc(*text, out);
    }
}

/* Text in lines of moderate length, and each sentence begun on a line of its own, as roff wants it
 * to space them. */
static void sentences(FILE *out, const char *text)
{
    char line[LINE_MAX_LENGTH + 1] = "";
    size_t used = 0;
    while (*text != '\0') {
        size_t word = strcspn(text, " ");
        if (used > 0 && (used + 1 + word > LINE_MAX_LENGTH || line[used - 1] == '.')) {
            roff(out, line);
            fputc('\n', out);
            used = 0;
        }
        used += (size_t)snprintf(line + used, sizeof line - used, "%s%.*s", used > 0 ? " " : "",
                                 (int)word, text);
        text += word;
        text += strspn(text, " ");
    }
    roff(out, line);
    fputs(line[0] != '\0' ? "\n" : "", out);
}

static void print_option(FILE *out, const sumi_option *option)
{
    char remark[384], text[768];
    fputs(".TP\n.BR ", out);
    if (option->letter != '\0')
        fprintf(out, "\\-%c \", \" ", option->letter);
    fputs("\\-\\-", out);
    roff(out, option->name);
    if (option->metavar != NULL) {
        fputs(" \" \\fI", out);
        roff(out, option->metavar);
        fputs("\\fP\"", out);
    }
    fputc('\n', out);
    sumi_option_remark(option, remark, sizeof remark);
    snprintf(text, sizeof text, "%s%s", option->help, remark);
    sentences(out, text);
}

static void print_command(FILE *out, sumi_command_id id)
{
    const sumi_command *command = &sumi_command_table[id];
    fputs(".SS sumi ", out);
    roff(out, command->name);
    if (command->operands[0] != '\0') {
        fputc(' ', out);
        roff(out, command->operands);
    }
    fputc('\n', out);
    roff(out, command->summary);
    fputs(".\n", out);
    sentences(out, command->details);
    sumi_option option;
    for (int i = 0; sumi_option_at(i, &option); i++)
        if (option.letter != 'h' && sumi_option_belongs(&option, id))
            print_option(out, &option);
}

static void pairs(FILE *out, const char *heading, const char *name, const char *meaning)
{
    if (heading != NULL)
        fprintf(out, ".SH %s\n", heading);
    fputs(".TP\n.B ", out);
    roff(out, name);
    fputc('\n', out);
    sentences(out, meaning);
}

void sumi_help_man(FILE *out)
{
    fprintf(out,
            ".\\\" Made from sumi's table of options by: sumi help \\-\\-man\n"
            ".TH SUMI 1 %s \"sumi %s\" \"User Commands\"\n"
            ".SH NAME\nsumi \\- train and sample denoising diffusion models on images\n"
            ".SH SYNOPSIS\n.B sumi\n.I command\n.RI [ option ...\\&]\n.RI [ argument ...\\&]\n"
            ".SH DESCRIPTION\n",
            release_date, SUMI_VERSION);
    sentences(out, "sumi trains a small network to take noise out of pictures, and then draws new "
                   "pictures out of pure noise with it. It runs on the CPU and needs nothing else. "
                   "Results go to standard output, progress and messages to standard error. Every "
                   "command also takes --help.");
    fputs(".SH COMMANDS\n", out);
    for (int id = 0; id < SUMI_CMD_COUNT; id++)
        print_command(out, (sumi_command_id)id);
    for (const sumi_exit_code *code = sumi_exit_codes; code->code != NULL; code++)
        pairs(out, code == sumi_exit_codes ? "EXIT STATUS" : NULL, code->code, code->meaning);
    for (const sumi_variable *variable = sumi_variables; variable->name != NULL; variable++)
        pairs(out, variable == sumi_variables ? "ENVIRONMENT" : NULL, variable->name,
              variable->meaning);
    fputs(".SH EXAMPLES\n", out);
    for (const sumi_command *command = sumi_command_table; command->name != NULL; command++) {
        fputs(".TP\n.B ", out);
        roff(out, command->example);
        fputc('\n', out);
        roff(out, command->summary);
        fputs(".\n", out);
    }
}
