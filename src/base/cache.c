/* Where a program keeps what it can make again. */
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>

/* By the XDG base directory specification, which ignores relative values. */
bool sumi_cache_folder(const char *name, char *out, size_t size)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool own = xdg && *xdg == '/'; /* a folder that is the user's cache */
    char below[64];
    if (!own && !(home && *home == '/'))
        return false;
    int length = snprintf(below, sizeof below, "%ssumi%s%s", own ? "" : ".cache/", name ? "/" : "",
                          name ? name : "");
    return length < (int)sizeof below &&
           sumi_path_join(out, size, own ? xdg : home, below, NULL) == SUMI_OK;
}
