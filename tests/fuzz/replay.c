/*
 * Runs a fuzz target on files: each argument is one, or a folder of them. Fails where there are
 * none, so that a corpus cannot get lost unseen.
 */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"

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
    if (data && size >= 0 && fread(data, 1, (size_t)size, file) == (size_t)size) {
        LLVMFuzzerTestOneInput(data, (size_t)size);
        count = 1;
    }
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
