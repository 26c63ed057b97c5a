/*
 * Command lines: the input's lines are the words. Whatever they are, parsing ends in a value of
 * the kind and range that the table states, or in one line of text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"

enum { WORDS_MAX = 64, BYTES_MAX = 4096 };

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_value(const sumi_option *option, const sumi_option_value *value)
{
    if (!value->set)
        return;
    if (option->kind == SUMI_ARG_INT)
        check(value->integer >= option->low && value->integer <= option->high);
    if (option->kind == SUMI_ARG_REAL)
        check((float)value->real >= (float)option->least &&
              (float)value->real <= (float)option->most);
    if (option->kind == SUMI_ARG_SIZE)
        check(value->height >= option->low && value->height <= option->high &&
              value->width >= option->low && value->width <= option->high);
    if (option->kind == SUMI_ARG_CHOICE) {
        const char *word;
        int length;
        bool found = false;
        for (int i = 0; (word = sumi_option_choice(option, i, &length)) != NULL; i++)
            found |= strlen(value->text) == (size_t)length &&
                     memcmp(word, value->text, (size_t)length) == 0;
        check(found);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[BYTES_MAX + 1];
    const char *words[WORDS_MAX];
    int count = 0;
    sumi_options options;
    sumi_error err = {""};
    size = size < BYTES_MAX ? size : BYTES_MAX;
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *word = text; word != NULL && count < WORDS_MAX;) {
        char *end = strchr(word, '\n');
        if (end != NULL)
            *end++ = '\0';
        words[count++] = word;
        word = end;
    }
    if (sumi_options_parse(count, words, &options, &err) != SUMI_OK) {
        check(err.text[0] != '\0' && strchr(err.text, '\n') == NULL);
        return 0;
    }
    check(options.command < SUMI_CMD_COUNT);
    check(options.operand_count <= sumi_command_table[options.command].operands_max);
    sumi_option option;
    for (int i = 0; sumi_option_at(i, &option); i++)
        check_value(&option, &options.values[i]);
    return 0;
}
