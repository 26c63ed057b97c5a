/*
 * A device by itself: its names, the elementwise work against the CPU's, what is kept of its
 * program, and what is said where memory is short.
 */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "opencl/cl_test.h"

#include "cpu/cpu.h"
#include "opencl/device.h"
#include "opencl/selftest.h"
#include "opencl/source.h"

enum { IMAGES = 3, COUNT = 101, ALL = IMAGES * COUNT };

/* ---- Names ----------------------------------------------------------------------------------- */

static void test_names(void **state)
{
    (void)state;
    const sumi_backend *backend = NULL;
    sumi_error err = {""};
    int index = -1;
    assert_int_equal(sumi_device_find("auto", &backend, &index, &err), SUMI_OK);
    assert_string_equal(backend->name, "cpu");
    assert_int_equal(sumi_device_find("opencl:0", &backend, &index, &err), SUMI_OK);
    assert_string_equal(backend->name, "opencl");
    assert_int_equal(index, 0);
    assert_int_equal(sumi_device_find("opencl", &backend, &index, &err), SUMI_OK);
    assert_int_equal(sumi_device_find("opencl:63", &backend, &index, &err), SUMI_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "opencl:63 is not there; there is: cpu, opencl:0 ("));
    static const char *const wrong[] = {"", "gpu", "opencl:", "opencl:x", "opencl:-1", "opencl:0x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(sumi_device_find(wrong[i], &backend, &index, &err), SUMI_EINVAL);
    sumi_device_facts facts;
    assert_true(sumi_device_row(0, &facts) && strcmp(facts.id, "cpu") == 0);
    assert_true(sumi_device_row(1, &facts) && strcmp(facts.id, "opencl:0") == 0);
    assert_true(facts.memory > 0 && facts.largest > 0 && facts.group >= SUMI_CL_GROUP);
    assert_false(sumi_device_row(1000, &facts));
}

/* ---- Elementwise work ------------------------------------------------------------------------ */

/* Tensors [IMAGES][COUNT] in the memory of a runtime; the first is written. */
enum { TENSORS = 7 };
typedef struct {
    sumi_runtime runtime;
    float *tensor[TENSORS];
} bench;

static void open_bench(bench *b, bool on_device)
{
    float room[ALL];
    b->runtime = test_runtime(on_device);
    for (int i = 0; i < TENSORS; i++) {
        const sumi_random at = {11, SUMI_STREAM_USER, (uint32_t)i, 0};
        sumi_random_normals(&at, 0, room, ALL);
        b->tensor[i] = b->runtime.backend->alloc(b->runtime.device, sizeof room);
        assert_non_null(b->tensor[i]);
        b->runtime.backend->upload(b->runtime.device, b->tensor[i], room, sizeof room);
    }
}

static void close_bench(bench *b)
{
    sumi_error err = {""};
    test_ok(b->runtime.backend->status(b->runtime.device, &err), &err);
    for (int i = 0; i < TENSORS; i++)
        b->runtime.backend->free(b->runtime.device, b->tensor[i], ALL * sizeof(float));
    sumi_runtime_free(&b->runtime);
}

/* Every way that an image can be changed, with the CPU's bits: nothing is computed. */
static void test_gathers(void **state)
{
    (void)state;
    enum { SET = 5, H = 6, W = 7, C = 3, PICKS = 40, FLOATS = PICKS * H * W * C };
    static uint8_t bytes[SET * H * W * C];
    static float values[C * 256], out[2][FLOATS];
    sumi_pick picks[PICKS];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    for (int i = 0; i < C * 256; i++)
        values[i] = (float)i / 255.0f;
    for (int i = 0; i < PICKS; i++)
        picks[i] = (sumi_pick){(uint32_t)i % SET, i / 2 % 2, i % 11 - 5, i % 13 - 6};
    for (int side = 0; side < 2; side++) {
        sumi_runtime runtime = test_runtime(side == 1);
        const sumi_backend *backend = runtime.backend;
        sumi_error err = {""};
        uint8_t *images = backend->alloc(runtime.device, sizeof bytes);
        sumi_pick *places = backend->alloc(runtime.device, sizeof picks);
        float *table = backend->alloc(runtime.device, sizeof values);
        float *to = backend->alloc(runtime.device, sizeof out[0]);
        backend->upload(runtime.device, images, bytes, sizeof bytes);
        backend->upload(runtime.device, places, picks, sizeof picks);
        backend->upload(runtime.device, table, values, sizeof values);
        backend->gather(runtime.device,
                        &(sumi_gathering){PICKS, H, W, C, images, places, table, to});
        backend->download(runtime.device, out[side], to, sizeof out[0]);
        test_ok(backend->status(runtime.device, &err), &err);
        assert_true((backend->spare(runtime.device) > sizeof bytes) == (side == 1));
        backend->free(runtime.device, images, sizeof bytes);
        backend->free(runtime.device, places, sizeof picks);
        backend->free(runtime.device, table, sizeof values);
        backend->free(runtime.device, to, sizeof out[0]);
        sumi_runtime_free(&runtime);
    }
    assert_memory_equal(out[0], out[1], sizeof out[0]);
    assert_memory_not_equal(out[0], out[0] + H * W * C, H * W * C * sizeof(float));
}

