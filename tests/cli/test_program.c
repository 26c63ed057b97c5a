/*
 * The program from training to pictures, on a network and images that are as small as they get:
 * each command that computes, its results, its refusals, and what signals do to it.
 */
#include <math.h>

#include "program.h"

#include <jansson.h>

#include "io/io.h"

#define TINY                                                                                       \
    "--size 8x8 --batch 4 --base-channels 4 --time-dim 8 --timesteps 20 --grid 0 --threads 2"

/* One run of two steps, which all tests share; made in the group's set-up. */
static int make_run(void **state)
{
    if (temp_setup(state) != 0)
        return -1;
    assert_quiet_run(*state, "train shapes --recipe tutorial --steps 2 --quiet --out @run " TINY);
    return 0;
}

static sumi_npy read_array(temp_folder *temp, const char *name)
{
    sumi_npy array;
    assert_int_equal(sumi_npy_read(temp_path(temp, name), &array, NULL), SUMI_OK);
    return array;
}

/* ---- Training -------------------------------------------------------------------------------- */

static void test_train_makes_a_run(void **state)
{
    temp_folder *temp = *state;
    static const char *const files[] = {"run/config.json", "run/model.pth", "run/metrics.jsonl"};
    for (size_t i = 0; i < 3; i++)
        assert_true(sumi_is_file(temp_path(temp, files[i])));
    json_t *config = NULL;
    assert_int_equal(sumi_json_read(temp_path(temp, "run/config.json"), &config, NULL), SUMI_OK);
    const char *command = json_string_value(json_object_get(config, "command"));
    assert_non_null(strstr(command, " train shapes --recipe tutorial --steps 2 --quiet --out "));
    const json_t *model = json_object_get(config, "model");
    assert_int_equal(json_integer_value(json_object_get(model, "time_dim")), 8);
    assert_int_equal(json_integer_value(json_object_get(model, "timesteps")), 20);
    json_decref(config);
    assert_failed_run(temp, "train shapes --recipe tutorial --out @run", 10 + SUMI_EINVAL,
                      "sumi train --resume");
}

static void test_train_talks(void **state)
{
    temp_folder *temp = *state;
    program p;
    program_run(&p, temp, "train shapes --recipe tutorial --steps 2 --out @talk " TINY);
    assert_int_equal(p.code, 0);
    assert_string_equal(p.out, "");
    assert_non_null(strstr(p.err, "data   shapes: 60000 images of 8x8x1"));
    assert_non_null(strstr(p.err, "2 steps, batch 4"));
    assert_null(strstr(p.err, "10 epochs")); /* a limit of steps alone has no limit of epochs */
    assert_non_null(strstr(p.err, "2/2"));
    assert_null(strchr(p.err, '\r')); /* no bar where there is no terminal */
    const char *last = strstr(p.err, "\nnext: sumi sample ");
    assert_non_null(last);
    assert_int_equal(count_lines(last + 1), 1);
    program_free(&p);
}

static void test_train_by_the_clock(void **state)
{
    temp_folder *temp = *state;
    program p;
    program_run(&p, temp, "train shapes --recipe tutorial --minutes .001 --out @clock " TINY);
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.err, "train  0.001 minutes, batch 4"));
    assert_non_null(strstr(p.err, "\ndone: "));
    program_free(&p);
}

static void test_train_as_json(void **state)
{
    temp_folder *temp = *state;
    program p;
    program_run(&p, temp, "train shapes --recipe tutorial --steps 2 --json --out @json " TINY);
    assert_int_equal(p.code, 0);
    json_t *result = json_loads(p.out, 0, NULL);
    assert_non_null(result);
    assert_int_equal(json_integer_value(json_object_get(result, "steps")), 2);
    json_decref(result);
    int steps = 0;
    for (char *line = strtok(p.err, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        json_t *object = json_loads(line, 0, NULL);
        if (object == NULL)
            fail_msg("not JSON: %s", line);
        const char *phase = json_string_value(json_object_get(object, "phase"));
        steps += phase != NULL && strcmp(phase, "train") == 0;
        json_decref(object);
    }
    assert_true(steps >= 1);
    program_free(&p);
}

/* Two steps and then three more are the same five steps. */
static void test_resume(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(temp, "train shapes --recipe tutorial --steps 2 -q --out @part " TINY);
    assert_quiet_run(temp, "train --resume @part --steps 5 -q");
    assert_quiet_run(temp, "train shapes --recipe tutorial --steps 5 -q --out @whole " TINY);
    assert_quiet_run(temp, "diff @part @whole");
    program p;
    program_run(&p, temp, "diff @run @whole");
    assert_int_equal(p.code, 1);
    program_free(&p);
    program_run(&p, temp, "train --resume @part");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.err, "reached its end already"));
    program_free(&p);
    json_t *result = program_json(temp, "train --resume @part --json");
    assert_int_equal(json_integer_value(json_object_get(result, "steps")), 5);
    assert_int_equal(json_integer_value(json_object_get(result, "epochs")), 0);
    json_decref(result);
}

