/*
 * The table for 64-bit ARM: 32 registers hold 10 x 2 accumulators.
 */
#include "kernels/isa.h"

#if defined(__aarch64__)
#define SUMI_VB 16
#define SUMI_NEON
#define MR 10
#define STRIP_VECTORS 8
#define TILE_FLOATS (64 * 1024)
#define FIXED16_PAYS 0
#define TABLE_NAME "neon"
#include "kernels/body_table.h"

const sumi_kernels *const sumi_kernels_neon = table;
#else
const sumi_kernels *const sumi_kernels_neon = NULL;
#endif
