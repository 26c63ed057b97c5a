/* The tables by kind, for whoever lists names or looks one up. */
#include "diffusion/diffusion.h"

#include <stdio.h>
#include <string.h>

static const char *const kinds[] = {
    [SUMI_CHOICE_OBJECTIVE] = "objective", [SUMI_CHOICE_SCHEDULE] = "schedule",
    [SUMI_CHOICE_WEIGHTING] = "weighting", [SUMI_CHOICE_LAW] = "law",
    [SUMI_CHOICE_SPACING] = "spacing",     [SUMI_CHOICE_SOLVER] = "solver",
};

const sumi_row *sumi_choice_at(sumi_choice choice, int index)
{
    /* Rows begin with their sumi_row. */
    const void *row = NULL;
    switch (choice) {
    case SUMI_CHOICE_OBJECTIVE:
        row = sumi_objective_row(index);
        break;
    case SUMI_CHOICE_SCHEDULE:
        row = sumi_schedule_row(index);
        break;
    case SUMI_CHOICE_WEIGHTING:
        row = sumi_weighting_row(index);
        break;
    case SUMI_CHOICE_LAW:
        row = sumi_law_row(index);
        break;
    case SUMI_CHOICE_SPACING:
        row = sumi_spacing_row(index);
        break;
    case SUMI_CHOICE_SOLVER:
        row = sumi_solver_row(index);
        break;
    }
    return row;
}

void sumi_names_add(char *out, size_t size, const char *name)
{
    size_t used = strlen(out);
    int more = snprintf(out + used, size - used, "%s%s", used ? ", " : "", name);
    if (more < 0 || (size_t)more >= size - used)
        out[used] = '\0';
}

sumi_status sumi_choice_find(sumi_choice choice, const char *name, int *index, sumi_error *err)
{
    char known[384] = "";
    const sumi_row *row;
    for (int i = 0; (row = sumi_choice_at(choice, i)) != NULL; i++) {
        if (!name || strcmp(name, row->name) == 0) {
            *index = i;
            return SUMI_OK;
        }
        sumi_names_add(known, sizeof known, row->name);
    }
    return sumi_fail(err, SUMI_EINVAL, "unknown %s \"%.60s\", expected one of: %s", kinds[choice],
                     name, known);
}