/* A run keeps its precision: two steps and three more are the same five, and not float32's. */
static void test_resume_keeps_the_precision(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(
        temp,
        "train shapes --recipe tutorial --steps 2 -q --precision fixed16 --out @integers " TINY);
    char *whole = program_read(temp, "integers/config.json");
    assert_non_null(strstr(whole, "\"precision\": \"fixed16\""));
    free(whole);
    assert_quiet_run(temp, "train --resume @integers --steps 5 -q");
    assert_failed_run(temp, "train --resume @integers --precision fp32", 2, "cannot be changed");
    assert_quiet_run(
        temp, "train shapes --recipe tutorial --steps 2 -q --precision bf16 --out @half " TINY);
    char *config = program_read(temp, "half/config.json");
    assert_non_null(strstr(config, "\"precision\": \"bf16\""));
    free(config);
    assert_quiet_run(temp, "train --resume @half --steps 5 -q");
    assert_quiet_run(
        temp, "train shapes --recipe tutorial --steps 5 -q --precision bf16 --out @halves " TINY);
    assert_quiet_run(temp, "diff @half @halves");
    assert_quiet_run(temp, "train shapes --recipe tutorial --steps 5 -q --out @single " TINY);
    program p;
    program_run(&p, temp, "diff @half @single");
    assert_int_equal(p.code, 1);
    program_free(&p);
}

/* A run keeps its optimiser and its learning rate's schedule. */
static void test_resume_keeps_the_optimiser(void **state)
{
    temp_folder *temp = *state;
#define SCHEDULED                                                                                  \
    "--optimiser adamw --weight-decay 0.1 --lr-schedule cosine --lr-warmup 2 --lr-steps 6 "        \
    "--lr-final 0.25 --ema 0.5 " TINY
    assert_quiet_run(temp, "train shapes --recipe tutorial --steps 3 -q --out @cosine " SCHEDULED);
    assert_quiet_run(temp, "train --resume @cosine --steps 7 -q");
    assert_quiet_run(temp, "train shapes --recipe tutorial --steps 7 -q --out @cosines " SCHEDULED);
    assert_quiet_run(temp, "diff @cosine @cosines");
    char *metrics = program_read(temp, "cosines/metrics.jsonl");
    assert_non_null(strstr(metrics, "\"lr\": 0.0005,"));  /* of step 1, half way up */
    assert_non_null(strstr(metrics, "\"lr\": 0.00025,")); /* of the last */
    free(metrics);
}

/* The file with one text replaced by another of the same length. */
static void replace(temp_folder *temp, const char *name, const char *old, const char *text)
{
    char *content = program_read(temp, name);
    assert_non_null(strstr(content, old));
    assert_int_equal(strlen(old), strlen(text));
    size_t at = (size_t)(strstr(content, old) - content);
    memcpy(content + at, text, strlen(text));
    assert_int_equal(sumi_file_save(temp_path(temp, name), content, strlen(content), NULL),
                     SUMI_OK);
    free(content);
}

static void test_resume_is_checked(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(temp, "train shapes --recipe tutorial --steps 2 -q --out @other " TINY);
    replace(temp, "other/config.json", "\"batch\": 4", "\"batch\": 0");
    assert_failed_run(temp, "train --resume @other", 10 + SUMI_EFORMAT,
                      "train.batch: expected a whole number from 1");
    replace(temp, "other/config.json", "\"batch\": 0", "\"batch\": 4");
    /* A setting that was changed by hand is not taken: the checkpoint tells what it was. */
    static const struct {
        const char *was, *is, *says;
    } settings[] = {
        {"\"learning_rate\": 0.001", "\"learning_rate\": 0.002", "learning_rate 0.001, not 0.002"},
        {"\"ema\": 0.0", "\"ema\": 0.5", "ema 0, not 0.5"},
        {"\"precision\": \"fp32", "\"precision\": \"bf16", "precision fp32, not bf16"},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        replace(temp, "other/config.json", settings[i].was, settings[i].is);
        assert_failed_run(temp, "train --resume @other --steps 3 -q", 10 + SUMI_EINVAL,
                          settings[i].says);
        replace(temp, "other/config.json", settings[i].is, settings[i].was);
    }
    replace(temp, "other/config.json", "\"hash\": ", "\"hush\": ");
    assert_failed_run(temp, "train --resume @other --steps 3 -q", 10 + SUMI_EFORMAT, "hash");
    replace(temp, "other/config.json", "\"hush\": \"", "\"hash\": \"");
    replace(temp, "other/config.json", "\"height\": 8", "\"height\": 4");
    assert_failed_run(temp, "train --resume @other --steps 3 -q", 10 + SUMI_EINVAL, "SHA-256");
}

