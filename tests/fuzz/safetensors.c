/* safetensors: what is accepted covers the data exactly. */
#include "tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    sumi_tensor_file file;
    sumi_error err;
    if (sumi_safetensors_parse("f", copy, size, &file, &err) != SUMI_OK) {
        free(copy);
        return 0;
    }
    size_t sum = 8 + (size_t)sumi_get64(data);
    for (size_t i = 0; i < file.count; i++)
        sum += file.tensors[i].bytes;
    fuzz_check(sum == size, "tensors cover the file");
    fuzz_tensors(&file);
    return 0;
}
