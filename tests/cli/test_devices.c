/*
 * sumi devices and --device: what is listed, pictures of a device beside the CPU's, and what is
 * said where there is no such device, no OpenCL, or a command that does not run there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/program.h"
#include "io/io.h"

static bool has_device;

/* No library of that name, as on a machine without OpenCL. */
static void without_opencl(void)
{
    setenv("SUMI_OPENCL", "/nowhere/libOpenCL.so.1", 1);
}

static void test_none_is_there(void **state)
{
    program p;
    without_opencl();
    program_run(&p, *state, "devices");
    assert_int_equal(p.code, 0);
    assert_int_equal(strncmp(p.out, "cpu ", 4), 0);
    assert_null(strstr(p.out, "opencl:"));
    assert_non_null(strstr(p.err, "no device of OpenCL was found"));
    program_free(&p);
    assert_failed_run(
        *state, "bench sample --device opencl", 10 + SUMI_EUNSUPPORTED,
        "device opencl is not there; there is: cpu; there is no OpenCL on this machine");
    assert_failed_run(*state, "bench sample --device cuda", 10 + SUMI_EUNSUPPORTED,
                      "device cuda is not there; there is: cpu");
    unsetenv("SUMI_OPENCL");
}

static void test_names(void **state)
{
    static const char *const wrong[] = {"gpu", "opencl:", "opencl:x", "opencl:1x",
                                        "opencl:1234567"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char line[80];
        snprintf(line, sizeof line, "bench sample --device %s", wrong[i]);
        assert_failed_run(*state, line, 2,
                          "--device: expected auto, cpu, cuda, mps, opencl or opencl:N");
    }
    assert_failed_run(*state, "bench sample --device opencl:999", 10 + SUMI_EUNSUPPORTED,
                      "device opencl:999 is not there; there is: cpu");
    assert_failed_run(*state, "tune @run --data shapes --device opencl:999", 10 + SUMI_EUNSUPPORTED,
                      "device opencl:999 is not there");
    assert_quiet_run(*state, "train shapes --recipe tutorial --size 8 --base-channels 4 --steps 1 "
                             "--batch 2 --grid 0 --out @run -q");
    assert_failed_run(*state, "verify @run --device opencl:0", 10 + SUMI_EUNSUPPORTED,
                      "--device opencl:0: this command computes on the CPU only; train, sample, "
                      "predict, eval, tune, classify train, bench train and bench sample run on "
                      "devices");
}

/* Name, kind, memory, driver and limits. */
static void test_list(void **state)
{
    static const char *const limits[] = {"memory", "largest_block", "local_memory", "group"};
    static const char *const words[] = {"opencl:0 ", " of memory, ", " in one block",
                                        "driver ",   ", groups of ", ", numbers of 32"};
    program p;
    program_run(&p, *state, "devices --json");
    assert_int_equal(p.code, 0);
    json_t *list = json_loads(p.out, 0, NULL);
    assert_non_null(list);
    assert_int_equal(json_array_size(list) >= 2, has_device);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *device = json_array_get(list, i);
        const char *id = json_string_value(json_object_get(device, "id"));
        assert_true(strlen(json_string_value(json_object_get(device, "name"))) > 0);
        assert_int_equal(strcmp(id, "cpu") == 0, i == 0);
        assert_true(strlen(json_string_value(json_object_get(device, "kind"))) > 0);
        assert_true(json_is_boolean(json_object_get(device, "usable")));
        for (size_t k = 0; k < sizeof limits / sizeof *limits; k++)
            assert_int_equal(json_integer_value(json_object_get(device, limits[k])) > 0, i > 0);
        assert_int_equal(strlen(json_string_value(json_object_get(device, "driver"))) > 0, i > 0);
    }
    json_decref(list);
    program_free(&p);
    program_run(&p, *state, "devices");
    for (size_t i = 0; i < sizeof words / sizeof *words && has_device; i++)
        assert_non_null(strstr(p.out, words[i]));
    program_free(&p);
}

static float *read_floats(const temp_folder *temp, const char *name, sumi_npy *out)
{
    char path[512];
    sumi_error err = {""};
    snprintf(path, sizeof path, "%s/%s", temp->path, name);
    if (sumi_npy_read(path, out, &err) != SUMI_OK)
        fail_msg("%s", err.text);
    return out->data;
}

/* The same command with --device opencl writes what it writes without, within `far`. */
static void assert_same_array(temp_folder *temp, const char *command, double far)
{
    char line[512];
    sumi_npy expected, found;
    snprintf(line, sizeof line, "%s --out @cpu.npy", command);
    assert_quiet_run(temp, line);
    snprintf(line, sizeof line, "%s --device opencl --out @device.npy", command);
    assert_quiet_run(temp, line);
    read_floats(temp, "cpu.npy", &expected);
    read_floats(temp, "device.npy", &found);
    assert_true(found.count == expected.count && found.dtype == expected.dtype);
    for (size_t i = 0; i < found.count; i++) {
        double a, b;
        if (found.dtype == SUMI_NPY_F32) {
            a = (double)((const float *)found.data)[i];
            b = (double)((const float *)expected.data)[i];
        } else {
            a = ((const uint8_t *)found.data)[i];
            b = ((const uint8_t *)expected.data)[i];
        }
        if (!(a - b <= far && b - a <= far))
            fail_msg("%s: number %zu is %g, expected %g", command, i, a, b);
    }
    sumi_npy_free(&expected);
    sumi_npy_free(&found);
}

