/*
 * ZIP archives of stored (uncompressed) entries, with ZIP64: the container of PyTorch's .pth.
 */
#ifndef SUMI_IO_ZIP_H
#define SUMI_IO_ZIP_H

#include "base/base.h"

typedef struct {
    const char *name;
    const uint8_t *data; /* borrowed from the archive's bytes, or from a writer's caller */
    size_t size;
} sumi_zip_entry;

typedef struct {
    sumi_zip_entry *entries; /* sorted by name */
    size_t count;
    char *names; /* the memory that the names lie in */
} sumi_zip;

/* Checked: both directories agree, entries do not overlap, names are told apart and have no control
 * characters, CRC-32. A compressed or encrypted entry is SUMI_EUNSUPPORTED. data must outlive out.
 */
sumi_status sumi_zip_parse(const char *path, const uint8_t *data, size_t size, sumi_zip *out,
                           sumi_error *err);
const sumi_zip_entry *sumi_zip_find(const sumi_zip *zip, const char *name);
void sumi_zip_free(sumi_zip *zip);

/* The classic format's largest size and offset; sizes from here on take ZIP64 fields. */
#define SUMI_ZIP_CLASSIC_MAX UINT64_C(0xFFFFFFFF)

/* Writes a whole archive; each entry's data begins at a multiple of 64 bytes. classic_max is
 * SUMI_ZIP_CLASSIC_MAX; a smaller one gives small files large fields. */
sumi_status sumi_zip_write(sumi_file *file, const sumi_zip_entry *entries, size_t count,
                           uint64_t classic_max, sumi_error *err);

#endif
