/* Runs that stop, are killed or damaged, and go on. */
#include "run_fixture.h"

#include "kernels/kernels.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>

/* Stopped within an epoch, then at the end of one, each time on other threads: the weights and
 * every number in the files are those of a run that was never stopped. */
static void check_stops(float ema, sumi_precision precision)
{
    fixture straight, cut;
    double a[32], b[32];
    char one[PATH_MAX], two[PATH_MAX];
    sumi_error err;
    open_fixture(&straight, 1, ema);
    straight.config.epochs = 4;
    straight.config.precision = precision;
    assert_ok(run(&straight, NULL));

    open_fixture(&cut, 1, ema);
    cut.config.epochs = 4;
    cut.config.precision = precision;
    cut.stop_phase = SUMI_PHASE_TRAIN;
    cut.stop_step = 5;
    assert_int_equal(run(&cut, &err), SUMI_CANCELLED);
    assert_says(err, "stopped after step 5; the run is saved");
    assert_contains(&cut, "latest", "step_5\n");
    assert_false(has(&cut, "model.pth"));
    sumi_runtime_free(&cut.runtime);
    make_runtime(&cut.runtime, 3);
    go_on(&cut);
    cut.stop_step = 9;
    cut.stop_phase = SUMI_PHASE_EPOCH;
    assert_int_equal(run(&cut, &err), SUMI_CANCELLED);
    assert_says(err, "stopped after step 9");
    go_on(&cut);
    assert_ok(run(&cut, NULL));

    assert_same_model(straight.model, cut.model);
    assert_int_equal(read_losses(&straight, a, 32), 12);
    assert_int_equal(read_losses(&cut, b, 32), 12);
    assert_memory_equal(a, b, 12 * sizeof *a);
    assert_true(straight.last_loss == cut.last_loss);
    assert_int_equal(count_lines(&cut, "metrics.csv"), 5);
    static const char *const same[] = {"loss.svg", "model.pth", "samples/epoch_003.png",
                                       "checkpoints/step_12/optim.safetensors"};
    for (int i = 0; i < 4; i++) {
        uint8_t *x, *y;
        size_t n, m;
        assert_ok(sumi_file_read(join(one, straight.run, same[i]), 1 << 24, &x, &n, NULL));
        assert_ok(sumi_file_read(join(two, cut.run, same[i]), 1 << 24, &y, &m, NULL));
        assert_int_equal(n, m);
        assert_memory_equal(x, y, n);
        free(x);
        free(y);
    }
    close_fixture(&straight);
    close_fixture(&cut);
}

static void test_stops_change_no_bit(void **state)
{
    (void)state;
    check_stops(0, SUMI_PRECISION_FP32);
    check_stops(.9f, SUMI_PRECISION_FP32);
    check_stops(.9f, SUMI_PRECISION_BF16);
    check_stops(0, SUMI_PRECISION_FIXED16);
}

/* Two epochs of six steps in all of a network that is told of labels and of what was made of its
 * images, with everything that a checkpoint has to hold. */
static void open_rich(fixture *f, sumi_trainer_config *trainer, int optimiser,
                      sumi_precision precision, uint64_t seed)
{
    sumi_model_config config = unet_config();
    *trainer = (sumi_trainer_config)SUMI_TRAINER_CONFIG_INIT;
    trainer->batch = BATCH;
    trainer->seed = 4;
    trainer->optimiser = sumi_train_optimiser_at(optimiser)->name;
    trainer->precision = precision;
    trainer->accumulate = 2;
    trainer->averages[0] = .9f;
    trainer->power_averages[0] = .1f;
    trainer->rate_schedule = "linear";
    trainer->warmup_steps = 2;
    trainer->clip_norm = 1;
    open_fixture(f, 1, 0);
    config.classes = 10;
    config.augmentation = SUMI_AUGMENT_NUMBERS;
    config.seed = seed;
    sumi_models_free(f->model);
    assert_ok(sumi_models_create(&config, &f->model, NULL));
    f->config.trainer = trainer;
    f->config.augment = .5f;
    f->config.flip = true;
    f->config.grid = 0;
}