static void mix_on(const bench *b, int sources, int noise, bool each, float *out, float *copy)
{
    const sumi_random at = {0x123456789ABCDEFull, SUMI_STREAM_SAMPLE_Z, 77, 0xFFFFFFFFull};
    sumi_factors factors[IMAGES];
    sumi_mixing work = {.n = IMAGES,
                        .count = COUNT,
                        .out = b->tensor[0],
                        .copy = sources % 2 ? b->tensor[6] : NULL,
                        .sources = sources,
                        .factors = factors,
                        .factors_each = each,
                        .noise = noise == 1 ? &at : NULL,
                        .given_noise = noise == 2 ? b->tensor[5] : NULL};
    for (int i = 0; i < IMAGES; i++)
        factors[i] = (sumi_factors){{.3f + (float)i, -1.7f, .1f, 2, -.4f}, i ? 1 : .7f, .9f};
    for (int k = 0; k < sources; k++)
        work.source[k] = b->tensor[k];
    b->runtime.backend->mix(b->runtime.device, &work);
    b->runtime.backend->download(b->runtime.device, out, b->tensor[0], ALL * sizeof *out);
    b->runtime.backend->download(b->runtime.device, copy, b->tensor[6], ALL * sizeof *copy);
}

/* Sums to the bit where divisions can be rounded correctly; numbers with noise within 2 ulp of the
 * noise. */
static void test_mixes(void **state)
{
    (void)state;
    float expected[2][ALL], found[2][ALL];
    for (int round = 0; round < 36; round++) {
        bench cpu, device;
        int sources = round % 6, noise = round / 6 % 3;
        if (sources == 0 && noise == 0)
            continue;
        open_bench(&cpu, false);
        open_bench(&device, true);
        mix_on(&cpu, sources, noise, round >= 18, expected[0], expected[1]);
        uint64_t before = device.runtime.device->runs[SUMI_CL_MIX];
        mix_on(&device, sources, noise, round >= 18, found[0], found[1]);
        assert_int_equal(device.runtime.device->runs[SUMI_CL_MIX], before + 1);
        bool exact = device.runtime.device->exact_division && noise != 1;
        for (int i = 0; i < ALL; i++)
            if (exact ? found[0][i] != expected[0][i] || found[1][i] != expected[1][i]
                      : fabsf(found[0][i] - expected[0][i]) > 8 * 2.4e-7f)
                fail_msg("round %d, number %d: %g, expected %g", round, i, (double)found[0][i],
                         (double)expected[0][i]);
        close_bench(&cpu);
        close_bench(&device);
    }
}

/* The CPU's numbers, but for logarithm and sine within 2 ulp. */
static void test_normals(void **state)
{
    (void)state;
    enum { MANY = 100003 };
    static float expected[MANY], found[MANY];
    const sumi_random at = {42, SUMI_STREAM_SAMPLE_X, 3, ((uint64_t)5 << 33) - 1};
    const sumi_factors factors = {.noise = 1, .divisor = 1};
    sumi_error err = {""};
    sumi_runtime device = test_runtime(true);
    float *x = device.backend->alloc(device.device, sizeof found);
    assert_non_null(x);
    const sumi_mixing work = {.n = 1, .count = MANY, .out = x, .factors = &factors, .noise = &at};
    device.backend->mix(device.device, &work);
    device.backend->download(device.device, found, x, sizeof found);
    test_ok(device.backend->status(device.device, &err), &err);
    sumi_random_normals(&at, 0, expected, MANY);
    int same = 0;
    for (int i = 0; i < MANY; i++) {
        same += found[i] == expected[i];
        float ulp = nextafterf(fabsf(expected[i]), INFINITY) - fabsf(expected[i]);
        if (!(fabsf(found[i] - expected[i]) <= 4 * ulp))
            fail_msg("number %d: %.9g, expected %.9g", i, (double)found[i], (double)expected[i]);
    }
    if (device.device->exact_division)
        assert_int_equal(same, MANY);
    device.backend->free(device.device, x, sizeof found);
    sumi_runtime_free(&device);
}