static void test_init(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(
        temp, "train shapes --recipe tutorial --init @run --steps 1 -q --size 8 --batch 4 --grid 0 "
              "--out @init");
    json_t *ended = program_json(temp, "train --resume @init --json");
    assert_int_equal(json_integer_value(json_object_get(ended, "steps")),
                     1); /* not @run's two too */
    json_decref(ended);
    json_t *info = program_json(temp, "info @init --json");
    const json_t *model = json_object_get(info, "model");
    assert_int_equal(json_integer_value(json_object_get(model, "base_channels")), 4);
    json_decref(info);
}

/* ---- Sampling -------------------------------------------------------------------------------- */

static void test_sample_forms(void **state)
{
    temp_folder *temp = *state;
    json_t *result = program_json(temp, "sample @run -n 5 --size 8x12 --out @x.npy --json -q");
    assert_int_equal(json_integer_value(json_object_get(result, "count")), 5);
    json_decref(result);
    sumi_npy array = read_array(temp, "x.npy");
    assert_true(array.dtype == SUMI_NPY_U8 && array.rank == 4);
    assert_true(array.shape[0] == 5 && array.shape[1] == 8 && array.shape[2] == 12 &&
                array.shape[3] == 1);

    assert_quiet_run(temp, "sample @run -n 5 --size 8x12 --out @dir/ -q");
    assert_int_equal(temp_entries(temp_path(temp, "dir")), 5);
    sumi_image image;
    assert_int_equal(sumi_image_read(temp_path(temp, "dir/000003.png"), &image, NULL), SUMI_OK);
    assert_true(image.height == 8 && image.width == 12 && image.channels == 1);
    assert_memory_equal(image.pixels, (uint8_t *)array.data + (size_t)3 * 8 * 12, 8 * 12);
    sumi_image_free(&image);

    /* Image 3 alone is image 3 of the five. */
    assert_quiet_run(temp, "sample @run --index 3 --size 8x12 --out @one.npy -q");
    sumi_npy one = read_array(temp, "one.npy");
    assert_int_equal(one.shape[0], 1);
    assert_memory_equal(one.data, (uint8_t *)array.data + (size_t)3 * 8 * 12, 8 * 12);
    sumi_npy_free(&one);

    /* Neither the batch nor the number of threads changes a bit; the seed does. */
    assert_quiet_run(temp, "sample @run -n 5 --size 8x12 --batch 2 --threads 1 --out @b.npy -q");
    sumi_npy batched = read_array(temp, "b.npy");
    assert_memory_equal(batched.data, array.data, array.count);
    sumi_npy_free(&batched);
    assert_quiet_run(temp, "sample @run -n 5 --size 8x12 --seed 1 --out @b.npy -q");
    sumi_npy other = read_array(temp, "b.npy");
    assert_memory_not_equal(other.data, array.data, array.count);
    sumi_npy_free(&other);
    sumi_npy_free(&array);

    assert_quiet_run(temp,
                     "sample @run/model.pth --solver ddim --steps 5 --size 8 --out=@g.png -q");
    assert_int_equal(sumi_image_read(temp_path(temp, "g.png"), &image, NULL), SUMI_OK);
    assert_true(image.height > 4 * 8 && image.width > 4 * 8); /* 16 images on a grid */
    sumi_image_free(&image);
}

/* Of two channels a grid shows the first, an array has both; single pictures are refused before the
 * sampling, not when its result is written. */
static void test_sample_knows_what_a_png_holds(void **state)
{
    temp_folder *temp = *state;
    sumi_context *ctx = NULL;
    sumi_model *model = NULL;
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    config.in_channels = config.out_channels = 2;
    config.base_channels = 4;
    config.time_dim = 8;
    assert_int_equal(sumi_context_create(1, &ctx), SUMI_OK);
    assert_int_equal(sumi_model_create(ctx, &config, &model), SUMI_OK);
    assert_int_equal(sumi_model_save(ctx, model, temp_path(temp, "two.safetensors")), SUMI_OK);
    sumi_model_free(model);
    sumi_context_free(ctx);
    assert_quiet_run(temp, "sample @two.safetensors -n 1 --steps 2 --size 8 -qo @two.png");
    assert_failed_run(temp, "sample @two.safetensors --size 8 --out @two/", 2, "give x.npy");
    assert_quiet_run(temp, "sample @two.safetensors -n 1 --steps 2 --size 8 -qo @two.npy");
}

