/*
 * The tensors of a model file or a run, for the commands that look at them one by one.
 */
#ifndef SUMI_CLI_TENSORS_H
#define SUMI_CLI_TENSORS_H

#include "cli.h"

#include "io/io.h"

/* path: .safetensors, .pth, or a run directory (cli->ctx is then needed). Any file of tensors will
 * do: it need not be a model that sumi knows. Released by sumi_tensor_file_free. */
sumi_status sumi_tensors_open(sumi_cli *cli, const char *path, sumi_tensor_file *out,
                              sumi_error *err);
/* "[64][1][3][3]", or "[]" for one number. */
void sumi_tensor_shape(const sumi_file_tensor *tensor, char out[192]);
/* As NumPy calls it: "float32". */
const char *sumi_npy_type_name(sumi_npy_dtype dtype);

#endif