static void test_finite(void **state)
{
    (void)state;
    static const float bad[] = {INFINITY, -INFINITY, NAN};
    bench b;
    open_bench(&b, true);
    const sumi_backend *backend = b.runtime.backend;
    sumi_device *device = b.runtime.device;
    assert_true(backend->finite(device, b.tensor[0], ALL));
    for (int i = 0; i < ALL; i += 43) {
        const float zero = 0;
        backend->upload(device, b.tensor[0] + i, &bad[i % 3], sizeof(float));
        assert_false(backend->finite(device, b.tensor[0], ALL));
        assert_true(backend->finite(device, b.tensor[0], (size_t)i));
        assert_true(backend->finite(device, b.tensor[0] + i + 1, (size_t)(ALL - i - 1)));
        backend->upload(device, b.tensor[0] + i, &zero, sizeof zero);
    }
    close_bench(&b);
}

static void limit_on(const bench *b, const sumi_limits *limits, float *out)
{
    b->runtime.backend->limit(b->runtime.device, limits, IMAGES, COUNT, b->tensor[1]);
    b->runtime.backend->download(b->runtime.device, out, b->tensor[1], ALL * sizeof *out);
}

static void test_limits(void **state)
{
    (void)state;
    static const sumi_standard standard = {
        .channels = 1, .to = .5f, .mean = {.1f}, .deviation = {2}};
    float expected[ALL], found[ALL];
    for (int round = 0; round < 8; round++) {
        static const float shares[] = {0, .5f, .9f, 1};
        bench cpu, device;
        open_bench(&cpu, false);
        open_bench(&device, true);
        const sumi_limits limits = {.wanted = true,
                                    .low = -.75f,
                                    .high = .5f,
                                    .share = shares[round % 4],
                                    .standard = round < 4 ? NULL : &standard};
        limit_on(&cpu, &limits, expected);
        limit_on(&device, &limits, found);
        for (int i = 0; i < ALL; i++)
            assert_true(fabsf(found[i] - expected[i]) <= 1e-6f);
        close_bench(&cpu);
        close_bench(&device);
    }
}

static void blend_on(const bench *b, float *out, double errors[IMAGES])
{
    const sumi_tolerance tolerance = {.1, .2};
    const sumi_backend *backend = b->runtime.backend;
    backend->measure_error(b->runtime.device, &tolerance, IMAGES, COUNT, b->tensor[0], b->tensor[1],
                           b->tensor[2], errors);
    backend->blend(b->runtime.device, b->tensor[1], b->tensor[2], ALL, b->tensor[0]);
    backend->copy(b->runtime.device, b->tensor[3] + 1, b->tensor[0], (ALL - 1) * sizeof(float));
    backend->download(b->runtime.device, out, b->tensor[3], ALL * sizeof(float));
}

