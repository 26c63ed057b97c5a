/* Runs the real program and keeps what came of it: exit code, standard output, standard error. */
#ifndef SUMI_TEST_PROGRAM_H
#define SUMI_TEST_PROGRAM_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/temp_folder.h"
#include "io/io.h"

extern char **environ;

enum { PROGRAM_WORDS_MAX = 48 };

typedef struct {
    pid_t pid;
    int code; /* 128 + the signal where one ended it */
    char *out, *err;
} program;

/* Starts the program with these words, without its name, up to NULL. Output goes to files in the
 * temporary folder. */
static inline void program_start_words(program *p, temp_folder *temp, const char *const *words)
{
    posix_spawn_file_actions_t files;
    char *argv[PROGRAM_WORDS_MAX + 2] = {(char *)SUMI_PROGRAM};
    for (int i = 0; words[i] != NULL; i++) {
        assert_true(i < PROGRAM_WORDS_MAX);
        argv[i + 1] = (char *)words[i];
    }
    memset(p, 0, sizeof *p);
    assert_int_equal(posix_spawn_file_actions_init(&files), 0);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, temp_path(temp, ".out"),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0666);
    posix_spawn_file_actions_addopen(&files, 2, temp_path(temp, ".err"),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0666);
    assert_int_equal(posix_spawn(&p->pid, SUMI_PROGRAM, &files, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&files);
}

/* The program would ignore what nohup, or a shell in the background, made the tests ignore. */
__attribute__((constructor)) static void program_hears_signals(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
}

/* Starts the program with the words of line, which single spaces separate; '@' at the start of a
 * word stands for the temporary folder, and after '=' too. */
static inline void program_start(program *p, temp_folder *temp, const char *line)
{
    char words[1024], made[PROGRAM_WORDS_MAX][1024];
    const char *list[PROGRAM_WORDS_MAX + 1];
    int count = 0;
    assert_true(strlen(line) < sizeof words);
    strcpy(words, line);
    for (char *word = words; *line != '\0' && word != NULL;) {
        char *next = strchr(word, ' ');
        if (next != NULL)
            *next++ = '\0';
        assert_true(count < PROGRAM_WORDS_MAX);
        char *at = word[0] == '@' ? word : strstr(word, "=@");
        size_t before = at == NULL ? 0 : (size_t)(at - word) + (*at == '=');
        if (at == NULL)
            snprintf(made[count], sizeof made[count], "%s", word);
        else
            snprintf(made[count], sizeof made[count], "%.*s%s/%s", (int)before, word, temp->path,
                     word + before + 1);
        list[count] = made[count];
        count++;
        word = next;
    }
    list[count] = NULL;
    program_start_words(p, temp, list);
}

static inline char *program_read(temp_folder *temp, const char *name)
{
    uint8_t *data = NULL;
    size_t size = 0;
    assert_int_equal(sumi_file_read(temp_path(temp, name), 1 << 24, &data, &size, NULL), SUMI_OK);
    char *text = sumi_strdup((const char *)data);
    free(data);
    assert_non_null(text);
    return text;
}

