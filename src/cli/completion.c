/*
 * Completion for bash, from the table of options.c: commands, their second words, options,
 * choices, and file names everywhere else.
 */
#include "text.h"

#include <string.h>

/* The second words of a group, and nothing for a command of one word. */
static void second_words(FILE *out, const char *group, size_t length)
{
    const char *gap = "";
    for (const sumi_command *command = sumi_command_table; command->name != NULL; command++)
        if (strncmp(command->name, group, length) == 0 && command->name[length] == ' ') {
            fprintf(out, "%s%s", gap, command->name + length + 1);
            gap = " ";
        }
}

/* Whether the command before this one has the same first word. */
static bool continues_group(const sumi_command *command)
{
    size_t length = strcspn(command->name, " ");
    return command != sumi_command_table && command->name[length] == ' ' &&
           strncmp(command[-1].name, command->name, length + 1) == 0;
}

static void first_words(FILE *out)
{
    const char *gap = "";
    for (const sumi_command *command = sumi_command_table; command->name != NULL; command++)
        if (!continues_group(command)) {
            fprintf(out, "%s%.*s", gap, (int)strcspn(command->name, " "), command->name);
            gap = " ";
        }
}

static void options_of(FILE *out, sumi_command_id id)
{
    const char *gap = "";
    sumi_option option;
    for (int i = 0; sumi_option_at(i, &option); i++)
        if (sumi_option_belongs(&option, id)) {
            fprintf(out, "%s--%s", gap, option.name);
            gap = " ";
        }
}

static void choices_of(FILE *out, const sumi_option *option)
{
    int length;
    const char *word;
    fputs(") words='", out);
    for (int i = 0; (word = sumi_option_choice(option, i, &length)) != NULL; i++)
        fprintf(out, "%s%.*s", i > 0 ? " " : "", length, word);
    fputs("' ;;\n", out);
}

/* What may follow an option that takes a value. */
static void values_of(FILE *out, sumi_command_id id)
{
    sumi_option option;
    for (int i = 0; sumi_option_at(i, &option); i++) {
        if (!sumi_option_belongs(&option, id) || option.kind == SUMI_ARG_FLAG)
            continue;
        fprintf(out, "        '%s --%s'", sumi_command_table[id].name, option.name);
        if (option.letter != '\0')
            fprintf(out, "|'%s -%c'", sumi_command_table[id].name, option.letter);
        if (option.kind == SUMI_ARG_PATH)
            fputs(") COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n", out);
        else if (option.kind == SUMI_ARG_CHOICE)
            choices_of(out, &option);
        else
            fputs(") return ;;\n", out);
    }
}

/* Where a data set is expected, its name is one too; "data list" prints them. */
static void data_names(FILE *out)
{
    const char *bar = "";
    fputs("    case $command in\n        ", out);
    for (const sumi_command *command = sumi_command_table; command->name != NULL; command++)
        if (command->operands[0] == 'D' && strcspn(command->operands, " ") == 1) {
            fprintf(out, "%s'%s'", bar, command->name);
            bar = "|";
        }
    fputs(") names='shapes fashion-mnist' ;;\n    esac\n", out);
}

void sumi_help_bash_completion(FILE *out)
{
    fputs("# bash completion for sumi; made by: sumi help --bash-completion\n"
          "_sumi()\n{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    local command=${COMP_WORDS[1]} words= names=\n"
          "    COMPREPLY=()\n"
          "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
          "        COMPREPLY=($(compgen -W '",
          out);
    first_words(out);
    fputs(" --help --version' -- \"$word\"))\n        return\n    fi\n"
          "    case $command in\n",
          out);
    for (const sumi_command *command = sumi_command_table; command->name != NULL; command++) {
        size_t length = strcspn(command->name, " ");
        if (command->name[length] != ' ' || continues_group(command))
            continue;
        fprintf(out,
                "    %.*s)\n        if [ \"$COMP_CWORD\" = 2 ]; then\n"
                "            COMPREPLY=($(compgen -W '",
                (int)length, command->name);
        second_words(out, command->name, length);
        fputs("' -- \"$word\"))\n            return\n        fi\n"
              "        command=\"$command ${COMP_WORDS[2]}\" ;;\n",
              out);
    }
    fputs("    help)\n        words='", out);
    first_words(out);
    fputs("' ;;\n    esac\n", out);
    /* --option=value comes as three words. */
    fputs("    if [ \"$word\" = = ]; then\n        word=\n"
          "    elif [ \"$before\" = = ]; then\n        before=${COMP_WORDS[COMP_CWORD-2]}\n    fi\n"
          "    case \"$command $before\" in\n",
          out);
    for (int id = 0; id < SUMI_CMD_COUNT; id++)
        values_of(out, (sumi_command_id)id);
    fputs("    esac\n    if [ \"${word#-}\" != \"$word\" ]; then\n        case $command in\n", out);
    for (int id = 0; id < SUMI_CMD_COUNT; id++) {
        fprintf(out, "        '%s') words='", sumi_command_table[id].name);
        options_of(out, (sumi_command_id)id);
        fputs("' ;;\n", out);
    }
    fputs("        esac\n    fi\n", out);
    data_names(out);
    fputs("    if [ -n \"$words\" ]; then\n"
          "        COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
          "    else\n"
          "        COMPREPLY=($(compgen -W \"$names\" -- \"$word\") $(compgen -f -- \"$word\"))\n"
          "    fi\n}\n"
          "complete -o filenames -F _sumi sumi\n",
          out);
}
