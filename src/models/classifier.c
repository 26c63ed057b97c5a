/*
 * The classifier object and its file: tensors as a model's, and "sumi.classifier" among the
 * metadata, JSON that tells shape, sizes, data, how it was trained and how well it does.
 */
#include "models/classifier.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/weights.h"

static const char KEY[] = SUMI_CLASSIFIER_KEY;

/* ---- Making ---------------------------------------------------------------------------------- */

static sumi_status check_sizes(const sumi_classifier_shape *shape, const int sizes[3], int classes,
                               sumi_error *err)
{
    const int least = SUMI_CLASSIFIER_SIDE_MIN, most = SUMI_CLASSIFIER_SIDE_MAX;
    if (sizes[0] < least || sizes[1] < least || sizes[0] > most || sizes[1] > most)
        return sumi_fail(err, SUMI_ESHAPE,
                         "an evaluator takes images of %dx%d to %dx%d, found %dx%d", least, least,
                         most, most, sizes[0], sizes[1]);
    if (sizes[2] != 1 && sizes[2] != 3)
        return sumi_fail(err, SUMI_ESHAPE, "an evaluator takes images of 1 or 3 channels, found %d",
                         sizes[2]);
    if (shape->labels && classes < 2)
        return sumi_fail(err, SUMI_EINVAL,
                         "evaluator '%s' is trained on labels of two classes or more, found %d; "
                         "without labels there is random-conv",
                         shape->name, classes);
    return SUMI_OK;
}

static int round_up(int value, int multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

/* Without memory for the weights. */
static sumi_status prepare(const sumi_classifier_shape *shape, const int sizes[3], int classes,
                           sumi_classifier **out, sumi_error *err)
{
    sumi_status status = check_sizes(shape, sizes, classes, err);
    if (status != SUMI_OK)
        return status;
    sumi_classifier *made = sumi_calloc(1, sizeof *made);
    if (!made)
        return sumi_fail_memory(err, "an evaluator", sizeof *made);
    int told = shape->labels ? classes : 0;
    sumi_build_classifier(&made->graph, shape, sizes[0], sizes[1], sizes[2], told);
    if (made->graph.status != SUMI_OK) {
        status = sumi_fail(err, made->graph.status, "%s", made->graph.error.text);
        sumi_classifier_free(made);
        return status;
    }
    int multiple = 1 << made->graph.levels;
    made->shape = shape;
    made->height = round_up(sizes[0], multiple);
    made->width = round_up(sizes[1], multiple);
    made->info = (sumi_classifier_info_t){.size = sizeof made->info,
                                          .height = sizes[0],
                                          .width = sizes[1],
                                          .channels = sizes[2],
                                          .classes = told,
                                          .features = shape->features,
                                          .parameters = (int64_t)made->graph.params.value_count,
                                          .accuracy = -1};
    sumi_copy_text(made->info.shape, sizeof made->info.shape, shape->name);
    *out = made;
    return SUMI_OK;
}

sumi_status sumi_classifier_create(const sumi_classifier_shape *shape, const int sizes[3],
                                   int classes, uint64_t seed, sumi_classifier **out,
                                   sumi_error *err)
{
    sumi_classifier *made;
    sumi_status status = prepare(shape, sizes, classes, &made, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_params_allocate(&made->graph.params, err);
    if (status != SUMI_OK) {
        sumi_classifier_free(made);
        return status;
    }
    sumi_params_init(&made->graph.params, seed);
    made->info.seed = seed;
    *out = made;
    return SUMI_OK;
}

void sumi_classifier_free(sumi_classifier *classifier)
{
    if (!classifier)
        return;
    sumi_graph_free(&classifier->graph);
    free(classifier);
}

/* ---- Its hash -------------------------------------------------------------------------------- */

/* Of what the features depend on, and nothing else: shape, sizes, every tensor and its name. */
static void hash_of(const sumi_classifier *classifier, const sumi_tensor_file *file, char hex[65])
{
    const sumi_classifier_info_t *info = &classifier->info;
    char head[96];
    int length = snprintf(head, sizeof head, "%s %dx%dx%d %d\n", info->shape, info->height,
                          info->width, info->channels, info->classes);
    sumi_sha256 sha;
    sumi_sha256_init(&sha);
    sumi_sha256_update(&sha, head, (size_t)length);
    for (size_t i = 0; i < file->count; i++) {
        sumi_sha256_update(&sha, file->tensors[i].name, strlen(file->tensors[i].name) + 1);
        sumi_sha256_update(&sha, file->tensors[i].data, file->tensors[i].bytes);
    }
    sumi_sha256_final(&sha, hex);
}

sumi_status sumi_classifier_seal(sumi_classifier *classifier, sumi_error *err)
{
    sumi_tensor_file file;
    sumi_status status = sumi_params_to_file(&classifier->graph.params, NULL, &file, err);
    if (status != SUMI_OK)
        return status;
    hash_of(classifier, &file, classifier->info.hash);
    sumi_model_file_free(&file);
    return SUMI_OK;
}

/* ---- Saving ---------------------------------------------------------------------------------- */

static char *describe(const sumi_classifier_info_t *info)
{
    json_t *root =
        json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:{s:o, s:s}, s:{s:o, s:I, s:I}, s:f, s:I, s:s}",
                  "version", SUMI_VERSION, "shape", info->shape, "height", info->height, "width",
                  info->width, "channels", info->channels, "classes", info->classes, "data", "name",
                  sumi_json_any(info->data_name), "hash", info->data_hash, "trained", "seed",
                  sumi_json_seed(info->seed), "epochs", (json_int_t)info->epochs, "steps",
                  (json_int_t)info->steps, "accuracy", info->accuracy, "tested",
                  (json_int_t)info->tested, "sha256", info->hash);
    char *text = root ? sumi_json_compact(root) : NULL;
    json_decref(root);
    return text;
}

