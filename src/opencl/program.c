/*
 * The kernels' program: compiled by the driver from the source in this program, or taken from what
 * an earlier run kept. What is kept has the name of a hash of all that it depends on, and its own
 * hash in front, so that a damaged file, or one of another driver, is as good as none.
 */
#include "opencl/device.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opencl/source.h"

static const char MAGIC[] = "sumi-opencl-1\n";
enum { MAGIC_SIZE = sizeof MAGIC - 1, HASH_SIZE = 64, HEAD = MAGIC_SIZE + HASH_SIZE };
static const size_t KEPT_MOST = (size_t)64 << 20; /* bytes of a file */

static const char *options_of(const sumi_device *device)
{
    return device->exact_division ? "-cl-std=CL1.2 -cl-fp32-correctly-rounded-divide-sqrt"
                                  : "-cl-std=CL1.2";
}

/* ---- What is kept ---------------------------------------------------------------------------- */

bool sumi_cl_kept_path(const sumi_device *device, char *out, size_t size)
{
    char folder[PATH_MAX], hex[65], name[80];
    const char *parts[] = {device->title, device->facts.vendor, options_of(device), SUMI_VERSION};
    sumi_sha256 sha;
    sumi_sha256_init(&sha);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        sumi_sha256_update(&sha, parts[i], strlen(parts[i]) + 1);
    sumi_sha256_update(&sha, sumi_cl_source, sumi_cl_source_size);
    sumi_sha256_final(&sha, hex);
    snprintf(name, sizeof name, "%s.bin", hex);
    return sumi_cache_folder("opencl", folder, sizeof folder) &&
           sumi_path_join(out, size, folder, name, NULL) == SUMI_OK;
}

static void hash_of(const unsigned char *data, size_t size, char hex[65])
{
    sumi_sha256 sha;
    sumi_sha256_init(&sha);
    sumi_sha256_update(&sha, data, size);
    sumi_sha256_final(&sha, hex);
}

bool sumi_cl_kept_check(const unsigned char *file, size_t size)
{
    char hex[65];
    if (size <= HEAD || memcmp(file, MAGIC, MAGIC_SIZE) != 0)
        return false;
    hash_of(file + HEAD, size - HEAD, hex);
    return memcmp(file + MAGIC_SIZE, hex, HASH_SIZE) == 0;
}

/* NULL where there is none that is whole, or the driver does not take it. */
static cl_program take_kept(const sumi_device *device, const char *path)
{
    const sumi_cl *cl = &device->cl;
    uint8_t *file = NULL;
    size_t size = 0;
    cl_program program = NULL;
    if (sumi_file_read(path, KEPT_MOST, &file, &size, NULL) != SUMI_OK)
        return NULL;
    if (sumi_cl_kept_check(file, size)) {
        const unsigned char *binary = file + HEAD;
        cl_int taken = CL_SUCCESS, error = CL_SUCCESS;
        size -= HEAD;
        program = cl->CreateProgramWithBinary(device->context, 1, &device->id, &size, &binary,
                                              &taken, &error);
        if (program && (error != CL_SUCCESS || taken != CL_SUCCESS ||
                        cl->BuildProgram(program, 1, &device->id, options_of(device), NULL, NULL) !=
                            CL_SUCCESS)) {
            cl->ReleaseProgram(program);
            program = NULL;
        }
    }
    free(file);
    return program;
}

/* Where this fails, the next run compiles again. */
static void keep(const sumi_device *device, cl_program program, const char *path)
{
    const sumi_cl *cl = &device->cl;
    char folder[PATH_MAX], hex[65];
    size_t size = 0;
    if (cl->GetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) !=
            CL_SUCCESS ||
        size == 0 || size > KEPT_MOST - HEAD)
        return;
    unsigned char *file = sumi_calloc(HEAD + size, 1);
    unsigned char *binary = file ? file + HEAD : NULL;
    if (file &&
        cl->GetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) ==
            CL_SUCCESS &&
        sumi_cache_folder("opencl", folder, sizeof folder) &&
        sumi_make_dirs(folder, NULL) == SUMI_OK) {
        hash_of(binary, size, hex);
        memcpy(file, MAGIC, MAGIC_SIZE);
        memcpy(file + MAGIC_SIZE, hex, HASH_SIZE);
        (void)sumi_file_save(path, file, HEAD + size, NULL);
    }
    free(file);
}

