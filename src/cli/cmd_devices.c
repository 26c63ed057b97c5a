/*
 * sumi devices: what there is to compute on.
 */
#include "cli.h"

static void print_device(const sumi_device_info_t *d)
{
    const double gib = 1024.0 * 1024.0 * 1024.0;
    printf("%-10s ", d->id);
    sumi_cli_put(stdout, 0, d->name);
    printf("%s\n%-10s %s", d->usable ? "" : " (cannot be used)", "", d->kind);
    if (d->units > 0)
        printf(", %d unit%s", d->units, d->units == 1 ? "" : "s");
    if (d->megahertz > 0)
        printf(" at %d MHz", d->megahertz);
    if (d->memory > 0)
        printf(", %.1f GiB of memory, %.1f in one block", (double)d->memory / gib,
               (double)d->largest_block / gib);
    if (d->driver[0] != '\0') {
        printf("\n%-10s driver ", "");
        sumi_cli_put(stdout, 0, d->driver);
        printf(", groups of %d with %llu KiB, numbers of 32%s%s bits", d->group,
               (unsigned long long)d->local_memory / 1024, d->halves ? ", 16" : "",
               d->doubles ? " and 64" : "");
    }
    putchar('\n');
}

static json_t *device_json(const sumi_device_info_t *d)
{
    return json_pack("{s:s, s:o, s:o, s:s, s:o, s:I, s:I, s:i, s:i, s:I, s:i, s:b, s:b, s:b}", "id",
                     d->id, "name", sumi_json_any(d->name), "vendor", sumi_json_any(d->vendor),
                     "kind", d->kind, "driver", sumi_json_any(d->driver), "memory",
                     (json_int_t)d->memory, "largest_block", (json_int_t)d->largest_block, "units",
                     d->units, "megahertz", d->megahertz, "local_memory",
                     (json_int_t)d->local_memory, "group", d->group, "doubles", (int)d->doubles,
                     "halves", (int)d->halves, "usable", (int)d->usable);
}

int sumi_cmd_devices(sumi_cli *cli)
{
    sumi_device_info_t device = SUMI_DEVICE_INFO_INIT;
    json_t *list = json_array();
    int count = 0;
    for (; sumi_device_at(count, &device) == SUMI_OK; count++) {
        if (cli->json)
            json_array_append_new(list, device_json(&device));
        else
            print_device(&device);
    }
    if (cli->json)
        return sumi_cli_result(cli, list);
    json_decref(list);
    if (count == 1)
        sumi_cli_note(cli, "note",
                      "no device of OpenCL was found; drivers of graphics cards bring it, and "
                      "Debian's pocl-opencl-icd is one for CPUs");
    return 0;
}
