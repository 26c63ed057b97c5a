/*
 * The search for a way to sample at a run's end: what it may take, that the model keeps what it
 * found, that weights have the bits of a run without it, and that a run which was stopped in it, or
 * killed, comes to the same files.
 */
#include "run/run_fixture.h"

#include "io/io.h"
#include "models/sampling.h"

/* 6 evaluations an image at most: two ways' first look at 160 images is 1,920 evaluations. Search
 * and evaluator may take a twentieth of three evaluations of 240 images in each of 70 steps; of
 * images of 8x8 the evaluator is worth 8 / 256 of 16,384. */
enum { MANY = 300, LARGE = 240, STEPS = 70, TOO_FEW = 65, T = 6 };
enum { WORK = STEPS * LARGE * 3 / 20 - 512 };

static void open_tuned(fixture *f, int threads, int64_t images)
{
    open_fixture(f, threads, 0);
    sumi_models_free(f->model);
    sumi_data_free(f->set);
    f->model = make_labelled(1, T);
    f->set = make_small_set(images);
    f->config.batch = LARGE;
    f->config.epochs = 0;
    f->config.steps = STEPS;
    f->config.grid = 0;
    f->config.tune = true;
}

static void go_on_tuned(fixture *f)
{
    sumi_models_free(f->model);
    f->model = make_labelled(77, T); /* the checkpoint brings the weights */
    f->config.resume = true;
    f->stop_step = 0;
    f->samples = 0;
    atomic_store(&f->runtime.cancel, 0);
}

static void assert_same_file(const fixture *a, const fixture *b, const char *name)
{
    char *x = read_text(a, name), *y = read_text(b, name);
    assert_string_equal(x, y);
    free(x);
    free(y);
}

/* The model says how it is sampled, and so does the run when it is loaded. */
static void check_kept(const fixture *f, const json_t *sampling)
{
    static const char *const names[] = {"model.safetensors", "model.pth", "."};
    json_t *file = read_json(f, "sampling.json");
    char path[PATH_MAX];
    assert_true(json_equal(file, sampling));
    for (int i = 0; i < 3; i++) {
        sumi_model *model;
        join(path, f->run, names[i]);
        assert_ok(i < 2 ? sumi_models_load(path, &model, NULL, NULL)
                        : sumi_run_load(f->run, &model, NULL, NULL));
        assert_true(json_equal(model->sampling, sampling));
        sumi_models_free(model);
    }
    json_decref(file);
}

static void test_found_and_kept(void **state)
{
    (void)state;
    fixture f, plain;
    open_tuned(&f, 2, MANY);
    f.config.eval_images = 1000; /* which says nothing where no score is asked for */
    assert_ok(run(&f, NULL));
    json_t *tuning = read_json(&f, "tuning.json"), *way;
    const json_t *list = json_object_get(tuning, "candidates");
    assert_int_equal(json_integer_value(json_object_get(tuning, "step")), STEPS);
    assert_true(json_array_size(list) >= 2);
    int64_t work = 0;
    size_t i;
    json_array_foreach(list, i, way)
    {
        int64_t evaluations = json_integer_value(json_object_get(way, "evaluations"));
        assert_true(evaluations > 0 && evaluations <= T);
        assert_true(json_is_number(json_object_get(way, "frechet")));
        work += evaluations * json_integer_value(json_object_get(way, "n"));
    }
    assert_true(work > WORK / 2 && work <= WORK);
    check_kept(&f, json_object_get(tuning, "sampling"));
    assert_contains(&f, "train.log", "samples: ");
    assert_contains(&f, "index.html", "Ways to sample");
    assert_contains(&f, "config.json", "\"tune\": true");
    char *page = read_text(&f, "index.html");
    assert_non_null(strstr(page, "keep last"));
    assert_null(strstr(page, "eval images"));
    free(page);
    assert_int_equal(f.notes, 1);

    open_tuned(&plain, 1, MANY);
    plain.config.tune = false;
    assert_ok(run(&plain, NULL));
    assert_same_model(f.model, plain.model);
    assert_false(has(&plain, "tuning.json") || has(&plain, "sampling.json"));
    assert_contains(&plain, "config.json", "\"tune\": false");
    json_decref(tuning);
    close_fixture(&f);
    close_fixture(&plain);
}

