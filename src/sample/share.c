/*
 * Sampling by several ranks. An image depends on its number alone, so that it does not matter who
 * draws it.
 */
#include "sample/share.h"

#include <stdlib.h>
#include <string.h>

/* What rank 0 collects at a time. */
static const size_t BYTES_MOST = (size_t)1 << 30;

const sumi_ranks *sumi_share_of(const sumi_runtime *runtime, const sumi_sample_config *config)
{
    return config->share && !sumi_ranks_alone(runtime->ranks) ? runtime->ranks : NULL;
}

/* ---- The same call --------------------------------------------------------------------------- */

static void hash_model(sumi_sha256 *hash, const sumi_model *model)
{
    if (!model)
        return;
    const sumi_params *params = &model->graph.params;
    sumi_model_fetch(model);
    sumi_sha256_update(hash, params->values, params->value_count * sizeof *params->values);
    sumi_sha256_update(hash, params->statistics,
                       params->statistic_count * sizeof *params->statistics);
}

static json_t *describe_model(const sumi_model *model, const sumi_model *guide)
{
    char hex[2][65];
    const sumi_model *both[2] = {model, guide};
    for (int i = 0; i < 2; i++) {
        sumi_sha256 hash;
        sumi_sha256_init(&hash);
        hash_model(&hash, both[i]);
        sumi_sha256_final(&hash, hex[i]);
    }
    return json_pack("{s:s, s:s}", "SHA-256", hex[0], "guide", guide ? hex[1] : "none");
}

/* Arrays that are given for all images. */
static json_t *describe_given(const sumi_sample_config *c, size_t image_floats)
{
    sumi_sha256 hash;
    char hex[65];
    size_t count = (size_t)c->count, images = count * image_floats * sizeof(float);
    sumi_sha256_init(&hash);
    if (c->labels)
        sumi_sha256_update(&hash, c->labels, count * sizeof *c->labels);
    if (c->image)
        sumi_sha256_update(&hash, c->image, images);
    if (c->start)
        sumi_sha256_update(&hash, c->start, images);
    if (c->mask)
        sumi_sha256_update(&hash, c->mask, (size_t)c->height * (size_t)c->width * sizeof *c->mask);
    if (c->levels)
        sumi_sha256_update(&hash, c->levels, (size_t)c->level_count * sizeof *c->levels);
    sumi_sha256_final(&hash, hex);
    return json_pack("{s:b, s:b, s:b, s:b, s:b, s:s}", "labels", c->labels != NULL, "image",
                     c->image != NULL, "start", c->start != NULL, "mask", c->mask != NULL, "levels",
                     c->levels != NULL, "SHA-256", hex);
}

static json_t *describe_way(const sumi_sample_config *c)
{
    json_t *way = json_pack(
        "{s:i, s:i, s:i, s:i, s:i, s:I, s:i, s:s, s:s, s:I, s:o, s:b, s:i, s:i}", "count", c->count,
        "height", c->height, "width", c->width, "batch", c->batch, "steps", c->steps, "first_index",
        (json_int_t)c->first_index, "precision", (int)c->precision, "solver", c->solver, "spacing",
        c->spacing ? c->spacing : "", "to_index", (json_int_t)c->to_index, "seed",
        sumi_json_seed(c->seed), "levels_are_sigma", c->levels_are_sigma, "mask_visits",
        c->mask_visits, "mask_jump", c->mask_jump);
    const struct {
        const char *name;
        float value;
    } reals[] = {{"eta", c->eta},
                 {"churn", c->churn},
                 {"churn_min", c->churn_min},
                 {"churn_max", c->churn_max},
                 {"churn_noise", c->churn_noise},
                 {"clip_low", c->clip_low},
                 {"clip_high", c->clip_high},
                 {"threshold", c->threshold},
                 {"strength", c->strength},
                 {"rtol", c->rtol},
                 {"atol", c->atol},
                 {"rho", c->rho},
                 {"sigma_min", c->sigma_min},
                 {"sigma_max", c->sigma_max},
                 {"guidance", c->guidance},
                 {"guidance_from", c->guidance_from},
                 {"guidance_to", c->guidance_to}};
    for (size_t i = 0; way && i < sizeof reals / sizeof *reals; i++)
        if (json_object_set_new(way, reals[i].name, sumi_short_real(reals[i].value)) != 0) {
            json_decref(way);
            way = NULL;
        }
    return way;
}

static json_t *describe(const sumi_runtime *runtime, const sumi_model *model,
                        const sumi_sample_config *config)
{
    const char *build = runtime->ranks->build;
    size_t image_floats =
        (size_t)config->height * (size_t)config->width * (size_t)model->info.out_channels;
    json_t *program =
        json_pack("{s:s, s:s, s:s}", "version", SUMI_VERSION, "build", build ? build : "",
                  "instruction_set", runtime->backend->isa(runtime->device));
    return json_pack("{s:o, s:o, s:o, s:o}", "program", program, "model",
                     describe_model(model, config->guide), "sample", describe_way(config), "given",
                     describe_given(config, image_floats));
}

