/*
 * Arrays that grow by doubling.
 */
#ifndef SUMI_GROW_H
#define SUMI_GROW_H

#include <stddef.h>

/* The array of count elements with room for one more: twice as many, or `first`, where it has none.
 * NULL where memory is out: then the old array stays. */
void *sumi_grow(void *array, size_t *capacity, size_t count, size_t size, size_t first);

#endif
