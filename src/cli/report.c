/*
 * Errors, notes and results: what goes to which stream, and in which form.
 */
#include "cli.h"

#include "data/data.h"

#include <stdlib.h>
#include <string.h>

/* One object as a line of JSON on standard error; a line that cannot be made is dropped. */
static void json_line(json_t *object)
{
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    if (text != NULL)
        fprintf(stderr, "%s\n", text);
    free(text);
    json_decref(object);
}

void sumi_cli_put(FILE *out, int width, const char *text)
{
    char *clean = sumi_clean_copy(text);
    fprintf(out, "%-*s", width, clean != NULL ? clean : "?");
    free(clean);
}

static char *format_text(const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = sumi_vformat(NULL, 0, format, again);
    va_end(again);
    char *text = length >= 0 ? sumi_calloc((size_t)length + 1, 1) : NULL;
    if (text != NULL)
        sumi_vformat(text, (size_t)length + 1, format, arguments);
    return text;
}

char *sumi_cli_text(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = format_text(format, arguments);
    va_end(arguments);
    return text;
}

/* The error as one line, in the form that the user asked for. */
static void print_error(const sumi_cli *cli, const char *message, const char *kind, int code)
{
    if (!sumi_cli_talks(cli)) {
        sumi_fail(cli->held, SUMI_OK, "%s", message);
        return;
    }
    if (cli->json)
        json_line(json_pack("{s:o, s:s, s:i}", "error", sumi_json_any(message), "status", kind,
                            "exit", code));
    else {
        fputs("sumi: ", stderr);
        sumi_cli_put(stderr, 0, message);
        fputc('\n', stderr);
    }
}

int sumi_cli_fail(const sumi_cli *cli, sumi_status status, const char *message)
{
    int code = status == SUMI_CANCELLED ? SUMI_EXIT_CANCELLED : SUMI_EXIT_STATUS + (int)status;
    if (message == NULL || message[0] == '\0')
        message = sumi_status_name(status);
    print_error(cli, message, sumi_status_name(status), code);
    return code;
}

int sumi_cli_fail_context(const sumi_cli *cli, sumi_status status)
{
    return sumi_cli_fail(cli, status, sumi_last_error(cli->ctx));
}

int sumi_cli_fail_usage(const sumi_cli *cli, const char *message)
{
    print_error(cli, message, "usage", SUMI_EXIT_USAGE);
    return SUMI_EXIT_USAGE;
}

int sumi_cli_usage(const sumi_cli *cli, const char *format, ...)
{
    sumi_error err = {""};
    va_list arguments;
    va_start(arguments, format);
    sumi_vfail(&err, SUMI_EINVAL, format, arguments);
    va_end(arguments);
    sumi_fail_prefix(&err, SUMI_EINVAL, sumi_command_table[cli->options.command].name);
    return sumi_cli_fail_usage(cli, err.text);
}

void sumi_cli_note(const sumi_cli *cli, const char *kind, const char *format, ...)
{
    if (cli->quiet || !sumi_cli_talks(cli))
        return;
    va_list arguments;
    va_start(arguments, format);
    char *raw = format_text(format, arguments);
    va_end(arguments);
    char *text = raw != NULL ? sumi_clean_copy(raw) : NULL;
    free(raw);
    if (text == NULL)
        return;
    if (cli->json)
        json_line(json_pack("{s:o}", kind, json_string(text)));
    else if (strcmp(kind, "note") == 0)
        fprintf(stderr, "%s\n", text);
    else
        fprintf(stderr, "%s: %s\n", kind, text);
    free(text);
}

void sumi_cli_notices(const sumi_cli *cli, const sumi_dataset *set)
{
    for (int i = 0; i < set->notice_count; i++)
        sumi_cli_note(cli, set->notices[i].warning ? "warning" : "note", "%s",
                      set->notices[i].text);
}

int sumi_cli_result(const sumi_cli *cli, json_t *object)
{
    if (!sumi_cli_talks(cli)) {
        json_decref(object);
        return 0;
    }
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(object);
    if (text == NULL)
        return sumi_cli_fail(cli, SUMI_ENOMEM, "the result cannot be written as JSON");
    puts(text);
    free(text);
    return 0;
}

