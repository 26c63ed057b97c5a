/*
 * sumi: reads the command line, runs one command and returns its exit code.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int cmd_version(sumi_cli *cli)
{
    (void)cli;
    printf("sumi %s\n", sumi_version());
    return 0;
}

static int cmd_help(sumi_cli *cli)
{
    const sumi_options *options = &cli->options;
    sumi_command_id id = SUMI_CMD_HELP;
    sumi_error err = {""};
    int used = 0;
    if (sumi_option_flag(options, "man")) {
        sumi_help_man(stdout);
    } else if (sumi_option_flag(options, "bash-completion")) {
        sumi_help_bash_completion(stdout);
    } else if (options->operand_count == 0) {
        sumi_help_program(stdout);
    } else if (options->operand_count == 1 && sumi_help_group(stdout, options->operands[0])) {
        return 0;
    } else if (sumi_command_find(options->operand_count, options->operands, &id, &used, &err) !=
               SUMI_OK) {
        return sumi_cli_usage(cli, "%s", err.text);
    } else if (used < options->operand_count) {
        return sumi_cli_usage(cli, "expected %s alone, found also '%s'", options->operands[0],
                              options->operands[1]);
    } else {
        sumi_help_command(stdout, id);
    }
    return 0;
}

static const struct {
    int (*run)(sumi_cli *cli);
} commands[SUMI_CMD_COUNT] = {
    [SUMI_CMD_DATA_LIST] = {sumi_cmd_data_list},
    [SUMI_CMD_DATA_INFO] = {sumi_cmd_data_info},
    [SUMI_CMD_DATA_PREVIEW] = {sumi_cmd_data_preview},
    [SUMI_CMD_TRAIN] = {sumi_cmd_train},
    [SUMI_CMD_SAMPLE] = {sumi_cmd_sample},
    [SUMI_CMD_PREDICT] = {sumi_cmd_predict},
    [SUMI_CMD_CLASSIFY_TRAIN] = {sumi_cmd_classify_train},
    [SUMI_CMD_EVAL] = {sumi_cmd_eval},
    [SUMI_CMD_TUNE] = {sumi_cmd_tune},
    [SUMI_CMD_CONVERT] = {sumi_cmd_convert},
    [SUMI_CMD_AVERAGE] = {sumi_cmd_average},
    [SUMI_CMD_INFO] = {sumi_cmd_info},
    [SUMI_CMD_DIFF] = {sumi_cmd_diff},
    [SUMI_CMD_VERIFY] = {sumi_cmd_verify},
    [SUMI_CMD_BENCH_TRAIN] = {sumi_cmd_bench_train},
    [SUMI_CMD_BENCH_SAMPLE] = {sumi_cmd_bench_sample},
    [SUMI_CMD_DEVICES] = {sumi_cmd_devices},
    [SUMI_CMD_HELP] = {cmd_help},
    [SUMI_CMD_VERSION] = {cmd_version},
};

static bool has_flag(const sumi_options *options, const char *name)
{
    return sumi_option_find(options->command, name, strlen(name), NULL) >= 0 &&
           sumi_option_flag(options, name);
}

/* A result that did not reach its reader is an error, also where the reader (head, less) has left:
 * what it has may be cut in the middle. */
static int close_output(const sumi_cli *cli, int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    char text[128];
    snprintf(text, sizeof text, "standard output: %s", strerror(errno));
    return sumi_cli_fail(cli, SUMI_EIO, text);
}

/* Where one of the three standard descriptors is closed, the first file that is opened would take
 * its number, and messages would be written into it. What stands in refuses the same as a closed
 * one: nothing can be read from the first and written to the others. */
static void hold_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/* A reader that goes away and a limit on the size of files must not end a training without a word:
 * the write that meets them fails (EPIPE, EFBIG) and is reported like any other. */
static void turn_signals_into_errors(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

/* Whether the words ask for JSON, for errors that are found while they are parsed. */
static bool asks_for_json(int argc, const char *const *argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

/* What is printed once, and needs nobody else, is the first one's. */
static int run(sumi_cli *cli)
{
    sumi_command_id command = cli->options.command;
    bool prints = command == SUMI_CMD_HELP || command == SUMI_CMD_VERSION || cli->options.help;
    int code = prints ? 0 : sumi_cli_begin_together(cli);
    if (code == 0 && (!prints || sumi_cli_talks(cli)))
        code = commands[command].run(cli);
    return code;
}

int main(int argc, char **argv)
{
    sumi_cli cli;
    sumi_error err = {""}, held = {""};
    hold_standard_descriptors();
    memset(&cli, 0, sizeof cli);
    setlocale(LC_CTYPE, "");
    turn_signals_into_errors();
    const char *const *words = (const char *const *)argv;
    cli.held = &held;
    sumi_cli_find_others(&cli);
    if (sumi_options_read(argc > 0 ? argc - 1 : 0, words + 1, &cli.options, &err) != SUMI_OK) {
        cli.json = asks_for_json(argc, words);
        int wrong = sumi_cli_fail_usage(&cli, err.text);
        sumi_options_free(&cli.options);
        return wrong;
    }
    if (cli.options.help && sumi_cli_talks(&cli)) {
        sumi_help_command(stdout, cli.options.command);
        return close_output(&cli, 0);
    }
    cli.json = has_flag(&cli.options, "json");
    cli.quiet = has_flag(&cli.options, "quiet");
    cli.command_line = sumi_shell_line(argc, words);
    cli.signals = sumi_signals_start();
    int code = cli.command_line == NULL || cli.signals == NULL
                   ? sumi_cli_fail(&cli, SUMI_ENOMEM, "out of memory at the start")
                   : run(&cli);
    code = close_output(&cli, code);
    sumi_signals_watch(cli.signals, NULL, NULL);
    sumi_context_free(cli.ctx);
    sumi_dist_stop(cli.dist);
    sumi_signals_stop(cli.signals);
    sumi_options_free(&cli.options);
    free(cli.command_line);
    return code;
}
