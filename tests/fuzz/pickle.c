/* The unpickler: every index that a value names is a value. */
#include "fuzz.h"
#include "io/pickle.h"

static void check_value(const sumi_pickle *p, uint32_t index)
{
    const sumi_pickle_value *v = &p->values[index];
    sumi_pickle_tensor tensor;
    switch (v->kind) {
    case SUMI_PICKLE_STR:
        fuzz_touch(v->as.string.text, v->as.string.size);
        break;
    case SUMI_PICKLE_LIST:
    case SUMI_PICKLE_TUPLE:
    case SUMI_PICKLE_DICT:
        for (uint32_t i = 0; i < v->as.list.count; i++)
            fuzz_check(v->as.list.items[i] < p->count, "items are values");
        fuzz_check(v->kind != SUMI_PICKLE_DICT || v->as.list.count % 2 == 0, "keys have values");
        break;
    case SUMI_PICKLE_TENSOR:
        sumi_pickle_get_tensor(p, index, &tensor);
        fuzz_touch(tensor.key.text, tensor.key.size);
        fuzz_check(tensor.rank <= SUMI_TENSOR_RANK_MAX && tensor.offset >= 0, "a tensor");
        break;
    default:
        fuzz_check(sumi_pickle_kind_name(v->kind) != NULL, "a kind");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    sumi_pickle pickle;
    sumi_error err;
    if (sumi_pickle_parse("f", copy, size, &pickle, &err) == SUMI_OK) {
        fuzz_check(pickle.root < pickle.count, "the root is a value");
        for (uint32_t i = 0; i < pickle.count; i++)
            check_value(&pickle, i);
        sumi_pickle_free(&pickle);
    }
    free(copy);
    return 0;
}
