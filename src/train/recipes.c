/*
 * What a recipe says of a model and its training, for some data and a budget. docs/RECIPE.md has
 * the reasons for each choice of the standard one, and what it is worth.
 *
 * A choice depends on nothing but the data's sizes and the budget as it was given: not on a clock,
 * and not on the machine, so that the same command is the same run anywhere.
 */
#include "train/train.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "models/sampling.h"

/* Where nothing is said. */
enum { MINUTES = 10, EPOCHS = 10 };

/* Grids of a run that is asked for minutes take few of them (tutorial). */
enum { QUICK_GRID_STEPS = 50 };

/* Arithmetic that a budget of steps is taken for, in multiply-adds a second: it only has to tell
 * minutes from hours. */
#define MACS_A_SECOND 2e11

typedef struct {
    const sumi_dataset *set;
    sumi_model_config *model;
    sumi_trainer_config *trainer;
    sumi_train_config *train;
    sumi_sample_config *sample;
    double minutes;   /* that the run takes, or is taken to take */
    bool limit_given; /* of epochs, steps or minutes */
    char *why;
    size_t size, used;
} choosing;

__attribute__((format(printf, 2, 3))) static void say(choosing *c, const char *format, ...)
{
    va_list args;
    if (!c->why || c->used + 1 >= c->size)
        return;
    if (c->used > 0)
        c->why[c->used++] = '\n';
    va_start(args, format);
    int length = vsnprintf(c->why + c->used, c->size - c->used, format, args);
    va_end(args);
    c->used += length > 0 ? (size_t)length : 0;
    if (c->used >= c->size)
        c->used = c->size - 1;
}

/* ---- The tutorial's -------------------------------------------------------------------------- */

static void choose_tutorial(choosing *c)
{
    if (!c->limit_given)
        c->train->epochs = EPOCHS;
    c->train->grid_steps = c->train->minutes > 0 ? QUICK_GRID_STEPS : 0;
}

/* ---- The network ----------------------------------------------------------------------------- */

/* Pixels of the shorter side at the deepest level, where shapes as wholes are seen. */
enum { DEEPEST_SIDE = 7 };

/* By the number of levels: how wide and how many blocks each is. Where there is one more, the size
 * of the first has four times the pixels, and it is the cheaper. */
static const struct {
    int width, multipliers[SUMI_LEVELS_MAX], blocks[SUMI_LEVELS_MAX];
} shapes[] = {
    {64, {1}, {2}},
    {64, {1, 2}, {2, 2}},
    {32, {1, 2, 4}, {1, 2, 2}},
    {32, {1, 2, 4, 4}, {1, 1, 2, 2}},
    {16, {1, 2, 4, 8, 8}, {1, 1, 1, 2, 2}},
    {16, {1, 1, 2, 4, 8, 8}, {1, 1, 1, 1, 2, 2}},
};

static int levels_of(int height, int width)
{
    int side = height < width ? height : width, levels = 1;
    while (levels < SUMI_LEVELS_MAX && side >> levels >= DEEPEST_SIDE)
        levels++;
    return levels;
}

/* Multiply-adds of 3x3 convolutions for an image, down and up. */
static double macs_of(const sumi_model_config *model, int height, int width)
{
    double macs = 0, before = 0;
    for (int l = 0; l < SUMI_LEVELS_MAX && model->multipliers[l] > 0; l++) {
        double c = model->base_channels * model->multipliers[l];
        double pixels = (double)(height >> l) * (double)(width >> l);
        double blocks = 2 * model->blocks[l] * 2 * c * c; /* down and up, two in each */
        double between = l > 0 ? 2 * before * c : 2 * model->in_channels * c;
        double joined = c * c; /* what a block takes of the skip */
        macs += 9 * pixels * (blocks + between + joined);
        before = c;
    }
    return macs;
}

static double minutes_of_steps(const choosing *c)
{
    const sumi_train_config *train = c->train;
    double batch = c->trainer->batch, images = (double)train->steps * batch;
    if (train->epochs > 0) {
        double all = (double)train->epochs * (double)c->set->count;
        images = train->steps > 0 ? fmin(images, all) : all;
    }
    return images * 3 * macs_of(c->model, c->set->height, c->set->width) / MACS_A_SECOND / 60;
}