/* Without --size, the size of the training; the tutorial's 28x28 is drawn at 32x32. */
static void test_sample_takes_the_size_of_the_training(void **state)
{
    temp_folder *temp = *state;
    program p;
    program_run(&p, temp, "sample @run -n 1 --steps 2 --solver ddim --out @w.png");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.err, "wrote 1 image of 8x8"));
    program_free(&p);
    assert_quiet_run(
        temp, "train shapes --recipe tutorial --steps 1 --batch 4 --base-channels 4 --grid 0 -q "
              "--out @of28");
    program_run(&p, temp, "sample @of28 -n 1 --steps 2 --solver ddim --out @w.png");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.err, "trained on images of 28x28, sampling at 32x32"));
    assert_non_null(strstr(p.err, "wrote 1 image of 32x32"));
    program_free(&p);
    program_run(&p, temp, "sample @of28 -n 1 --size 12 --steps 2 --solver ddim --out @w.png");
    assert_int_equal(p.code, 0);
    assert_null(strstr(p.err, "trained on"));
    assert_non_null(strstr(p.err, "wrote 1 image of 12x12"));
    program_free(&p);
}

/* A run that went on lists the calls; on another instruction set it says so. */
static void test_a_resumed_run_tells(void **state)
{
    temp_folder *temp = *state;
    program p;
    assert_quiet_run(temp, "train shapes --recipe tutorial --minutes 0.001 -q --out @again " TINY);
    char *config = program_read(temp, "again/config.json"), *env;
    assert_non_null(strstr(config, "\"grid_steps\": 50"));
    free(config);
    env = program_read(temp, "again/env.json");
    bool another = strstr(env, "generic") == NULL;
    free(env);
    assert_int_equal(setenv("SUMI_ISA", "generic", 1), 0);
    program_run(&p, temp, "train --resume @again --minutes 0.001");
    unsetenv("SUMI_ISA");
    assert_int_equal(p.code, 0);
    assert_true(!another || strstr(p.err, "with generic from here on") != NULL);
    program_free(&p);
    program_run(&p, temp, "info @again");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.out, "train --resume"));
    program_free(&p);
}

static void test_sample_keeps_old_files(void **state)
{
    temp_folder *temp = *state;
    assert_int_equal(sumi_file_save(temp_path(temp, "old.png"), "old", 3, NULL), SUMI_OK);
    assert_failed_run(temp, "sample @run --size 7x7 --out @old.png -q", 10 + SUMI_ESHAPE, "7");
    assert_failed_run(temp, "sample @run --size 8 --steps 21 --out @old.png -q", 10 + SUMI_EINVAL,
                      "21");
    char *content = program_read(temp, "old.png");
    assert_string_equal(content, "old");
    free(content);
    assert_failed_run(temp, "sample @run/config.json --out @old.png -q", 10 + SUMI_EFORMAT,
                      "config.json");
}

/* ---- Prediction ------------------------------------------------------------------------------ */

static void write_inputs(temp_folder *temp, int64_t n, int64_t c, int64_t steps, int64_t t_value)
{
    float x[4 * 8 * 8] = {0};
    int64_t t[4];
    for (int i = 0; i < 4; i++)
        t[i] = t_value;
    for (int i = 0; i < 4 * 8 * 8; i++)
        x[i] = (float)(i % 7) / 7;
    const sumi_npy images = {SUMI_NPY_F32, 4, {n, 8, 8, c}, (size_t)(n * 8 * 8 * c), x};
    const sumi_npy times = {SUMI_NPY_I64, 1, {steps}, (size_t)steps, t};
    assert_int_equal(sumi_npy_write(temp_path(temp, "x.npy"), &images, NULL), SUMI_OK);
    assert_int_equal(sumi_npy_write(temp_path(temp, "t.npy"), &times, NULL), SUMI_OK);
}

static void test_predict(void **state)
{
    temp_folder *temp = *state;
    write_inputs(temp, 3, 1, 3, 20);
    assert_quiet_run(temp, "predict @run --x @x.npy --t @t.npy --out @eps.npy -q");
    sumi_npy eps = read_array(temp, "eps.npy");
    assert_true(eps.dtype == SUMI_NPY_F32 && eps.rank == 4 && eps.shape[0] == 3 &&
                eps.shape[1] == 8 && eps.shape[2] == 8 && eps.shape[3] == 1);
    const float *values = eps.data;
    bool zero = true;
    for (size_t i = 0; i < eps.count; i++)
        zero = zero && values[i] == 0;
    assert_false(zero);
    assert_quiet_run(temp,
                     "predict @run --x @x.npy --t @t.npy --out @half.npy -q --precision bf16");
    sumi_npy half = read_array(temp, "half.npy");
    assert_int_equal(half.count, eps.count);
    double difference = 0, norm = 0;
    for (size_t i = 0; i < eps.count; i++) {
        double d = (double)((const float *)half.data)[i] - (double)values[i];
        difference += d * d;
        norm += (double)values[i] * (double)values[i];
    }
    assert_true(difference > 0 && difference < 4e-4 * norm);
    sumi_npy_free(&half);
    sumi_npy_free(&eps);
}

