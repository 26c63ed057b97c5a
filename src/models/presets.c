/*
 * The names of recipes: sets of defaults for a model and its training. A model keeps the name of
 * its own; what a recipe says is in train/recipes.c.
 */
#include "models/models.h"

#include <string.h>

/* What version 0.1 called the tutorial's. */
static const char FORMER_NAME[] = "seed";

static const sumi_row presets[] = {
    [SUMI_PRESET_STANDARD] = {"standard", "a modern network, chosen by data and budget"},
    [SUMI_PRESET_TUTORIAL] = {"tutorial", "the tutorial's, to the bit"},
};

enum { PRESETS = sizeof presets / sizeof *presets };

const sumi_row *sumi_preset_row(int index)
{
    return index >= 0 && index < PRESETS ? &presets[index] : NULL;
}

int sumi_preset_find(const char *name)
{
    for (int i = 0; i < PRESETS; i++)
        if (strcmp(name, presets[i].name) == 0)
            return i;
    return strcmp(name, FORMER_NAME) == 0 ? SUMI_PRESET_TUTORIAL : -1;
}

sumi_status sumi_preset_check(const char *name, sumi_error *err)
{
    char known[128] = "";
    if (name && sumi_preset_find(name) >= 0)
        return SUMI_OK;
    for (int i = 0; i < PRESETS; i++)
        sumi_names_add(known, sizeof known, presets[i].name);
    return sumi_fail(err, SUMI_EINVAL, "unknown preset '%s'; there are: %s", name ? name : "(null)",
                     known);
}
