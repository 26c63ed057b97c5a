/*
 * Chooses a kernel table: the widest instruction set that both this build and this CPU have.
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
    const sumi_kernels *const tables[] = {
        sumi_kernels_amx != NULL && cpu_has_amx() ? sumi_kernels_amx : NULL,
        cpu_has_avx512vnni() ? sumi_kernels_avx512[1] : NULL,
        cpu_has_avx512() ? sumi_kernels_avx512[0] : NULL,
        cpu_has_avxvnni() ? sumi_kernels_avx2[1] : NULL,
        cpu_has_avx2() ? sumi_kernels_avx2[0] : NULL,
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
