/*
 * Replaying steps of a run: from one of its checkpoints to the next, in memory, with nothing
 * written. The losses of the steps must be those of metrics.jsonl, and the state at the end that of
 * the second checkpoint, to the bit.
 */
#include "run/training.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS_MAX = 2 + 2 * SUMI_AVERAGES_MAX + SUMI_STATES_MAX };

/* What a trainer consists of, each part with its SHA-256. */
typedef struct {
    int count;
    char name[PARTS_MAX][40], hash[PARTS_MAX][65];
} fingerprint;

static void add_part(fingerprint *of, const char *name, const void *data, size_t bytes)
{
    sumi_sha256 sha;
    sumi_sha256_init(&sha);
    sumi_sha256_update(&sha, data, bytes);
    snprintf(of->name[of->count], sizeof of->name[0], "%s", name);
    sumi_sha256_final(&sha, of->hash[of->count++]);
}

static void add_model(fingerprint *of, const char *name, const sumi_model *model)
{
    const sumi_params *params = &model->graph.params;
    char statistics[40];
    sumi_model_fetch(model);
    add_part(of, name, params->values, params->value_count * sizeof *params->values);
    snprintf(statistics, sizeof statistics, "statistics of %.24s", name);
    add_part(of, statistics, params->statistics,
             params->statistic_count * sizeof *params->statistics);
}

static sumi_status take_fingerprint(const sumi_trainer *trainer, fingerprint *of, sumi_error *err)
{
    const sumi_optimiser *optimiser = &trainer->optimiser;
    const sumi_runtime *runtime = trainer->runtime;
    char name[40];
    of->count = 0;
    float *flat = sumi_calloc(optimiser->count + 1, sizeof *flat);
    if (!flat)
        return sumi_fail_memory(err, "the optimiser's state", optimiser->count * sizeof *flat);
    add_model(of, "weights", trainer->model);
    for (int i = 0; i < trainer->averages.count; i++) {
        snprintf(name, sizeof name, "average %d", i + 1);
        add_model(of, name, trainer->averages.model[i]);
    }
    for (int i = 0; i < optimiser->row->states; i++) {
        runtime->backend->download(runtime->device, flat, optimiser->state[i],
                                   optimiser->count * sizeof *flat);
        add_part(of, optimiser->row->state_names[i], flat, optimiser->count * sizeof *flat);
    }
    free(flat);
    return SUMI_OK;
}

/* ---- The checkpoints ------------------------------------------------------------------------- */

static sumi_status load_from(sumi_train_run *run, int64_t step)
{
    char name[SUMI_STEP_NAME_MAX + 16], path[PATH_MAX];
    snprintf(name, sizeof name, "checkpoints/step_%" PRId64, step);
    return sumi_checkpoint_load(run->trainer, sumi_run_file(run->dir, name, path), NULL, run->err);
}

/* The two neighbours with the fewest steps between them; of several, the newest. */
static sumi_status choose_steps(sumi_train_run *run, sumi_verify_t *out)
{
    int64_t *steps = NULL, least = INT64_MAX;
    size_t count = 0;
    sumi_status status = sumi_run_list_steps(run->dir->path, &steps, &count, run->err);
    for (size_t i = 0; i + 1 < count; i++) {
        if (steps[i] - steps[i + 1] >= least)
            continue;
        least = steps[i] - steps[i + 1];
        out->last = steps[i];
        out->first = steps[i + 1];
    }
    free(steps);
    if (status == SUMI_OK && least == INT64_MAX)
        return sumi_fail(run->err, SUMI_EIO,
                         "%s: two checkpoints are needed, there %s %zu; a run with keep_every or "
                         "keep_last keeps more",
                         run->dir->path, count == 1 ? "is" : "are", count);
    return status;
}

/* ---- Where it was done ----------------------------------------------------------------------- */

/* What of build and machine is another by now; "" where nothing is. */
static void compare_machines(const sumi_train_run *run, sumi_verify_t *out)
{
    const sumi_backend *backend = run->runtime->backend;
    sumi_device *device = run->runtime->device;
    char path[PATH_MAX];
    json_t *env = NULL;
    sumi_error note = {""};
    if (sumi_json_read(sumi_run_file(run->dir, "env.json", path), &env, NULL) != SUMI_OK)
        return;
    const char *isa = json_string_value(json_object_get(env, "isa"));
    const char *version = json_string_value(json_object_get(env, "version"));
    const char *compiler = json_string_value(json_object_get(env, "compiler"));
    if (isa && !backend->same_bits(device, isa, run->settings.precision))
        sumi_fail(&note, SUMI_OK,
                  "the run was on %.16s and this is %.16s, which round differently: the same bits "
                  "cannot come out; SUMI_ISA=%.16s chooses the run's where this CPU has it",
                  isa, backend->isa(device), isa);
    else if (version && compiler &&
             (strcmp(version, SUMI_VERSION) != 0 || strcmp(compiler, sumi_run_compiler()) != 0))
        sumi_fail(&note, SUMI_OK,
                  "the run was by sumi %.16s (%.40s) and this is %s (%.40s): another build may "
                  "have other bits",
                  version, compiler, SUMI_VERSION, sumi_run_compiler());
    sumi_copy_text(out->note, sizeof out->note, note.text);
    json_decref(env);
}

/* ---- Replaying ------------------------------------------------------------------------------- */

/* Whether the loss is that of metrics.jsonl, where the step has a line there. */
static bool same_loss(const sumi_run_dir *dir, int64_t step, double loss)
{
    char here[SUMI_NUMBER_MAX], there[SUMI_NUMBER_MAX];
    double at = (double)step / (double)dir->steps_per_epoch;
    for (size_t i = 0; i < dir->step_count; i++)
        if (fabs(dir->step_x[i] - at) < .25 / (double)dir->steps_per_epoch)
            return strcmp(sumi_run_number(here, loss, 9),
                          sumi_run_number(there, dir->step_loss[i], 9)) == 0;
    return true;
}