/* ---- Compiling ------------------------------------------------------------------------------- */

/* The first line of what the compiler has to say that names an error, or its first. */
static void first_error(const sumi_device *device, cl_program program, char *out, size_t size)
{
    size_t length = 0;
    char *log = NULL;
    const sumi_cl *cl = &device->cl;
    snprintf(out, size, "its compiler does not say why");
    if (cl->GetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &length) !=
            CL_SUCCESS ||
        length == 0 || !(log = sumi_calloc(length + 1, 1)))
        return;
    if (cl->GetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_LOG, length, log, NULL) ==
            CL_SUCCESS &&
        *log) {
        const char *line = strstr(log, "error");
        while (line && line > log && line[-1] != '\n')
            line--;
        line = line ? line : log;
        snprintf(out, size, "%.*s", (int)strcspn(line, "\n"), line);
    }
    free(log);
}

static sumi_status compile(const sumi_device *device, cl_program *out, sumi_error *err)
{
    const sumi_cl *cl = &device->cl;
    const char *source = (const char *)sumi_cl_source;
    cl_int error = CL_SUCCESS;
    char room[24], why[256];
    cl_program program =
        cl->CreateProgramWithSource(device->context, 1, &source, &sumi_cl_source_size, &error);
    if (program)
        error = cl->BuildProgram(program, 1, &device->id, options_of(device), NULL, NULL);
    if (program && error == CL_SUCCESS) {
        *out = program;
        return SUMI_OK;
    }
    snprintf(why, sizeof why, "%s", sumi_cl_error_name(error, room));
    if (program) {
        first_error(device, program, why, sizeof why);
        cl->ReleaseProgram(program);
    }
    return sumi_fail(err, SUMI_EUNSUPPORTED,
                     "%s (%s): its driver (%s) does not compile the kernels: %s", device->facts.id,
                     device->facts.name, device->facts.driver, why);
}

/* ---- Kernels --------------------------------------------------------------------------------- */

