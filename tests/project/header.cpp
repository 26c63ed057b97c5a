// What a C++ program says to use sumi.h: every _INIT macro, and the struct that it fills.
#include "sumi.h"

int main()
{
    sumi_dataset_config dataset = SUMI_DATASET_CONFIG_INIT;
    sumi_dataset_info_t dataset_info = SUMI_DATASET_INFO_INIT;
    sumi_model_config model = SUMI_MODEL_CONFIG_INIT;
    sumi_model_info_t model_info = SUMI_MODEL_INFO_INIT;
    sumi_tensor_t tensor = SUMI_TENSOR_INIT;
    sumi_field_t field = SUMI_FIELD_INIT;
    sumi_batch batch = SUMI_BATCH_INIT;
    sumi_train_config train = SUMI_TRAIN_CONFIG_INIT;
    sumi_trainer_config trainer = SUMI_TRAINER_CONFIG_INIT;
    sumi_sample_config sample = SUMI_SAMPLE_CONFIG_INIT;
    sumi_choice_t choice = SUMI_CHOICE_INIT;
    sumi_context_config context = SUMI_CONTEXT_CONFIG_INIT;
    sumi_device_info_t device = SUMI_DEVICE_INFO_INIT;
    sumi_ranks ranks = SUMI_RANKS_INIT;
    sumi_classifier_config classifier = SUMI_CLASSIFIER_CONFIG_INIT;
    sumi_classifier_info_t classifier_info = SUMI_CLASSIFIER_INFO_INIT;
    sumi_eval_config eval = SUMI_EVAL_CONFIG_INIT;
    sumi_eval_result_t eval_result = SUMI_EVAL_RESULT_INIT;
    sumi_profile_config profile = SUMI_PROFILE_CONFIG_INIT;
    sumi_tune_config tune = SUMI_TUNE_CONFIG_INIT;
    sumi_tune_result_t tune_result = SUMI_TUNE_RESULT_INIT;
    return dataset.size && dataset_info.size && model.size && model_info.size && tensor.size &&
                   field.size && batch.size && train.size && trainer.size && sample.size &&
                   ranks.size && choice.size && context.size && device.size && profile.size &&
                   tune.size && tune_result.size && classifier.size && classifier_info.size &&
                   eval.size && eval_result.size
               ? 0
               : 1;
}
