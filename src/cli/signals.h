/*
 * Ctrl-C and its relatives, without a signal handler.
 *
 * SIGINT, SIGTERM and SIGHUP are blocked in every thread, and one thread waits for them: so there
 * is no handler, no global, and nothing that is unsafe to call. The first signal asks the watched
 * context to stop in good order; the second, or one that comes while no context is watched, ends
 * the process at once with 130. A signal that was ignored when sumi started (nohup) stays ignored.
 */
#ifndef SUMI_CLI_SIGNALS_H
#define SUMI_CLI_SIGNALS_H

#include "sumi.h"

typedef struct sumi_signals sumi_signals;

/* Must come before any other thread is started. NULL where the thread cannot be made. */
sumi_signals *sumi_signals_start(void);
/* ctx: what the first signal cancels, or NULL. message (may be NULL) is then written to standard
 * error; it must live until the next call. */
void sumi_signals_watch(sumi_signals *signals, sumi_context *ctx, const char *message);
/* Whether a signal has come. */
bool sumi_signals_seen(sumi_signals *signals);
void sumi_signals_stop(sumi_signals *signals);

#endif
