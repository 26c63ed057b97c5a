/*
 * The tables that the isa_*.c files export, one symbol each: NULL where the file was compiled for a
 * target that lacks the instruction set, so that a plain `cc *.c` still links.
 */
#ifndef SUMI_ISA_H
#define SUMI_ISA_H

#include "kernels/kernels.h"

extern const sumi_kernels *const sumi_kernels_generic;
extern const sumi_kernels *const sumi_kernels_avx2;
extern const sumi_kernels *const sumi_kernels_avx512;
extern const sumi_kernels *const sumi_kernels_amx;
extern const sumi_kernels *const sumi_kernels_neon;

#endif
