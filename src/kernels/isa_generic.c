/*
 * The table for any CPU: 16-byte vectors, which the compiler maps to SSE2, NEON or plain scalars.
 */
#include "kernels/isa.h"

#define SUMI_VB 16
#define MR 6
#define STRIP_VECTORS 8
#define TILE_FLOATS (48 * 1024)
#define FIXED16_PAYS 0
#define TABLE_NAME "generic"
#include "kernels/body_table.h"

const sumi_kernels *const sumi_kernels_generic = table;
