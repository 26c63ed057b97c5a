/*
 * What of the public interface lists names, and walks over what describes a model: bodies that need
 * no context.
 */
#include "sumi_bodies.h"

#include <string.h>

#include "models/fields.h"
#include "models/sampling.h"
#include "train/train.h"

void sumi_give_info(const void *info, size_t info_size, void *out)
{
    size_t size;
    memcpy(&size, out, sizeof size);
    if (size < sizeof size)
        size = info_size;
    memcpy(out, info, size < info_size ? size : info_size);
    memcpy(out, &size, sizeof size);
}

static sumi_status give_choice(const char *name, const char *about, sumi_choice_t *choice)
{
    const sumi_choice_t full = {.size = sizeof full, .name = name, .about = about};
    if (!choice)
        return SUMI_EINVAL;
    sumi_give_info(&full, sizeof full, choice);
    return SUMI_OK;
}

static sumi_status give_row(sumi_choice table, int index, sumi_choice_t *choice)
{
    const sumi_row *row = sumi_choice_at(table, index);
    return row ? give_choice(row->name, row->about, choice) : SUMI_EINVAL;
}

sumi_status sumi_precision_at(int index, sumi_choice_t *precision)
{
    const sumi_precision_name *row = sumi_precision_row(index);
    return row ? give_choice(row->name, row->about, precision) : SUMI_EINVAL;
}

sumi_status sumi_device_at(int index, sumi_device_info_t *device)
{
    sumi_device_facts facts;
    if (index < 0 || !device || !sumi_device_row(index, &facts))
        return SUMI_EINVAL;
    sumi_device_info_t full = {.size = sizeof full,
                               .memory = facts.memory,
                               .largest_block = facts.largest,
                               .local_memory = facts.local_bytes,
                               .units = facts.units,
                               .megahertz = facts.megahertz,
                               .group = (int)facts.group,
                               .doubles = facts.doubles,
                               .halves = facts.halves,
                               .usable = facts.usable};
    memcpy(full.id, facts.id, sizeof full.id);
    memcpy(full.name, facts.name, sizeof full.name);
    memcpy(full.vendor, facts.vendor, sizeof full.vendor);
    memcpy(full.kind, facts.kind, sizeof full.kind);
    memcpy(full.driver, facts.driver, sizeof full.driver);
    sumi_give_info(&full, sizeof full, device);
    return SUMI_OK;
}

sumi_status sumi_objective_at(int index, sumi_choice_t *objective)
{
    return give_row(SUMI_CHOICE_OBJECTIVE, index, objective);
}

sumi_status sumi_schedule_at(int index, sumi_choice_t *schedule)
{
    return give_row(SUMI_CHOICE_SCHEDULE, index, schedule);
}

sumi_status sumi_weighting_at(int index, sumi_choice_t *weighting)
{
    return give_row(SUMI_CHOICE_WEIGHTING, index, weighting);
}

sumi_status sumi_law_at(int index, sumi_choice_t *law)
{
    return give_row(SUMI_CHOICE_LAW, index, law);
}

sumi_status sumi_optimiser_at(int index, sumi_choice_t *optimiser)
{
    const sumi_optimiser_row *row = sumi_train_optimiser_at(index);
    return row ? give_choice(row->name, row->about, optimiser) : SUMI_EINVAL;
}

sumi_status sumi_rate_schedule_at(int index, sumi_choice_t *schedule)
{
    const sumi_rate_schedule *row = sumi_train_rate_schedule_at(index);
    return row ? give_choice(row->name, row->about, schedule) : SUMI_EINVAL;
}

sumi_status sumi_solver_at(int index, sumi_choice_t *solver)
{
    const sumi_solver *row = sumi_solver_row(index);
    if (!row || !solver)
        return SUMI_EINVAL;
    const sumi_choice_t full = {.size = sizeof full,
                                .name = row->is.name,
                                .about = row->is.about,
                                .evaluations = row->evaluations,
                                .has_eta = row->flags & SUMI_SOLVER_ETA,
                                .eta = row->eta,
                                .inverse = row->flags & SUMI_SOLVER_INVERSE,
                                .has_churn = row->flags & SUMI_SOLVER_CHURN,
                                .adaptive = row->flags & SUMI_SOLVER_ADAPTIVE};
    sumi_give_info(&full, sizeof full, solver);
    return SUMI_OK;
}

