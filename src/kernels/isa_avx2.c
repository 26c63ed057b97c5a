/*
 * The tables for AVX2 with FMA, without and with AVX-VNNI: 16 registers hold 6 x 2 accumulators; L2
 * is taken to be 512 KiB.
 */
#include "kernels/isa.h"

#if defined(__AVX2__) && defined(__FMA__)
#define SUMI_VB 32
#define MR 6
#define STRIP_VECTORS 8
#define TILE_FLOATS (64 * 1024)
#define FIXED16_PAYS 2
#define TABLE_NAME "avx2"
#define TABLE_VNNI "avx2vnni"
#include "kernels/body_table.h"

const sumi_kernels *const sumi_kernels_avx2[SUMI_ISA_TABLES] = ISA_TABLES(table);
#else
const sumi_kernels *const sumi_kernels_avx2[SUMI_ISA_TABLES] = {NULL, NULL};
#endif
