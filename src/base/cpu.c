/*
 * The CPU's name, and how many threads are worth starting: the cores that the process may run on,
 * or fewer where a container's CPU quota allows less (a two-core quota on a 64-core machine).
 */
#ifdef __linux__
#define _GNU_SOURCE /* sched_getaffinity */
#include <sched.h>
#endif

#include "base/base.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
/* The first line of a file below root, without its end; false where there is none. */
static bool read_line(const char *root, const char *path, const char *name, char *out, int size)
{
    char full[3 * PATH_MAX];
    snprintf(full, sizeof full, "%s%s%s", root, path, name);
    FILE *file = fopen(full, "re");
    bool good = file && fgets(out, size, file);
    if (file)
        fclose(file);
    return good;
}

/* The quota of one control group in whole cores, rounded up; LONG_MAX where it has none ("max" or
 * -1). Version 2 keeps quota and period in one file, version 1 in two. */
static long group_cores(const char *root, const char *folder)
{
    char line[64];
    long long quota = -1, period = -1;
    if (read_line(root, folder, "/cpu.max", line, sizeof line)) {
        char *end; /* "max" is no number, and so no quota */
        quota = strtoll(line, &end, 10);
        period = strtoll(end, NULL, 10);
    } else if (read_line(root, folder, "/cpu.cfs_quota_us", line, sizeof line)) {
        quota = strtoll(line, NULL, 10);
        if (read_line(root, folder, "/cpu.cfs_period_us", line, sizeof line))
            period = strtoll(line, NULL, 10);
    }
    if (quota <= 0 || period <= 0)
        return LONG_MAX;
    long long cores = (quota - 1) / period + 1;
    return cores < SUMI_THREADS_MAX ? (long)cores : SUMI_THREADS_MAX;
}

/* The smallest quota on the way from a control group up to where the hierarchy is mounted. */
static long path_cores(const char *root, const char *mount, const char *group)
{
    char folder[2 * PATH_MAX];
    snprintf(folder, sizeof folder, "%s%s", mount, strcmp(group, "/") == 0 ? "" : group);
    long least = LONG_MAX;
    for (;;) {
        long cores = group_cores(root, folder);
        least = cores < least ? cores : least;
        char *slash = strrchr(folder, '/');
        if (strlen(folder) <= strlen(mount) || !slash)
            return least;
        *slash = '\0';
    }
}

/* Whether a comma-separated list has that word. */
static bool lists(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; *at; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ','))
        if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return true;
    return false;
}

/* The process's group in the hierarchy that limits CPU time: /proc/self/cgroup has lines
 * "ID:CONTROLLERS:PATH", of which version 2's has no controllers. */
static bool own_group(const char *root, bool version2, char group[PATH_MAX])
{
    char name[PATH_MAX + 32], line[PATH_MAX + 256];
    bool found = false;
    snprintf(name, sizeof name, "%s/proc/self/cgroup", root);
    FILE *file = fopen(name, "re");
    while (file && !found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *path = NULL;
        if (!controllers || !(path = strchr(++controllers, ':')))
            continue;
        *path++ = '\0';
        found = version2 ? *controllers == '\0' : lists(controllers, "cpu");
        if (found)
            snprintf(group, PATH_MAX, "%s", path);
    }
    if (file)
        fclose(file);
    return found;
}

/* Ends the first words of a line and points to them; false where there are fewer. */
static bool split(char *line, char **words, int count)
{
    char *rest = NULL;
    for (int i = 0; i < count; i++) {
        words[i] = strtok_r(i ? NULL : line, " \n", &rest);
        if (!words[i])
            return false;
    }
    return true;
}

/* The least quota in the hierarchies that a line of /proc/self/mountinfo mounts: "ID PARENT DEVICE
 * ROOT MOUNT OPTIONS... - TYPE SOURCE SUPER-OPTIONS". ROOT is the group that the mount shows; in a
 * container it may be the process's own, or one that the process is not below. */
static long mount_cores(const char *root, char *line)
{
    char *rest = strstr(line, " - "), *words[5], *kinds[3], group[PATH_MAX];
    if (!rest)
        return LONG_MAX;
    *rest = '\0';
    if (!split(line, words, 5) || !split(rest + 3, kinds, 3))
        return LONG_MAX;
    const char *shown = words[3], *mount = words[4], *type = kinds[0], *options = kinds[2];
    bool version2 = strcmp(type, "cgroup2") == 0;
    if (!version2 && !(strcmp(type, "cgroup") == 0 && lists(options, "cpu")))
        return LONG_MAX;
    if (!own_group(root, version2, group))
        return path_cores(root, mount, "/");
    size_t length = strcmp(shown, "/") == 0 ? 0 : strlen(shown);
    bool below =
        strncmp(group, shown, length) == 0 && (group[length] == '/' || group[length] == '\0');
    return path_cores(root, mount, below && group[length] ? group + length : "/");
}

long sumi_quota_cores(const char *root)
{
    char name[PATH_MAX], *line = NULL;
    size_t capacity = 0;
    long least = LONG_MAX;
    snprintf(name, sizeof name, "%s/proc/self/mountinfo", root);
    FILE *file = fopen(name, "re");
    while (file && getline(&line, &capacity, file) > 0) {
        long cores = mount_cores(root, line);
        least = cores < least ? cores : least;
    }
    if (file)
        fclose(file);
    free(line);
    return least < LONG_MAX ? least : 0;
}
#else
long sumi_quota_cores(const char *root)
{
    (void)root;
    return 0;
}
#endif

int sumi_cpu_count(void)
{
    long count = 0;
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        count = CPU_COUNT(&set);
#endif
    if (count < 1)
        count = sysconf(_SC_NPROCESSORS_ONLN);
    long quota = sumi_quota_cores("");
    if (quota > 0 && quota < count)
        count = quota;
    return count < 1 ? 1 : count > SUMI_THREADS_MAX ? SUMI_THREADS_MAX : (int)count;
}

bool sumi_cpu_name(char *out, size_t size)
{
    char line[512];
    bool found = false;
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && !found && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        found = colon && strncmp(line, "model name", 10) == 0;
        line[strcspn(line, "\n")] = '\0';
        if (found)
            snprintf(out, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
    }
    if (file)
        fclose(file);
    return found;
}
