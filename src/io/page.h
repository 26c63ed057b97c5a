/*
 * What sumi's pages have in common: one style, escaped text, no links to elsewhere.
 */
#ifndef SUMI_IO_PAGE_H
#define SUMI_IO_PAGE_H

#include <stdio.h>

#include "base/base.h"

/* Text that comes from outside, safe between tags and in attributes. */
void sumi_page_text(FILE *page, const char *text);
/* fprintf with numbers as they are in the C locale; at most 1,000 bytes. */
void sumi_page_printf(FILE *page, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* From the first byte to the end of the heading and the line below it. reload: seconds after which
 * a browser reads the page again, 0: never. */
void sumi_page_begin(FILE *page, const char *title, const char *state, int reload);
void sumi_page_end(FILE *page);

#endif