sumi_status sumi_classifiers_save(const char *path, const sumi_classifier *classifier,
                                  sumi_error *err)
{
    sumi_tensor_file file;
    sumi_status status = sumi_params_to_file(&classifier->graph.params, NULL, &file, err);
    if (status != SUMI_OK)
        return status;
    file.metadata = sumi_calloc(1, sizeof *file.metadata);
    if (file.metadata) {
        file.metadata_count = 1;
        file.metadata[0] =
            (sumi_file_pair){.key = sumi_strdup(KEY), .value = describe(&classifier->info)};
    }
    if (!file.metadata || !file.metadata[0].key || !file.metadata[0].value)
        status = sumi_fail_memory(err, "metadata", 0);
    if (status == SUMI_OK)
        status = sumi_safetensors_write(path, &file, err);
    sumi_model_file_free(&file);
    return status;
}

/* ---- Loading --------------------------------------------------------------------------------- */

typedef struct {
    const sumi_classifier_shape *shape;
    int64_t sizes[4], epochs, steps, tested; /* sizes: height, width, channels, classes */
    double accuracy;
    uint64_t seed;
    const char *data_name, *data_hash, *hash; /* borrowed from the JSON */
} description;

static sumi_status read_numbers(const char *where, const json_t *root, description *out,
                                sumi_error *err)
{
    const json_t *trained = json_object_get(root, "trained");
    const struct {
        const json_t *object;
        const char *key;
        int64_t most, *out;
    } numbers[] = {{root, "height", SUMI_CLASSIFIER_SIDE_MAX, &out->sizes[0]},
                   {root, "width", SUMI_CLASSIFIER_SIDE_MAX, &out->sizes[1]},
                   {root, "channels", 3, &out->sizes[2]},
                   {root, "classes", SUMI_NAMES_MAX, &out->sizes[3]},
                   {root, "tested", INT64_MAX, &out->tested},
                   {trained, "epochs", INT64_MAX, &out->epochs},
                   {trained, "steps", INT64_MAX, &out->steps}};
    sumi_status status = sumi_json_real(where, root, "accuracy", -1, 1, &out->accuracy, err);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && status == SUMI_OK; i++)
        status = sumi_json_int(where, numbers[i].object, numbers[i].key, 0, numbers[i].most,
                               numbers[i].out, err);
    const json_t *seed = json_object_get(trained, "seed");
    out->seed = json_is_string(seed) ? strtoull(json_string_value(seed), NULL, 10)
                                     : (uint64_t)json_integer_value(seed);
    return status;
}

