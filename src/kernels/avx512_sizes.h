/*
 * What isa_avx512.c and isa_amx.c define before body_table.h, the same for both: in float32 their
 * tables give the same bits. 32 registers hold 14 x 2 accumulators; 14 divides the 28, 14 and 2 x 7
 * pixels of a row of the usual small images. L2 is taken to be 1 MiB or more.
 */
#define SUMI_VB 64
#define MR 14
#define STRIP_VECTORS 4
#define TILE_FLOATS (96 * 1024)
#define FIXED16_PAYS 1
