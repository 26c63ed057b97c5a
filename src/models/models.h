/*
 * models: architectures and what a model file is.
 *
 * Does: builders that turn a configuration into a graph (seed.c), the model object (weights,
 * configuration, metadata), loading and saving it.
 * Does not: compute, train or sample.
 */
#ifndef SUMI_MODELS_H
#define SUMI_MODELS_H

#include "graph/graph.h"
#include "io/io.h"

struct sumi_model {
    sumi_model_info_t info;
    sumi_graph graph;    /* graph.params holds the weights */
    json_t *metadata;    /* string values; "sumi.*" keys are sumi's own */
    uint64_t id;         /* differs between all models of a process */
    uint64_t generation; /* counts changes of the weights */
};

/* The tutorial's UNetWithTime; base_channels is the width of its first level (64). */
void sumi_build_seed(sumi_graph *graph, const sumi_model_config *config);

sumi_status sumi_model_new(const sumi_model_config *config, sumi_model **out, sumi_error *err);
void sumi_model_release(sumi_model *model);

/* A tensor file's view of the model: names, shapes and PyTorch's order. values may be another flat
 * buffer laid out as params.values (EMA weights), NULL: the model's own. */
sumi_status sumi_model_to_file(const sumi_model *model, const float *values, sumi_tensor_file *out,
                               sumi_error *err);
void sumi_model_file_free(sumi_tensor_file *file);
/* path for messages: every tensor of the model must be there with its shape, nothing else may be,
 * and all numbers must be finite. */
sumi_status sumi_model_from_file(const char *path, const sumi_tensor_file *file, sumi_model **out,
                                 sumi_error *err);
sumi_status sumi_model_read(const char *path, sumi_model **out, sumi_error *err); /* a file */
sumi_status sumi_model_write(const char *path, const sumi_model *model, const float *values,
                             sumi_error *err); /* .safetensors or .pth by ending */
sumi_status sumi_model_set_meta(sumi_model *model, const char *key, const char *value,
                                sumi_error *err); /* any key */

#endif
