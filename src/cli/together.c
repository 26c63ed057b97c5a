/*
 * The program as one of several that mpirun started together. The first of them talks and has the
 * files; the others say nothing of their own, and what they would have said is said by the first.
 */
#include "cli.h"

#include <string.h>

void sumi_cli_find_others(sumi_cli *cli)
{
    cli->launched = sumi_dist_launched(&cli->rank);
}

bool sumi_cli_talks(const sumi_cli *cli)
{
    return cli->rank == 0;
}

/* Another build would have other bits. False where the system does not show the program's file. */
static bool hash_program(char hex[65])
{
    static const char path[] = "/proc/self/exe";
    unsigned char block[1 << 14];
    sumi_sha256 hash;
    FILE *file = fopen(path, "rbe");
    sumi_sha256_init(&hash);
    for (size_t size; file != NULL && (size = fread(block, 1, sizeof block, file)) > 0;)
        sumi_sha256_update(&hash, block, size);
    bool good = file != NULL && !ferror(file);
    sumi_sha256_final(&hash, hex);
    if (file != NULL)
        fclose(file);
    return good;
}

/* Whoever finds that another is lost says so, and says it alone: all end then. */
static void say_lost(void *user, const char *text)
{
    sumi_cli teller = *(const sumi_cli *)user;
    teller.rank = 0;
    (void)sumi_cli_fail(&teller, SUMI_EIO, text);
}

int sumi_cli_begin_together(sumi_cli *cli)
{
    sumi_error err = {""};
    if (cli->launched == 1)
        return 0;
    sumi_command_id command = cli->options.command;
    if (command != SUMI_CMD_TRAIN && command != SUMI_CMD_SAMPLE && command != SUMI_CMD_EVAL)
        return sumi_cli_usage(cli,
                              "%d processes were started together, and only train, sample and eval "
                              "are shared among several",
                              cli->launched);
    sumi_status status = sumi_dist_start(say_lost, cli, &cli->dist, &err);
    if (status != SUMI_OK)
        return sumi_cli_fail(cli, status, err.text);
    cli->ranks = *sumi_dist_ranks(cli->dist);
    if (hash_program(cli->build))
        cli->ranks.build = cli->build;
    return 0;
}

int sumi_cli_join(sumi_cli *cli)
{
    bool joined = cli->dist == NULL || sumi_context_join(cli->ctx, &cli->ranks) == SUMI_OK;
    return joined ? 0 : sumi_cli_fail_context(cli, SUMI_EINVAL);
}

int sumi_cli_meet(sumi_cli *cli, int code)
{
    int32_t mine = code, codes[SUMI_RANKS_MAX];
    size_t bytes[SUMI_RANKS_MAX] = {0};
    sumi_error said = {""};
    int count = cli->ranks.count, failed = 0;
    if (cli->dist == NULL)
        return code;
    for (int rank = 0; rank < count; rank++)
        bytes[rank] = sizeof mine;
    cli->ranks.gather(cli->ranks.user, &mine, codes, bytes);
    while (failed < count && codes[failed] == 0)
        failed++;
    if (failed == count)
        return 0;
    memset(bytes, 0, sizeof bytes);
    bytes[failed] = sizeof said;
    cli->ranks.gather(cli->ranks.user, cli->held, &said, bytes);
    if (failed > 0) { /* by the first, which has said what is its own already */
        sumi_error err = {""};
        sumi_fail(&err, SUMI_OK, "rank %d: %s", failed, said.text);
        (void)sumi_cli_fail(cli, SUMI_EINVAL, err.text);
    }
    return codes[failed];
}