/* Attention costs the square of the pixels: the deepest level has few. */
enum { ATTENDED_MAX = 256 };

static bool attends(const choosing *c, int levels)
{
    int shift = levels - 1;
    return (c->set->height >> shift) * (c->set->width >> shift) <= ATTENDED_MAX;
}

static void choose_network(choosing *c)
{
    sumi_model_config *model = c->model;
    int levels = levels_of(c->set->height, c->set->width);
    model->net = sumi_net_row(SUMI_NET_UNET)->is.name;
    model->time_dim = sumi_net_row(SUMI_NET_UNET)->time_dim;
    model->base_channels = shapes[levels - 1].width;
    model->in_channels = model->out_channels = c->set->channels;
    model->classes = c->set->classes;
    memcpy(model->multipliers, shapes[levels - 1].multipliers, sizeof model->multipliers);
    memcpy(model->blocks, shapes[levels - 1].blocks, sizeof model->blocks);
    model->attention[0] = attends(c, levels) ? levels : 0;
}

/* What takes longer can learn more. */
static void widen_network(choosing *c)
{
    double factor = c->minutes >= 120 ? 2 : c->minutes >= 30 ? 1.5 : 1;
    c->model->base_channels = (int)(c->model->base_channels * factor);
}

static void describe_network(choosing *c)
{
    const sumi_model_config *model = c->model;
    char channels[128] = "";
    size_t used = 0;
    int levels = 0;
    while (levels < SUMI_LEVELS_MAX && model->multipliers[levels] > 0)
        levels++;
    for (int l = 0; l < levels && used < sizeof channels; l++)
        used += (size_t)snprintf(channels + used, sizeof channels - used, "%s%d@%dx%d",
                                 l ? ", " : "", model->base_channels * model->multipliers[l],
                                 c->set->height >> l, c->set->width >> l);
    say(c, "network  unet, channels %s: for images of %dx%dx%d", channels, c->set->height,
        c->set->width, c->set->channels);
    if (model->classes > 0)
        say(c, "labels   %d classes; withheld from one image in ten, so that it draws without, too",
            model->classes);
    else
        say(c, "labels   none in the data: sub-folders would be classes");
}

/* ---- The process ----------------------------------------------------------------------------- */

/* From so many pixels on it takes more noise to hide what is left of an image. */
enum { LARGE_SIDE = 64 };

static void choose_process(choosing *c)
{
    sumi_model_config *model = c->model;
    bool large = c->set->height >= LARGE_SIDE || c->set->width >= LARGE_SIDE;
    model->objective = sumi_objective_row(SUMI_OBJECTIVE_EDM)->is.name;
    model->schedule = sumi_schedule_row(SUMI_SCHEDULE_EDM)->is.name;
    model->law = sumi_law_row(SUMI_LAW_LOG_NORMAL)->is.name;
    model->law_mean = large ? -.8f : -1.2f;
    model->law_std = 1.2f;
    model->sigma_min = .01f;
    model->sigma_max = large || c->set->channels > 1 ? 80 : 40;
    model->sigma_data = .5f;
    model->standardise = true;
    model->stratified = true;
}

/* ---- Training -------------------------------------------------------------------------------- */

/* Fewer steps than these are no run; then the warm-up is a fifth of them. Of less than a minute it
 * is as much shorter: minutes become steps within it, and it has to be gone through, however slow
 * steps are. */
enum { WARM_UP = 50, SHORT_RUN = 5 * WARM_UP, WARM_UP_LEAST = 8 };

