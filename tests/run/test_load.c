/* What a folder stands for where a model is wanted: a run, what is left of one, what has runs in
 * it, and what is none at all. Nobody is told to remove anything. */
#include "run/run_fixture.h"

#include <fcntl.h>

/* Loading must fail with these words. */
static void refused(const char *path, const char *words)
{
    sumi_model *model = NULL;
    sumi_error notice, err;
    assert_int_equal(sumi_run_load(path, &model, &notice, &err), SUMI_EIO);
    assert_null(model);
    assert_says(err, words);
    assert_null(strstr(err.text, "remove the"));
}

static void put(const char *folder, const char *name)
{
    char path[PATH_MAX];
    assert_ok(sumi_file_save(join(path, folder, name), "x", 1, NULL));
}

/* To save space, somebody has removed what a finished run needs no more. */
static void test_without_checkpoints(void **state)
{
    (void)state;
    fixture f;
    sumi_model *model;
    sumi_error notice, err;
    char path[PATH_MAX];
    open_fixture(&f, 1, 0);
    assert_ok(run(&f, NULL));
    refused(join(path, f.run, "samples"), "is no run, but a part of one: /");
    refused(join(path, f.run, "checkpoints"), "/run");
    refused(join(path, f.run, "checkpoints//"), "/run");
    for (int left = 0; left < 2; left++) {
        assert_ok(left ? sumi_make_dirs(join(path, f.run, "checkpoints"), NULL)
                       : sumi_remove_tree(join(path, f.run, "checkpoints"), NULL));
        assert_ok(sumi_run_load(f.run, &model, &notice, &err));
        assert_says(notice, "there is no checkpoint");
        assert_says(notice, "using ");
        assert_says(notice, "/run/model.safetensors");
        assert_same_model(model, f.model);
        sumi_models_free(model);
    }
    assert_ok(sumi_remove_tree(join(path, f.run, "model.safetensors"), NULL));
    assert_ok(sumi_run_load(f.run, &model, &notice, &err));
    assert_says(notice, "/run/model.pth");
    assert_same_model(model, f.model);
    sumi_models_free(model);
    put(f.run, "model.pth");
    assert_int_equal(sumi_run_load(f.run, &model, &notice, &err), SUMI_EFORMAT);
    assert_says(err, "/run/model.pth: ");
    assert_ok(sumi_remove_tree(join(path, f.run, "model.pth"), NULL));
    refused(f.run, "this run has no checkpoint and no model file");
    go_on(&f);
    assert_int_equal(run(&f, &err), SUMI_EIO);
    assert_says(err, "there is no checkpoint");
    close_fixture(&f);
}

static void date(const char *run, const char *name, time_t when)
{
    char path[PATH_MAX];
    const struct timespec times[2] = {{when, 0}, {when, 0}};
    assert_int_equal(utimensat(AT_FDCWD, join(path, run, name), times, 0), 0);
}

/* runs/, and the folder above it: the newest by when it was last at work. */
static void test_above_runs(void **state)
{
    (void)state;
    char folder[PATH_MAX], runs[PATH_MAX], path[PATH_MAX];
    const char *const names[] = {"a-first", "second", "b-third"};
    const time_t dates[] = {3000000, 9000000, 6000000};
    make_folder(folder);
    join(runs, folder, "deep/runs");
    for (int i = 0; i < 3; i++) {
        assert_ok(sumi_make_dirs(join(path, runs, names[i]), NULL));
        put(path, "config.json");
        put(path, "train.log");
        date(path, "config.json", 10000);
        date(path, "train.log", dates[i]);
        if (i == 0) {
            refused(runs, "is no run; one is in it: /");
            refused(runs, "/deep/runs/a-first");
        }
    }
    refused(runs, "is no run, but 3 are in it; the newest: /");
    refused(runs, "/deep/runs/second");
    refused(join(path, folder, "deep"), "/deep/runs/second");
    refused(folder, "/deep/runs/second");
    /* A run that goes on writes its metrics first. */
    put(join(path, runs, names[0]), "metrics.jsonl");
    refused(runs, "/deep/runs/a-first");
    assert_ok(sumi_remove_tree(folder, NULL));
}

static void test_no_runs(void **state)
{
    (void)state;
    char folder[PATH_MAX], path[PATH_MAX], name[32];
    make_folder(folder);
    refused(folder, "found one with nothing in it");
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "%d.%s", i, i % 3 ? "png" : i ? "JPG" : "txt");
        put(folder, name);
    }
    refused(folder, "is no run: expected a folder that sumi train has written");
    refused(folder, "found one with 10 files (6 .png)");
    assert_ok(sumi_make_dirs(join(path, folder, "more/of/this"), NULL));
    put(path, "README");
    refused(folder, "10 files (6 .png) and 1 folder");
    refused(join(path, folder, "more"), "found one with 1 folder");
    refused(join(path, folder, "more/of/this"), "found one with 1 file");
    put(folder, "net.safetensors");
    put(folder, "best.PTH");
    refused(folder, "a model file in it: /");
    refused(folder, "/best.PTH");
    /* Somebody's config.json makes no run. */
    put(folder, "config.json");
    refused(folder, "/best.PTH");
    assert_ok(sumi_remove_tree(folder, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_checkpoints),
        cmocka_unit_test(test_above_runs),
        cmocka_unit_test(test_no_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
