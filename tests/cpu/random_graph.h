/*
 * Graphs drawn at random from all operations, for tests: a seed gives always the same graph.
 */
#ifndef SUMI_TEST_RANDOM_GRAPH_H
#define SUMI_TEST_RANDOM_GRAPH_H

#include "graph/graph.h"

enum { CONDITION_MAX = 5 }; /* numbers that training gives with an image */

typedef struct {
    uint64_t seed;
    uint64_t drawn; /* numbers so far */
} dice;

/* From 0 to below count. */
int dice_below(dice *d, int count);
/* A graph with parameters that are drawn, too; its status is SUMI_OK. Most have few channels; some
 * have more than a vector's, and few are wide (true is returned), from 32 to 96. */
bool random_graph(sumi_graph *graph, dice *d);

#endif
