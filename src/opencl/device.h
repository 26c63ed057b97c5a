/*
 * A device of OpenCL that was opened: its queue, its memory and its kernels. Private to this layer.
 *
 * Calls of the backend's table cannot fail where they stand. The first that does is kept, with its
 * text, and from then on nothing is given to the device: see sumi_backend's `status`.
 */
#ifndef SUMI_OPENCL_DEVICE_H
#define SUMI_OPENCL_DEVICE_H

#include "opencl/api.h"
#include "opencl/kernels/args.h"
#include "opencl/opencl.h"

/* By the names of their functions in kernels (program.c has the same order). */
typedef enum {
    SUMI_CL_GATHER_IMAGES,
    SUMI_CL_MIX,
    SUMI_CL_FIND_BAD,
    SUMI_CL_LIMIT,
    SUMI_CL_BLEND,
    SUMI_CL_MEASURE,
    SUMI_CL_WAVES,
    SUMI_CL_EMBEDDING,
    SUMI_CL_FILL,
    SUMI_CL_LINEAR,
    SUMI_CL_CONV,
    SUMI_CL_WINOGRAD_WEIGHTS,
    SUMI_CL_WINOGRAD_INPUT,
    SUMI_CL_WINOGRAD_PRODUCT,
    SUMI_CL_WINOGRAD_OUTPUT,
    SUMI_CL_MOMENTS,
    SUMI_CL_GROUP_ROWS,
    SUMI_CL_BATCH_ROWS,
    SUMI_CL_ADD,
    SUMI_CL_RESAMPLE,
    SUMI_CL_MEAN,
    SUMI_CL_ATTENTION,
    SUMI_CL_TERM_SUM,
    SUMI_CL_POST,
    SUMI_CL_REDUCE,
    SUMI_CL_COLUMNS,
    SUMI_CL_WGRAD,
    SUMI_CL_EMBEDDING_BACK,
    SUMI_CL_RESAMPLE_BACK,
    SUMI_CL_MEAN_BACK,
    SUMI_CL_ATTENTION_QUERIES,
    SUMI_CL_ATTENTION_KEYS,
    SUMI_CL_MSE,
    SUMI_CL_CROSS_ENTROPY,
    SUMI_CL_LOSS_SUM,
    SUMI_CL_BATCH_STATS,
    SUMI_CL_RUNNING,
    SUMI_CL_NORM_SUMS,
    SUMI_CL_NORM_TOTALS,
    SUMI_CL_NORM_GROUP,
    SUMI_CL_NORM_BATCH,
    SUMI_CL_NORM_PARAMS,
    SUMI_CL_ADAM,
    SUMI_CL_AXPBY,
    SUMI_CL_EMA,
    SUMI_CL_SQUARES,
    SUMI_CL_LEDGER_OPEN,
    SUMI_CL_LEDGER_TAKE,
    SUMI_CL_LEDGER_CLIP,
    SUMI_CL_GATHER,
    SUMI_CL_PRODUCT,
    SUMI_CL_TRACE,
    SUMI_CL_SCATTER,
    SUMI_CL_KERNELS /* how many */
} sumi_cl_kernel;

/* Memory of the device, and the addresses that stand for it: of pages without access, so that the
 * host can count within a block and reads none of it by mistake. */
typedef struct {
    char *base;
    size_t bytes, mapped;
    cl_mem memory;
} sumi_cl_block;

/* Memory of the host for what is on its way to the device. It is mapped, and left where a device
 * cannot be waited for. */
enum { SUMI_CL_STAGES_MAX = 64 };
typedef struct {
    char *data;
    size_t bytes, used;
} sumi_cl_stage;

struct sumi_device {
    sumi_cl cl;
    sumi_device_facts facts;
    cl_device_id id;
    cl_context context;
    cl_command_queue queue;
    cl_program program;
    cl_kernel kernels[SUMI_CL_KERNELS];
    uint64_t runs[SUMI_CL_KERNELS]; /* of each, so far */
    bool exact_division;            /* division and square roots can be rounded correctly */
    int threads;                    /* of the host */
    char title[256], bits[72];
    sumi_cl_block *blocks; /* by address */
    int block_count, block_capacity;
    uint64_t taken;     /* bytes of all blocks */
    sumi_cl_block room; /* for small results and tables */
    sumi_cl_stage stages[SUMI_CL_STAGES_MAX];
    int stage_count;
    size_t staged;      /* bytes of all stages */
    sumi_status status; /* of the first call that failed */
    sumi_error error;
};

/* ---- devices.c: what there is ---------------------------------------------------------------- */

int sumi_cl_list(sumi_device_facts *out, int most, sumi_error *err);
/* The device of that number in the list, and whether division and square roots can be rounded
 * correctly. One that does not answer is an error. */
sumi_status sumi_cl_find(const sumi_cl *cl, int index, cl_device_id *id, sumi_device_facts *facts,
                         bool *divides_exactly, sumi_error *err);

/* ---- memory.c -------------------------------------------------------------------------------- */

/* A place in the memory of the device, in bytes from the begin of its block. */
typedef struct {
    cl_mem memory;
    size_t at;
} sumi_cl_place;

