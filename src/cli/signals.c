/*
 * A thread that waits for signals; signals.h says why.
 */
#include "signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sumi_signals {
    pthread_t thread;
    pthread_mutex_t lock; /* of all below */
    sigset_t set;
    sumi_context *ctx;
    const char *message;
    bool seen, closing;
};

/* Wakes the waiting thread for the end of the program; never sent by a terminal. */
enum { WAKE = SIGUSR1, EXIT_CODE = 130 };

static void obey(sumi_signals *signals)
{
    if (signals->seen || signals->ctx == NULL)
        _exit(EXIT_CODE);
    signals->seen = true;
    sumi_cancel(signals->ctx);
    if (signals->message != NULL &&
        write(STDERR_FILENO, signals->message, strlen(signals->message)) < 0)
        signals->message = NULL;
}

static void *wait_for_signals(void *arg)
{
    sumi_signals *signals = arg;
    for (;;) {
        int number = 0;
        if (sigwait(&signals->set, &number) != 0)
            continue;
        pthread_mutex_lock(&signals->lock);
        bool closing = signals->closing;
        if (!closing && number != WAKE)
            obey(signals);
        pthread_mutex_unlock(&signals->lock);
        if (closing)
            return NULL;
    }
}

sumi_signals *sumi_signals_start(void)
{
    static const int wanted[] = {SIGINT, SIGTERM, SIGHUP};
    sumi_signals *signals = calloc(1, sizeof *signals);
    if (signals == NULL)
        return NULL;
    sigemptyset(&signals->set);
    sigaddset(&signals->set, WAKE);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        struct sigaction action;
        if (sigaction(wanted[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(&signals->set, wanted[i]);
    }
    pthread_mutex_init(&signals->lock, NULL);
    pthread_sigmask(SIG_BLOCK, &signals->set, NULL);
    if (pthread_create(&signals->thread, NULL, wait_for_signals, signals) != 0) {
        pthread_sigmask(SIG_UNBLOCK, &signals->set, NULL);
        pthread_mutex_destroy(&signals->lock);
        free(signals);
        return NULL;
    }
    return signals;
}

void sumi_signals_watch(sumi_signals *signals, sumi_context *ctx, const char *message)
{
    if (signals == NULL)
        return;
    pthread_mutex_lock(&signals->lock);
    signals->ctx = ctx;
    signals->message = message;
    pthread_mutex_unlock(&signals->lock);
}

bool sumi_signals_seen(sumi_signals *signals)
{
    if (signals == NULL)
        return false;
    pthread_mutex_lock(&signals->lock);
    bool seen = signals->seen;
    pthread_mutex_unlock(&signals->lock);
    return seen;
}

void sumi_signals_stop(sumi_signals *signals)
{
    if (signals == NULL)
        return;
    pthread_mutex_lock(&signals->lock);
    signals->closing = true;
    pthread_mutex_unlock(&signals->lock);
    pthread_kill(signals->thread, WAKE);
    pthread_join(signals->thread, NULL);
    pthread_mutex_destroy(&signals->lock);
    free(signals);
}
