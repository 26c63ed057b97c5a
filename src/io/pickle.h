/*
 * The part of Python's pickle (protocol 2) that torch.save writes, read without running anything.
 *
 * The result is a table of values that name each other by index, so that shared, nested or circular
 * values need no recursion and no reference counts.
 */
#ifndef SUMI_IO_PICKLE_H
#define SUMI_IO_PICKLE_H

#include "io/io.h"

typedef enum {
    SUMI_PICKLE_NONE,
    SUMI_PICKLE_BOOL,
    SUMI_PICKLE_INT,
    SUMI_PICKLE_FLOAT,
    SUMI_PICKLE_STR,
    SUMI_PICKLE_LIST,
    SUMI_PICKLE_TUPLE,
    SUMI_PICKLE_DICT, /* items: key, value, key, value, ... in the order of setting */
    SUMI_PICKLE_GLOBAL,
    SUMI_PICKLE_STORAGE,
    SUMI_PICKLE_TENSOR,
} sumi_pickle_kind;

typedef struct {
    uint32_t *items; /* indices of values */
    uint32_t count, capacity;
} sumi_pickle_list;

typedef struct {
    const char *text; /* UTF-8, not terminated, borrowed from the pickle's bytes */
    size_t size;
} sumi_pickle_string;

typedef struct {
    sumi_pickle_kind kind;
    union {
        int64_t integer; /* BOOL, INT, and for GLOBAL its place in the table of allowed ones */
        double real;
        sumi_pickle_string string;
        sumi_pickle_list list; /* LIST, TUPLE, DICT */
        uint32_t arguments;    /* STORAGE, TENSOR: the tuple that describes it */
    } as;
} sumi_pickle_value;

typedef struct {
    sumi_pickle_value *values;
    uint32_t count, capacity;
    uint32_t root;
} sumi_pickle;

/* A tensor's description: a view into the storage that key names. */
typedef struct {
    sumi_file_dtype dtype;
    sumi_pickle_string key;
    int64_t storage_count; /* elements of the storage */
    int64_t offset;
    int rank;
    int64_t shape[SUMI_TENSOR_RANK_MAX], stride[SUMI_TENSOR_RANK_MAX];
} sumi_pickle_tensor;

/* where stands in front of messages. data must outlive out. */
sumi_status sumi_pickle_parse(const char *where, const uint8_t *data, size_t size, sumi_pickle *out,
                              sumi_error *err);
void sumi_pickle_free(sumi_pickle *pickle);
/* Describes a value of kind SUMI_PICKLE_TENSOR. The view's bounds are not checked here. */
void sumi_pickle_get_tensor(const sumi_pickle *pickle, uint32_t index, sumi_pickle_tensor *out);
/* "a dict", "a string", ... */
const char *sumi_pickle_kind_name(sumi_pickle_kind kind);
/* "FloatStorage", ...: torch's name for a storage of dtype. */
const char *sumi_pickle_storage_name(sumi_file_dtype dtype);

#endif
