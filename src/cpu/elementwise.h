/* The elementwise entries of the backend's table, without a device. */
#ifndef SUMI_CPU_ELEMENTWISE_H
#define SUMI_CPU_ELEMENTWISE_H

#include "graph/backend.h"

void sumi_elementwise_mix(sumi_pool *pool, const sumi_mixing *work);

#endif