static void print_scalar(const json_t *value)
{
    if (json_is_string(value)) {
        sumi_cli_put(stdout, 0, json_string_value(value));
        return;
    }
    if (json_is_real(value)) {
        printf("%.6g", json_real_value(value));
        return;
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
    sumi_cli_put(stdout, 0, text != NULL ? text : "?");
    free(text);
}

static void print_object(const json_t *object, int indent);

/* Tensors, one a line; other objects (a run's config.json has some), each as it is. */
static void print_list(const json_t *list, int indent)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(list, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        const char *dtype = json_string_value(json_object_get(entry, "dtype"));
        const json_t *shape = json_object_get(entry, "shape");
        if (name == NULL || dtype == NULL || shape == NULL) {
            if (json_is_object(entry)) {
                print_object(entry, indent);
                continue;
            }
            printf("%*s", indent, "");
            print_scalar(entry);
            putchar('\n');
            continue;
        }
        fputs("    ", stdout);
        sumi_cli_put(stdout, 36, name);
        fputc(' ', stdout);
        sumi_cli_put(stdout, 5, dtype);
        fputc(' ', stdout);
        print_scalar(shape);
        putchar('\n');
    }
}

static void print_object(const json_t *object, int indent)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        printf("%*s", indent, "");
        sumi_cli_put(stdout, indent < 20 ? 20 - indent : 0, key);
        putchar(' ');
        if (json_is_object(value)) {
            putchar('\n');
            print_object(value, indent + 2);
        } else if (json_is_array(value) && json_is_object(json_array_get(value, 0))) {
            printf("%zu\n", json_array_size(value));
            print_list(value, indent + 2);
        } else {
            print_scalar(value);
            putchar('\n');
        }
    }
}

void sumi_cli_print(const json_t *object)
{
    print_object(object, 0);
}

void sumi_format_duration(double seconds, char out[32])
{
    long long whole = seconds > 0 && seconds < 1e12 ? (long long)seconds : 0;
    if (whole < 3600)
        snprintf(out, 32, "%02lld:%02lld", whole / 60, whole % 60);
    else
        snprintf(out, 32, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
}

void sumi_format_shortest(double value, char out[32])
{
    for (int digits = 1; digits <= 17; digits++) {
        sumi_format(out, 32, "%.*g", digits, value);
        if (sumi_parse_real(out, NULL) == value)
            return;
    }
}

static bool needs_quotes(const char *word)
{
    return word[0] == '\0' ||
           word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                             "-_./=:,+@%")] != '\0';
}

/* A word that is not UTF-8, as bash, zsh and ksh read it back. */
static char *append_bytes(char *out, const char *word)
{
    out = stpcpy(out, "$'");
    for (size_t left = strlen(word), length; left > 0; word += length, left -= length) {
        length = sumi_utf8_sequence(word, left);
        if (length == 0) {
            length = 1;
            out += sprintf(out, "\\x%02X", (unsigned char)*word);
            continue;
        }
        if (*word == '\'' || *word == '\\')
            *out++ = '\\';
        memcpy(out, word, length);
        out += length;
    }
    return stpcpy(out, "'");
}

/* Appends word to out as a shell reads it back; returns the new end. */
static char *append_word(char *out, const char *word)
{
    if (!sumi_utf8_valid(word, strlen(word)))
        return append_bytes(out, word);
    if (!needs_quotes(word))
        return stpcpy(out, word);
    *out++ = '\'';
    for (; *word != '\0'; word++) {
        if (*word == '\'')
            out = stpcpy(out, "'\\''");
        else
            *out++ = *word;
    }
    return stpcpy(out, "'");
}

char *sumi_shell_line(int argc, const char *const *argv)
{
    size_t size = 1;
    for (int i = 0; i < argc; i++)
        size += 4 * strlen(argv[i]) + 4;
    char *line = sumi_calloc(size, 1), *end = line;
    if (line == NULL)
        return NULL;
    for (int i = 0; i < argc; i++) {
        if (i > 0)
            *end++ = ' ';
        end = append_word(end, argv[i]);
    }
    return line;
}
