/*
 * The table for AVX-512 with AMX: isa_avx512.c's, and products of bfloat16 on tiles (body_tiles.h).
 * Tiles have to be asked for (kernels.c), which is written for Linux alone.
 */
#include "kernels/isa.h"

#if (defined(__AMX_BF16__) || defined(__AMXBF16__)) && defined(__AVX512F__) &&                     \
    defined(__x86_64__) && defined(__linux__) /* Clang 14 has the second name */
#define SUMI_AMX
#define TABLE_VNNI "amx"
#include "kernels/avx512_sizes.h"
#include "kernels/body_table.h"

const sumi_kernels *const sumi_kernels_amx = table;
#else
const sumi_kernels *const sumi_kernels_amx = NULL;
#endif
