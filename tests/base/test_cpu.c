/* CPU quotas of control groups, of both versions, nested, in containers: small trees of the files
 * that Linux shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/temp_folder.h"

typedef struct {
    const char *path, *text;
} entry;

/* The quota in a tree of these files, made below a folder of its own. */
static long cores(temp_folder *temp, const char *name, const entry *entries)
{
    const char *root = temp_path(temp, name);
    for (; entries->path; entries++) {
        char path[1024];
        snprintf(path, sizeof path, "%s%s", root, entries->path);
        *strrchr(path, '/') = '\0';
        assert_int_equal(sumi_make_dirs(path, NULL), SUMI_OK);
        snprintf(path, sizeof path, "%s%s", root, entries->path);
        assert_int_equal(sumi_file_save(path, entries->text, strlen(entries->text), NULL), SUMI_OK);
    }
    return sumi_quota_cores(root);
}

#define OTHER_MOUNTS "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
#define MOUNT_2                                                                                    \
    OTHER_MOUNTS "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define MOUNTS_1                                                                                   \
    OTHER_MOUNTS "32 24 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"               \
                 "33 24 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"     \
                 "34 24 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"

/* systemd's CPUQuota= of a service is set on its group, and the process may be below that. */
static void test_version_2(void **state)
{
    const entry service[] = {
        {"/proc/self/mountinfo", MOUNT_2},
        {"/proc/self/cgroup", "0::/system.slice/job.service/worker\n"},
        {"/sys/fs/cgroup/system.slice/cpu.max", "800000 100000\n"},
        {"/sys/fs/cgroup/system.slice/job.service/cpu.max", "150000 100000\n"},
        {"/sys/fs/cgroup/system.slice/job.service/worker/cpu.max", "max 100000\n"},
        {"/sys/fs/cgroup/other.slice/cpu.max", "10000 100000\n"},
        {NULL, NULL}};
    assert_int_equal(cores(*state, "service", service), 2);
    /* The group above allows less than the process's own. */
    const entry slice[] = {{"/proc/self/mountinfo", MOUNT_2},
                           {"/proc/self/cgroup", "0::/user.slice/a.scope\n"},
                           {"/sys/fs/cgroup/user.slice/cpu.max", "300000 100000\n"},
                           {"/sys/fs/cgroup/user.slice/a.scope/cpu.max", "600000 50000\n"},
                           {NULL, NULL}};
    assert_int_equal(cores(*state, "slice", slice), 3);
    const entry free_of_it[] = {{"/proc/self/mountinfo", MOUNT_2},
                                {"/proc/self/cgroup", "0::/user.slice\n"},
                                {"/sys/fs/cgroup/user.slice/cpu.max", "max 100000\n"},
                                {NULL, NULL}};
    assert_int_equal(cores(*state, "free", free_of_it), 0);
}

static void test_version_1(void **state)
{
    const entry nested[] = {
        {"/proc/self/mountinfo", MOUNTS_1},
        {"/proc/self/cgroup", "9:cpuset:/set\n4:cpu,cpuacct:/a/b\n1:name=systemd:/x\n0::/x\n"},
        {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"},
        {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"},
        {"/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "250000\n"},
        {"/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "50000\n"},
        {"/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1\n"},
        {"/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n"},
        {"/sys/fs/cgroup/cpu,cpuacct/set/cpu.cfs_quota_us", "1000\n"},
        {"/sys/fs/cgroup/cpu,cpuacct/set/cpu.cfs_period_us", "100000\n"},
        {NULL, NULL}};
    assert_int_equal(cores(*state, "nested", nested), 5);
    /* cpuset alone is no limit of time. */
    const entry sets[] = {
        {"/proc/self/mountinfo", "32 24 0:27 / /cg/cpuset rw - cgroup cgroup rw,cpuset\n"},
        {"/proc/self/cgroup", "9:cpuset:/set\n"},
        {"/cg/cpuset/set/cpu.cfs_quota_us", "1000\n"},
        {"/cg/cpuset/set/cpu.cfs_period_us", "1000\n"},
        {NULL, NULL}};
    assert_int_equal(cores(*state, "sets", sets), 0);
}

static void test_containers(void **state)
{
    /* With a namespace of its own the process sees its group as the root. */
    const entry namespaced[] = {{"/proc/self/mountinfo", MOUNT_2},
                                {"/proc/self/cgroup", "0::/\n"},
                                {"/sys/fs/cgroup/cpu.max", "400000 100000\n"},
                                {NULL, NULL}};
    assert_int_equal(cores(*state, "namespaced", namespaced), 4);
    /* Without one it sees the host's path, and the mount shows a part of the tree. */
    const entry shown[] = {
        {"/proc/self/mountinfo",
         "33 24 0:28 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"},
        {"/proc/self/cgroup", "4:cpu,cpuacct:/docker/abc/job\n"},
        {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "700000\n"},
        {"/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"},
        {"/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "600000\n"},
        {"/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n"},
        {NULL, NULL}};
    assert_int_equal(cores(*state, "shown", shown), 6);
    /* "/docker/abcd" is not below "/docker/abc": what the mount shows counts. */
    const entry elsewhere[] = {
        {"/proc/self/mountinfo", "33 24 0:28 /docker/abc /cg rw - cgroup2 cgroup2 rw\n"},
        {"/proc/self/cgroup", "0::/docker/abcd\n"},
        {"/cg/cpu.max", "100001 100000\n"},
        {"/cg/d/cpu.max", "100000 100000\n"},
        {NULL, NULL}};
    assert_int_equal(cores(*state, "elsewhere", elsewhere), 2);
    /* No word on the process's group. */
    const entry silent[] = {{"/proc/self/mountinfo", MOUNT_2},
                            {"/sys/fs/cgroup/cpu.max", "200000 100000\n"},
                            {NULL, NULL}};
    assert_int_equal(cores(*state, "silent", silent), 2);
}

static void test_broken(void **state)
{
    const entry none[] = {{"/a/b", ""}, {NULL, NULL}};
    assert_int_equal(cores(*state, "none", none), 0);
    const entry broken[] = {
        {"/proc/self/mountinfo", "\n - \nx - cgroup2\n1 2 3 / /cg rw - cgroup2 cgroup2 rw\n"},
        {"/proc/self/cgroup", "\n:\n0:\n0::\n"},
        {"/cg/cpu.max", "-5 100000\n"},
        {NULL, NULL}};
    assert_int_equal(cores(*state, "broken", broken), 0);
    const entry zero[] = {{"/proc/self/mountinfo", "1 2 3 / /cg rw - cgroup2 cgroup2 rw\n"},
                          {"/cg/cpu.max", "100000 0\n"},
                          {NULL, NULL}};
    assert_int_equal(cores(*state, "zero", zero), 0);
    const entry large[] = {{"/proc/self/mountinfo", "1 2 3 / /cg rw - cgroup2 cgroup2 rw\n"},
                           {"/cg/cpu.max", "9000000000000000000 1\n"},
                           {NULL, NULL}};
    assert_int_equal(cores(*state, "large", large), SUMI_THREADS_MAX);
    assert_in_range(sumi_cpu_count(), 1, SUMI_THREADS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_version_2, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_version_1, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_containers, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_broken, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
