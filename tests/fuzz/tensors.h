/* Uses a tensor file that a parser accepted as a caller would, and frees it. */
#ifndef SUMI_FUZZ_TENSORS_H
#define SUMI_FUZZ_TENSORS_H

#include "fuzz.h"
#include "io/internal.h"

static inline void fuzz_tensors(sumi_tensor_file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        const sumi_file_tensor *t = &file->tensors[i];
        size_t count, bytes;
        fuzz_check(sumi_tensor_count(t, &count, &bytes) && bytes == t->bytes, "bytes of a tensor");
        fuzz_check(sumi_tensor_file_find(file, t->name) == t, "names are found");
        fuzz_touch(t->data, t->bytes);
        float *floats = malloc(count * sizeof *floats + 1);
        int64_t *integers = malloc(count * sizeof *integers + 1);
        fuzz_check(floats && integers, "memory");
        sumi_file_tensor_to_f32(t, floats);
        sumi_file_tensor_to_i64(t, integers);
        free(floats);
        free(integers);
    }
    for (size_t i = 0; i < file->metadata_count; i++)
        fuzz_check(sumi_tensor_file_meta(file, file->metadata[i].key) == file->metadata[i].value,
                   "metadata are found");
    sumi_tensor_file_free(file);
}

#endif
