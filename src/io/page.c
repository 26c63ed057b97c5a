/*
 * The frame of sumi's HTML pages. They open without a network or a server.
 */
#include "io/page.h"

static const char style[] =
    ":root{color-scheme:light dark;--line:#8884;--soft:#8881;--mark:#2f6fb3}\n"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\n"
    "h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2.5rem 0 .75rem;"
    "border-bottom:1px solid var(--line)}\n"
    ".state{opacity:.75;margin:.25rem 0}\n"
    "img{max-width:100%;height:auto}.plot{background:#fff;border-radius:.5rem}\n"
    ".grids{display:flex;flex-wrap:wrap;gap:1.5rem}figure{margin:0;max-width:22rem}\n"
    "figure img{image-rendering:pixelated;border:1px solid var(--line)}\n"
    "figure.wide{max-width:100%;margin-bottom:1rem}\n"
    "figcaption{font-size:.9rem;opacity:.75}\n"
    "table{border-collapse:collapse}th,td{text-align:left;padding:.2rem 1.5rem .2rem 0;"
    "border-bottom:1px solid var(--soft);vertical-align:top;overflow-wrap:anywhere}\n"
    "th{font-weight:600;white-space:nowrap}td.n,th.n{text-align:right;"
    "font-variant-numeric:tabular-nums;white-space:nowrap}\n"
    "td.why{opacity:.75;font-size:.9rem}\n"
    ".bar{display:inline-block;height:.8rem;background:var(--mark);border-radius:.15rem}\n"
    ".columns{display:flex;flex-wrap:wrap;gap:0 3rem}code{font-size:.9em}\n";

void sumi_page_text(FILE *page, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", page);
            break;
        case '<':
            fputs("&lt;", page);
            break;
        case '>':
            fputs("&gt;", page);
            break;
        case '"':
            fputs("&quot;", page);
            break;
        case '\'':
            fputs("&#39;", page);
            break;
        default:
            fputc(*text, page);
        }
    }
}

void sumi_page_printf(FILE *page, const char *format, ...)
{
    char text[1001];
    va_list args;
    va_start(args, format);
    sumi_vformat(text, sizeof text, format, args);
    va_end(args);
    fputs(text, page);
}

void sumi_page_begin(FILE *page, const char *title, const char *state, int reload)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n",
          page);
    if (reload)
        fprintf(page, "<meta http-equiv=\"refresh\" content=\"%d\">\n", reload);
    fputs("<title>", page);
    sumi_page_text(page, title);
    fprintf(page, " - sumi</title>\n<style>\n%s</style></head><body>\n<h1>", style);
    sumi_page_text(page, title);
    fputs("</h1>\n<p class=\"state\">", page);
    sumi_page_text(page, state);
    fputs("</p>\n", page);
}

void sumi_page_end(FILE *page)
{
    fputs("</body></html>\n", page);
}
