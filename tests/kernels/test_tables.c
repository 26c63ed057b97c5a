/*
 * Which tables of kernels there are: found by name, offered in the order of what is best, and which
 * of them give the same bits.
 */
#include "kernel_test.h"

#include "kernels/isa.h"

static void found_by_name(void **state)
{
    (void)state;
    assert_non_null(sumi_kernels_pick(NULL));
    assert_ptr_equal(sumi_kernels_pick(NULL), sumi_kernels_list(0));
    assert_non_null(sumi_kernels_pick("generic"));
    assert_null(sumi_kernels_pick("mmx"));
    assert_null(sumi_kernels_pick(""));
    assert_null(sumi_kernels_list(-1));
    int count = 0;
    for (const sumi_kernels *k; (k = sumi_kernels_list(count)) != NULL; count++)
        assert_ptr_equal(sumi_kernels_pick(k->name), k);
    assert_string_equal(sumi_kernels_list(count - 1)->name, "generic");
}

/* 512 bits are used wherever they are, but for CPUs known to be faster without; those can be asked
 * for them all the same, since a table of that name is in the list. */
static void widths(void **state)
{
    (void)state;
    static const struct {
        unsigned signature;
        const char *brand;
        bool should;
    } cpus[] = {
        {0x50654, "Intel(R) Xeon(R) Silver 4110 CPU @ 2.10GHz", false},
        {0x50657, "Intel(R) Xeon(R) Bronze 3204 CPU @ 1.90GHz", false},
        {0x50657, "Intel(R) Xeon(R) Gold 5218 CPU @ 2.30GHz", false},
        {0x50654, "Intel(R) Xeon(R) Gold 5122 CPU @ 3.60GHz", true},
        {0x50657, "Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz", true},
        {0x50654, "Intel(R) Xeon(R) Platinum 8175M CPU @ 2.50GHz", true},
        {0x606a6, "Intel(R) Xeon(R) Silver 4314 CPU @ 2.40GHz", true},
        {0x806f8, "Intel(R) Xeon(R) Processor", true},
        {0xb00f21, "AMD EPYC 9965 192-Core Processor", true},
        {0, "", true},
    };
    for (size_t i = 0; i < sizeof cpus / sizeof cpus[0]; i++)
        assert_int_equal(sumi_should_use_512_bits(cpus[i].signature, cpus[i].brand),
                         cpus[i].should);
}

/* A forward convolution of a network that is asked for in a precision. */
static void layer(const sumi_kernels *table, bool bf16, bool fixed16, float *out)
{
    sumi_conv_spec s = {.h = 14,
                        .w = 14,
                        .cin = 64,
                        .cout = 64,
                        .ksize = 3,
                        .bf16 = bf16,
                        .fixed16 = fixed16,
                        .direction = SUMI_CONV_FORWARD};
    table->conv_plan(&s, -1);
    sumi_source x;
    test_source(&x, 1, 14 * 14, 64, HAS_AFFINE | HAS_RELU, 1);
    float *weights = test_floats(9 * 64 * 64, 2);
    sumi_sink sink = {.dst = out, .c = 64};
    sumi_conv conv = {
        .spec = &s, .sources = &x, .source_count = 1, .sinks = &sink, .sink_count = 1};
    test_conv_run(table, &conv, weights, NULL, 1, (test_cut){0});
    test_source_free(&x);
    free(weights);
}

/* What is said to be the same is the same, on all tables of this CPU. */
static void same_bits(void **state)
{
    (void)state;
    enum { COUNT = 14 * 14 * 64 };
    float *a = test_scratch(COUNT), *b = test_scratch(COUNT);
    const sumi_kernels *first, *second;
    for (int precision = 0; precision < 3; precision++)
        for (int i = 0; (first = sumi_kernels_list(i)) != NULL; i++)
            for (int k = 0; (second = sumi_kernels_list(k)) != NULL; k++) {
                bool bf16 = precision == 1, fixed16 = precision > 0;
                if (!sumi_kernels_same_bits(first->name, second->name, bf16, fixed16))
                    continue;
                layer(first, bf16, fixed16, a);
                layer(second, bf16, fixed16, b);
                assert_memory_equal(a, b, COUNT * sizeof *a);
            }
    free(a);
    free(b);
}

static void same_bits_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool floats, integers, halves;
    } pairs[] = {
        {"avx512", "avx512vnni", true, false, false}, {"avx512vnni", "amx", true, true, false},
        {"avx512", "amx", true, false, false},        {"avx2", "avx2vnni", true, true, true},
        {"avx2", "avx512", false, false, false},      {"generic", "neon", false, false, false},
        {"generic", "generic", true, true, true},     {"sve", "sve", true, true, true},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const char *a = pairs[i].a, *b = pairs[i].b;
        for (int turn = 0; turn < 2; turn++, a = pairs[i].b, b = pairs[i].a) {
            assert_int_equal(sumi_kernels_same_bits(a, b, false, false), pairs[i].floats);
            assert_int_equal(sumi_kernels_same_bits(a, b, false, true), pairs[i].integers);
            assert_int_equal(sumi_kernels_same_bits(a, b, true, true), pairs[i].halves);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_by_name),
        cmocka_unit_test(widths),
        cmocka_unit_test(same_bits),
        cmocka_unit_test(same_bits_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
