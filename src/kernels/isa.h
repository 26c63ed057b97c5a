/*
 * The tables that the isa_*.c files export, one symbol each: NULL where the file was compiled for a
 * target that lacks the instruction set, so that a plain `cc *.c` still links. Two have a second
 * table, of the same functions, that multiplies 16-bit integers with VNNI.
 */
#ifndef SUMI_ISA_H
#define SUMI_ISA_H

#include "kernels/kernels.h"

#define SUMI_ISA_TABLES 2
/* The elements of an array of one or two tables. */
#define ISA_TABLES(table)                                                                          \
    {                                                                                              \
        (table), sizeof(table) / sizeof *(table) > 1 ? (table) + 1 : NULL                          \
    }

/* False for CPUs that have vectors of 512 bits and are faster without: signature is EAX of CPUID's
 * leaf 1, brand the CPU's name there. */
bool sumi_should_use_512_bits(unsigned signature, const char *brand);

extern const sumi_kernels *const sumi_kernels_generic;
extern const sumi_kernels *const sumi_kernels_avx2[SUMI_ISA_TABLES];
extern const sumi_kernels *const sumi_kernels_avx512[SUMI_ISA_TABLES];
extern const sumi_kernels *const sumi_kernels_amx;
extern const sumi_kernels *const sumi_kernels_neon;

#endif
