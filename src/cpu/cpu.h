/*
 * cpu: the backend that computes a graph on this machine's cores.
 *
 * Does: the plan (fusion, buffers by lifetime, gradient bookkeeping); one file for each operation
 * (op_*.c); the executor, which runs forward, loss and backward and threads over the kernels.
 * Nothing is allocated once a network exists. Does not: know an architecture, a file, an optimiser.
 */
#ifndef SUMI_CPU_H
#define SUMI_CPU_H

#include "graph/backend.h"
#include "kernels/kernels.h"

/* Its memory is the host's own. */
const sumi_backend *sumi_cpu_backend(void);

/* What a device of this backend is. */
sumi_pool *sumi_cpu_pool(const sumi_device *device);
const sumi_kernels *sumi_cpu_kernels(const sumi_device *device);

/* A network without a device, on the weights that its graph has by now; the other functions of the
 * backend's table by their names. */
sumi_status sumi_network_create(const sumi_graph *graph, const sumi_kernels *kernels,
                                sumi_pool *pool, const sumi_plan_config *config, sumi_network **out,
                                sumi_error *err);
void sumi_network_free(sumi_network *network);
void sumi_network_weights_changed(sumi_network *network);
void sumi_network_predict(sumi_network *network, const sumi_inputs *in, int n, float *const *out);
double sumi_network_gradients(sumi_network *network, const sumi_inputs *in, int n,
                              float *gradients);
double sumi_network_loss(const sumi_network *network);
void sumi_network_update_statistics(sumi_network *network, float *statistics);
bool sumi_network_statistics_finite(const sumi_network *network);
void sumi_network_profile(sumi_network *network, double *seconds);
size_t sumi_network_bytes(const sumi_network *network);
char *sumi_network_describe(const sumi_network *network);
double sumi_node_macs(const sumi_network *network, int node);
double sumi_node_bytes(const sumi_network *network, int node, int n, bool backward);

#endif
