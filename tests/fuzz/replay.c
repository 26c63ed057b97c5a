/*
 * Runs a fuzz target on files: each argument is one, or a folder of them. Fails where there are
 * none, so that a corpus cannot get lost unseen.
 *
 * Each file has a process of its own, which may take twice the file and 16 MiB more memory than one
 * that parses nothing, and ten seconds of a processor: bytes from outside that ask for more than
 * they are worth are a finding. Sanitizers have memory of their own, so with them only the time is
 * bounded.
 */
#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"
#include "sanitized.h"

enum { SECONDS_MOST = 10 };
#ifdef __APPLE__
static const long memory_unit = 1;
#else
static const long memory_unit = 1024;
#endif
static const long memory_spare = 16L << 20;

/* The most memory that a process had which parsed this, in bytes; -1 where it did not end well. */
static long parse_apart(const char *name, const uint8_t *data, size_t size)
{
    struct rusage usage;
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        return -1;
    if (child == 0) {
        const struct rlimit limit = {SECONDS_MOST, SECONDS_MOST};
        setrlimit(RLIMIT_CPU, &limit);
        if (data)
            LLVMFuzzerTestOneInput(data, size);
        exit(0);
    }
    if (wait4(child, &status, 0, &usage) != child)
        return -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return usage.ru_maxrss * memory_unit;
    fprintf(stderr, "%s: ended by %s %d\n", name, WIFEXITED(status) ? "exit" : "signal",
            WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    return -1;
}

static int replay_bytes(const char *path, const uint8_t *data, size_t size)
{
    long bare = parse_apart("nothing", NULL, 0), taken = parse_apart(path, data, size);
    if (bare < 0 || taken < 0)
        return -1;
    long most = bare + 2 * (long)size + memory_spare;
    if (SANITIZED || taken <= most)
        return 1;
    fprintf(stderr, "%s: %zu bytes took %ld bytes of memory, expected at most %ld\n", path, size,
            taken, most);
    return -1;
}

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "%s: cannot be opened\n", path);
        return -1;
    }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
    int count = -1;
    if (data && size >= 0 && fread(data, 1, (size_t)size, file) == (size_t)size)
        count = replay_bytes(path, data, (size_t)size);
    free(data);
    fclose(file);
    return count;
}

/* The number of files that were run, or -1. */
static int replay(const char *path)
{
    struct stat info;
    char inner[4096];
    int sum = 0;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return replay_file(path);
    DIR *dir = opendir(path);
    if (!dir)
        return -1;
    for (const struct dirent *entry; (entry = readdir(dir)) && sum >= 0;) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        int count = replay(inner);
        sum = count < 0 ? -1 : sum + count;
    }
    closedir(dir);
    return sum;
}

int main(int argc, char **argv)
{
    int sum = 0;
    for (int i = 1; i < argc && sum >= 0; i++) {
        int count = replay(argv[i]);
        sum = count < 0 ? -1 : sum + count;
    }
    printf("%d inputs\n", sum);
    return sum > 0 ? 0 : 1;
}
