/*
 * One report of everything that can be told from sets of pictures.
 */
#include "eval/internal.h"

void sumi_eval_report_init(sumi_eval_report *report)
{
    const sumi_score none = SUMI_SCORE_NONE;
    const sumi_memory nothing = {.share = none, .ratio = none, .test_share = NAN};
    *report = (sumi_eval_report){
        .evaluator_accuracy = NAN,
        .frechet = none,
        .frechet_infinite = none,
        .frechet_training = none,
        .kernel = none,
        .kernel_error = NAN,
        .second_frechet = none,
        .manifold = {none, none, none, none},
        .classes = {.entropy = none, .marginal = none, .score = none, .accuracy = none},
        .classification = none,
        .pixels = nothing,
        .features = nothing,
        .sliced = NAN,
        .spectrum = NAN,
        .bits = none,
    };
}

void sumi_eval_report_free(sumi_eval_report *report)
{
    sumi_class_scores_free(&report->classes);
    free(report->class_names);
    report->class_names = NULL;
}

/* The reference's moments serve every distance to it. */
static sumi_status frechet(const sumi_eval_machine *machine, const sumi_eval_set *samples,
                           const sumi_eval_set *reference, const sumi_eval_set *training,
                           sumi_eval_report *report, sumi_error *err)
{
    sumi_moments real;
    sumi_status status = sumi_eval_moments(machine, reference, NULL, &real, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_eval_frechet_score(machine, samples, &real, report->seed, &report->frechet, err);
    if (status == SUMI_OK)
        status = sumi_eval_frechet_infinite(machine, samples, &real, report->seed,
                                            &report->frechet_infinite.value, err);
    sumi_moments_free(&real);
    if (status != SUMI_OK || !training || !training->features)
        return status;
    status = sumi_eval_moments(machine, training, NULL, &real, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_eval_frechet_score(machine, samples, &real, report->seed,
                                     &report->frechet_training, err);
    sumi_moments_free(&real);
    return status;
}

static sumi_status of_features(const sumi_eval_machine *machine, const sumi_eval_set *samples,
                               const sumi_eval_set *reference, const sumi_eval_set *training,
                               sumi_eval_report *report, sumi_error *err)
{
    sumi_status status = frechet(machine, samples, reference, training, report, err);
    if (status == SUMI_OK && samples->d <= SUMI_KERNEL_FEATURES_MAX)
        status = sumi_eval_kernel(machine, samples, reference, &report->kernel,
                                  &report->kernel_error, err);
    if (status == SUMI_OK)
        status = sumi_eval_manifold(machine, samples, reference, SUMI_EVAL_K, report->seed,
                                    &report->manifold, err);
    if (status == SUMI_OK && training && training->features)
        status = sumi_eval_memory(machine, SUMI_SPACE_FEATURES, samples, reference, training,
                                  report->seed, &report->features, err);
    return status;
}

static sumi_status of_images(const sumi_eval_machine *machine, const sumi_eval_set *samples,
                             const sumi_eval_set *reference, const sumi_eval_set *training,
                             sumi_eval_report *report, sumi_error *err)
{
    sumi_status status = SUMI_OK;
    if (training && training->images)
        status = sumi_eval_memory(machine, SUMI_SPACE_PIXELS, samples, reference, training,
                                  report->seed, &report->pixels, err);
    if (status == SUMI_OK)
        status = sumi_eval_sliced(machine, samples, reference, &report->sliced, err);
    if (status == SUMI_OK && samples->h > 1 && samples->w > 1)
        status = sumi_eval_spectrum(machine, samples, reference, &report->spectrum, err);
    return status;
}

sumi_status sumi_eval_compare(const sumi_eval_machine *machine, const sumi_eval_set *samples,
                              const sumi_eval_set *reference, const sumi_eval_set *training,
                              sumi_eval_report *report, sumi_error *err)
{
    sumi_status status = sumi_eval_check(samples, err);
    if (status == SUMI_OK)
        status = sumi_eval_check(reference, err);
    if (status == SUMI_OK)
        status = sumi_eval_check_pair(samples, reference, err);
    if (status == SUMI_OK && training)
        status = sumi_eval_check(training, err);
    if (status == SUMI_OK && training)
        status = sumi_eval_check_pair(samples, training, err);
    if (status != SUMI_OK)
        return status;
    report->n = samples->n;
    report->reference_n = reference->n;
    report->training_n = training ? training->n : 0;
    report->d = samples->features ? samples->d : 0;
    if (samples->features && reference->features)
        status = of_features(machine, samples, reference, training, report, err);
    if (status == SUMI_OK && samples->probabilities) {
        sumi_class_scores_free(&report->classes);
        status = sumi_eval_classes(samples, report->seed, &report->classes, err);
    }
    if (status == SUMI_OK && samples->images && reference->images)
        status = of_images(machine, samples, reference, training, report, err);
    return status;
}

sumi_status sumi_eval_add_scale(const sumi_eval_machine *machine, const char *name,
                                const sumi_eval_set *set, const sumi_eval_set *reference,
                                sumi_eval_report *report, sumi_error *err)
{
    sumi_moments real;
    double error;
    if (report->scale_count == SUMI_EVAL_SCALES_MAX)
        return sumi_fail(err, SUMI_EINVAL, "a report has at most %d rows of scale",
                         SUMI_EVAL_SCALES_MAX);
    sumi_eval_scale *scale = &report->scales[report->scale_count];
    *scale = (sumi_eval_scale){.n = set->n, .frechet = SUMI_SCORE_NONE, .kernel = SUMI_SCORE_NONE};
    sumi_copy_text(scale->name, sizeof scale->name, name);
    sumi_status status = sumi_eval_moments(machine, reference, NULL, &real, err);
    if (status != SUMI_OK)
        return status;
    status = sumi_eval_frechet_score(machine, set, &real, 0, &scale->frechet, err);
    sumi_moments_free(&real);
    if (status == SUMI_OK && set->d <= SUMI_KERNEL_FEATURES_MAX)
        status = sumi_eval_kernel(machine, set, reference, &scale->kernel, &error, err);
    if (status == SUMI_OK)
        report->scale_count++;
    return status;
}