/* In the evaluator's making, and in the search; what is trained is kept. */
static void test_stopped_in_it(void **state)
{
    (void)state;
    static const int64_t places[] = {2, 300};
    fixture whole;
    open_tuned(&whole, 1, MANY);
    assert_ok(run(&whole, NULL));
    for (int i = 0; i < 2; i++) {
        fixture f;
        sumi_model *model;
        sumi_error err = {""};
        open_tuned(&f, 3, MANY);
        f.stop_phase = SUMI_PHASE_SAMPLE;
        f.stop_step = places[i];
        assert_int_equal(run(&f, &err), SUMI_CANCELLED);
        assert_says(err, "stopped after step 70; the run is saved and can be resumed");
        assert_false(has(&f, "tuning.json") || has(&f, "model.safetensors"));
        assert_ok(sumi_run_load(f.run, &model, NULL, NULL));
        assert_same_model(model, whole.model);
        sumi_models_free(model);
        go_on_tuned(&f);
        assert_ok(run(&f, NULL));
        assert_same_file(&f, &whole, "tuning.json");
        assert_same_file(&f, &whole, "sampling.json");
        assert_same_file(&f, &whole, "model.safetensors");
        close_fixture(&f);
    }
    close_fixture(&whole);
}

/* Killed between the two files, a run does not search again; and what others set stays. */
static void test_killed_and_set(void **state)
{
    (void)state;
    fixture f;
    char path[PATH_MAX];
    open_tuned(&f, 1, MANY);
    assert_ok(run(&f, NULL));
    json_t *tuning = read_json(&f, "tuning.json"), *sampling = json_object_get(tuning, "sampling");
    assert_int_equal(unlink(join(path, f.run, "sampling.json")), 0);
    go_on_tuned(&f);
    assert_ok(run(&f, NULL));
    assert_int_equal(f.samples, 0);
    check_kept(&f, sampling);
    json_t *own = json_pack("{s:s, s:i}", "solver", "ddim", "steps", 5);
    assert_ok(sumi_run_save_sampling(f.run, own, NULL));
    go_on_tuned(&f);
    f.config.steps = 2 * STEPS;
    assert_ok(run(&f, NULL));
    assert_int_equal(f.samples, 0);
    check_kept(&f, own);
    assert_contains(&f, "train.log", "sampling.json was set: it stays");
    json_decref(own);
    json_decref(tuning);
    close_fixture(&f);
}

/* Longer, a run whose way nobody set is looked at again. */
static void test_found_again(void **state)
{
    (void)state;
    fixture f;
    open_tuned(&f, 1, MANY);
    assert_ok(run(&f, NULL));
    go_on_tuned(&f);
    f.config.steps = STEPS + 6;
    assert_ok(run(&f, NULL));
    json_t *tuning = read_json(&f, "tuning.json");
    assert_int_equal(json_integer_value(json_object_get(tuning, "step")), STEPS + 6);
    check_kept(&f, json_object_get(tuning, "sampling"));
    json_decref(tuning);
    close_fixture(&f);
}

/* Too few steps for two ways, too few images for a distance, and nowhere to keep what is found. */
static void test_too_small(void **state)
{
    (void)state;
    static const struct {
        int64_t images, steps;
    } cases[] = {{MANY, TOO_FEW}, {256, STEPS}, {MANY, STEPS}};
    for (int i = 0; i < 3; i++) {
        fixture f;
        open_tuned(&f, 2, cases[i].images);
        f.config.steps = cases[i].steps;
        if (i == 2)
            f.config.out_dir = NULL;
        assert_ok(run(&f, NULL));
        assert_int_equal(f.samples, 0);
        if (i == 2) {
            close_fixture(&f);
            continue;
        }
        assert_false(has(&f, "tuning.json") || has(&f, "sampling.json"));
        assert_true(has(&f, "model.safetensors"));
        close_fixture(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found_and_kept), cmocka_unit_test(test_stopped_in_it),
        cmocka_unit_test(test_killed_and_set), cmocka_unit_test(test_found_again),
        cmocka_unit_test(test_too_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
