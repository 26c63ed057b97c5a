/* What a model has to know of its training images before it is trained on them. */
#include "train/train.h"

sumi_status sumi_train_measure(const atomic_int *cancel, sumi_model *model, const sumi_dataset *set,
                               sumi_error *err)
{
    float mean[SUMI_STANDARD_CHANNELS], deviation[SUMI_STANDARD_CHANNELS];
    if (!model->standardise || model->standard.channels > 0)
        return SUMI_OK;
    if (set->channels != model->info.in_channels)
        return sumi_fail(err, SUMI_ESHAPE, "the images have %d channels, the model expects %d",
                         set->channels, model->info.in_channels);
    sumi_status status = sumi_data_statistics(set, mean, deviation, cancel, err);
    if (status == SUMI_OK)
        sumi_model_set_standard(model, mean, deviation);
    return status;
}
