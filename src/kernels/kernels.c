/*
 * Chooses a kernel table. What the CPU can run and what is best there are two questions: the first
 * decides what SUMI_ISA may ask for, the second the order in which tables are offered.
 */
#include "kernels/isa.h"

#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static bool cpu_has_avx2(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

static bool cpu_has_avx512(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return cpu_has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

bool sumi_should_use_512_bits(unsigned signature, const char *brand)
{
    /* Family 6, model 85: Skylake's servers and their two successors. They lower their clock for
     * vectors of 512 bits, and these ranks have one unit that multiplies and adds such vectors, not
     * two: no more operations a cycle than their two units of 256 bits do (Intel's Optimization
     * Reference Manual, "Servers with a Single FMA Unit"). This was not measured. */
    static const char *const one_unit[] = {"Bronze 3", "Silver 4", "Gold 51", "Gold 52"};
    static const char *const two_units[] = {"Gold 5122", "Gold 5222"};
    bool one = false;
    for (size_t i = 0; i < sizeof one_unit / sizeof one_unit[0]; i++)
        one |= strstr(brand, one_unit[i]) != NULL;
    for (size_t i = 0; i < sizeof two_units / sizeof two_units[0]; i++)
        one &= strstr(brand, two_units[i]) == NULL;
    return !(one && (signature & 0x0fff0ff0U) == 0x00050650U);
}

static bool cpu_should_use_512_bits(void)
{
#if defined(__x86_64__) || defined(__i386__)
    unsigned signature, b, c, d, brand[13] = {0};
    for (unsigned i = 0; i < 3; i++)
        if (!__get_cpuid(0x80000002U + i, &brand[4 * i], &brand[4 * i + 1], &brand[4 * i + 2],
                         &brand[4 * i + 3]))
            return true;
    return !__get_cpuid(1, &signature, &b, &c, &d) ||
           sumi_should_use_512_bits(signature, (const char *)brand);
#else
    return true;
#endif
}

/* VNNI comes in two encodings: AVX-512's, and AVX's of CPUs that need not have AVX-512. */
static bool cpu_has_avx512vnni(void)
{
#if defined(__x86_64__) || defined(__i386__)
    enum { AVX512_VNNI = 1 << 11 }; /* of leaf 7's ECX */
    unsigned a, b, c, d;
    return cpu_has_avx512() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & AVX512_VNNI) != 0;
#else
    return false;
#endif
}

static bool cpu_has_avxvnni(void)
{
#if defined(__x86_64__) || defined(__i386__)
    enum { AVX_VNNI = 1 << 4 }; /* of leaf 7.1's EAX */
    unsigned a, b, c, d;
    return cpu_has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & AVX_VNNI) != 0;
#else
    return false;
#endif
}

/* True where the CPU has tiles and the system lets this process use them. Linux keeps their 8 KiB
 * for threads of processes that have asked; asking again is harmless, and saves a global that would
 * remember the answer. */
static bool cpu_has_amx(void)
{
#if defined(__x86_64__) && defined(__linux__)
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };      /* of leaf 7's EDX */
    enum { XCR0_TILES = 3 << 17 };                        /* the system saves them */
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* of arch_prctl */
    unsigned a, b, c, d, low, high;
    if (!cpu_has_avx512vnni() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & AMX_BF16) == 0 ||
        (d & AMX_TILE) == 0)
        return false;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & XCR0_TILES) == XCR0_TILES &&
           syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}

const sumi_kernels *sumi_kernels_list(int i)
{
    const sumi_kernels *wide_vnni = cpu_has_avx512vnni() ? sumi_kernels_avx512[1] : NULL;
    const sumi_kernels *wide = cpu_has_avx512() ? sumi_kernels_avx512[0] : NULL;
    bool first = cpu_should_use_512_bits();
    const sumi_kernels *const tables[] = {
        sumi_kernels_amx != NULL && cpu_has_amx() ? sumi_kernels_amx : NULL,
        first ? wide_vnni : NULL,
        first ? wide : NULL,
        cpu_has_avxvnni() ? sumi_kernels_avx2[1] : NULL,
        cpu_has_avx2() ? sumi_kernels_avx2[0] : NULL,
        first ? NULL : wide_vnni,
        first ? NULL : wide,
        sumi_kernels_neon,
        sumi_kernels_generic,
    };
    for (size_t t = 0; i >= 0 && t < sizeof tables / sizeof tables[0]; t++)
        if (tables[t] != NULL && i-- == 0)
            return tables[t];
    return NULL;
}

const sumi_kernels *sumi_kernels_pick(const char *name)
{
    const sumi_kernels *table = sumi_kernels_list(0);
    for (int i = 0; name != NULL && table != NULL && strcmp(table->name, name) != 0;)
        table = sumi_kernels_list(++i);
    return table;
}

bool sumi_kernels_same_bits(const char *a, const char *b, bool bf16, bool fixed16)
{
    /* The same code multiplies floats in tables of one width. Products of 16-bit integers are the
     * same with one instruction or two, but isa_avx512.c chooses them only where it has the one;
     * those of bfloat16 on tiles are AMX's own. */
    static const struct {
        const char *name, *floats, *integers, *halves;
    } tables[] = {
        {"avx2", "avx2", "avx2", "avx2"},
        {"avx2vnni", "avx2", "avx2", "avx2"},
        {"avx512", "avx512", "avx512", "avx512"},
        {"avx512vnni", "avx512", "avx512vnni", "avx512vnni"},
        {"amx", "avx512", "avx512vnni", "amx"},
    };
    const char *names[] = {a, b};
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
            if (strcmp(k == 0 ? a : b, tables[i].name) == 0)
                names[k] = bf16      ? tables[i].halves
                           : fixed16 ? tables[i].integers
                                     : tables[i].floats;
    return strcmp(names[0], names[1]) == 0;
}
