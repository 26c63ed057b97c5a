/* Folders: made with their parents, removed without following links; paths joined. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/temp_folder.h"

#define assert_contains(text, part) assert_non_null(strstr(text, part))

static void put(const char *path)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
}

static void test_kinds(void **state)
{
    temp_folder *temp = *state;
    const char *file = temp_path(temp, "file");
    put(file);
    assert_true(sumi_is_dir(temp->path));
    assert_false(sumi_is_file(temp->path));
    assert_true(sumi_is_file(file));
    assert_false(sumi_is_dir(file));
    assert_int_equal(symlink(temp->path, temp_path(temp, "link")), 0);
    assert_true(sumi_is_dir(temp_path(temp, "link")));
    assert_false(sumi_is_dir(temp_path(temp, "none")));
    assert_false(sumi_is_file(temp_path(temp, "none")));
    assert_false(sumi_is_file("/dev/null"));
}

static void test_make_dirs(void **state)
{
    temp_folder *temp = *state;
    sumi_error err;
    const char *names[] = {"a/b/c", "a/b/c", "a//x///y/", "a/b/", "z"};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(sumi_make_dirs(temp_path(temp, names[i]), &err), SUMI_OK);
        assert_true(sumi_is_dir(temp_path(temp, names[i])));
    }
    assert_int_equal(temp_entries(temp->path), 2);
    assert_int_equal(sumi_make_dirs("/", &err), SUMI_OK);
    assert_int_equal(sumi_make_dirs(".", &err), SUMI_OK);
    put(temp_path(temp, "file"));
    assert_int_equal(sumi_make_dirs(temp_path(temp, "file/b/c"), &err), SUMI_EIO);
    assert_contains(err.text, "/file: Not a directory"); /* the part that is in the way */
    assert_int_equal(sumi_make_dirs(temp_path(temp, "file"), &err), SUMI_EIO);
    assert_contains(err.text, "/file: Not a directory");
    assert_int_equal(sumi_make_dirs("", &err), SUMI_EIO);
    static char name[6000];
    memset(name, 'n', sizeof name - 1);
    assert_int_equal(sumi_make_dirs(name, &err), SUMI_EIO);
    assert_contains(err.text, strerror(ENAMETOOLONG));
    name[300] = '\0';
    assert_int_equal(sumi_make_dirs(temp_path(temp, name), NULL), SUMI_EIO);
}

static void test_remove_tree(void **state)
{
    temp_folder *temp = *state;
    sumi_error err;
    const char *tree = temp_path(temp, "tree"), *kept = temp_path(temp, "kept");
    char name[64];
    assert_int_equal(sumi_make_dirs(temp_path(temp, "tree/a/b/empty"), &err), SUMI_OK);
    assert_int_equal(sumi_make_dirs(temp_path(temp, "kept/sub"), &err), SUMI_OK);
    put(temp_path(temp, "kept/sub/file"));
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "tree/a/.file-%d", i);
        put(temp_path(temp, name));
    }
    assert_int_equal(mkfifo(temp_path(temp, "tree/fifo"), 0600), 0);
    assert_int_equal(symlink(kept, temp_path(temp, "tree/a/folder")), 0);
    assert_int_equal(symlink("../kept/sub/file", temp_path(temp, "tree/file")), 0);
    assert_int_equal(symlink("nowhere", temp_path(temp, "tree/dangling")), 0);
    assert_int_equal(sumi_remove_tree(tree, &err), SUMI_OK);
    assert_int_equal(temp_entries(temp->path), 1);
    assert_true(sumi_is_file(temp_path(temp, "kept/sub/file")));
    /* A link goes, what it points to stays; with slashes at the end, too. */
    const char *link = temp_path(temp, "link");
    assert_int_equal(symlink("kept", link), 0);
    assert_int_equal(sumi_remove_tree(temp_path(temp, "link//"), &err), SUMI_OK);
    assert_int_equal(access(link, F_OK), -1);
    assert_true(sumi_is_file(temp_path(temp, "kept/sub/file")));
    put(temp_path(temp, "file"));
    assert_int_equal(sumi_remove_tree(temp_path(temp, "file"), &err), SUMI_OK);
    assert_int_equal(sumi_remove_tree(temp_path(temp, "file"), &err), SUMI_OK); /* gone already */
    assert_int_equal(temp_entries(temp->path), 1);
}

static void test_remove_tree_refuses(void **state)
{
    temp_folder *temp = *state;
    sumi_error err;
    assert_int_equal(sumi_remove_tree("", &err), SUMI_EINVAL);
    assert_int_equal(sumi_remove_tree("//", &err), SUMI_EINVAL);
    put(temp_path(temp, "file"));
    assert_int_equal(sumi_remove_tree(temp_path(temp, "file/x"), &err), SUMI_EIO);
    assert_contains(err.text, "/file/x: Not a directory");
    /* Deeper than it follows: an error, and not a crash. */
    char deep[300] = "deep";
    for (int i = 0; i < 120; i++)
        strcat(deep, "/d");
    assert_int_equal(sumi_make_dirs(temp_path(temp, deep), &err), SUMI_OK);
    assert_int_equal(sumi_remove_tree(temp_path(temp, "deep"), &err), SUMI_EIO);
    assert_contains(err.text, "too deep");
    deep[4 + 2 * 60] = '\0';
    assert_int_equal(sumi_remove_tree(temp_path(temp, deep), &err), SUMI_OK);
    assert_int_equal(sumi_remove_tree(temp_path(temp, "deep"), &err), SUMI_OK);
    assert_int_equal(temp_entries(temp->path), 1);
}

static void test_join(void **state)
{
    (void)state;
    char out[12];
    sumi_error err;
    assert_int_equal(sumi_path_join(out, sizeof out, "a/b", "c", &err), SUMI_OK);
    assert_string_equal(out, "a/b/c");
    assert_int_equal(sumi_path_join(out, sizeof out, "a/", "c", &err), SUMI_OK);
    assert_string_equal(out, "a/c");
    assert_int_equal(sumi_path_join(out, sizeof out, "/", "c", &err), SUMI_OK);
    assert_string_equal(out, "/c");
    assert_int_equal(sumi_path_join(out, sizeof out, "", "c", &err), SUMI_OK);
    assert_string_equal(out, "c");
    assert_int_equal(sumi_path_join(out, sizeof out, "12345", "12345", &err), SUMI_OK);
    assert_string_equal(out, "12345/12345");
    assert_int_equal(sumi_path_join(out, sizeof out, "12345", "123456", &err), SUMI_EINVAL);
    assert_contains(err.text, "12345/123456");
    assert_string_equal(out, "");
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, temp_setup, temp_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_kinds),       WITH_FOLDER(test_make_dirs),
        WITH_FOLDER(test_remove_tree), WITH_FOLDER(test_remove_tree_refuses),
        cmocka_unit_test(test_join),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