static void test_blends_and_errors(void **state)
{
    (void)state;
    float expected[ALL], found[ALL];
    double expected_errors[IMAGES], errors[IMAGES];
    bench cpu, device;
    open_bench(&cpu, false);
    open_bench(&device, true);
    blend_on(&cpu, expected, expected_errors);
    blend_on(&device, found, errors);
    assert_memory_equal(found, expected, sizeof found);
    for (int i = 0; i < IMAGES; i++)
        assert_true(fabs(errors[i] / expected_errors[i] - 1) < 1e-6);
    close_bench(&cpu);
    close_bench(&device);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void test_memory(void **state)
{
    (void)state;
    sumi_runtime runtime = test_runtime(true);
    const sumi_backend *backend = runtime.backend;
    sumi_device *device = runtime.device;
    sumi_error err = {""};
    float numbers[256];
    char *blocks[100];
    for (int i = 0; i < 100; i++)
        assert_non_null(blocks[i] = backend->alloc(device, (size_t)(1 + 37 * i)));
    for (int i = 0; i < 100; i++) /* odd ones first */
        backend->free(device, blocks[(2 * i + 1) % 100 + (i >= 50 ? -1 : 0)], 0);
    assert_int_equal(device->block_count, device->room.base ? 1 : 0);
    backend->free(device, NULL, 0);
    memset(numbers, 1, sizeof numbers);
    float *x = backend->alloc(device, sizeof numbers);
    backend->download(device, numbers, x, sizeof numbers);
    for (int i = 0; i < 256; i++)
        assert_true(numbers[i] == 0);
    assert_null(backend->alloc(device, SIZE_MAX));
    assert_null(backend->alloc(device, (size_t)device->facts.largest + 1));
    test_ok(backend->status(device, &err), &err);
    /* What is none of its memory loses it, and says so. */
    memset(numbers, 1, sizeof numbers);
    backend->download(device, numbers, x + 256, sizeof(float));
    assert_int_equal(backend->status(device, &err), SUMI_EINVAL);
    assert_true(numbers[0] == 0);
    assert_null(backend->alloc(device, 1));
    backend->free(device, x, sizeof numbers);
    sumi_runtime_free(&runtime);
}

static void test_too_many_images(void **state)
{
    (void)state;
    sumi_runtime runtime = test_runtime(true);
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_error err = {""};
    sumi_model *model = NULL;
    sumi_mirror mirror;
    sumi_network *net = NULL;
    config.base_channels = 8;
    test_ok(sumi_models_create(&config, &model, &err), &err);
    test_ok(sumi_mirror_init(&runtime, model, &mirror, &err), &err);
    sumi_plan_config plan = {
        .mode = SUMI_MODE_PREDICT, .n_max = 500, .h = 16, .w = 16, .force = -1};
    runtime.device->facts.largest = 4 << 20;
    sumi_status status = runtime.backend->network_create(runtime.device, &model->graph, &mirror.at,
                                                         &plan, &net, &err);
    assert_int_equal(status, SUMI_ENOMEM);
    const char *fits = strstr(err.text, "a batch of ");
    assert_non_null(strstr(err.text, "there are 4.0 MiB"));
    fits = fits ? strstr(fits + 1, "a batch of ") : NULL;
    assert_non_null(fits);
    plan.n_max = atoi(fits + strlen("a batch of "));
    assert_true(plan.n_max > 1 && plan.n_max < 500);
    test_ok(runtime.backend->network_create(runtime.device, &model->graph, &mirror.at, &plan, &net,
                                            &err),
            &err);
    runtime.backend->network_free(net);
    runtime.device->facts.largest = 1000;
    assert_int_equal(runtime.backend->network_create(runtime.device, &model->graph, &mirror.at,
                                                     &plan, &net, &err),
                     SUMI_ENOMEM);
    assert_non_null(strstr(err.text, "not even one fits"));
    sumi_mirror_free(&runtime, &mirror);
    sumi_models_free(model);
    sumi_runtime_free(&runtime);
}

/* ---- What is kept of the program ------------------------------------------------------------- */

static void only_file(const char *folder, char *out, size_t size)
{
    char command[512];
    snprintf(command, sizeof command, "ls %s/sumi/opencl/*.bin", folder);
    FILE *list = popen(command, "r");
    assert_non_null(list);
    assert_non_null(fgets(out, (int)size, list));
    out[strcspn(out, "\n")] = '\0';
    pclose(list);
}

static void test_kept_program(void **state)
{
    (void)state;
    char folder[] = "/tmp/sumi-cl-XXXXXX", path[512];
    uint8_t *file = NULL, *again = NULL;
    size_t size = 0, again_size = 0;
    sumi_error err = {""};
    assert_non_null(mkdtemp(folder));
    char *before = getenv("XDG_CACHE_HOME") ? strdup(getenv("XDG_CACHE_HOME")) : NULL;
    setenv("XDG_CACHE_HOME", folder, 1);
    for (int round = 0; round < 4; round++) {
        sumi_runtime runtime = test_runtime(true);
        sumi_runtime_free(&runtime);
        only_file(folder, path, sizeof path);
        test_ok(sumi_file_read(path, 1 << 28, &again, &again_size, &err), &err);
        assert_true(sumi_cl_kept_check(again, again_size));
        if (round == 0) {
            file = again;
            size = again_size;
            for (size_t i = 0; i < size; i += 1 + size / 97) {
                assert_false(sumi_cl_kept_check(file, i));
                file[i] ^= 4;
                assert_false(sumi_cl_kept_check(file, size));
                file[i] ^= 4;
            }
        } else {
            free(again);
        }
        /* Cut, changed, empty: made anew each time. */
        uint8_t last = file[size - 1];
        file[size - 1] ^= 1;
        test_ok(sumi_file_save(path, file,
                               round == 0   ? size / 2
                               : round == 1 ? size
                                            : 0,
                               &err),
                &err);
        file[size - 1] = last;
    }
    free(file);
    if (before)
        setenv("XDG_CACHE_HOME", before, 1);
    else
        unsetenv("XDG_CACHE_HOME");
    free(before);
    assert_int_equal(sumi_remove_tree(folder, NULL), SUMI_OK);
}

/* A program is for one device and one driver of it; another has a file of its own. */
static void test_kept_names(void **state)
{
    (void)state;
    char usual[512], other[512];
    sumi_runtime runtime = test_runtime(true);
    sumi_device *device = runtime.device;
    const bool exact = device->exact_division;
    char *parts[] = {device->title, strstr(device->title, ", driver ") + strlen(", driver "),
                     device->facts.vendor};
    assert_true(sumi_cl_kept_path(device, usual, sizeof usual));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char first = parts[i][0];
        parts[i][0] = '?';
        assert_true(sumi_cl_kept_path(device, other, sizeof other));
        assert_string_not_equal(usual, other);
        parts[i][0] = first;
    }
    device->exact_division = !exact;
    assert_true(sumi_cl_kept_path(device, other, sizeof other));
    assert_string_not_equal(usual, other);
    device->exact_division = exact;
    assert_true(sumi_cl_kept_path(device, other, sizeof other));
    assert_string_equal(usual, other);
    sumi_runtime_free(&runtime);
}

