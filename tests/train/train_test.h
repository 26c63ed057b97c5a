/* What the tests of the train layer share: a tiny model, a tiny data set, a temporary folder. */
#ifndef SUMI_TRAIN_TEST_H
#define SUMI_TRAIN_TEST_H

#include "train/train.h"

#include "base/copy_tree.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#define assert_ok(call) assert_int_equal(call, SUMI_OK)
#define assert_says(err, part) assert_non_null(strstr((err).text, part))

static inline void make_runtime(sumi_runtime *runtime, int threads)
{
    assert_ok(sumi_runtime_init(runtime, threads, NULL, NULL));
}

/* The seed's network with so many channels at its first level, T = 100. */
static inline sumi_model *make_model_of(int base_channels, uint64_t seed)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_model *model;
    config.base_channels = base_channels;
    config.time_dim = 12;
    config.timesteps = 100;
    config.beta_end = .1f;
    config.seed = seed;
    assert_ok(sumi_models_create(&config, &model, NULL));
    return model;
}

static inline sumi_model *make_model(uint64_t seed)
{
    return make_model_of(8, seed);
}

/* A small network with two levels, group norms and a process of v. */
static inline sumi_model_config unet_config(void)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    config.net = "unet";
    config.base_channels = 8;
    config.time_dim = 16;
    config.multipliers[2] = config.blocks[2] = 0;
    config.objective = "v";
    config.schedule = "cosine";
    config.timesteps = 100;
    config.seed = 1;
    return config;
}

/* That is told of so many labels, and so many numbers of what was made of an image. */
static inline sumi_model *make_told_unet(int classes, int augmentation)
{
    sumi_model_config config = unet_config();
    sumi_model *model;
    config.classes = classes;
    config.augmentation = augmentation;
    assert_ok(sumi_models_create(&config, &model, NULL));
    return model;
}

/* A smaller one of ten labels. */
static inline sumi_model *make_labelled(uint64_t seed, int timesteps)
{
    sumi_model_config config = unet_config();
    sumi_model *model;
    config.base_channels = 4;
    config.timesteps = timesteps;
    config.classes = 10;
    config.seed = seed;
    assert_ok(sumi_models_create(&config, &model, NULL));
    return model;
}

/* Pictures of 8x8. */
static inline sumi_dataset *make_shapes(void)
{
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    sumi_dataset *set;
    config.height = config.width = 8;
    config.channels = 1;
    assert_ok(sumi_data_open("shapes", &config, &set, NULL));
    return set;
}

/* A set of `count` of those pictures, so that epochs are short. */
static inline sumi_dataset *make_small_set(int64_t count)
{
    sumi_dataset *set = make_shapes();
    set->count = count;
    return set;
}

static inline void make_folder(char path[PATH_MAX])
{
    const char *base = getenv("TMPDIR");
    snprintf(path, PATH_MAX, "%s/sumi-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(path));
}

static inline const char *join(char out[PATH_MAX], const char *folder, const char *name)
{
    assert_ok(sumi_path_join(out, PATH_MAX, folder, name, NULL));
    return out;
}

/* Every number of a model: weights, statistics, counters. */
static inline void assert_same_model(const sumi_model *a, const sumi_model *b)
{
    const sumi_params *x = &a->graph.params, *y = &b->graph.params;
    assert_int_equal(x->value_count, y->value_count);
    assert_memory_equal(x->values, y->values, x->value_count * sizeof(float));
    assert_memory_equal(x->statistics, y->statistics, x->statistic_count * sizeof(float));
    assert_memory_equal(x->counters, y->counters, x->counter_count * sizeof(int64_t));
}

#endif