static void test_predict_refuses(void **state)
{
    static const char line[] = "predict @run --x @x.npy --t @t.npy --out @none.npy -q";
    temp_folder *temp = *state;
    write_inputs(temp, 3, 1, 2, 1);
    assert_failed_run(temp, line, 10 + SUMI_ESHAPE, "expected [3] to go with");
    write_inputs(temp, 2, 2, 2, 1);
    assert_failed_run(temp, line, 10 + SUMI_ESHAPE, "expected [n][h][w][1]");
    write_inputs(temp, 3, 1, 3, 21); /* T is 20 */
    assert_failed_run(temp, line, 10 + SUMI_EINVAL, "21");
    write_inputs(temp, 3, 1, 3, -1);
    assert_failed_run(temp, line, 10 + SUMI_EINVAL, "-1");
    write_inputs(temp, 3, 1, 3, 20);
    sumi_npy images = read_array(temp, "x.npy");
    for (int i = 0; i < 3; i++) {
        ((float *)images.data)[2 * 64 + 3 * 8 + 1] = i == 0 ? NAN : i == 1 ? INFINITY : -INFINITY;
        assert_int_equal(sumi_npy_write(temp_path(temp, "x.npy"), &images, NULL), SUMI_OK);
        assert_failed_run(temp, line, 10 + SUMI_EINVAL, "x[2][3][1][0] is ");
    }
    sumi_npy_free(&images);
    assert_failed_run(temp, "predict @run --x @t.npy --t @t.npy --out @none.npy -q",
                      10 + SUMI_EFORMAT, "expected float32, found int64; in NumPy: x.astype");
    assert_failed_run(temp, "predict @run --x @x.npy --t @x.npy --out @none.npy -q",
                      10 + SUMI_EFORMAT, "expected int32 or int64, found float32; in NumPy");
    assert_false(sumi_is_file(temp_path(temp, "none.npy")));
}

/* ---- Model files ----------------------------------------------------------------------------- */

static void test_convert(void **state)
{
    temp_folder *temp = *state;
    assert_quiet_run(temp, "convert @run @m.safetensors -q");
    assert_quiet_run(temp, "convert @m.safetensors @m.pth -q");
    assert_quiet_run(temp, "diff @run @m.safetensors");
    assert_quiet_run(temp, "diff @m.safetensors @m.pth");
    assert_quiet_run(temp, "diff @m.pth @run/model.pth");
    json_t *info = program_json(temp, "info @m.safetensors --json");
    assert_string_equal(json_string_value(json_object_get(info, "kind")), "safetensors");
    assert_non_null(json_object_get(info, "metadata"));
    const json_t *model = json_object_get(info, "model");
    assert_string_equal(json_string_value(json_object_get(model, "net")), "tutorial");
    assert_int_equal(json_integer_value(json_object_get(model, "time_dim")), 8);
    assert_true(json_array_size(json_object_get(info, "tensors")) > 40);
    json_decref(info);
    info = program_json(temp, "info @run --json");
    assert_string_equal(json_string_value(json_object_get(info, "kind")), "run");
    json_decref(info);
}

/* The command that is suggested can be pasted. */
static void test_convert_quotes_its_advice(void **state)
{
    temp_folder *temp = *state;
    program p;
    program_run(&p, temp, "convert @run @it's.pth");
    assert_int_equal(p.code, 0);
    const char *next = strstr(p.err, "next: sumi sample '");
    assert_non_null(next);
    assert_non_null(strstr(next, "/it'\\''s.pth' --out x.png"));
    program_free(&p);
}

static void test_bench(void **state)
{
    static const char *const keys[] = {"what", "isa",    "threads",      "size",    "batch",
                                       "ms",   "min_ms", "images_per_s", "version", "cpu"};
    static const char *const lines[] = {
        "bench train --size 8 --batch 2 --steps 3 --json",
        "bench sample --size 8x12 --batch 2 --steps 2 --json",
        "bench train --size 8 --batch 2 --steps 2 --json --precision bf16",
        "bench sample --size 8 --batch 2 --steps 2 --json --precision bf16",
        "bench train --size 8 --batch 2 --steps 2 --json --precision fixed16",
        "bench sample --size 8 --batch 2 --steps 2 --json --precision fixed16"};
    static const char *const precisions[] = {"fp32", "bf16", "fixed16"};
    for (int k = 0; k < 6; k++) {
        json_t *result = program_json(*state, lines[k]);
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
            if (json_object_get(result, keys[i]) == NULL)
                fail_msg("sumi %s: no \"%s\"", lines[k], keys[i]);
        assert_string_equal(json_string_value(json_object_get(result, "precision")),
                            precisions[k / 2]);
        double ms = json_number_value(json_object_get(result, "ms"));
        double rate = json_number_value(json_object_get(result, "images_per_s"));
        assert_true(ms > 0 && json_number_value(json_object_get(result, "min_ms")) <= ms);
        assert_true(rate * ms > 1999 && rate * ms < 2001); /* two images a step */
        json_decref(result);
    }
    assert_failed_run(*state, "bench sample --size 7 --steps 1", 10 + SUMI_ESHAPE, "7");
}

