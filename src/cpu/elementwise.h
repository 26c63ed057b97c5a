/* The elementwise entries of the backend's table, without a device. */
#ifndef SUMI_CPU_ELEMENTWISE_H
#define SUMI_CPU_ELEMENTWISE_H

#include "graph/backend.h"
#include "kernels/kernels.h"

void sumi_elementwise_gather(const sumi_gathering *work);
void sumi_elementwise_mix(sumi_pool *pool, const sumi_mixing *work);
void sumi_elementwise_update(sumi_pool *pool, const sumi_kernels *kernels,
                             const sumi_update *update);
bool sumi_elementwise_finite(sumi_pool *pool, const sumi_kernels *kernels, const float *x,
                             size_t count);

double sumi_elementwise_sum_squares(sumi_pool *pool, const float *x, size_t count);

/* orthogonal.c: as the table's. */
sumi_status sumi_orthogonaliser_create(sumi_pool *pool, const sumi_kernels *kernels,
                                       const sumi_matrix *matrices, int count,
                                       sumi_orthogonaliser **out, sumi_error *err);
void sumi_orthogonaliser_free(sumi_orthogonaliser *orthogonaliser);
void sumi_orthogonalise(sumi_orthogonaliser *orthogonaliser, double momentum, float *gradients,
                        float *moments);

/* ledger.c: as the table's; closed: false for none. */
sumi_status sumi_ledger_create(sumi_pool *pool, const sumi_kernels *kernels, int steps,
                               sumi_ledger **out, sumi_error *err);
void sumi_ledger_free(sumi_ledger *ledger);
void sumi_ledger_begin(sumi_ledger *ledger, int step);
void sumi_ledger_take(sumi_ledger *ledger, sumi_network *network, double share,
                      const float *gradients, size_t count);
void sumi_ledger_clip(sumi_ledger *ledger, double most, float *gradients, size_t count);
void sumi_ledger_read(const sumi_ledger *ledger, int steps, sumi_entry *out);
bool sumi_ledger_closed(const sumi_ledger *ledger);

/* What this machine does at most (measure.c): as the table's. */
double sumi_cpu_measure_peak(sumi_pool *pool, const sumi_kernels *kernels);
sumi_status sumi_cpu_measure_bandwidth(sumi_pool *pool, double *bytes_per_s, sumi_error *err);

/* sampling.c */
void sumi_elementwise_limit(sumi_pool *pool, const sumi_limits *limits, int n, size_t count,
                            float *x);
void sumi_elementwise_blend(sumi_pool *pool, const float *mask, const float *other, size_t count,
                            float *x);
void sumi_elementwise_measure(sumi_pool *pool, const sumi_tolerance *tolerance, int n, size_t count,
                              const float *error, const float *a, const float *b, double *out);

#endif
