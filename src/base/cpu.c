/*
 * The CPU's name, and how many threads are worth starting: the cores that the process may run on,
 * or fewer where a container's CPU quota allows less (a two-core quota on a 64-core machine).
 */
#ifdef __linux__
#define _GNU_SOURCE /* sched_getaffinity */
#include <sched.h>
#endif

#include "base/base.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
/* A number from a one-line file; -1 where there is none ("max"). */
static long long read_number(const char *path)
{
    long long number = -1;
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    if (fscanf(file, "%lld", &number) != 1)
        number = -1;
    fclose(file);
    return number;
}

/* The quota of the control group that is mounted as the root, which in a container is its own, as
 * whole cores, rounded up; 0 where there is none. */
static long quota_cores(void)
{
    long long quota = -1, period = -1;
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (file) {
        if (fscanf(file, "%lld %lld", &quota, &period) != 2)
            quota = -1;
        fclose(file);
    } else {
        quota = read_number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
        period = read_number("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    }
    if (quota <= 0 || period <= 0)
        return 0;
    long long cores = (quota - 1) / period + 1;
    return cores < SUMI_THREADS_MAX ? (long)cores : SUMI_THREADS_MAX;
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
#ifdef __linux__
    long quota = quota_cores();
    if (quota > 0 && quota < count)
        count = quota;
#endif
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
