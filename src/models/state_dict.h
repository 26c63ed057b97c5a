/* Which of a file's tensors are the network's (state_dict.c). */
#ifndef SUMI_MODELS_STATE_DICT_H
#define SUMI_MODELS_STATE_DICT_H

#include <limits.h>

#include "io/io.h"

/* The NAME of "FILE#NAME", and FILE into file; NULL where path is a file's own name. */
const char *sumi_state_dict_name(const char *path, char file[PATH_MAX]);
/* Leaves the network's own tensors in file, under their own names. wanted: NULL, or the prefix that
 * the user means, without its last dot. Two that could be meant are refused by their names. Where
 * anything was changed, notice (may be NULL) says so. A file in which there is no network stays. */
sumi_status sumi_state_dict_pick(const char *path, const char *wanted, sumi_tensor_file *file,
                                 sumi_error *notice, sumi_error *err);

#endif