static void test_pictures_and_predictions(void **state)
{
    temp_folder *temp = *state;
    float x[3 * 8 * 8];
    int32_t t[3] = {1, 500, 1000};
    char path[512];
    sumi_error err = {""};
    if (!has_device) {
        print_message("there is no device of OpenCL: ./dev setup installs one for CPUs\n");
        skip();
    }
    for (int i = 0; i < 3 * 8 * 8; i++)
        x[i] = (float)(i % 17) / 8 - 1;
    const sumi_npy arrays[] = {
        {.dtype = SUMI_NPY_F32, .rank = 4, .shape = {3, 8, 8, 1}, .count = 192, .data = x},
        {.dtype = SUMI_NPY_I32, .rank = 1, .shape = {3}, .count = 3, .data = t}};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", temp->path, i ? "t.npy" : "x.npy");
        assert_int_equal(sumi_npy_write(path, &arrays[i], &err), SUMI_OK);
    }
    assert_quiet_run(temp, "train shapes --recipe tutorial --size 8 --base-channels 4 --steps 3 "
                           "--batch 4 --out @run -q");
    assert_same_array(temp, "predict @run --x @x.npy --t @t.npy -q", 2e-5);
    assert_same_array(temp, "sample @run -n 3 --size 8 --solver ddim --steps 4 --seed 3 -q", 1);
    program p;
    program_run(&p, temp,
                "bench sample --size 8 --batch 1 --steps 1 --base-channels 4 --json "
                "--device opencl:0");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.out, "\"device\":"));
    program_free(&p);
    assert_failed_run(temp, "sample @run -n 1 --device opencl --precision bf16 --out @no.npy -q",
                      10 + SUMI_EUNSUPPORTED, "precision is bf16, expected fp32 or fixed16");
}

/* A run that is begun on one device goes on on the other, and back. */
static void test_training(void **state)
{
    temp_folder *temp = *state;
    if (!has_device)
        skip();
    assert_quiet_run(temp, "train shapes --size 8 --base-channels 8 --net unet --steps 2 --batch 4 "
                           "--grid 0 --device opencl --out @run -q");
    char *env = program_read(temp, "run/env.json");
    assert_non_null(strstr(env, ", driver "));
    free(env);
    assert_quiet_run(temp, "train --resume @run --steps 3 -q");
    assert_quiet_run(temp, "train --resume @run --steps 4 --device opencl -q");
    assert_quiet_run(temp, "sample @run -n 1 --steps 2 --device opencl --out @x.png -q");
    assert_failed_run(temp,
                      "train shapes --size 8 --steps 1 --batch 4 --precision bf16 --device opencl "
                      "--out @no -q",
                      10 + SUMI_EUNSUPPORTED, "precision is bf16, expected fp32 or fixed16");
}

/* ---- Evaluators ------------------------------------------------------------------------------ */

enum { PICTURES = 400, EVAL_SIDE = 8 }; /* more than an evaluator has features */

/* What a driver has compiled is kept where it is, and all else in the temporary folder. */
static void use_own_cache(temp_folder *temp)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char path[512];
    if (cache && *cache)
        snprintf(path, sizeof path, "%s/pocl/kcache", cache);
    else
        snprintf(path, sizeof path, "%s/.cache/pocl/kcache", home ? home : "/tmp");
    setenv("POCL_CACHE_DIR", path, 0);
    setenv("XDG_CACHE_HOME", temp_path(temp, "cache"), 1);
}

/* An evaluator that was trained on a device is the same again; and what either sees, on the device
 * as on the CPU, is as far apart. */
static void test_evaluators(void **state)
{
    static const char *const keys[] = {"frechet", "kernel", "entropy"};
    temp_folder *temp = *state;
    if (!has_device)
        skip();
    use_own_cache(temp);
    put_labelled(temp, PICTURES, EVAL_SIDE);
    put_pictures(temp, PICTURES, EVAL_SIDE);
    json_t *made[2], *found[2];
    for (int i = 0; i < 2; i++)
        made[i] = program_json(temp, "classify train @set --out @e.safetensors --epochs 2 "
                                     "--device opencl --json -q");
    assert_string_equal(json_string_value(json_object_get(made[0], "evaluator")),
                        json_string_value(json_object_get(made[1], "evaluator")));
    for (int i = 0; i < 2; i++) {
        char line[256];
        snprintf(line, sizeof line,
                 "eval @x.npy --data @set --evaluator @e.safetensors --json -q --device %s",
                 i ? "opencl" : "cpu");
        found[i] = program_json(temp, line);
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        double a = json_number_value(json_object_get(found[0], keys[i]));
        double b = json_number_value(json_object_get(found[1], keys[i]));
        if (!(a != 0 && a - b <= 1e-3 * a && b - a <= 1e-3 * a))
            fail_msg("%s is %g on the device, and %g on the CPU", keys[i], b, a);
    }
    for (int i = 0; i < 2; i++) {
        json_decref(made[i]);
        json_decref(found[i]);
    }
}

int main(void)
{
    sumi_device_info_t device = SUMI_DEVICE_INFO_INIT;
    has_device = sumi_device_at(1, &device) == SUMI_OK;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_none_is_there, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_names, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_list, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_pictures_and_predictions, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_training, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_evaluators, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
