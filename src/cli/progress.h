/*
 * How a long call is shown while it runs: a bar on a terminal, a line every few seconds otherwise,
 * a line of JSON with --json, nothing with --quiet.
 */
#ifndef SUMI_CLI_PROGRESS_H
#define SUMI_CLI_PROGRESS_H

#include "cli.h"

typedef enum { SUMI_SHOW_NOTHING, SUMI_SHOW_LINES, SUMI_SHOW_BAR, SUMI_SHOW_JSON } sumi_show;

typedef struct {
    sumi_show show;
    bool unicode, colour;
    bool drawn;            /* a bar stands on the terminal's current line */
    bool training;         /* a training step was seen */
    double shown_at;       /* when the last update was shown */
    double loss;           /* smoothed, for the eye */
    int64_t losses;        /* steps that it is made of */
    int64_t steps, epochs; /* what was reached */
    double epoch_loss;     /* of the last whole epoch */
    double elapsed_s;
} sumi_bar;

void sumi_bar_begin(sumi_bar *bar, const sumi_cli *cli);
/* A sumi_progress_fn; user is the bar. */
int sumi_bar_update(void *user, const sumi_progress *progress);
/* Clears the line, so that what follows starts on a clean one. */
void sumi_bar_end(sumi_bar *bar);

/* The text of one update, of at most width columns: exposed for the tests. */
void sumi_bar_text(const sumi_bar *bar, const sumi_progress *progress, int width, char *out,
                   size_t size);

#endif
