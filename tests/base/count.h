/* How often a test does something: a few times in a check, more often where a variable says so. */
#ifndef SUMI_TEST_COUNT_H
#define SUMI_TEST_COUNT_H

#include <stdlib.h>

/* The number in this variable of the environment, or the usual one. */
static inline int test_count(const char *variable, int usual)
{
    const char *text = getenv(variable);
    return text && atoi(text) > 0 ? atoi(text) : usual;
}

#endif