/* Every optimiser in every precision: stopped within an epoch and gone on with on other threads. */
static void test_every_optimiser_and_precision(void **state)
{
    (void)state;
    for (int optimiser = 0; sumi_train_optimiser_at(optimiser); optimiser++)
        for (int p = 0; sumi_precision_row(p); p++) {
            sumi_trainer_config trainers[3];
            fixture straight, cut, other;
            open_rich(&straight, &trainers[0], optimiser, (sumi_precision)p, 1);
            assert_ok(run(&straight, NULL));
            open_rich(&cut, &trainers[1], optimiser, (sumi_precision)p, 1);
            cut.stop_phase = SUMI_PHASE_TRAIN;
            cut.stop_step = 4;
            assert_int_equal(run(&cut, NULL), SUMI_CANCELLED);
            open_rich(&other, &trainers[2], optimiser, (sumi_precision)p, 77);
            sumi_runtime_free(&other.runtime);
            make_runtime(&other.runtime, 3);
            strcpy(other.run, cut.run);
            other.config.resume = true;
            trainers[2].schedule_steps = 2 * PER_EPOCH;
            assert_ok(run(&other, NULL));
            assert_same_model(straight.model, other.model);
            sumi_model *averages[2];
            assert_ok(sumi_run_load(straight.run, &averages[0], NULL, NULL));
            assert_ok(sumi_run_load(cut.run, &averages[1], NULL, NULL));
            assert_same_model(averages[0], averages[1]);
            sumi_models_free(averages[0]);
            sumi_models_free(averages[1]);
            close_fixture(&other);
            close_fixture(&cut);
            close_fixture(&straight);
        }
}

/* A process that was killed has written metrics beyond its checkpoint, perhaps half a line. */
static void test_metrics_beyond_the_checkpoint_are_cut(void **state)
{
    (void)state;
    fixture f;
    double losses[16];
    char path[PATH_MAX];
    static const char more[] = "{\"step\": 4, \"epoch\": 1, \"loss\": 9}\n{\"step\": 5, \"ep";
    open_fixture(&f, 1, 0);
    f.config.epochs = 1;
    assert_ok(run(&f, NULL));
    join(path, f.run, "metrics.jsonl");
    assert_ok(sumi_file_append(path, more, sizeof more - 1, NULL));
    join(path, f.run, "metrics.csv");
    assert_ok(sumi_file_append(path, "1,9,4,1\n", 8, NULL));
    join(path, f.run, "checkpoints/.step_4.sumi-tmp");
    assert_ok(sumi_make_dirs(path, NULL));
    go_on(&f);
    f.config.epochs = 2;
    assert_ok(run(&f, NULL));
    assert_int_equal(read_losses(&f, losses, 16), 6);
    assert_true(losses[3] != 9);
    assert_int_equal(count_lines(&f, "metrics.csv"), 3);
    assert_false(sumi_is_dir(path));
    close_fixture(&f);
}

/* Killed at some step, three times over, and always gone on from the last checkpoint: the weights
 * are those of a run that nothing happened to. */
static void test_kills_change_no_bit(void **state)
{
    (void)state;
    static const int kill_after[] = {2, 5, 6}; /* steps of that process */
    fixture straight, f;
    open_fixture(&straight, 1, .9f);
    straight.config.epochs = 4;
    assert_ok(run(&straight, NULL));
    open_fixture(&f, 1, .9f);
    f.config.epochs = 4;
    sumi_runtime_free(&f.runtime); /* threads do not survive a fork */
    for (int i = 0; i < 3; i++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            f.step_pipe = ends[1];
            f.config.resume = i > 0;
            if (sumi_runtime_init(&f.runtime, 2, NULL, NULL) == SUMI_OK)
                run(&f, NULL);
            _exit(1);
        }
        close(ends[1]);
        char step;
        for (int k = 0; k < kill_after[i]; k++)
            assert_int_equal(read(ends[0], &step, 1), 1);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        close(ends[0]);
    }
    make_runtime(&f.runtime, 1);
    go_on(&f);
    assert_ok(run(&f, NULL));
    double a[16], b[16];
    assert_same_model(straight.model, f.model);
    assert_int_equal(read_losses(&straight, a, 16), 12);
    assert_int_equal(read_losses(&f, b, 16), 12);
    assert_memory_equal(a, b, 12 * sizeof *a);
    close_fixture(&straight);
    close_fixture(&f);
}

/* What is made of the images of a step does not depend on where the run was stopped, nor on
 * threads; and it is kept. */
