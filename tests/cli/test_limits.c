/* What the system limits: paths as long as it takes, closed descriptors, the size of a file, and a
 * reader that leaves. Each works, or ends in one line that says why. */
#include "cli/program.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "io/io.h"

/* Runs a shell command; '@' stands for the program, and '%' for the temporary folder. */
static int shell(temp_folder *temp, const char *command)
{
    char line[4096] = "";
    for (size_t used = 0; *command != '\0'; command++) {
        if (*command == '@')
            used += (size_t)snprintf(line + used, sizeof line - used, "%s", SUMI_PROGRAM);
        else if (*command == '%')
            used += (size_t)snprintf(line + used, sizeof line - used, "%s", temp->path);
        else
            line[used++] = *command;
        assert_true(used < sizeof line - 300);
    }
    int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void one_line(temp_folder *temp, const char *part)
{
    char *err = program_read(temp, ".err");
    if (count_lines(err) != 1 || strncmp(err, "sumi: ", 6) != 0 || strstr(err, part) == NULL)
        fail_msg("expected one line with '%s', found: %s", part, err);
    free(err);
}

/* ---- Long paths ------------------------------------------------------------------------------ */

/* A folder whose path has that many bytes, made step by step; malloc'ed. Its names are of two-byte
 * characters, so that a cut in a wrong place shows. */
static char *deep_folder(temp_folder *temp, size_t length)
{
    char *path = sumi_calloc(PATH_MAX, 1);
    size_t used = strlen(temp->path);
    assert_true(path != NULL && length < PATH_MAX);
    memcpy(path, temp->path, used);
    while (used < length) {
        size_t name = length - used - 1 < 201 ? length - used - 1 : length - used < 212 ? 100 : 200;
        path[used++] = '/';
        for (size_t i = 0; i < name; i += 2)
            memcpy(path + used + i, i + 1 < name ? "\xc3\xa9" : "x", i + 1 < name ? 2 : 1);
        used += name;
    }
    assert_int_equal(sumi_make_dirs(path, NULL), SUMI_OK);
    return path;
}

static char *inside(const char *folder, const char *name)
{
    char *path = sumi_calloc(PATH_MAX, 1);
    assert_int_equal(sumi_path_join(path, PATH_MAX, folder, name, NULL), SUMI_OK);
    return path;
}

static void runs(temp_folder *temp, const char *const *words, int code, const char *part)
{
    program p;
    program_start_words(&p, temp, words);
    program_wait(&p, temp);
    if (p.code != code || (part != NULL && strstr(p.err, part) == NULL))
        fail_msg("sumi %s: exit %d, expected %d and '%s': %s", words[0], p.code, code, part, p.err);
    if (!sumi_utf8_valid(p.err, strlen(p.err)))
        fail_msg("sumi %s: not UTF-8: %s", words[0], p.err);
    program_free(&p);
}

/* Every command takes the longest path that the system takes: 4,095 bytes, of which the last part
 * is so short that no temporary name would fit in its place. */
static void test_long_files(void **state)
{
    temp_folder *temp = *state;
    char *folder = deep_folder(temp, PATH_MAX - 1 - 6);
    char *model = inside(folder, "m.pth"), *grid = inside(folder, "x.png"),
         *array = inside(folder, "x.npy"), *eps = inside(folder, "e.npy"),
         *t = inside(folder, "t.npy");
    const char *const first[] = {"train",
                                 "shapes",
                                 "--steps",
                                 "1",
                                 "--batch",
                                 "2",
                                 "--base-channels",
                                 "4",
                                 "--time-dim",
                                 "4",
                                 "--timesteps",
                                 "4",
                                 "--grid",
                                 "0",
                                 "-q",
                                 "--out",
                                 temp_path(temp, "run"),
                                 NULL};
    const char *const convert[] = {"convert", temp_path(temp, "run"), model, NULL};
    const char *const info[] = {"info", model, NULL};
    const char *const diff[] = {"diff", model, temp_path(temp, "run"), NULL};
    const char *const sample[] = {"sample", model, "--size", "8",  "-q",
                                  "-n",     "1",   "--out",  grid, NULL};
    const char *const sampled[] = {"sample", model, "--size", "8",   "-q",
                                   "-n",     "1",   "--out",  array, NULL};
    const char *const preview[] = {"data", "preview", "shapes", "-n", "4",
                                   "-q",   "--out",   grid,     NULL};
    const char *const data[] = {"data", "info", array, NULL};
    const char *const predict[] = {"predict", model, "-q",    "--x", array,
                                   "--t",     t,     "--out", eps,   NULL};
    int32_t time = 1;
    float pixels[64] = {0};
    const sumi_npy times = {
        .dtype = SUMI_NPY_I32, .rank = 1, .shape = {1}, .count = 1, .data = &time};
    const sumi_npy x = {
        .dtype = SUMI_NPY_F32, .rank = 4, .shape = {1, 8, 8, 1}, .count = 64, .data = pixels};
    assert_int_equal(strlen(model), PATH_MAX - 1);
    const char *const *const commands[] = {first,  convert, info,    diff,
                                           sample, sampled, preview, data};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        runs(temp, commands[i], 0, NULL);
    assert_int_equal(sumi_npy_write(t, &times, NULL), SUMI_OK);
    assert_int_equal(sumi_npy_write(array, &x, NULL), SUMI_OK);
    runs(temp, predict, 0, NULL);
    free(folder);
    free(model);
    free(grid);
    free(array);
    free(eps);
    free(t);
}

/* A folder of pictures, and a run: their files have longer paths than they have themselves. */
static void test_long_folders(void **state)
{
    temp_folder *temp = *state;
    char *set = deep_folder(temp, 3000), *run = inside(set, "run"), *picture = inside(set, "a.png");
    uint8_t pixels[64] = {0};
    const sumi_image image = {8, 8, 1, pixels};
    assert_int_equal(sumi_png_write(picture, &image, NULL, NULL), SUMI_OK);
    picture[strlen(picture) - 5] = 'b';
    assert_int_equal(sumi_png_write(picture, &image, NULL, NULL), SUMI_OK);
    run[strlen(run) - 4] = '_'; /* beside the set */
    const char *const train[] = {"train",           set, "--steps",    "2", "--batch",     "2",
                                 "--base-channels", "4", "--time-dim", "4", "--timesteps", "4",
                                 "--grid",          "2", "--out",      run, NULL};
    const char *const resume[] = {"train", "--resume", run, "--steps", "3", NULL};
    const char *const again[] = {"train", "--resume", run, NULL};
    const char *const sample[] = {"sample", run, "-q", "-n", "1", "--out", temp_path(temp, "x.png"),
                                  NULL};
    const char *const info[] = {"info", run, NULL};
    const char *const list[] = {"data", "info", set, "--json", NULL};
    char *shown = sumi_calloc(PATH_MAX + 16, 1);
    snprintf(shown, PATH_MAX + 16, ", from %s\n", set);
    runs(temp, train, 0, shown);
    runs(temp, resume, 0, NULL);
    /* The command to type is whole. */
    snprintf(shown, PATH_MAX + 16, "%s' --epochs N\n", run);
    runs(temp, again, 0, shown);
    runs(temp, sample, 0, NULL);
    runs(temp, info, 0, NULL);
    runs(temp, list, 0, NULL);
    free(shown);
    free(set);
    free(run);
    free(picture);
}

/* What fails says why, with any length of path, and a run that cannot be there is refused before
 * the work. */
static void test_long_messages(void **state)
{
    temp_folder *temp = *state;
    for (size_t length = 300; length < PATH_MAX - 16; length += 471) {
        char *folder = deep_folder(temp, length), *missing = inside(folder, "no/m.pth"),
             *page = inside(folder, "p.pth"), *grid = inside(folder, "no/x.png");
        const char *const info[] = {"info", missing, NULL};
        const char *const out[] = {"data", "preview", "shapes", "--out", grid, NULL};
        const char *const load[] = {"sample", page, "--out", temp_path(temp, "x.png"), NULL};
        const char *const full[] = {"train", "shapes", "--out", folder, NULL};
        const char *const resume[] = {"train", "--resume", folder, NULL};
        const char *const word[] = {"train", "shapes", "--epochs", folder, NULL};
        runs(temp, info, 10 + SUMI_EIO, "no/m.pth: no such file or folder\n");
        runs(temp, out, 10 + SUMI_EIO, "/x.png: there is no folder ");
        assert_int_equal(sumi_file_save(page, "<!DOCTYPE html>", 15, NULL), SUMI_OK);
        runs(temp, load, 10 + SUMI_EFORMAT, "/p.pth: ");
        runs(temp, full, 10 + SUMI_EINVAL, "is there already and not empty");
        runs(temp, resume, 10 + SUMI_EIO, "/p.pth\n");
        runs(temp, word, 2, "a whole number from 1 to");
        free(folder);
        free(missing);
        free(page);
        free(grid);
    }
    char *folder = deep_folder(temp, PATH_MAX - 40), *run = inside(folder, "r");
    const char *const train[] = {"train", "shapes", "--steps", "1", "--out", run, NULL};
    runs(temp, train, 10 + SUMI_EINVAL, "/r: the run directory's path has ");
    assert_false(sumi_is_dir(run));
    free(folder);
    free(run);
}

/* ---- Descriptors, signals -------------------------------------------------------------------- */

#define TINY "--steps 2 --batch 2 --base-channels 4 --time-dim 4 --timesteps 4 --grid 0"

/* The lock of a run was the first file that is opened, and became standard error. */
static void test_closed_descriptors(void **state)
{
    temp_folder *temp = *state;
    const char *const closed[] = {"<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"};
    char command[512];
    for (int i = 0; i < 6; i++) {
        snprintf(command, sizeof command,
                 "@ train shapes --recipe tutorial " TINY " -q --out %%/run%d %s", i, closed[i]);
        assert_int_equal(shell(temp, command), 0);
        char name[32];
        snprintf(name, sizeof name, "run%d/run.lock", i);
        char *lock = program_read(temp, name);
        assert_true(count_lines(lock) == 1 && strspn(lock, "0123456789\n") == strlen(lock));
        free(lock);
        snprintf(command, sizeof command, "@ sample %%/run%d --size 8 -q -n 2 --out %%/x%d.npy %s",
                 i, i, closed[i]);
        assert_int_equal(shell(temp, command), 0);
        sumi_npy array;
        snprintf(name, sizeof name, "x%d.npy", i);
        assert_int_equal(sumi_npy_read(temp_path(temp, name), &array, NULL), SUMI_OK);
        sumi_npy_free(&array);
    }
    /* A result that has nowhere to go is no success. */
    assert_int_equal(shell(temp, "@ data list >&- 2> %/.err"), 10 + SUMI_EIO);
    one_line(temp, "sumi: standard output: Bad file descriptor");
    assert_int_equal(shell(temp, "@ data list > %/.out 2>&-"), 0);
    assert_int_equal(shell(temp, "@ info /nowhere > %/.out 2>&-"), 10 + SUMI_EIO);
    char *out = program_read(temp, ".out");
    assert_string_equal(out, "");
    free(out);
}

/* A limit on the size of files (ulimit -f, in blocks of 512 or 1,024 bytes) used to kill. */
static void test_file_size_limit(void **state)
{
    temp_folder *temp = *state;
    assert_int_equal(shell(temp, "(ulimit -f 8; @ train shapes --recipe tutorial " TINY
                                 " -q --out %/run 2> %/.err)"),
                     10 + SUMI_EIO);
    one_line(temp, "File too large");
    assert_int_equal(shell(temp, "@ train shapes --recipe tutorial " TINY " -q --out %/good"), 0);
    assert_int_equal(shell(temp, "(ulimit -f 8; @ convert %/good %/m.pth 2> %/.err)"),
                     10 + SUMI_EIO);
    one_line(temp, "m.pth: File too large");
    assert_false(sumi_is_file(temp_path(temp, "m.pth")));
    assert_int_equal(shell(temp, "(ulimit -f 8; @ sample %/good --size 128 -n 8 -q --out %/x.npy "
                                 "2> %/.err)"),
                     10 + SUMI_EIO);
    one_line(temp, "File too large");
}

/* The reader of standard output leaves before anything is written. */
static void test_reader_leaves(void **state)
{
    temp_folder *temp = *state;
    int code = shell(temp, "mkfifo %/gate; { read line < %/gate; @ help --man 2> %/.err; "
                           "echo $? > %/code; } | { exec <&-; echo go > %/gate; }");
    assert_int_equal(code, 0);
    char *text = program_read(temp, "code");
    assert_string_equal(text, "14\n");
    free(text);
    one_line(temp, "sumi: standard output: Broken pipe");
}

/* ---- Sampling that ends early, or is long ---------------------------------------------------- */

/* Killed, it leaves what was whole, and the next call of the same name is not in its way. */
static void test_killed_sampling_leaves_whole_images(void **state)
{
    temp_folder *temp = *state;
    assert_int_equal(shell(temp, "@ train shapes --recipe tutorial " TINY " -q --out %/run"), 0);
    static const char command[] =
        "sample @run -n 100000 --batch 2 --size 8 --solver ddim --steps 2 "
        "--json --out @";
    char line[160];
    program p;
    snprintf(line, sizeof line, "%skilled.npy", command);
    program_start(&p, temp, line);
    program_await(&p, temp, "phase", 4);
    assert_int_equal(kill(p.pid, SIGKILL), 0);
    program_wait(&p, temp);
    program_free(&p);
    assert_false(sumi_is_file(temp_path(temp, "killed.npy")));
    uint8_t *data = NULL;
    size_t size = 0;
    assert_int_equal(
        sumi_file_read(temp_path(temp, "killed.npy.part"), 1 << 24, &data, &size, NULL), SUMI_OK);
    const char *shape = strstr((const char *)data + 10, "'shape': (");
    assert_non_null(shape);
    long count = strtol(shape + 10, NULL, 10);
    size_t header = 10 + data[8] + 256u * data[9];
    assert_true(count >= 2 && count % 2 == 0 && size >= header + 64 * (size_t)count);
    snprintf(line, sizeof line,
             "sample @run -n %ld --size 8 --solver ddim --steps 2 -q --out @killed.npy", count);
    assert_quiet_run(temp, line);
    assert_false(sumi_is_file(temp_path(temp, "killed.npy.part")));
    sumi_npy same;
    assert_int_equal(sumi_npy_read(temp_path(temp, "killed.npy"), &same, NULL), SUMI_OK);
    assert_memory_equal(data + header, same.data, 64 * (size_t)count);
    sumi_npy_free(&same);
    free(data);

    snprintf(line, sizeof line, "%skilled/", command);
    program_start(&p, temp, line);
    program_await(&p, temp, "phase", 4);
    assert_int_equal(kill(p.pid, SIGKILL), 0);
    program_wait(&p, temp);
    program_free(&p);
    assert_true(sumi_is_file(temp_path(temp, "killed/000001.png")));
}

/* Somebody's own file of that name is not overwritten, and that is said before the work. */
static void test_foreign_part(void **state)
{
    temp_folder *temp = *state;
    assert_int_equal(shell(temp, "@ train shapes --recipe tutorial " TINY " -q --out %/run"), 0);
    assert_int_equal(sumi_file_save(temp_path(temp, "own.npy.part"), "notes", 5, NULL), SUMI_OK);
    assert_failed_run(temp, "sample @run --size 8 -q --out @own.npy", 10 + SUMI_EIO,
                      "own.npy.part is there already");
    char *text = program_read(temp, "own.npy.part");
    assert_string_equal(text, "notes");
    free(text);
}

/* The most memory that a run took, in bytes. */
static long peak_of(temp_folder *temp, const char *line)
{
    program p;
    int status = 0;
    struct rusage usage;
    program_start(&p, temp, line);
    while (wait4(p.pid, &status, 0, &usage) < 0)
        assert_int_equal(errno, EINTR);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return usage.ru_maxrss * 1024;
}

/* 2,000 images of 64x64 are 33 MB as the numbers that are drawn. AddressSanitizer would keep what
 * is freed. */
static void test_memory_does_not_grow(void **state)
{
    temp_folder *temp = *state;
    assert_int_equal(shell(temp, "@ train shapes --recipe tutorial " TINY " -q --out %/run"), 0);
    setenv("ASAN_OPTIONS", "quarantine_size_mb=0", 1);
    long few = peak_of(temp, "sample @run -n 16 --batch 16 --size 64 --solver ddim --steps 1 -q "
                             "--out @few.npy");
    long many = peak_of(temp, "sample @run -n 2000 --batch 16 --size 64 --solver ddim --steps 1 -q "
                              "--out @many.npy");
    unsetenv("ASAN_OPTIONS");
    if (many > few + (8 << 20))
        fail_msg("2,000 images take %ld bytes, 16 take %ld", many, few);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_long_files, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_long_folders, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_long_messages, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_closed_descriptors, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_file_size_limit, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_reader_leaves, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_killed_sampling_leaves_whole_images, temp_setup,
                                        temp_teardown),
        cmocka_unit_test_setup_teardown(test_foreign_part, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_memory_does_not_grow, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