static sumi_status read_description(const char *where, const json_t *root, description *out,
                                    sumi_error *err)
{
    const char *shape = NULL;
    const json_t *data = json_object_get(root, "data");
    sumi_status status = sumi_json_string(where, root, "shape", &shape, err);
    if (status == SUMI_OK && !(out->shape = sumi_classifier_shape_find(shape)))
        status = sumi_fail(err, SUMI_EUNSUPPORTED,
                           "%s: an evaluator of shape '%.40s', which this version of sumi does not "
                           "know",
                           where, shape);
    if (status == SUMI_OK)
        status = sumi_json_string(where, data, "name", &out->data_name, err);
    if (status == SUMI_OK)
        status = sumi_json_string(where, data, "hash", &out->data_hash, err);
    if (status == SUMI_OK)
        status = sumi_json_string(where, root, "sha256", &out->hash, err);
    return status == SUMI_OK ? read_numbers(where, root, out, err) : status;
}

static void take_description(sumi_classifier_info_t *info, const description *from)
{
    info->epochs = from->epochs;
    info->steps = from->steps;
    info->tested = from->tested;
    info->accuracy = from->accuracy;
    info->seed = from->seed;
    sumi_copy_text(info->data_name, sizeof info->data_name, from->data_name);
    sumi_copy_text(info->data_hash, sizeof info->data_hash, from->data_hash);
}

static sumi_status from_description(const char *path, const sumi_tensor_file *file,
                                    const json_t *root, sumi_classifier **out, sumi_error *err)
{
    char where[PATH_MAX];
    description told = {0};
    snprintf(where, sizeof where, "%.*s: %s", PATH_MAX - 32, path, KEY);
    sumi_status status = read_description(where, root, &told, err);
    if (status != SUMI_OK)
        return status;
    const int sizes[] = {(int)told.sizes[0], (int)told.sizes[1], (int)told.sizes[2]};
    sumi_classifier *made;
    status = prepare(told.shape, sizes, (int)told.sizes[3], &made, err);
    if (status != SUMI_OK)
        return sumi_fail_prefix(err, status == SUMI_ENOMEM ? status : SUMI_EFORMAT, path);
    take_description(&made->info, &told);
    status = sumi_params_from_file(path, file, &made->graph.params, err);
    if (status == SUMI_OK)
        status = sumi_classifier_seal(made, err);
    if (status == SUMI_OK && strcmp(made->info.hash, told.hash) != 0)
        status = sumi_fail(err, SUMI_EFORMAT,
                           "%s: its weights have the SHA-256 %.12s..., its metadata say %.12s...: "
                           "the file was changed",
                           path, made->info.hash, told.hash);
    if (status != SUMI_OK) {
        sumi_classifier_free(made);
        return status;
    }
    *out = made;
    return SUMI_OK;
}

sumi_status sumi_classifier_from_file(const char *path, const sumi_tensor_file *file,
                                      sumi_classifier **out, sumi_error *err)
{
    json_t *root = NULL;
    sumi_status status = SUMI_OK;
    const char *text = sumi_tensor_file_meta(file, KEY);
    if (!text && sumi_tensor_file_meta(file, "sumi.model"))
        status = sumi_fail(err, SUMI_EFORMAT,
                           "%s: a model, not an evaluator: `sumi classify train` makes one", path);
    else if (!text)
        status = sumi_fail(err, SUMI_EFORMAT,
                           "%s: no evaluator: it has no metadata '%s'; `sumi classify train` makes "
                           "one",
                           path, KEY);
    else
        status = sumi_json_parse(path, (const uint8_t *)text, strlen(text), &root, err);
    if (status == SUMI_OK)
        status = from_description(path, file, root, out, err);
    json_decref(root);
    return status;
}

sumi_status sumi_classifiers_load(const char *path, sumi_classifier **out, sumi_error *err)
{
    sumi_tensor_file file;
    sumi_status status = sumi_safetensors_read(path, &file, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_classifier_from_file(path, &file, out, err);
    sumi_tensor_file_free(&file);
    return status;
}
