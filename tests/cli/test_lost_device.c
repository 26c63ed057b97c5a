/*
 * A device that is lost while the program computes on it: the libOpenCL of tests/opencl/faults.c
 * answers every call from one on with an error. The program ends with one line and an exit code; a
 * run has its last checkpoint, nothing half-written, and goes on to the same bits; files that a
 * command would have written are as they were.
 */
#include "program.h"

#include <dirent.h>

enum { NOT_AVAILABLE = -2, OUT_OF_RESOURCES = -5, OUT_OF_HOST_MEMORY = -6 };
enum { STEPS = 6, EVERY = 2 };

#define NETWORK "--size 8 --base-channels 8 --batch 4"

static bool has_device;

/* From call `at` on all fail with `error`; 0: none does, and calls are counted. */
static void lose_device(temp_folder *temp, long at, int error)
{
    char text[32];
    setenv("SUMI_OPENCL", SUMI_TEST_FAULTS, 1);
    setenv("SUMI_TEST_CL_COUNT", temp_path(temp, ".calls"), 1);
    snprintf(text, sizeof text, "%d", error);
    setenv("SUMI_TEST_CL_ERROR", text, 1);
    snprintf(text, sizeof text, "%ld", at);
    if (at > 0)
        setenv("SUMI_TEST_CL_LOST", text, 1);
    else
        unsetenv("SUMI_TEST_CL_LOST");
}

static void keep_device(void)
{
    static const char *const names[] = {"SUMI_OPENCL", "SUMI_TEST_CL_COUNT", "SUMI_TEST_CL_ERROR",
                                        "SUMI_TEST_CL_LOST"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

/* How many calls of OpenCL a command makes, which ends well. */
static long count_calls(temp_folder *temp, const char *line)
{
    lose_device(temp, 0, 0);
    assert_quiet_run(temp, line);
    char *text = program_read(temp, ".calls");
    long calls = atol(text);
    free(text);
    keep_device();
    assert_true(calls > 100);
    return calls;
}

/* The folder has nothing that was not finished. */
static void assert_nothing_temporary(const char *folder)
{
    DIR *list = opendir(folder);
    assert_non_null(list);
    for (const struct dirent *entry = readdir(list); entry; entry = readdir(list)) {
        char path[1024];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (strstr(entry->d_name, "tmp") || strstr(entry->d_name, ".part") ||
            strstr(entry->d_name, "-old"))
            fail_msg("%s/%s is left", folder, entry->d_name);
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (sumi_is_dir(path))
            assert_nothing_temporary(path);
    }
    closedir(list);
}

/* The step of the last checkpoint of a run that lost its device; -1: it had none yet. */
static int64_t check_lost_run(temp_folder *temp, long call)
{
    char path[64];
    sumi_error err = {""};
    if (!sumi_is_dir(temp_path(temp, "run")))
        return -1;
    assert_nothing_temporary(temp_path(temp, "run"));
    if (!sumi_is_file(temp_path(temp, "run/latest")))
        return -1;
    int64_t step = latest_of(temp, "run");
    if (step % EVERY != 0 || step > STEPS)
        fail_msg("call %ld: the last checkpoint is of step %d", call, (int)step);
    snprintf(path, sizeof path, "run/checkpoints/step_%d/model.safetensors", (int)step);
    sumi_tensor_file file;
    if (sumi_tensor_file_read(temp_path(temp, path), &file, &err) != SUMI_OK)
        fail_msg("call %ld: %s", call, err.text);
    sumi_tensor_file_free(&file);
    return step;
}

static void test_training(void **state)
{
    static const int errors[] = {NOT_AVAILABLE, OUT_OF_RESOURCES, OUT_OF_HOST_MEMORY};
    temp_folder *temp = *state;
    const char *train = "train shapes --net unet " NETWORK " --steps 6 --checkpoint-every 2 "
                        "--grid 0 --device opencl -q --out @";
    char line[256];
    int goes_on = 0;
    if (!has_device)
        skip();
    snprintf(line, sizeof line, "%swhole", train);
    count_calls(temp, line); /* the first may have to compile the kernels */
    assert_int_equal(sumi_remove_tree(temp_path(temp, "whole"), NULL), SUMI_OK);
    long calls = count_calls(temp, line);
    for (int k = 1; k <= 5; k++) {
        int error = errors[k % 3];
        long at = calls * k / 6 + k; /* nowhere near the begin of a step by chance */
        snprintf(line, sizeof line, "%srun", train);
        lose_device(temp, at, error);
        assert_failed_run(temp, line, 10 + (error == OUT_OF_HOST_MEMORY ? SUMI_ENOMEM : SUMI_EIO),
                          "the device is given up");
        keep_device();
        int64_t step = check_lost_run(temp, at);
        if (step >= 0) {
            goes_on += step > 0;
            assert_quiet_run(temp, "train --resume @run --device opencl -q");
            assert_int_equal(latest_of(temp, "run"), STEPS);
            assert_same_tensors(temp, "whole", "run", "model.safetensors");
            assert_same_tensors(temp, "whole", "run", "checkpoints/step_6/model.safetensors");
            assert_same_tensors(temp, "whole", "run", "checkpoints/step_6/optim.safetensors");
        }
        assert_int_equal(sumi_remove_tree(temp_path(temp, "run"), NULL), SUMI_OK);
    }
    assert_true(goes_on >= 2);
}

/* A command that writes `name` leaves it as it was. */
static void lose_in_command(temp_folder *temp, const char *command, const char *name)
{
    static const char before[] = "what was there before\n";
    long calls = count_calls(temp, command);
    for (int k = 1; k <= 2; k++) {
        bool is_there = k == 1;
        assert_int_equal(sumi_remove_tree(temp_path(temp, name), NULL), SUMI_OK);
        if (is_there)
            assert_int_equal(
                sumi_file_save(temp_path(temp, name), (const uint8_t *)before, sizeof before, NULL),
                SUMI_OK);
        lose_device(temp, calls * (k + 1) / 4, is_there ? NOT_AVAILABLE : OUT_OF_RESOURCES);
        assert_failed_run(temp, command, 10 + SUMI_EIO, "the device is given up");
        keep_device();
        assert_int_equal(sumi_is_file(temp_path(temp, name)), is_there);
        if (is_there) {
            char *text = program_read(temp, name);
            assert_string_equal(text, before);
            free(text);
        }
        assert_nothing_temporary(temp->path);
    }
}

static void test_other_commands(void **state)
{
    temp_folder *temp = *state;
    if (!has_device)
        skip();
    assert_quiet_run(temp, "train shapes --recipe tutorial " NETWORK " --steps 2 --grid 0 --out "
                           "@model -q");
    lose_in_command(temp,
                    "sample @model -n 5 --batch 2 --size 8 --steps 4 --device opencl "
                    "--out @out.png -q",
                    "out.png");
    put_labelled(temp, 300, 8);
    lose_in_command(temp, "classify train @set --epochs 2 --device opencl --out @e.safetensors -q",
                    "e.safetensors");
    assert_quiet_run(temp, "classify train @set --epochs 2 --out @e.safetensors -q");
    lose_in_command(temp,
                    "eval @model -n 160 --steps 2 --data @set --evaluator @e.safetensors "
                    "--device opencl --export-npz @out.npz -q",
                    "out.npz");
}

int main(void)
{
    sumi_device_info_t device = SUMI_DEVICE_INFO_INIT;
    has_device = sumi_device_at(1, &device) == SUMI_OK;
    if (!has_device)
        print_message("there is no device of OpenCL: ./dev setup installs one for CPUs\n");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_training, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_other_commands, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