static void test_augmented_images_go_on(void **state)
{
    (void)state;
    sumi_error err = {""};
    fixture straight, f;
    open_fixture(&straight, 1, 0);
    straight.config.flip = true;
    straight.config.crop = 2;
    assert_ok(run(&straight, NULL));
    open_fixture(&f, 3, 0);
    f.config.flip = true;
    f.config.crop = 2;
    f.stop_phase = SUMI_PHASE_TRAIN;
    f.stop_step = 4;
    assert_int_equal(run(&f, &err), SUMI_CANCELLED);
    go_on(&f);
    f.config.crop = 1;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "crop 2, not 1");
    f.config.crop = 2;
    f.config.flip = false;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "flip true, not false");
    f.config.flip = true;
    assert_ok(run(&f, NULL));
    assert_same_model(straight.model, f.model);
    close_fixture(&f);
    open_fixture(&f, 1, 0);
    assert_ok(run(&f, NULL));
    assert_true(f.last_loss != straight.last_loss);
    f.config.crop = 8;
    assert_int_equal(run(&f, &err), SUMI_EINVAL);
    assert_says(err, "crop is 8, expected 0 to below 8");
    close_fixture(&f);
    close_fixture(&straight);
}

static void damage(const fixture *f, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    join(path, f->run, name);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size / 2), 0);
}

static void test_a_damaged_checkpoint_is_passed_over(void **state)
{
    (void)state;
    fixture f, straight;
    sumi_model *model = NULL;
    sumi_error notice, err;
    char path[PATH_MAX];
    open_fixture(&straight, 1, 0);
    straight.config.epochs = 3;
    assert_ok(run(&straight, NULL));
    open_fixture(&f, 1, 0);
    f.config.epochs = 1;
    assert_ok(run(&f, NULL));
    go_on(&f);
    f.config.epochs = 2;
    assert_ok(run(&f, NULL));
    damage(&f, "checkpoints/step_6/model.safetensors");
    assert_ok(sumi_run_load(f.run, &model, &notice, NULL));
    assert_says(notice, "step_6/model.safetensors is damaged");
    assert_int_equal(model->info.steps, 3);
    sumi_models_free(model);

    go_on(&f);
    f.config.epochs = 3;
    assert_ok(run(&f, NULL));
    assert_contains(&f, "train.log", "step_6/model.safetensors is damaged");
    assert_contains(&f, "train.log", "resumed at step 3");
    assert_same_model(straight.model, f.model);

    for (int i = 1; i <= 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "checkpoints/step_%d/state.json", 3 * i);
        if (has(&f, name))
            damage(&f, name);
    }
    model = NULL;
    /* The model file of the finished run is there still. */
    assert_ok(sumi_run_load(f.run, &model, &notice, &err));
    assert_says(notice, "no checkpoint is whole");
    assert_says(notice, "using ");
    assert_int_equal(model->info.steps, 9);
    sumi_models_free(model);
    model = NULL;
    assert_ok(sumi_remove_tree(join(path, f.run, "model.safetensors"), NULL));
    assert_ok(sumi_remove_tree(join(path, f.run, "model.pth"), NULL));
    assert_int_equal(sumi_run_load(f.run, &model, &notice, &err), SUMI_EFORMAT);
    assert_says(err, "no checkpoint is whole");
    assert_null(model);
    go_on(&f);
    assert_int_equal(run(&f, &err), SUMI_EFORMAT);
    assert_ok(sumi_remove_tree(join(path, f.run, "checkpoints"), NULL));
    assert_int_equal(run(&f, &err), SUMI_EIO);
    assert_says(err, "there is no checkpoint");
    close_fixture(&f);
    close_fixture(&straight);
}

/* What a run was begun with stays in its files; each call that went on is listed. */
static void test_a_resumed_run_keeps_its_beginning(void **state)
{
    (void)state;
    fixture f;
    sumi_model *model = NULL;
    open_fixture(&f, 1, 0);
    assert_ok(run(&f, NULL));
    char *before = read_text(&f, "config.json");
    go_on(&f);
    f.config.command = "sumi train --resume it";
    f.config.epochs = 1; /* done long ago: nothing changes, and no picture is called its last */
    assert_ok(run(&f, NULL));
    char *after = read_text(&f, "config.json");
    assert_string_equal(after, before);
    assert_true(has(&f, "samples/final_001.png"));
    assert_false(has(&f, "samples/final_000.png"));
    free(before);
    free(after);

    go_on(&f);
    f.config.epochs = 3;
    assert_ok(run(&f, NULL));
    json_t *json = read_json(&f, "config.json");
    assert_string_equal(json_string_value(json_object_get(json, "command")),
                        "sumi train \"shapes\" <&>");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "train"), "epochs")),
                     3);
    json_t *resumed = json_object_get(json, "resumed");
    assert_int_equal(json_array_size(resumed), 1);
    json_t *entry = json_array_get(resumed, 0);
    assert_int_equal(json_integer_value(json_object_get(entry, "step")), 2 * PER_EPOCH);
    assert_int_equal(json_integer_value(json_object_get(entry, "epochs")), 3);
    assert_string_equal(json_string_value(json_object_get(entry, "command")),
                        "sumi train --resume it");
    json_decref(json);
    assert_ok(sumi_run_load(f.run, &model, NULL, NULL));
    assert_string_equal(json_string_value(json_object_get(model->metadata, "sumi.command")),
                        "sumi train \"shapes\" <&>");
    sumi_models_free(model);
    close_fixture(&f);
}

