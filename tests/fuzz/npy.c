/* .npy: what is accepted has the bytes that its shape says. */
#include "fuzz.h"
#include "io/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t sizes[] = {[SUMI_NPY_F32] = 4,
                                   [SUMI_NPY_F64] = 8,
                                   [SUMI_NPY_U8] = 1,
                                   [SUMI_NPY_I32] = 4,
                                   [SUMI_NPY_I64] = 8};
    uint8_t *copy = fuzz_copy(data, size);
    sumi_npy array;
    sumi_error err;
    if (sumi_npy_parse("f", copy, size, &array, &err) == SUMI_OK) {
        size_t bytes = array.count * sizes[array.dtype];
        fuzz_check(bytes < size, "the array is smaller than the file");
        fuzz_touch(array.data, bytes);
        sumi_npy_free(&array);
    }
    free(copy);
    return 0;
}
