/*
 * Chooses a kernel table: the widest instruction set that both this build and this CPU have.
 */
#include "kernels/isa.h"

#include <string.h>

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

const sumi_kernels *sumi_kernels_list(int i)
{
    const sumi_kernels *const tables[] = {
        cpu_has_avx512() ? sumi_kernels_avx512 : NULL,
        cpu_has_avx2() ? sumi_kernels_avx2 : NULL,
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
