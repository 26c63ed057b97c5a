/*
 * The table for AVX-512: 32 registers hold 14 x 2 accumulators; 14 divides the 28, 14 and 2 x 7
 * pixels of a row of the usual small images. L2 is taken to be 1 MiB or more.
 */
#include "kernels/isa.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define SUMI_VB 64
#define MR 14
#define STRIP_VECTORS 4
#define TILE_FLOATS (96 * 1024)
#define TABLE_NAME "avx512"
#include "kernels/body_table.h"

const sumi_kernels *const sumi_kernels_avx512 = &table;
#else
const sumi_kernels *const sumi_kernels_avx512 = NULL;
#endif
