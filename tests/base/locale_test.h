/* Locales whose decimal point is not a point, made by localedef. */
#ifndef SUMI_TEST_LOCALE_H
#define SUMI_TEST_LOCALE_H

#include <locale.h>

#include "base/temp_folder.h"

/* localedef takes seconds, so the build keeps what it made; tests that run side by side each make
 * their own and rename it. */
static inline bool make_locale(temp_folder *temp, const char *source, const char *charmap)
{
    char command[1200];
    snprintf(command, sizeof command,
             "d=" SUMI_BINARY_DIR "/locale; [ -f $d/%s/LC_NUMERIC ] || { mkdir -p $d && localedef "
             "-i %s -f %s %s/made && { mv -T %s/made $d/%s || [ -f $d/%s/LC_NUMERIC ]; }; } "
             ">/dev/null 2>&1",
             source, source, charmap, temp->path, temp->path, source, source);
    return system(command) == 0;
}

/* As a program does that calls setlocale(LC_ALL, ""): false where the system can make no such
 * locale, which takes glibc and its sources of locales (Debian's package `locales`). */
static inline bool enter_locale(temp_folder *temp, const char *source, const char *charmap)
{
    setenv("LOCPATH", SUMI_BINARY_DIR "/locale", 1);
    setenv("LC_ALL", source, 1);
    return make_locale(temp, source, charmap) && setlocale(LC_ALL, "") != NULL;
}

static inline void leave_locale(void)
{
    setlocale(LC_ALL, "C");
    unsetenv("LC_ALL");
    unsetenv("LOCPATH");
}

#endif