/* Every layer's forward and backward is there, with its share of a peak that was measured. */
static void test_bench_profile(void **state)
{
    json_t *result = program_json(
        *state, "bench train --size 8 --batch 2 --steps 2 --profile --svg @profile.svg --json");
    json_t *ops = json_object_get(result, "ops"), *op;
    size_t i;
    double ms = 0, gflop = 0;
    int convolutions = 0, losses = 0, updates = 0;
    json_array_foreach(ops, i, op)
    {
        ms += json_number_value(json_object_get(op, "ms"));
        gflop += json_number_value(json_object_get(op, "gflop"));
        const char *name = json_string_value(json_object_get(op, "op"));
        convolutions += strcmp(name, "conv") == 0;
        losses += strcmp(name, "loss") == 0;
        updates += strcmp(name, "adam") == 0;
    }
    assert_int_equal(convolutions, 2 * 11);
    assert_int_equal(losses, 1);
    assert_int_equal(updates, 1);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(ops, json_array_size(ops) - 1), "op")),
        "adam");
    double all_ms = json_number_value(json_object_get(result, "ms"));
    assert_true(ms > 0.999 * all_ms && ms < 1.001 * all_ms);
    assert_true(gflop > 0 && json_number_value(json_object_get(result, "peak_gflops")) > 0);
    json_decref(result);
    char *text = program_read(*state, "profile.svg");
    assert_non_null(strstr(text, "up_conv1.conv.0"));
    free(text);
}

/* Each operation's bytes and which limit is nearer, as the table shows it too. */
static void check_roofline(temp_folder *temp)
{
    json_t *result =
        program_json(temp, "bench sample --profile --size 8 --batch 2 --steps 1 --json");
    assert_string_equal(json_string_value(json_object_get(result, "mode")), "sample");
    double peak = 1e9 * json_number_value(json_object_get(result, "peak_gflops"));
    double memory = 1e9 * json_number_value(json_object_get(result, "memory_gbytes_per_s"));
    double sum = 0, total = json_number_value(json_object_get(result, "bytes"));
    assert_true(peak > 0 && memory > 0);
    json_t *op;
    size_t i;
    json_array_foreach(json_object_get(result, "ops"), i, op)
    {
        double bytes = json_number_value(json_object_get(op, "bytes"));
        double gflop = json_number_value(json_object_get(op, "gflop"));
        const char *limit = json_string_value(json_object_get(op, "limit"));
        double compute_ms = 1e12 * gflop / peak, memory_ms = 1e3 * bytes / memory;
        double limit_ms = json_number_value(json_object_get(op, "limit_ms"));
        double nearer = compute_ms > memory_ms ? compute_ms : memory_ms;
        assert_string_equal(limit, compute_ms >= memory_ms ? "multiply-adds" : "memory");
        assert_true(fabs(limit_ms - nearer) <= 1e-3 * nearer + 1e-9);
        sum += bytes;
    }
    assert_true(sum > 0 && sum > .999 * total && sum < 1.001 * total);
    json_decref(result);
    program p;
    program_run(&p, temp, "bench sample --profile --size 8 --batch 2 --steps 1");
    const char *last = strstr(p.out, "peak: ");
    assert_non_null(last);
    assert_non_null(strstr(last, " GB/s"));
    static const char *const columns[] = {"GFLOP/s", "MB", "GB/s", "limit", "of limit"};
    for (size_t k = 0; k < sizeof columns / sizeof columns[0]; k++) {
        const char *at = strstr(p.out, columns[k]);
        assert_true(at != NULL && at < strchr(p.out, '\n'));
    }
    program_free(&p);
}

