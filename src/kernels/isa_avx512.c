/*
 * The tables for AVX-512, without and with its VNNI.
 */
#include "kernels/isa.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define TABLE_NAME "avx512"
#define TABLE_VNNI "avx512vnni"
#include "kernels/avx512_sizes.h"
#include "kernels/body_table.h"

const sumi_kernels *const sumi_kernels_avx512[SUMI_ISA_TABLES] = ISA_TABLES(table);
#else
const sumi_kernels *const sumi_kernels_avx512[SUMI_ISA_TABLES] = {NULL, NULL};
#endif