static inline void program_wait(program *p, temp_folder *temp)
{
    int status = 0;
    while (waitpid(p->pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    p->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    p->out = program_read(temp, ".out");
    p->err = program_read(temp, ".err");
}

static inline void program_free(program *p)
{
    free(p->out);
    free(p->err);
}

static inline void program_run(program *p, temp_folder *temp, const char *line)
{
    program_start(p, temp, line);
    program_wait(p, temp);
}

static inline int count_lines(const char *text)
{
    int lines = 0;
    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

/* Writes so many grey pictures of side x side pixels to x.npy in the temporary folder. */
static inline void put_pictures(temp_folder *temp, int count, int side)
{
    sumi_npy array = {.dtype = SUMI_NPY_U8, .rank = 3, .shape = {count, side, side}};
    array.count = (size_t)count * side * side;
    uint8_t *pixels = malloc(array.count);
    assert_non_null(pixels);
    for (size_t i = 0; i < array.count; i++)
        pixels[i] = (uint8_t)(i * i / 7 % 251);
    array.data = pixels;
    assert_int_equal(sumi_npy_write(temp_path(temp, "x.npy"), &array, NULL), SUMI_OK);
    free(pixels);
}

/* Writes dark and light pictures of noise into set/dark and set/light. */
static inline void put_labelled(temp_folder *temp, int count, int side)
{
    size_t size = (size_t)side * (size_t)side;
    uint8_t *pixels = malloc(size);
    const sumi_image image = {side, side, 1, pixels};
    assert_non_null(pixels);
    for (int i = 0; i < count; i++) {
        const char *label = i % 2 ? "light" : "dark";
        const sumi_random at = {7, SUMI_STREAM_USER, 1, (uint64_t)i};
        char name[128];
        for (size_t k = 0; k < size; k++)
            pixels[k] = (uint8_t)(sumi_random_below(&at, k, 100) + (i % 2 ? 140 : 10));
        snprintf(name, sizeof name, "set/%s", label);
        assert_int_equal(sumi_make_dirs(temp_path(temp, name), NULL), SUMI_OK);
        snprintf(name, sizeof name, "set/%s/%d.png", label, i);
        assert_int_equal(sumi_png_write(temp_path(temp, name), &image, NULL, NULL), SUMI_OK);
    }
    free(pixels);
}

/* The step that `latest` of a run in the temporary folder names. */
static inline int64_t latest_of(temp_folder *temp, const char *run)
{
    char name[64];
    int64_t step = -1;
    snprintf(name, sizeof name, "%s/latest", run);
    char *text = program_read(temp, name);
    assert_int_equal(sscanf(text, "step_%" SCNd64, &step), 1);
    free(text);
    return step;
}

/* Waits until the running program has written text, and that many lines, to standard error. */
static inline void program_await(const program *p, temp_folder *temp, const char *text, int lines)
{
    const struct timespec pause = {0, 5000000};
    for (;;) {
        siginfo_t ended = {0};
        char *err = program_read(temp, ".err");
        bool found = strstr(err, text) != NULL && count_lines(err) >= lines;
        bool gone = waitid(P_PID, (id_t)p->pid, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                    ended.si_pid == p->pid;
        if (gone && !found)
            fail_msg("the program ended before '%s' and %d lines: %s", text, lines, err);
        free(err);
        if (found)
            return;
        nanosleep(&pause, NULL);
    }
}

/* Runs and expects success, with nothing on standard error. */
static inline void assert_quiet_run(temp_folder *temp, const char *line)
{
    program p;
    program_run(&p, temp, line);
    if (p.code != 0 || p.err[0] != '\0')
        fail_msg("sumi %s: exit %d, %s", line, p.code, p.err);
    program_free(&p);
}

/* Runs and expects success, and what it prints to be JSON. */
static inline json_t *program_json(temp_folder *temp, const char *line)
{
    program p;
    program_run(&p, temp, line);
    if (p.code != 0)
        fail_msg("sumi %s: exit %d, %s", line, p.code, p.err);
    json_t *json = json_loads(p.out, 0, NULL);
    if (json == NULL)
        fail_msg("sumi %s: not JSON: %s", line, p.out);
    program_free(&p);
    return json;
}

/* Every tensor of a file that two runs have, to the bit; how a model was made may be told in other
 * words. */
static inline void assert_same_tensors(temp_folder *temp, const char *run, const char *other,
                                       const char *name)
{
    char paths[2][256];
    sumi_tensor_file file[2];
    snprintf(paths[0], sizeof paths[0], "%s/%s", run, name);
    snprintf(paths[1], sizeof paths[1], "%s/%s", other, name);
    for (int i = 0; i < 2; i++)
        assert_int_equal(sumi_tensor_file_read(temp_path(temp, paths[i]), &file[i], NULL), SUMI_OK);
    assert_int_equal(file[0].count, file[1].count);
    assert_true(file[0].count > 10);
    for (size_t i = 0; i < file[0].count; i++) {
        const sumi_file_tensor *a = &file[0].tensors[i], *b = &file[1].tensors[i];
        assert_string_equal(a->name, b->name);
        if (a->bytes != b->bytes || memcmp(a->data, b->data, a->bytes) != 0)
            fail_msg("%s: %s is not that of %s", paths[1], a->name, paths[0]);
    }
    sumi_tensor_file_free(&file[0]);
    sumi_tensor_file_free(&file[1]);
}

/* Runs and expects failure: this code, one line on standard error that has part in it, and nothing
 * on standard output. */
static inline void assert_failed_run(temp_folder *temp, const char *line, int code,
                                     const char *part)
{
    program p;
    program_run(&p, temp, line);
    if (p.code != code)
        fail_msg("sumi %s: exit %d instead of %d: %s", line, p.code, code, p.err);
    if (p.out[0] != '\0')
        fail_msg("sumi %s: failed, but printed %s", line, p.out);
    if (count_lines(p.err) != 1 || strncmp(p.err, "sumi: ", 6) != 0)
        fail_msg("sumi %s: expected one line 'sumi: ...', found %s", line, p.err);
    if (strstr(p.err, part) == NULL)
        fail_msg("sumi %s: expected '%s' in: %s", line, part, p.err);
    program_free(&p);
}

#endif
