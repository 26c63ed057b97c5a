/*
 * The table for AVX2 with FMA: 16 registers hold 6 x 2 accumulators; L2 is taken to be 512 KiB.
 */
#include "kernels/isa.h"

#if defined(__AVX2__) && defined(__FMA__)
#define SUMI_VB 32
#define MR 6
#define STRIP_VECTORS 8
#define TILE_FLOATS (64 * 1024)
#define TABLE_NAME "avx2"
#include "kernels/body_table.h"

const sumi_kernels *const sumi_kernels_avx2 = &table;
#else
const sumi_kernels *const sumi_kernels_avx2 = NULL;
#endif
