/*
 * NumPy's .npz: a ZIP archive of stored .npy files, which numpy.load reads by their names.
 */
#include <stdio.h>
#include <stdlib.h>

#include "io/internal.h"
#include "io/zip.h"

enum { NPZ_NAME_MAX = 200 };

/* head: the .npy header, to which the data are added; an archive's entry is one piece of memory. */
static sumi_status write_archive(const char *path, const char *entry_name, const sumi_text *npy,
                                 sumi_error *err)
{
    const sumi_zip_entry entry = {entry_name, (const uint8_t *)npy->data, npy->size};
    sumi_file *file;
    sumi_status status = sumi_file_begin(path, &file, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_zip_write(file, &entry, 1, SUMI_ZIP_CLASSIC_MAX, err);
    if (status == SUMI_OK)
        return sumi_file_commit(file, err);
    sumi_file_abort(file);
    return status;
}

sumi_status sumi_npz_write(const char *path, const char *name, const sumi_npy *array,
                           sumi_error *err)
{
    char entry_name[NPZ_NAME_MAX + 8];
    size_t count, item = sumi_npy_item_size(array);
    if (strlen(name) > NPZ_NAME_MAX)
        return sumi_fail(err, SUMI_EINVAL, "%s: the array's name has more than %d bytes", path,
                         NPZ_NAME_MAX);
    if (item == 0 || !sumi_size_product(array->shape, array->rank, &count))
        return sumi_fail(err, SUMI_EINVAL, "%s: the array's type and shape do not fit", path);
    snprintf(entry_name, sizeof entry_name, "%s.npy", name);
    sumi_text npy = {0};
    sumi_npy_header(&npy, array, 0);
    sumi_text_add(&npy, array->data, count * item);
    sumi_status status = npy.failed ? sumi_fail_memory(err, path, count * item)
                                    : write_archive(path, entry_name, &npy, err);
    sumi_text_free(&npy);
    return status;
}