static void copy_file(const fixture *f, const char *name)
{
    char from[PATH_MAX], to[PATH_MAX];
    uint8_t *data;
    size_t size;
    snprintf(from, sizeof from, SUMI_TEST_DIR "/golden/run-0.1/%s", name);
    assert_ok(sumi_file_read(from, 1 << 24, &data, &size, NULL));
    assert_ok(sumi_file_save(join(to, f->run, name), data, size, NULL));
    free(data);
}

/* A run of version 0.1 goes on, twice, the second time from what this version wrote. */
static void test_a_run_of_version_0_1_goes_on(void **state)
{
    (void)state;
    static const char *const names[] = {
        "config.json",
        "latest",
        "metrics.csv",
        "metrics.jsonl",
        "train.log",
        "checkpoints/step_3/ema.safetensors",
        "checkpoints/step_3/manifest.json",
        "checkpoints/step_3/model.safetensors",
        "checkpoints/step_3/optim.safetensors",
        "checkpoints/step_3/state.json",
    };
    fixture f;
    char path[PATH_MAX];
    open_fixture(&f, 2, .9f);
    assert_ok(sumi_make_dirs(join(path, f.run, "checkpoints/step_3"), NULL));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        copy_file(&f, names[i]);
    sumi_data_free(f.set);
    f.set = make_shapes();
    f.config.batch = 4;
    f.config.seed = 0;
    f.config.grid = f.config.grid_height = f.config.grid_width = f.config.grid_steps = 0;
    f.config.epochs = 0;
    f.config.resume = true;
    for (int i = 0; i < 2; i++) {
        sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
        config.base_channels = 2;
        config.time_dim = 4;
        config.timesteps = 20;
        config.seed = 99;
        sumi_models_free(f.model);
        assert_ok(sumi_models_create(&config, &f.model, NULL));
        f.config.steps = 5 + i;
        sumi_error err = {""};
        if (run(&f, &err) != SUMI_OK)
            fail_msg("%s", err.text);
        assert_int_equal(f.model->info.steps, 5 + i);
    }
    assert_int_equal(count_lines(&f, "metrics.jsonl"), 6);
    assert_contains(&f, "config.json", "--steps 3"); /* as it was begun */
    close_fixture(&f);
}

/* All that a model is comes back from its file, and is compared on going on. */
static void test_a_description_comes_back(void **state)
{
    (void)state;
    fixture f;
    sumi_model *loaded;
    char path[PATH_MAX];
    sumi_error err = {""};
    open_fixture(&f, 1, .5f);
    sumi_process_config *process = &f.model->process;
    process->objective = SUMI_OBJECTIVE_V;
    process->schedule = SUMI_SCHEDULE_COSINE;
    process->weighting = SUMI_WEIGHTING_MIN_SNR;
    process->law = SUMI_LAW_LOGIT_NORMAL;
    process->stratified = true;
    process->sigma_min = .01f;
    process->sigma_max = 70;
    process->sigma_data = .3f;
    process->gamma = 4;
    process->law_mean = -.5f;
    process->law_std = 1.25f;
    f.model->standardise = true;
    assert_null(f.model->sampling);
    f.model->sampling = json_pack("{s:s}", "solver", "ddim");
    assert_ok(run(&f, NULL));
    for (int i = 0; i < 2; i++) {
        join(path, f.run, i ? "model.pth" : "model.safetensors");
        assert_ok(sumi_models_load(path, &loaded, NULL, NULL));
        assert_memory_equal(&loaded->process, process, sizeof *process);
        assert_true(loaded->standardise && loaded->standard.channels == 1 &&
                    loaded->standard.to == .3f);
        assert_memory_equal(&loaded->standard, &f.model->standard, sizeof loaded->standard);
        assert_true(json_equal(loaded->sampling, f.model->sampling));
        assert_int_equal(json_array_size(loaded->classes), f.set->classes);
        assert_string_equal(json_string_value(json_array_get(loaded->classes, 1)),
                            f.set->class_names[1]);
        assert_true(loaded->seed_known && loaded->seed == 1);
        sumi_models_free(loaded);
    }
    assert_contains(&f, "config.json", "\"objective\": \"v\"");
    go_on(&f);
    f.config.epochs = 3;
    assert_int_equal(run(&f, &err), SUMI_ESHAPE);
    assert_says(err, "objective v, expected eps");
    close_fixture(&f);
}