static void test_profile(void **state)
{
    temp_folder *temp = *state;
    json_t *result = program_json(temp, "bench train --profile --size 8 --batch 2 --steps 1 --json "
                                        "--base-channels 8 --svg @p.svg");
    const json_t *ops = json_object_get(result, "ops");
    assert_string_equal(json_string_value(json_object_get(result, "mode")), "train");
    assert_string_equal(json_string_value(json_object_get(result, "version")), sumi_version());
    assert_non_null(json_object_get(result, "cpu"));
    double sum = 0;
    assert_true(json_array_size(ops) > 10);
    for (size_t i = 0; i < json_array_size(ops); i++)
        sum += json_number_value(json_object_get(json_array_get(ops, i), "ms"));
    double total = json_number_value(json_object_get(result, "ms"));
    assert_true(total > 0 && sum > .999 * total && sum < 1.001 * total);
    /* 8 channels: a sixty-fourth of what 64 would compute, which is a third of a GFLOP */
    assert_true(json_number_value(json_object_get(result, "gflop")) < .01);
    assert_true(json_number_value(json_object_get(result, "peak_gflops")) > 0);
    json_decref(result);
    check_roofline(temp);
    char *svg = program_read(temp, "p.svg");
    assert_int_equal(strncmp(svg, "<svg ", 5), 0);
    assert_non_null(strstr(svg, "</svg>"));
    free(svg);
}

/* ---- Signals --------------------------------------------------------------------------------- */

static void test_interrupted_training_is_saved(void **state)
{
    temp_folder *temp = *state;
    program p;
    program_start(&p, temp, "train shapes --recipe tutorial --steps 100000000 --out @long " TINY);
    program_await(&p, temp, "img/s", 1);
    assert_int_equal(kill(p.pid, SIGINT), 0);
    program_wait(&p, temp);
    assert_int_equal(p.code, 130);
    assert_string_equal(p.out, "");
    assert_non_null(strstr(p.err, "\nsumi: stopped and saved at step "));
    assert_non_null(strstr(p.err, "sumi train --resume "));
    program_free(&p);
    assert_quiet_run(temp, "sample @long -n 1 --size 8 -qo @long.png");

    program_start(&p, temp, "train --resume @long --steps 100000000");
    program_await(&p, temp, "img/s", 1);
    assert_int_equal(kill(p.pid, SIGTERM), 0);
    program_wait(&p, temp);
    assert_int_equal(p.code, 130);
    program_free(&p);
}

/* A damaged newest checkpoint is passed over, and whoever reads the run is told, once. */
static void test_a_damaged_run(void **state)
{
    static const char *const lines[] = {
        "sample @hurt -n 1 --size 8 --steps 2 --solver ddim --out @hurt.png",
        "predict @hurt --x @x.npy --t @t.npy --out @hurt.npy",
        "convert @hurt @hurt.pth",
        "info @hurt",
        "diff @hurt @hurt.pth",
        ("train shapes --recipe tutorial --init @hurt --steps 1 --size 8 --batch 4 --grid 0 "
         "--out @new")};
    temp_folder *temp = *state;
    write_inputs(temp, 3, 1, 3, 20);
    assert_quiet_run(temp, "train shapes --recipe tutorial --steps 2 -q --out @hurt " TINY);
    assert_quiet_run(temp, "train --resume @hurt --steps 4 -q");
    FILE *file = fopen(temp_path(temp, "hurt/checkpoints/step_4/model.safetensors"), "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, -1, SEEK_END), 0);
    int last = fgetc(file);
    assert_int_equal(fseek(file, -1, SEEK_END), 0);
    fputc(last ^ 1, file);
    fclose(file);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        program p;
        program_run(&p, temp, lines[i]);
        assert_int_equal(p.code, 0);
        const char *told = strstr(p.err, "step_4/model.safetensors is damaged");
        if (told == NULL || strstr(strchr(told, '\n'), "is damaged") != NULL)
            fail_msg("sumi %s: expected to be told once: %s", lines[i], p.err);
        program_free(&p);
    }
}

/* The second signal does not wait for the saving; the run is usable all the same. */
static void test_twice_interrupted_training(void **state)
{
    temp_folder *temp = *state;
    program p;
    assert_quiet_run(temp, "train shapes --recipe tutorial --steps 2 -q --out @twice " TINY);
    program_start(&p, temp, "train --resume @twice --steps 100000000");
    program_await(&p, temp, "img/s", 1);
    assert_int_equal(kill(p.pid, SIGINT), 0);
    program_await(&p, temp, "stopping", 1);
    kill(p.pid, SIGINT);
    program_wait(&p, temp);
    assert_int_equal(p.code, 130);
    program_free(&p);
    json_t *info = program_json(temp, "info @twice --json");
    const json_t *model = json_object_get(info, "model");
    int64_t steps = json_integer_value(json_object_get(model, "steps"));
    json_decref(info);
    assert_true(steps >= 2);
    char line[128];
    snprintf(line, sizeof line, "train --resume @twice --steps %lld -q", (long long)steps + 1);
    assert_quiet_run(temp, line);
}

