/*
 * Same seed, same bits: 1, 2 and 3 threads, a training that was saved and resumed, any sampling
 * batch, images drawn alone; on every instruction set. Sizes are odd on purpose: chunks and
 * threads then never divide evenly.
 */
#include "api/api.h"
#include "base/temp_folder.h"

enum { WIDTH = 16, SIDE = 12, BATCH = 5, STEPS = 4, COUNT = 7, PIXELS = SIDE * SIDE };

/* A model, a trainer with averaged weights, and the losses of what it did. */
typedef struct {
    sumi_context *ctx;
    sumi_model *model;
    sumi_trainer *trainer;
    float losses[STEPS];
} training;

static training begin(const char *isa, int threads, int width)
{
    training run = {.ctx = api_context(isa, threads)};
    assert_int_equal(sumi_context_threads(run.ctx), threads);
    run.model = api_model(run.ctx, width);
    sumi_train_config config = SUMI_TRAIN_CONFIG_INIT;
    config.batch = BATCH;
    config.seed = 9;
    config.ema = .9f;
    api_ok(run.ctx, sumi_trainer_create(run.ctx, run.model, &config, &run.trainer));
    return run;
}

/* Steps first .. last-1; t and noise are the trainer's own. The last step has a smaller batch. */
static void go_on(training *run, int first, int last)
{
    float *x = api_images(BATCH * STEPS, SIDE, SIDE);
    for (int step = first; step < last; step++) {
        sumi_batch batch = SUMI_BATCH_INIT;
        batch.n = step == STEPS - 1 ? BATCH - 2 : BATCH;
        batch.h = batch.w = SIDE;
        batch.x = x + step * BATCH * PIXELS;
        api_ok(run->ctx, sumi_trainer_step(run->trainer, &batch, &run->losses[step]));
    }
    free(x);
}

static void end(training *run)
{
    sumi_trainer_free(run->trainer);
    sumi_model_free(run->model);
    sumi_context_free(run->ctx);
}

static void test_training(void **state)
{
    (void)state;
    const char *isa;
    for (int i = 0; (isa = api_isa(i)); i++) {
        training first = begin(isa, 1, WIDTH);
        go_on(&first, 0, STEPS);
        for (int threads = 2; threads <= 3; threads++) {
            training other = begin(isa, threads, WIDTH);
            go_on(&other, 0, STEPS);
            assert_memory_equal(other.losses, first.losses, sizeof first.losses);
            api_same_state(other.model, first.model);
            end(&other);
        }
        end(&first);
    }
}

/* More threads than groups of images, and channels enough to be cut among them instead. */
static void test_wide(void **state)
{
    (void)state;
    enum { WIDE = 48, SMALL = 4, N = 2 };
    float *x = api_images(N, SMALL, SMALL), losses[2];
    training runs[2] = {begin(NULL, 1, WIDE), begin(NULL, 5, WIDE)};
    for (int i = 0; i < 2; i++) {
        sumi_batch batch = SUMI_BATCH_INIT;
        batch.n = N;
        batch.h = batch.w = SMALL;
        batch.x = x;
        api_ok(runs[i].ctx, sumi_trainer_step(runs[i].trainer, &batch, &losses[i]));
    }
    assert_true(losses[0] == losses[1]);
    api_same_state(runs[0].model, runs[1].model);
    end(&runs[0]);
    end(&runs[1]);
    free(x);
}

/* Two steps on two threads, a checkpoint, and the rest on one thread from a fresh model. */
static void test_resume(void **state)
{
    const char *dir = temp_path(*state, "checkpoint");
    const char *later = temp_path(*state, "later"), *whole = temp_path(*state, "whole");
    training first = begin(NULL, 1, WIDTH);
    go_on(&first, 0, STEPS);
    api_ok(first.ctx, sumi_trainer_save(first.trainer, whole));

    training half = begin(NULL, 2, WIDTH);
    go_on(&half, 0, 2);
    api_ok(half.ctx, sumi_trainer_save(half.trainer, dir));
    end(&half);
    training resumed = begin(NULL, 1, WIDTH);
    api_ok(resumed.ctx, sumi_trainer_resume(resumed.trainer, dir));
    assert_int_equal(sumi_trainer_steps(resumed.trainer), 2);
    go_on(&resumed, 2, STEPS);
    assert_memory_equal(resumed.losses + 2, first.losses + 2, (STEPS - 2) * sizeof(float));
    api_same_state(resumed.model, first.model);

    api_ok(resumed.ctx, sumi_trainer_save(resumed.trainer, later));
    sumi_model *average, *other;
    api_ok(first.ctx, sumi_model_load(first.ctx, whole, &average));
    api_ok(first.ctx, sumi_model_load(first.ctx, later, &other));
    api_same_state(average, other);
    sumi_model_free(average);
    sumi_model_free(other);
    end(&resumed);
    end(&first);
}

static void draw(const char *isa, int threads, const sumi_sample_config *config, float *out)
{
    sumi_context *ctx = api_context(isa, threads);
    sumi_model *model = api_model(ctx, WIDTH);
    api_ok(ctx, sumi_sample(ctx, model, config, out, (size_t)config->count * PIXELS));
    sumi_model_free(model);
    sumi_context_free(ctx);
}

static void check_sampling(const char *isa, sumi_sample_config config)
{
    static float all[COUNT * PIXELS], again[COUNT * PIXELS], alone[PIXELS];
    const int batches[] = {1, 2, 3, COUNT, 64};
    draw(isa, 1, &config, all);
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        config.batch = batches[i];
        memset(again, 0, sizeof again);
        draw(isa, 1 + (int)i % 3, &config, again);
        assert_memory_equal(again, all, sizeof all);
    }
    config.count = 1;
    for (int i = 0; i < COUNT; i += 3) {
        config.first_index = i;
        draw(isa, 2, &config, alone);
        assert_memory_equal(alone, all + i * PIXELS, sizeof alone);
    }
    /* And it is not because all images are alike. */
    assert_memory_not_equal(all, all + PIXELS, sizeof alone);
    config.seed++;
    draw(isa, 2, &config, alone);
    assert_memory_not_equal(alone, all + 6 * PIXELS, sizeof alone);
}

static void test_sampling(void **state)
{
    (void)state;
    const char *isa;
    for (int i = 0; (isa = api_isa(i)); i++) {
        sumi_sample_config config = SUMI_SAMPLE_CONFIG_INIT;
        config.count = COUNT;
        config.height = config.width = SIDE;
        config.steps = 5;
        config.seed = 3;
        check_sampling(isa, config);
        config.solver = "ddim";
        check_sampling(isa, config);
        config.eta = .5f;
        check_sampling(isa, config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_training),
        cmocka_unit_test(test_wide),
        cmocka_unit_test_setup_teardown(test_resume, temp_setup, temp_teardown),
        cmocka_unit_test(test_sampling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
