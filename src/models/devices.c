/*
 * What there is to compute on: the list of backends, and the names by which users call their
 * devices.
 */
#include "models/models.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "opencl/opencl.h"

enum { DEVICES_MAX = 64 };

const sumi_backend *sumi_backend_at(int index)
{
    switch (index) {
    case 0:
        return sumi_cpu_backend();
    case 1:
        return sumi_opencl_backend();
    default:
        return NULL;
    }
}

bool sumi_device_row(int index, sumi_device_facts *out)
{
    sumi_device_facts facts[DEVICES_MAX];
    const sumi_backend *backend;
    for (int b = 0; (backend = sumi_backend_at(b)) != NULL; b++) {
        int count = backend->list(facts, DEVICES_MAX, NULL);
        count = count < DEVICES_MAX ? count : DEVICES_MAX;
        if (index < count) {
            *out = facts[index];
            return true;
        }
        index -= count;
    }
    return false;
}

/* ---- Names ----------------------------------------------------------------------------------- */

typedef bool (*is_one)(const sumi_device_facts *facts);

static bool is_nvidia(const sumi_device_facts *facts)
{
    return facts->is_gpu && strstr(facts->vendor, "NVIDIA");
}

static bool is_apple(const sumi_device_facts *facts)
{
    return facts->is_gpu && strstr(facts->vendor, "Apple");
}

/* A graphics card where there is one, else whatever there is. */
static bool is_any(const sumi_device_facts *facts)
{
    (void)facts;
    return true;
}

static bool is_card(const sumi_device_facts *facts)
{
    return facts->is_gpu;
}

static int first_of(const sumi_device_facts *facts, int count, is_one wanted)
{
    for (int i = 0; i < count; i++)
        if (facts[i].usable && wanted(&facts[i]))
            return i;
    return -1;
}

/* The number after "opencl:"; -1: it is none. */
static int number_of(const char *text)
{
    char *end = NULL;
    long number = *text >= '0' && *text <= '9' ? strtol(text, &end, 10) : -1;
    return end && *end == '\0' && number >= 0 && number < 1000000 ? (int)number : -1;
}

/* "--device NAME is not there: ..." with all that is. */
static sumi_status fail_absent(const char *name, const sumi_device_facts *facts, int count,
                               const char *why, sumi_error *err)
{
    sumi_text list = {0};
    sumi_text_puts(&list, "cpu");
    for (int i = 0; i < count; i++)
        sumi_text_printf(&list, ", %s (%s)%s", facts[i].id, facts[i].name,
                         facts[i].usable ? "" : ", which cannot be used");
    sumi_status status =
        sumi_fail(err, SUMI_EUNSUPPORTED, "device %s is not there; there is: %s%s%s", name,
                  list.failed ? "cpu" : list.data, count == 0 ? "; " : "", count == 0 ? why : "");
    sumi_text_free(&list);
    return status;
}

static sumi_status find_opencl(const char *name, int *index, sumi_error *err)
{
    sumi_device_facts facts[DEVICES_MAX];
    sumi_error why = {""};
    int count = sumi_opencl_backend()->list(facts, DEVICES_MAX, &why), found;
    count = count < DEVICES_MAX ? count : DEVICES_MAX;
    if (strcmp(name, "cuda") == 0) {
        found = first_of(facts, count, is_nvidia);
    } else if (strcmp(name, "mps") == 0) {
        found = first_of(facts, count, is_apple);
    } else if (strcmp(name, "opencl") == 0) {
        found = first_of(facts, count, is_card);
        found = found >= 0 ? found : first_of(facts, count, is_any);
    } else {
        found = number_of(name + strlen("opencl:"));
        found = found < count ? found : -1;
    }
    if (found < 0)
        return fail_absent(name, facts, count, why.text, err);
    *index = found;
    return SUMI_OK;
}

/* In the order cuda, mps, cpu; a card that is not there is no mistake. */
static void find_best(const sumi_backend **backend, int *index)
{
    static const char *const names[] = {"cuda", "mps"};
    for (int i = 0; i < 2 && sumi_opencl_may_have_cards(); i++)
        if (find_opencl(names[i], index, NULL) == SUMI_OK) {
            *backend = sumi_opencl_backend();
            return;
        }
}

sumi_status sumi_device_find(const char *name, const sumi_backend **backend, int *index,
                             sumi_error *err)
{
    *index = 0;
    *backend = sumi_cpu_backend();
    if (strcmp(name, "auto") == 0)
        find_best(backend, index);
    if (strcmp(name, "auto") == 0 || strcmp(name, "cpu") == 0)
        return SUMI_OK;
    bool numbered = strncmp(name, "opencl:", 7) == 0 && number_of(name + 7) >= 0;
    if (!numbered && strcmp(name, "cuda") != 0 && strcmp(name, "mps") != 0 &&
        strcmp(name, "opencl") != 0)
        return sumi_fail(err, SUMI_EINVAL,
                         "device is '%s', expected auto, cpu, cuda, mps, opencl or opencl:N", name);
    *backend = sumi_opencl_backend();
    return find_opencl(name, index, err);
}
