/*
 * System calls that fail, end the process, or are recorded: the linker sends those of sumi's
 * objects through the functions of crash.c.
 */
#ifndef SUMI_TEST_CRASH_H
#define SUMI_TEST_CRASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    CRASH_NOT,    /* calls are counted, and made */
    CRASH_KILL,   /* SIGKILL instead of call number `at` */
    CRASH_FAIL,   /* call number `at` fails with `error`; `persistent`: and all that follow */
    CRASH_SHORT,  /* a write takes at most `most` bytes */
    CRASH_RECORD, /* they are made, and written down for crash_replay */
} crash_kind;

typedef struct {
    crash_kind kind;
    long at, calls; /* calls counts from 1 */
    int error;
    bool persistent;
    bool memory; /* CRASH_FAIL is for allocations, and for nothing else */
    size_t most;
} crash_plan;

extern crash_plan crash;

/* Begins a plan; calls are 0. */
void crash_begin(crash_plan plan);
/* Ends it and returns how many calls there were. */
long crash_end(void);
/* Lays what was recorded over a copy of the tree as it was, as a disk may have it that lost its
 * power at some moment: names as they were at some time since the last folder was synced, contents
 * that were not synced lost, cut or zero. Each seed is another moment. */
void crash_replay(uint64_t seed);
void crash_forget(void);

#endif