static void test_another_instruction_set_is_told(void **state)
{
    (void)state;
    fixture f;
    sumi_error err = {""};
    open_fixture(&f, 1, 0);
    if (strcmp(f.runtime.backend->isa(f.runtime.device), "generic") == 0) {
        close_fixture(&f);
        skip();
    }
    f.config.epochs = 1;
    assert_ok(run(&f, NULL));
    go_on(&f);
    f.config.epochs = 2;
    assert_ok(run(&f, &err));
    assert_string_equal(err.text, "");
    go_on(&f);
    sumi_runtime_free(&f.runtime);
    assert_ok(sumi_runtime_init(&f.runtime, 1, "generic", NULL));
    f.config.epochs = 3;
    assert_ok(run(&f, &err));
    assert_says(err, "with generic from here on");
    assert_contains(&f, "train.log", "with generic from here on");
    close_fixture(&f);
}

static const char *isa_vnni(const sumi_device *device)
{
    (void)device;
    return "avx512vnni";
}

static bool same_as_vnni(const sumi_device *device, const char *isa, sumi_precision precision)
{
    (void)device;
    return sumi_kernels_same_bits("avx512vnni", isa, precision == SUMI_PRECISION_BF16,
                                  precision != SUMI_PRECISION_FP32);
}

/* Another instruction set is no news where it has the same bits: whatever this CPU has, a run of
 * avx512 goes on with avx512vnni. */
static void test_like_instruction_sets_are_not_told(void **state)
{
    (void)state;
    static const struct {
        const char *before;
        sumi_precision precision;
        bool told;
    } cases[] = {{"avx512vnni", SUMI_PRECISION_FIXED16, false},
                 {"avx512", SUMI_PRECISION_FP32, false},
                 {"amx", SUMI_PRECISION_FP32, false},
                 {"amx", SUMI_PRECISION_FIXED16, false},
                 {"avx512", SUMI_PRECISION_FIXED16, true},
                 {"amx", SUMI_PRECISION_BF16, true},
                 {"avx2", SUMI_PRECISION_FP32, true},
                 {"of the future", SUMI_PRECISION_FP32, true}};
    fixture f;
    char path[PATH_MAX];
    open_fixture(&f, 1, 0);
    const sumi_backend *own = f.runtime.backend;
    for (int p = SUMI_PRECISION_FP32; p <= SUMI_PRECISION_FIXED16; p++) {
        assert_true(own->same_bits(f.runtime.device, own->isa(f.runtime.device), p));
        assert_false(own->same_bits(f.runtime.device, "mmx", p));
    }
    sumi_backend vnni = *own;
    vnni.isa = isa_vnni;
    vnni.same_bits = same_as_vnni;
    sumi_runtime runtime = {.backend = &vnni};
    sumi_run_dir dir = {.lock = -1};
    snprintf(dir.path, sizeof dir.path, "%s", f.folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sumi_error notice = {""};
        FILE *env = fopen(join(path, f.folder, "env.json"), "we");
        assert_non_null(env);
        fprintf(env, "{\"isa\": \"%s\"}", cases[i].before);
        assert_int_equal(fclose(env), 0);
        assert_ok(sumi_run_check_isa(&dir, &runtime, cases[i].precision, &notice, NULL));
        assert_int_equal(notice.text[0] != '\0', cases[i].told);
    }
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stops_change_no_bit),
        cmocka_unit_test(test_every_optimiser_and_precision),
        cmocka_unit_test(test_metrics_beyond_the_checkpoint_are_cut),
        cmocka_unit_test(test_kills_change_no_bit),
        cmocka_unit_test(test_augmented_images_go_on),
        cmocka_unit_test(test_a_damaged_checkpoint_is_passed_over),
        cmocka_unit_test(test_a_resumed_run_keeps_its_beginning),
        cmocka_unit_test(test_a_run_of_version_0_1_goes_on),
        cmocka_unit_test(test_a_description_comes_back),
        cmocka_unit_test(test_another_instruction_set_is_told),
        cmocka_unit_test(test_like_instruction_sets_are_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