static void judge_step(sumi_train_run *run, sumi_verify_t *out, double loss)
{
    if (out->loss_step == 0 && !same_loss(run->dir, run->trainer->steps, loss))
        out->loss_step = run->trainer->steps;
    sumi_run_tell(run, SUMI_PHASE_TRAIN, (run->trainer->steps - 1) / run->per_epoch, loss, NULL);
}

/* Takes in the steps that are on their way. */
static sumi_status settle(sumi_train_run *run, sumi_verify_t *out)
{
    int count = sumi_train_on_their_way(run->trainer);
    for (int i = 0; i < count; i++) {
        sumi_settled step;
        sumi_data_batch data;
        sumi_status status = sumi_train_settle(run->trainer, &step, run->err);
        if (status == SUMI_OK && step.repeat)
            return sumi_run_train_again(run, &data, &step.loss); /* which tells what is wrong */
        if (status != SUMI_OK)
            return status;
        run->images += run->whole[i];
        judge_step(run, out, step.loss);
    }
    return SUMI_OK;
}

/* As many steps as the device is given at once. */
static sumi_status replay_steps(sumi_train_run *run, sumi_verify_t *out)
{
    const sumi_trainer *trainer = run->trainer;
    sumi_status status = SUMI_OK;
    sumi_data_batch data;
    while (status == SUMI_OK && sumi_train_on_their_way(trainer) < trainer->ahead &&
           trainer->steps + sumi_train_on_their_way(trainer) < out->last)
        status = sumi_run_queue_next(run, &data);
    if (status == SUMI_OK)
        status = settle(run, out);
    if (status != SUMI_OK)
        return status;
    return sumi_run_asked_to_stop(run) && trainer->steps < out->last
               ? sumi_fail(run->err, SUMI_CANCELLED, "stopped at step %" PRId64, trainer->steps)
               : SUMI_OK;
}

static sumi_status replay(sumi_train_run *run, sumi_verify_t *out)
{
    fingerprint replayed, saved;
    run->last_step = out->last;
    sumi_status status = load_from(run, out->first);
    if (status == SUMI_OK)
        status = sumi_run_read_rollbacks(run);
    if (status == SUMI_OK)
        status = sumi_run_begin_batches(run);
    run->first_step = run->trainer->steps;
    while (status == SUMI_OK && run->trainer->steps < out->last)
        status = replay_steps(run, out);
    if (status == SUMI_OK)
        status = take_fingerprint(run->trainer, &replayed, run->err);
    if (status == SUMI_OK)
        status = load_from(run, out->last);
    if (status == SUMI_OK)
        status = take_fingerprint(run->trainer, &saved, run->err);
    if (status != SUMI_OK)
        return status;
    out->same = out->loss_step == 0;
    assert(saved.count == replayed.count);
    for (int i = 0; i < saved.count; i++) {
        if (strcmp(saved.hash[i], replayed.hash[i]) == 0)
            continue;
        out->same = false;
        if (!out->differs[0])
            sumi_copy_text(out->differs, sizeof out->differs, saved.name[i]);
    }
    return SUMI_OK;
}

static sumi_status check(sumi_train_run *run)
{
    sumi_run_dir *dir = run->dir;
    if (!run->config->out_dir)
        return sumi_fail(run->err, SUMI_EINVAL, "verify needs out_dir, the run directory");
    if (run->settings.transport != SUMI_PRECISION_FP32)
        return sumi_fail(run->err, SUMI_EUNSUPPORTED,
                         "%s: its gradients went between ranks as bfloat16 (transport): what these "
                         "added up cannot be replayed in one process",
                         run->config->out_dir);
    sumi_status status = sumi_run_dir_name(dir, run->config->out_dir, run->err);
    if (status != SUMI_OK)
        return status;
    sumi_data_hash(run->set, run->hash);
    return sumi_run_check_config(dir, run->set, &run->settings, run->config, run->hash, run->err);
}

sumi_status sumi_run_verify(sumi_runtime *runtime, sumi_model *model, const sumi_dataset *set,
                            const sumi_train_config *config, sumi_verify_t *out, sumi_error *err)
{
    static const sumi_run_stage stages[] = {check, sumi_run_check, sumi_run_make_trainer};
    sumi_error own = {""};
    sumi_run_dir dir = {.lock = -1};
    sumi_train_run run = {.config = config,
                          .settings = sumi_trainer_settings(config),
                          .set = set,
                          .runtime = runtime,
                          .model = model,
                          .dir = &dir,
                          .last_step = INT64_MAX,
                          .err = err ? err : &own};
    if (out->size != sizeof *out)
        return sumi_fail(run.err, SUMI_EINVAL, "sumi_verify: result's size is %zu, not %zu",
                         out->size, sizeof *out);
    *out = (sumi_verify_t){.size = out->size};
    sumi_status status = sumi_run_in_turn(&run, stages, sizeof stages / sizeof *stages);
    dir.steps_per_epoch = run.per_epoch;
    if (status == SUMI_OK)
        status = choose_steps(&run, out);
    if (status == SUMI_OK)
        status = sumi_run_step_losses(&dir, run.err);
    if (status == SUMI_OK) {
        compare_machines(&run, out);
        status = replay(&run, out);
    }
    sumi_batches_free(run.batches);
    sumi_run_dir_close(&dir);
    sumi_train_free(run.trainer);
    return status;
}