/* Stopped, sampling writes the images that are whole, and they are those of a longer call. */
static void check_interrupted_sampling(temp_folder *temp, const char *out, int *count)
{
    char line[128];
    program p;
    int of = 0;
    /* Two steps an image: with the second line of progress the first batch is whole. */
    snprintf(line, sizeof line,
             "sample @run -n 100000 --batch 2 --size 8 --solver ddim --steps 2 --json --out @%s",
             out);
    program_start(&p, temp, line);
    program_await(&p, temp, "phase", 2);
    assert_int_equal(kill(p.pid, SIGINT), 0);
    program_wait(&p, temp);
    assert_int_equal(p.code, 130);
    assert_string_equal(p.out, "");
    const char *text = strstr(p.err, "stopped: wrote the first ");
    assert_non_null(text);
    assert_int_equal(sscanf(text, "stopped: wrote the first %d of %d images to", count, &of), 2);
    assert_true(*count >= 2 && *count % 2 == 0 && of == 100000);
    program_free(&p);
}

static void test_interrupted_sampling_writes_whole_images(void **state)
{
    temp_folder *temp = *state;
    int count = 0;
    check_interrupted_sampling(temp, "stopped.npy", &count);
    sumi_npy part = read_array(temp, "stopped.npy");
    assert_int_equal(part.shape[0], count);
    char line[128];
    snprintf(line, sizeof line,
             "sample @run --index %d --size 8 --solver ddim --steps 2 -qo @last.npy", count - 1);
    assert_quiet_run(temp, line);
    sumi_npy last = read_array(temp, "last.npy");
    assert_memory_equal((uint8_t *)part.data + (size_t)(count - 1) * 64, last.data, 64);
    sumi_npy_free(&part);
    sumi_npy_free(&last);
    check_interrupted_sampling(temp, "stopped/", &count);
    assert_int_equal(temp_entries(temp_path(temp, "stopped")), count);
}

static void test_interrupted_first_batch_writes_nothing(void **state)
{
    temp_folder *temp = *state;
    program p;
    program_start(&p, temp, "sample @run -n 500 --batch 500 --size 32 --out @never.npy");
    program_await(&p, temp, "eval/s", 1);
    assert_int_equal(kill(p.pid, SIGINT), 0);
    program_wait(&p, temp);
    assert_int_equal(p.code, 130);
    assert_non_null(strstr(p.err, "\nsumi: "));
    assert_false(sumi_is_file(temp_path(temp, "never.npy")));
    program_free(&p);
}

/* nohup: a signal that is ignored from the start stays ignored, and the work goes on. */
static void test_ignored_hangup(void **state)
{
    temp_folder *temp = *state;
    program p;
    signal(SIGHUP, SIG_IGN);
    program_start(&p, temp, "sample @run -n 20000 --size 32 --json --out @never.npy");
    signal(SIGHUP, SIG_DFL);
    program_await(&p, temp, "phase", 2);
    assert_int_equal(kill(p.pid, SIGHUP), 0);
    char *err = program_read(temp, ".err");
    program_await(&p, temp, "phase", count_lines(err) + 2);
    free(err);
    assert_int_equal(kill(p.pid, SIGINT), 0);
    program_wait(&p, temp);
    assert_int_equal(p.code, 130);
    program_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train_makes_a_run),
        cmocka_unit_test(test_train_talks),
        cmocka_unit_test(test_train_by_the_clock),
        cmocka_unit_test(test_train_as_json),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_resume_keeps_the_precision),
        cmocka_unit_test(test_resume_keeps_the_optimiser),
        cmocka_unit_test(test_resume_is_checked),
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_sample_forms),
        cmocka_unit_test(test_sample_knows_what_a_png_holds),
        cmocka_unit_test(test_sample_takes_the_size_of_the_training),
        cmocka_unit_test(test_a_resumed_run_tells),
        cmocka_unit_test(test_sample_keeps_old_files),
        cmocka_unit_test(test_predict),
        cmocka_unit_test(test_predict_refuses),
        cmocka_unit_test(test_convert),
        cmocka_unit_test(test_convert_quotes_its_advice),
        cmocka_unit_test(test_bench),
        cmocka_unit_test(test_profile),
        cmocka_unit_test(test_bench_profile),
        cmocka_unit_test(test_interrupted_training_is_saved),
        cmocka_unit_test(test_a_damaged_run),
        cmocka_unit_test(test_twice_interrupted_training),
        cmocka_unit_test(test_interrupted_sampling_writes_whole_images),
        cmocka_unit_test(test_interrupted_first_batch_writes_nothing),
        cmocka_unit_test(test_ignored_hangup),
    };
    return cmocka_run_group_tests(tests, make_run, temp_teardown);
}
