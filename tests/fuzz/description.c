/*
 * What the files of models and evaluators say of themselves: JSON among the metadata. What is
 * accepted is within its bounds, and the model says it again in a way that is accepted, too.
 */
#include "model.h"
#include "models/classifier.h"
#include "models/metadata.h"

static sumi_tensor_file file_with(sumi_file_pair *pair)
{
    return (sumi_tensor_file){.metadata = pair, .metadata_count = 1};
}

/* A model whose metadata were read writes metadata that can be read. */
static void say_again(const sumi_model *model)
{
    sumi_tensor_file said;
    sumi_model *again;
    sumi_error err;
    fuzz_check(sumi_model_to_file(model, NULL, &said, &err) == SUMI_OK, "it can be written");
    if (sumi_model_from_file("again", &said, &again, &err) != SUMI_OK) {
        fprintf(stderr, "%s\n", err.text);
        fuzz_check(0, "what was written can be read");
    }
    sumi_models_free(again);
    sumi_model_file_free(&said);
}

static void read_model(char *text)
{
    sumi_file_pair pair = {.key = "sumi.model", .value = text};
    sumi_tensor_file file = file_with(&pair);
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    static sumi_model *small;
    sumi_model *model;
    sumi_error err;
    if (sumi_metadata_config("f", &file, &config, &err) != SUMI_OK)
        return;
    /* The tensors are missing, which is found before there is memory for them. */
    fuzz_check(sumi_model_from_file("f", &file, &model, &err) != SUMI_OK, "no model of nothing");
    small = small ? small : fuzz_model(3);
    fuzz_check(sumi_models_copy(small, &model, &err) == SUMI_OK, "a copy");
    json_decref(model->classes);
    model->classes = NULL;
    if (sumi_metadata_from_file("f", &file, model, &err) == SUMI_OK)
        say_again(model);
    sumi_models_free(model);
}

static void read_evaluator(char *text)
{
    sumi_file_pair pair = {.key = SUMI_CLASSIFIER_KEY, .value = text};
    sumi_tensor_file file = file_with(&pair);
    sumi_classifier *classifier;
    sumi_error err;
    fuzz_check(sumi_classifier_from_file("f", &file, &classifier, &err) != SUMI_OK,
               "no evaluator of nothing");
    fuzz_touch(err.text, strlen(err.text));
}

/* The first byte says of which kind it is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *text = calloc(size, 1);
    fuzz_check(text != NULL, "memory");
    memcpy(text, data + 1, size - 1);
    if (data[0] == 'e')
        read_evaluator(text);
    else
        read_model(text);
    free(text);
    return 0;
}