static void choose_training(choosing *c)
{
    sumi_trainer_config *trainer = c->trainer;
    const sumi_train_config *train = c->train;
    bool large = c->set->height >= LARGE_SIDE || c->set->width >= LARGE_SIDE;
    trainer->batch = large ? 32 : 64;
    if (c->set->count < trainer->batch)
        trainer->batch = (int)c->set->count;
    trainer->rate_schedule = "linear";
    trainer->warmup_steps = WARM_UP;
    trainer->label_drop = .1f;
    trainer->precision = SUMI_PRECISION_FIXED16;
    int64_t steps = train->steps > 0 ? train->steps : INT64_MAX;
    int64_t per_epoch = sumi_batches_per_epoch(c->set, trainer->batch);
    if (train->epochs > 0 && train->epochs * per_epoch < steps)
        steps = train->epochs * per_epoch;
    if (steps < SHORT_RUN)
        trainer->warmup_steps = steps / 5;
    else if (train->minutes > 0 && train->minutes < 1)
        trainer->warmup_steps = (int64_t)fmax(WARM_UP_LEAST, train->minutes * WARM_UP);
}

static void choose_optimiser(choosing *c)
{
    sumi_trainer_config *trainer = c->trainer;
    trainer->optimiser = "muon";
    trainer->muon_rate = .02f;
    trainer->learning_rate = 1e-3f;
    trainer->beta2 = .99f;
    trainer->clip_norm = 1;
    trainer->power_averages[0] = .1f;
    say(c,
        "steps    of %d images; muon, whose rate goes up to %g over %" PRId64
        " steps, then down to 0 with the last",
        trainer->batch, (double)trainer->muon_rate, trainer->warmup_steps);
    say(c, "numbers  fixed16: products of 16-bit integers where the CPU is faster at them");
}

/* ---- Sampling -------------------------------------------------------------------------------- */

/* Few, as the levels crowd where they matter. */
enum { LEVELS = 14 };

/* It acts at some five of the levels, which are asked for twice. */
#define GUIDANCE 2

static void choose_sampling(choosing *c)
{
    bool guided = c->set->classes > 1;
    sumi_sample_config *sample = c->sample;
    c->train->grid_steps = 0; /* as the model says */
    sample->solver = "dpmpp-2m";
    sample->spacing = "karras";
    sample->steps = LEVELS;
    if (guided)
        sumi_sampling_guide(sample, GUIDANCE, (double)c->model->sigma_data);
    c->train->tune = true;
    say(c, "samples  %s at %d levels%s, or what a search at the end finds to be better",
        sample->solver, LEVELS, guided ? ", guided towards their label" : "");
}

/* ---- The standard recipe --------------------------------------------------------------------- */

static void choose_standard(choosing *c)
{
    if (!c->limit_given)
        c->train->minutes = MINUTES;
    choose_network(c);
    choose_training(c);
    c->minutes = c->train->minutes > 0 ? c->train->minutes : minutes_of_steps(c);
    widen_network(c);
    choose_process(c);
    if (!c->limit_given)
        say(c, "budget   %d minutes, as none is given (--minutes, --epochs, --steps)", MINUTES);
    describe_network(c);
    choose_optimiser(c);
    if (c->set->count <= SUMI_FEW_IMAGES)
        say(c,
            "few      %" PRId64 " images can be learnt by heart: the run's page will show the "
            "samples that are closest to one",
            c->set->count);
    choose_sampling(c);
}

sumi_status sumi_recipe_choose(const char *preset, const sumi_dataset *set,
                               const sumi_recipe *recipe, sumi_error *err)
{
    static void (*const choose[])(choosing *) = {
        [SUMI_PRESET_STANDARD] = choose_standard, [SUMI_PRESET_TUTORIAL] = choose_tutorial};
    choosing c = {.set = set,
                  .model = recipe->model,
                  .trainer = recipe->trainer,
                  .train = recipe->train,
                  .sample = recipe->sample,
                  .limit_given = recipe->train->epochs > 0 || recipe->train->steps > 0 ||
                                 recipe->train->minutes > 0,
                  .why = recipe->size > 0 ? recipe->why : NULL,
                  .size = recipe->size};
    sumi_status status = sumi_preset_check(preset, err);
    if (status != SUMI_OK)
        return status;
    if (set->count < 1)
        return sumi_fail(err, SUMI_EINVAL, "the data set has no images");
    if (c.why)
        c.why[0] = '\0';
    int row = sumi_preset_find(preset);
    c.model->preset = sumi_preset_row(row)->name;
    choose[row](&c);
    return SUMI_OK;
}