sumi_status sumi_share_agree(const sumi_runtime *runtime, const sumi_model *model,
                             const sumi_sample_config *config, sumi_status status, sumi_error *err)
{
    if (status == SUMI_OK && config->on_step)
        status = sumi_fail(err, SUMI_EINVAL,
                           "on_step sees the images of one rank: several cannot share them");
    json_t *mine = status == SUMI_OK ? describe(runtime, model, config) : NULL;
    status = sumi_json_agree(runtime->ranks, status, mine, err);
    json_decref(mine);
    return status;
}

sumi_status sumi_sample_decline(const sumi_runtime *runtime, const sumi_sample_config *config,
                                sumi_status status, sumi_error *err)
{
    const sumi_ranks *ranks = sumi_share_of(runtime, config);
    return ranks ? sumi_json_agree(ranks, status, NULL, err) : status;
}

/* ---- Who draws what -------------------------------------------------------------------------- */

int sumi_share_ranks(const sumi_share *share)
{
    return share->ranks ? share->ranks->count : 1;
}

bool sumi_share_leads(const sumi_share *share)
{
    return !share->ranks || share->ranks->rank == 0;
}

int sumi_share_batch(const sumi_share *share, int batch, int count, size_t image_floats)
{
    int ranks = sumi_share_ranks(share), each = (count + ranks - 1) / ranks;
    size_t most = BYTES_MOST / ((size_t)ranks * image_floats * sizeof(float));
    if (!share->ranks)
        return batch;
    batch = each < batch ? each : batch;
    return most < 1 ? 1 : most < (size_t)batch ? (int)most : batch;
}

/* Of one rank. */
static int images_of(int rank, int64_t left, int batch)
{
    int64_t mine = left - (int64_t)rank * batch;
    return mine < 0 ? 0 : mine < batch ? (int)mine : batch;
}

int sumi_share_images(const sumi_share *share, int64_t left, int batch)
{
    int64_t together = (int64_t)batch * sumi_share_ranks(share);
    return (int)(left < together ? left : together);
}

int sumi_share_mine(const sumi_share *share, int64_t left, int batch, int64_t *first)
{
    int rank = share->ranks ? share->ranks->rank : 0;
    *first = (int64_t)rank * batch;
    return images_of(rank, left, batch);
}

/* ---- Collecting ------------------------------------------------------------------------------ */

sumi_status sumi_share_begin(sumi_share *share, int batch, size_t image_floats, sumi_error *err)
{
    size_t ranks = (size_t)sumi_share_ranks(share), images = ranks * (size_t)batch;
    bool leads = sumi_share_leads(share);
    share->image_floats = image_floats;
    if (!share->ranks)
        return SUMI_OK;
    share->taken = sumi_calloc((size_t)batch, sizeof *share->taken);
    share->out_bytes = sumi_calloc(ranks, sizeof *share->out_bytes);
    share->in_bytes = sumi_calloc(ranks, sizeof *share->in_bytes);
    if (leads) {
        share->all = sumi_calloc(images, image_floats * sizeof *share->all);
        share->all_taken = sumi_calloc(images, sizeof *share->all_taken);
    }
    return share->taken && share->out_bytes && share->in_bytes &&
                   (!leads || (share->all && share->all_taken))
               ? SUMI_OK
               : sumi_fail_memory(err, "a batch of each rank",
                                  images * image_floats * sizeof *share->all);
}

void sumi_share_end(sumi_share *share)
{
    free(share->taken);
    free(share->all);
    free(share->all_taken);
    free(share->out_bytes);
    free(share->in_bytes);
    *share = (sumi_share){.ranks = share->ranks};
}

/* What each rank has for its images, `each` bytes of one, goes to rank 0. */
static void collect(sumi_share *share, int64_t left, int batch, size_t each, const void *mine,
                    void *all)
{
    const sumi_ranks *ranks = share->ranks;
    bool leads = sumi_share_leads(share);
    for (int rank = 0; rank < ranks->count; rank++)
        share->in_bytes[rank] = leads ? (size_t)images_of(rank, left, batch) * each : 0;
    share->out_bytes[0] = (size_t)images_of(ranks->rank, left, batch) * each;
    ranks->swap(ranks->user, mine, share->out_bytes, all, share->in_bytes);
}

float *sumi_share_collect(sumi_share *share, int64_t left, int batch, const float *mine, float *out,
                          int *taken)
{
    float *all = out && sumi_share_leads(share) ? out : share->all;
    collect(share, left, batch, share->image_floats * sizeof *mine, mine, all);
    collect(share, left, batch, sizeof *taken, share->taken, share->all_taken);
    if (taken && sumi_share_leads(share))
        memcpy(taken, share->all_taken,
               (size_t)sumi_share_images(share, left, batch) * sizeof *taken);
    return all;
}