sumi_status sumi_spacing_at(int index, sumi_choice_t *spacing)
{
    return give_row(SUMI_CHOICE_SPACING, index, spacing);
}

sumi_status sumi_preset_at(int index, sumi_choice_t *preset)
{
    const sumi_row *row = sumi_preset_row(index);
    return row ? give_choice(row->name, row->about, preset) : SUMI_EINVAL;
}

sumi_status sumi_net_at(int index, sumi_choice_t *net)
{
    const sumi_net *row = sumi_net_row(index);
    return row ? give_choice(row->is.name, row->is.about, net) : SUMI_EINVAL;
}

sumi_status sumi_model_config_net(sumi_model_config *config, const char *net)
{
    const sumi_net *row = net ? sumi_net_row(sumi_net_find(net)) : NULL;
    if (!config || !row)
        return SUMI_EINVAL;
    config->net = row->is.name;
    config->base_channels = row->base_channels;
    config->time_dim = row->time_dim;
    return SUMI_OK;
}

sumi_status sumi_model_field_at(int index, sumi_field_t *field)
{
    static sumi_status (*const lists[])(int, sumi_choice_t *) = {
        [SUMI_CHOICE_OBJECTIVE] = sumi_objective_at,
        [SUMI_CHOICE_SCHEDULE] = sumi_schedule_at,
        [SUMI_CHOICE_WEIGHTING] = sumi_weighting_at,
        [SUMI_CHOICE_LAW] = sumi_law_at,
    };
    const sumi_field *row = sumi_model_fields;
    for (; index > 0 && row->name; index--)
        row++;
    if (index < 0 || !row->name || !field)
        return SUMI_EINVAL;
    const sumi_field_t full = {.size = sizeof full,
                               .name = row->name,
                               .part = sumi_model_parts[row->part],
                               .about = row->about,
                               .kind = row->kind,
                               .settable = row->config != SUMI_NO_CONFIG,
                               .from_data = row->from_data,
                               .low = row->low,
                               .high = row->high,
                               .initial = row->initial,
                               .choice_at =
                                   row->kind == SUMI_FIELD_CHOICE ? lists[row->choice] : NULL};
    sumi_give_info(&full, sizeof full, field);
    return SUMI_OK;
}

sumi_status sumi_model_get_field(const sumi_model *model, const char *name, double *number,
                                 const char **text)
{
    const sumi_field *field = name ? sumi_field_find(name) : NULL;
    if (!model || !field)
        return SUMI_EINVAL;
    if (!sumi_field_applies(field, model))
        return SUMI_EINVAL;
    double value = sumi_field_number(field, model);
    if (number)
        *number = field->kind == SUMI_FIELD_FLOAT ? sumi_shortest((float)value) : value;
    if (text && sumi_field_text(field, model))
        *text = sumi_field_text(field, model);
    return SUMI_OK;
}

sumi_status sumi_model_config_set(sumi_model_config *config, const char *name, double number,
                                  const char *text)
{
    const sumi_field *field = name ? sumi_field_find(name) : NULL;
    if (!config || !field)
        return SUMI_EINVAL;
    return sumi_field_give_config(field, config, number, text);
}

sumi_status sumi_model_get_sampling(const sumi_model *model, sumi_sample_config *config)
{
    sumi_sample_config full = SUMI_SAMPLE_CONFIG_INIT;
    if (!model || !config || config->size < sizeof config->size)
        return SUMI_EINVAL;
    size_t size = config->size < sizeof full ? config->size : sizeof full;
    memcpy(&full, config, size);
    sumi_status status = sumi_sampling_read("sampling", model->sampling, &full, NULL);
    if (status == SUMI_OK)
        memcpy(config, &full, size);
    return status;
}