void *sumi_cl_alloc(sumi_device *device, size_t bytes);
void sumi_cl_free(sumi_device *device, void *memory, size_t bytes);
void *sumi_cl_mirror(sumi_device *device, void *host, size_t bytes);
void sumi_cl_unmirror(sumi_device *device, void *memory, void *host, size_t bytes);
/* Does not wait, but for the first room for copies of what is uploaded, and where there is more
 * between two waits than fits it. */
void sumi_cl_upload(sumi_device *device, void *to, const void *from, size_t bytes);
void sumi_cl_download(sumi_device *device, void *to, const void *from, size_t bytes);
void sumi_cl_copy(sumi_device *device, void *to, const void *from, size_t bytes);
void sumi_cl_zero(sumi_device *device, void *memory, size_t bytes);
void sumi_cl_free_stages(sumi_device *device);
/* Half of what is left: the other is for networks that are made later, as those of pictures. */
uint64_t sumi_cl_spare(const sumi_device *device);
/* What an address of the device stands for; one that is none is the device's failure. */
sumi_cl_place sumi_cl_at(sumi_device *device, const void *memory);
/* At least so many bytes that last until the next call, NULL where there are none. */
void *sumi_cl_room(sumi_device *device, size_t bytes);

/* ---- program.c ------------------------------------------------------------------------------- */

/* Makes the kernels, from what is kept below the user's cache folder where that is of this device,
 * driver and source and not damaged: *kept. */
sumi_status sumi_cl_program(sumi_device *device, bool *kept, sumi_error *err);
/* Where a device's program is kept: a name made of the device, its driver, the options, sumi's
 * version and the source. False where there is no folder for it. */
bool sumi_cl_kept_path(const sumi_device *device, char *out, size_t size);
/* Keeps them, once they are known to be good. */
void sumi_cl_program_keep(const sumi_device *device);
void sumi_cl_program_free(sumi_device *device);

/* ---- device.c -------------------------------------------------------------------------------- */

/* Keeps the first failure; true where there was none, then or before. */
bool sumi_cl_ok(sumi_device *device, cl_int error, const char *what);
void sumi_cl_lose(sumi_device *device, sumi_status status, const char *text);

/* What a kernel is given: places in order, floats counted from each by what `args` says, then args,
 * then bytes of local memory where there are any. */
enum { SUMI_CL_PLACES_MAX = 9 };
typedef struct {
    sumi_cl_kernel kernel;
    cl_mem memory[SUMI_CL_PLACES_MAX];
    int count;
    const void *args;
    size_t args_size, local_bytes;
    size_t global[3], local[3]; /* global is a multiple of local */
} sumi_cl_launch;

void sumi_cl_run(sumi_device *device, const sumi_cl_launch *launch);
/* Adds a place and returns where it begins, in floats. */
uint32_t sumi_cl_give(sumi_device *device, sumi_cl_launch *launch, const void *memory);
/* The least multiple of `of` that is at least count. */
static inline size_t sumi_cl_rounded(size_t count, size_t of)
{
    return (count + of - 1) / of * of;
}

/* ---- elementwise.c --------------------------------------------------------------------------- */

void sumi_cl_gather(sumi_device *device, const sumi_gathering *work);
void sumi_cl_mix(sumi_device *device, const sumi_mixing *work);
bool sumi_cl_finite(sumi_device *device, const float *x, size_t count);
/* Writes 1 to a word of the device where a number is not. */
void sumi_cl_find_bad(sumi_device *device, const float *x, size_t count, void *word);
void sumi_cl_limit(sumi_device *device, const sumi_limits *limits, int n, size_t count, float *x);
void sumi_cl_blend(sumi_device *device, const float *mask, const float *other, size_t count,
                   float *x);
void sumi_cl_measure(sumi_device *device, const sumi_tolerance *tolerance, int n, size_t count,
                     const float *error, const float *a, const float *b, double *out);

/* In groups of so many items along the first dimension, and rows along the second. */
void sumi_cl_set_sizes(sumi_cl_launch *launch, size_t items, size_t rows, size_t group);

/* ---- ledger.c, optimisers.c, orthogonal.c ---------------------------------------------------- */

sumi_status sumi_cl_ledger_create(sumi_device *device, int steps, sumi_ledger **out,
                                  sumi_error *err);
void sumi_cl_ledger_free(sumi_ledger *ledger);
void sumi_cl_ledger_begin(sumi_ledger *ledger, int step);
void sumi_cl_ledger_take(sumi_ledger *ledger, sumi_network *network, double share,
                         const float *gradients, size_t count);
void sumi_cl_ledger_clip(sumi_ledger *ledger, double most, float *gradients, size_t count);
void sumi_cl_ledger_read(const sumi_ledger *ledger, int steps, sumi_entry *out);
/* As sumi_cl_give, of the words of a ledger; nowhere for none. */
uint32_t sumi_cl_give_ledger(sumi_device *device, sumi_cl_launch *launch,
                             const sumi_ledger *ledger);
void sumi_cl_update(sumi_device *device, const sumi_update *update);
sumi_status sumi_cl_orthogonaliser_create(sumi_device *device, const sumi_matrix *matrices,
                                          int count, sumi_orthogonaliser **out, sumi_error *err);
void sumi_cl_orthogonaliser_free(sumi_orthogonaliser *orthogonaliser);
void sumi_cl_orthogonalise(sumi_orthogonaliser *orthogonaliser, const sumi_ledger *ledger,
                           double momentum, float *gradients, float *moments);

#endif
