/* Sets of more bytes than are held in memory: their files are mapped, and what is made of them lies
 * on disk. The files here are sparse: nobody reads 300 MB. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/temp_folder.h"
#include "data/data.h"
#include "sanitized.h"

enum { SIDE = 64, IMAGES = 75000, PIXELS = SIDE * SIDE }; /* 307 MB */

/* Memory of this process that is no file, in kilobytes; -1 where the system does not say. */
static long own_memory(void)
{
    char line[256];
    long kilobytes = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "RssAnon:", 8) == 0)
            kilobytes = atol(line + 8);
    if (file)
        fclose(file);
    return kilobytes;
}

/* A file that begins with these bytes and has zeros up to size, but for its last byte, 77. */
static void make_sparse(const char *path, const void *head, size_t size, size_t total)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
    const uint8_t last = 77;
    assert_true(fd >= 0 && write(fd, head, size) == (ssize_t)size);
    assert_true(pwrite(fd, &last, 1, (off_t)total - 1) == 1);
    close(fd);
}

static void check(const char *path)
{
    sumi_dataset *set = NULL;
    sumi_error err = {""};
    uint8_t image[PIXELS];
    long before = own_memory();
    if (sumi_data_open(path, NULL, &set, &err) != SUMI_OK)
        fail_msg("%s", err.text);
    assert_int_equal(set->count, IMAGES);
    assert_int_equal(set->height, SIDE);
    assert_non_null(set->mapped);
    sumi_data_read_bytes(set, IMAGES - 1, image);
    assert_int_equal(image[PIXELS - 1], 77);
    assert_int_equal(image[0], 0);
    if (before >= 0 && !SANITIZED) /* their shadows of what is mapped are no file */
        assert_true(own_memory() < before + 40000);
    sumi_data_free(set);
}

static void test_arrays(void **state)
{
    temp_folder *temp = *state;
    char head[128];
    memset(head, ' ', sizeof head);
    memcpy(head, "\x93NUMPY\1\0\x76\0", 10);
    int n = snprintf(head + 10, sizeof head - 10,
                     "{'descr': '|u1', 'fortran_order': False, 'shape': (%d, %d, %d), }", IMAGES,
                     SIDE, SIDE);
    head[10 + n] = ' ';
    head[127] = '\n';
    const char *path = temp_path(temp, "large.npy");
    make_sparse(path, head, sizeof head, sizeof head + (size_t)IMAGES * PIXELS);
    check(path);
    /* A broken one is refused all the same. */
    sumi_dataset *set = NULL;
    sumi_error err = {""};
    make_sparse(path, head, sizeof head, sizeof head + (size_t)IMAGES * PIXELS - 1);
    assert_int_equal(sumi_data_open(path, NULL, &set, &err), SUMI_EFORMAT);
    make_sparse(path, "no array at all", 16, (size_t)IMAGES * PIXELS);
    assert_int_not_equal(sumi_data_open(path, NULL, &set, &err), SUMI_OK);
    assert_null(set);
}

static void test_room_on_disk(void **state)
{
    (void)state;
    sumi_dataset set = {0};
    assert_int_equal(sumi_data_alloc(&set, "x", IMAGES, SIDE, SIDE, 1, NULL), SUMI_OK);
    if (set.mapped) {
        set.pixels[(size_t)IMAGES * PIXELS - 1] = 5;
        assert_int_equal(set.mapped_bytes, (size_t)IMAGES * PIXELS);
    }
    sumi_data_clear(&set);
    assert_null(set.mapped);
    /* Where there is no room for it, memory is taken. */
    setenv("TMPDIR", "/nowhere/at/all", 1);
    assert_int_equal(sumi_data_alloc(&set, "x", IMAGES, SIDE, SIDE, 1, NULL), SUMI_OK);
    unsetenv("TMPDIR");
    assert_null(set.mapped);
    sumi_data_clear(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_arrays, temp_setup, temp_teardown),
        cmocka_unit_test(test_room_on_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
