/* Contexts that have joined each other, as a program of its own would do it: here in threads. */
#include "api/api.h"
#include "meeting.h"

enum { SIDE = 8, BATCH = 6, STEPS = 3, RANKS = 2, PIXELS = SIDE * SIDE };

typedef struct {
    attendant *me; /* NULL: alone */
    float losses[STEPS];
    sumi_context *ctx;
    sumi_model *model;
} training;

/* Each rank's images are those of its half of the batch. */
static void *train(void *arg)
{
    training *run = arg;
    float *x = api_images(BATCH, SIDE, SIDE);
    sumi_trainer *trainer;
    sumi_trainer_config settings = SUMI_TRAINER_CONFIG_INIT;
    sumi_train_config config = SUMI_TRAIN_CONFIG_INIT;
    config.trainer = &settings;
    settings.batch = BATCH;
    settings.groups = 2;
    run->model = api_model(run->ctx, 8);
    if (run->me) {
        sumi_ranks ranks = meeting_ranks(run->me);
        api_ok(run->ctx, sumi_context_join(run->ctx, &ranks));
    }
    api_ok(run->ctx, sumi_trainer_create(run->ctx, run->model, &config, &trainer));
    for (int i = 0; i < STEPS; i++) {
        sumi_batch batch = SUMI_BATCH_INIT;
        batch.n = run->me ? BATCH / RANKS : BATCH;
        batch.h = batch.w = SIDE;
        batch.x = x + (run->me ? run->me->rank * batch.n : 0) * PIXELS;
        api_ok(run->ctx, sumi_trainer_step(trainer, &batch, &run->losses[i]));
    }
    sumi_trainer_free(trainer);
    free(x);
    return NULL;
}

static void test_joined_trainers(void **state)
{
    (void)state;
    attendant people[MEETING_MAX];
    training alone = {.ctx = api_context(NULL, 1)}, runs[RANKS] = {{0}};
    train(&alone);
    for (int r = 0; r < RANKS; r++) {
        runs[r].me = &people[r];
        runs[r].ctx = api_context(NULL, 1);
    }
    assert_true(meeting_hold(RANKS, people, train, runs, sizeof *runs) > 0);
    for (int r = 0; r < RANKS; r++) {
        assert_memory_equal(runs[r].losses, alone.losses, sizeof alone.losses);
        api_same_state(runs[r].model, alone.model);
        sumi_model_free(runs[r].model);
        /* It is alone again. */
        api_ok(runs[r].ctx, sumi_context_join(runs[r].ctx, NULL));
        sumi_context_free(runs[r].ctx);
    }
    sumi_model_free(alone.model);
    sumi_context_free(alone.ctx);
}

static void test_refuses(void **state)
{
    (void)state;
    sumi_context *ctx = api_context(NULL, 1);
    sumi_ranks ranks = SUMI_RANKS_INIT;
    api_ok(ctx, sumi_context_join(ctx, &ranks)); /* one alone needs no functions */
    ranks.count = 2;
    api_fails(ctx, sumi_context_join(ctx, &ranks), SUMI_EINVAL, "ranks need gather, swap and tell");
    ranks.rank = 2;
    api_fails(ctx, sumi_context_join(ctx, &ranks), SUMI_EINVAL, "rank 2 of 2 ranks");
    ranks.size = 3;
    api_fails(ctx, sumi_context_join(ctx, &ranks), SUMI_EINVAL, "sumi_ranks: its size field is 3");
    assert_int_equal(sumi_context_join(NULL, &ranks), SUMI_EINVAL);
    sumi_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_joined_trainers),
        cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
