/* The kernels' source, as embed.sh puts it into the program. */
#ifndef SUMI_OPENCL_SOURCE_H
#define SUMI_OPENCL_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

extern const unsigned char sumi_cl_source[];
extern const size_t sumi_cl_source_size;

/* True for a kept program that is whole: its magic, the hash of what follows, and that. */
bool sumi_cl_kept_check(const unsigned char *file, size_t size);

#endif
