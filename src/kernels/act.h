/* The activations: what graphs name and kernels compute. */
#ifndef SUMI_KERNELS_ACT_H
#define SUMI_KERNELS_ACT_H

/* RELU: max(z, 0), its derivative at 0 is 0. SILU: z / (1 + exp(-z)). */
typedef enum { SUMI_ACT_NONE, SUMI_ACT_RELU, SUMI_ACT_SILU } sumi_act;

#endif
