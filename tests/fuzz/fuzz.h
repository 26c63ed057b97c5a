/* What the fuzz targets share. */
#ifndef SUMI_FUZZ_H
#define SUMI_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stops the program where something that must hold does not: a finding. */
static inline void fuzz_check(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

/* Reads every byte, so that a sanitizer sees one that is not there. */
static inline void fuzz_touch(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + bytes[i]);
}

/* A malloc'ed copy, exactly as long as the data. */
static inline uint8_t *fuzz_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = calloc(size ? size : 1, 1);
    fuzz_check(copy != NULL, "memory");
    if (size)
        memcpy(copy, data, size);
    return copy;
}

#endif