static bool make_kernels(sumi_device *device)
{
    static const char *const names[SUMI_CL_KERNELS] = {
        [SUMI_CL_GATHER_IMAGES] = "sumi_gather_images",
        [SUMI_CL_MIX] = "sumi_mix",
        [SUMI_CL_FIND_BAD] = "sumi_find_bad",
        [SUMI_CL_LIMIT] = "sumi_limit",
        [SUMI_CL_BLEND] = "sumi_blend",
        [SUMI_CL_MEASURE] = "sumi_measure",
        [SUMI_CL_WAVES] = "sumi_waves",
        [SUMI_CL_EMBEDDING] = "sumi_embedding",
        [SUMI_CL_FILL] = "sumi_fill",
        [SUMI_CL_LINEAR] = "sumi_linear",
        [SUMI_CL_CONV] = "sumi_conv",
        [SUMI_CL_WINOGRAD_WEIGHTS] = "sumi_winograd_weights",
        [SUMI_CL_WINOGRAD_INPUT] = "sumi_winograd_input",
        [SUMI_CL_WINOGRAD_PRODUCT] = "sumi_winograd_product",
        [SUMI_CL_WINOGRAD_OUTPUT] = "sumi_winograd_output",
        [SUMI_CL_MOMENTS] = "sumi_moments",
        [SUMI_CL_GROUP_ROWS] = "sumi_group_rows",
        [SUMI_CL_BATCH_ROWS] = "sumi_batch_rows",
        [SUMI_CL_ADD] = "sumi_add",
        [SUMI_CL_RESAMPLE] = "sumi_resample",
        [SUMI_CL_MEAN] = "sumi_mean",
        [SUMI_CL_ATTENTION] = "sumi_attention",
        [SUMI_CL_TERM_SUM] = "sumi_terms",
        [SUMI_CL_POST] = "sumi_post",
        [SUMI_CL_REDUCE] = "sumi_reduce",
        [SUMI_CL_COLUMNS] = "sumi_columns",
        [SUMI_CL_WGRAD] = "sumi_wgrad",
        [SUMI_CL_EMBEDDING_BACK] = "sumi_embedding_back",
        [SUMI_CL_RESAMPLE_BACK] = "sumi_resample_back",
        [SUMI_CL_MEAN_BACK] = "sumi_mean_back",
        [SUMI_CL_ATTENTION_QUERIES] = "sumi_attention_queries",
        [SUMI_CL_ATTENTION_KEYS] = "sumi_attention_keys",
        [SUMI_CL_MSE] = "sumi_mse",
        [SUMI_CL_CROSS_ENTROPY] = "sumi_cross_entropy",
        [SUMI_CL_LOSS_SUM] = "sumi_loss_sum",
        [SUMI_CL_BATCH_STATS] = "sumi_batch_stats",
        [SUMI_CL_RUNNING] = "sumi_running",
        [SUMI_CL_NORM_SUMS] = "sumi_norm_sums",
        [SUMI_CL_NORM_TOTALS] = "sumi_norm_totals",
        [SUMI_CL_NORM_GROUP] = "sumi_norm_group",
        [SUMI_CL_NORM_BATCH] = "sumi_norm_batch",
        [SUMI_CL_NORM_PARAMS] = "sumi_norm_params",
        [SUMI_CL_ADAM] = "sumi_adam",
        [SUMI_CL_AXPBY] = "sumi_axpby",
        [SUMI_CL_EMA] = "sumi_ema",
        [SUMI_CL_SQUARES] = "sumi_squares",
        [SUMI_CL_LEDGER_OPEN] = "sumi_ledger_open",
        [SUMI_CL_LEDGER_TAKE] = "sumi_ledger_take",
        [SUMI_CL_LEDGER_CLIP] = "sumi_ledger_clip",
        [SUMI_CL_GATHER] = "sumi_gather",
        [SUMI_CL_PRODUCT] = "sumi_product",
        [SUMI_CL_TRACE] = "sumi_trace",
        [SUMI_CL_SCATTER] = "sumi_scatter",
    };
    for (int i = 0; i < SUMI_CL_KERNELS; i++) {
        cl_int error = CL_SUCCESS;
        device->kernels[i] = device->cl.CreateKernel(device->program, names[i], &error);
        if (error != CL_SUCCESS)
            device->kernels[i] = NULL;
        if (!device->kernels[i])
            return false;
    }
    return true;
}

void sumi_cl_program_free(sumi_device *device)
{
    for (int i = 0; i < SUMI_CL_KERNELS; i++)
        if (device->kernels[i])
            device->cl.ReleaseKernel(device->kernels[i]);
    memset(device->kernels, 0, sizeof device->kernels);
    if (device->program)
        device->cl.ReleaseProgram(device->program);
    device->program = NULL;
}

void sumi_cl_program_keep(const sumi_device *device)
{
    char path[PATH_MAX];
    if (sumi_cl_kept_path(device, path, sizeof path))
        keep(device, device->program, path);
}

sumi_status sumi_cl_program(sumi_device *device, bool *kept, sumi_error *err)
{
    char path[PATH_MAX];
    *kept = sumi_cl_kept_path(device, path, sizeof path);
    if (*kept && (device->program = take_kept(device, path)) != NULL) {
        if (make_kernels(device))
            return SUMI_OK;
        sumi_cl_program_free(device); /* whole, and still not what it should be */
    }
    *kept = false;
    sumi_status status = compile(device, &device->program, err);
    if (status != SUMI_OK)
        return status;
    if (!make_kernels(device))
        return sumi_fail(err, SUMI_EUNSUPPORTED, "%s (%s): its driver (%s) lost a kernel",
                         device->facts.id, device->facts.name, device->facts.driver);
    return SUMI_OK;
}