/* ---- Trying a device ------------------------------------------------------------------------- */

static void take_sums(bool on_device, sumi_cl_sums *out)
{
    sumi_runtime runtime = test_runtime(on_device);
    sumi_error err = {""};
    test_ok(sumi_cl_take_sums(runtime.backend, runtime.device, out, &err), &err);
    for (int i = 0; i < SUMI_CL_KERNELS && on_device; i++)
        if (runtime.device->runs[i] == 0)
            fail_msg("kernel %d is not tried", i);
    sumi_runtime_free(&runtime);
}

/* What is expected of a device is what the CPU computes, and a sum that is off is found. */
static void test_trial(void **state)
{
    (void)state;
    for (int on_device = 0; on_device < 2; on_device++) {
        sumi_cl_sums sums;
        take_sums(on_device, &sums);
        assert_int_equal(sumi_cl_wrong_sum(&sums), -1);
        for (int i = 0; i < SUMI_CL_SUMS; i++) {
            sumi_cl_sums off = sums;
            off.sum[i] += 1e-3 * sums.size[i] + 1e-5;
            assert_int_equal(sumi_cl_wrong_sum(&off), i);
            off.sum[i] = (double)NAN;
            assert_int_equal(sumi_cl_wrong_sum(&off), i);
        }
    }
}

static void print_sums(void)
{
    sumi_cl_sums sums;
    take_sums(false, &sums);
    for (int i = 0; i < SUMI_CL_SUMS; i++)
        printf("%.9g%s", sums.sum[i], i % 6 == 5 ? ",\n" : ", ");
    printf("\n");
}

/* Opens the first device, which tries it where that was not done. */
static int try_device(void)
{
    sumi_runtime runtime;
    sumi_error err = {""};
    const sumi_device_config config = {.threads = 1};
    if (sumi_runtime_init_device(&runtime, sumi_opencl_backend(), &config, &err) != SUMI_OK) {
        printf("%s\n", err.text);
        return 1;
    }
    sumi_runtime_free(&runtime);
    return 0;
}

/* With --sums it prints what selftest.c expects; with --trial it tries a device. */
int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--trial") == 0)
        return try_device();
    if (argc > 1 && strcmp(argv[1], "--sums") == 0) {
        print_sums();
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_gathers),
        cmocka_unit_test(test_mixes),
        cmocka_unit_test(test_normals),
        cmocka_unit_test(test_finite),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_blends_and_errors),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_too_many_images),
        cmocka_unit_test(test_kept_program),
        cmocka_unit_test(test_kept_names),
        cmocka_unit_test(test_trial),
    };
    return test_has_device() ? cmocka_run_group_tests(tests, NULL, NULL) : SKIPPED;
}
