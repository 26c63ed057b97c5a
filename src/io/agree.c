/*
 * Whether all ranks have the same: settings as JSON, compared with rank 0's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ranks.h"
#include "io/internal.h"

enum { TEXT_BYTES = 1 << 16 };

/* A value as in a message. */
static void value_text(const json_t *value, char out[80])
{
    json_t *list = value ? json_pack("[O]", value) : NULL;
    char *text = list ? sumi_json_compact(list) : NULL;
    int length = text ? (int)strlen(text) - 2 : 0; /* without the brackets */
    if (length > 0)
        snprintf(out, 80, "%.*s", length < 70 ? length : 70, text + 1);
    else
        snprintf(out, 80, "nothing");
    free(text);
    json_decref(list);
}

static sumi_status compare(const json_t *mine, const json_t *first, sumi_error *err)
{
    const char *part, *key;
    const json_t *of_part, *value;
    json_object_foreach((json_t *)first, part, of_part)
    {
        json_object_foreach((json_t *)of_part, key, value)
        {
            const json_t *own = json_object_get(json_object_get(mine, part), key);
            char here[80], there[80];
            if (json_equal(own, value))
                continue;
            value_text(own, here);
            value_text(value, there);
            return sumi_fail(err, SUMI_EINVAL,
                             "%s %s is %s here and %s at rank 0: all ranks need the same", part,
                             key, here, there);
        }
    }
    return SUMI_OK;
}

/* Returns its length; 0 where there is no room. */
static size_t write_text(const json_t *json, char *out)
{
    char *text = sumi_json_compact(json);
    size_t length = text ? strlen(text) : 0;
    length = length > TEXT_BYTES ? 0 : length;
    if (length > 0)
        memcpy(out, text, length);
    free(text);
    return length;
}

/* What is compared has gone through a text on every rank, and so lost the same digits. */
static sumi_status compare_texts(const sumi_ranks *ranks, const json_t *json, char *text,
                                 sumi_error *err)
{
    size_t length = write_text(json, text);
    json_t *mine = sumi_json_load(text, length, 0, NULL);
    ranks->tell(ranks->user, &length, sizeof length);
    ranks->tell(ranks->user, text, TEXT_BYTES);
    json_t *first = sumi_json_load(text, length, 0, NULL);
    sumi_status status = first && mine ? compare(mine, first, err)
                                       : sumi_fail_memory(err, "what ranks have", TEXT_BYTES);
    json_decref(mine);
    json_decref(first);
    return sumi_ranks_meet(ranks, status, err);
}

sumi_status sumi_json_agree(const sumi_ranks *ranks, sumi_status status, const json_t *mine,
                            sumi_error *err)
{
    char *text = status == SUMI_OK ? sumi_calloc(TEXT_BYTES, 1) : NULL;
    if (status == SUMI_OK && !(mine && text))
        status = sumi_fail_memory(err, "what ranks have", TEXT_BYTES);
    status = sumi_ranks_meet(ranks, status, err);
    if (status == SUMI_OK)
        status = compare_texts(ranks, mine, text, err);
    free(text);
    return status;
}
