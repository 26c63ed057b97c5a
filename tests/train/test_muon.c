/*
 * Training with Muon: which tensors are matrices of a network, how they and the others move, and
 * that neither threads nor a checkpoint change a bit.
 */
#include "train_test.h"

#include <math.h>

enum { N = 4, SIDE = 8, PIXELS = SIDE * SIDE };

typedef struct {
    sumi_runtime runtime;
    sumi_model *model;
    sumi_trainer *trainer;
} fixture;

static sumi_model *make_unet(void)
{
    sumi_model_config config = SUMI_MODEL_CONFIG_INIT;
    sumi_model *model;
    config.net = "unet";
    config.base_channels = 16;
    config.time_dim = 24;
    config.multipliers[2] = config.blocks[2] = 0;
    config.attention[0] = 2;
    config.attention[1] = 0;
    config.objective = "edm";
    config.schedule = "edm";
    config.classes = 5;
    config.seed = 1;
    assert_ok(sumi_models_create(&config, &model, NULL));
    return model;
}

static sumi_trainer_config settings(void)
{
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    config.batch = N;
    config.optimiser = "muon";
    config.seed = 5;
    config.height = config.width = SIDE;
    return config;
}

static void open_fixture(fixture *f, int threads, const sumi_trainer_config *config)
{
    make_runtime(&f->runtime, threads);
    f->model = make_unet();
    assert_ok(sumi_train_create(&f->runtime, f->model, config, &f->trainer, NULL));
}

static void close_fixture(fixture *f)
{
    sumi_train_free(f->trainer);
    sumi_models_free(f->model);
    sumi_runtime_free(&f->runtime);
}

/* With images that depend on the step alone. Returns the loss of the last. */
static double train(fixture *f, int steps)
{
    double loss = 0;
    for (int i = 0; i < steps; i++) {
        float images[N * PIXELS];
        static const int32_t labels[N] = {0, 3, -1, 4};
        const sumi_random at = {7, SUMI_STREAM_USER, (uint32_t)(f->trainer->steps % 2), 0};
        sumi_random_normals(&at, 0, images, N * PIXELS);
        for (int k = 0; k < N * PIXELS; k++)
            images[k] = images[k] * .1f + .5f;
        sumi_batch batch = {.size = sizeof batch, .n = N, .h = SIDE, .w = SIDE, .x = images};
        batch.labels = labels;
        assert_ok(sumi_train_step(f->trainer, &batch, &loss, NULL));
    }
    return loss;
}

/* ---- Which tensors --------------------------------------------------------------------------- */

static int parts_of(const sumi_graph *graph, const char *name)
{
    for (int i = 0; i < graph->layer_count; i++) {
        int weight = graph->layers[i].weight;
        if (weight >= 0 && strcmp(graph->params.items[weight].name, name) == 0)
            return sumi_graph_hidden_parts(graph, i);
    }
    fail_msg("no layer has %s", name);
    return -1;
}

static void test_hidden_layers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int parts;
    } of_unet[] = {{"first.weight", 0},
                   {"time.0.weight", 0},
                   {"time.2.weight", 0},
                   {"label.weight", 0},
                   {"down0.0.norm1.weight", 0},
                   {"down0.0.conv1.weight", 1},
                   {"down0.0.conv2.weight", 1},
                   {"down0.0.modulation.weight", 2},
                   {"down1.0.attention.qkv.weight", 3},
                   {"down1.0.attention.out.weight", 1},
                   {"shrink0.weight", 1},
                   {"middle.conv2.weight", 1},
                   {"grow0.weight", 1},
                   {"up0.0.shortcut.weight", 1},
                   {"last.weight", 0}},
      of_tutorial[] = {{"down_conv1.conv.0.weight", 0},   {"down_conv1.linear.0.weight", 0},
                       {"down_conv1.linear.2.weight", 1}, {"down_conv1.conv.3.weight", 1},
                       {"down_conv2.conv.0.weight", 1},   {"out.weight", 0}};
    sumi_model *unet = make_unet(), *tutorial = make_model(1);
    for (size_t i = 0; i < sizeof of_unet / sizeof *of_unet; i++)
        assert_int_equal(parts_of(&unet->graph, of_unet[i].name), of_unet[i].parts);
    for (size_t i = 0; i < sizeof of_tutorial / sizeof *of_tutorial; i++)
        assert_int_equal(parts_of(&tutorial->graph, of_tutorial[i].name), of_tutorial[i].parts);
    sumi_models_free(unet);
    sumi_models_free(tutorial);
}

/* ---- How they move --------------------------------------------------------------------------- */

/* The root of the sum of squares of how far each weight went. */
static double moved(const sumi_params *params, int index, const float *before)
{
    const sumi_param *param = &params->items[index];
    double sum = 0;
    for (size_t i = param->offset; i < param->offset + param->count; i++)
        sum += pow((double)params->values[i] - (double)before[i], 2);
    return sqrt(sum);
}

/* In a first step Adam moves each weight by its rate, as far as it has a gradient. A matrix moves
 * by its rate times one that is nearly orthogonal: its singular values are 0.7 to 1.2. */
static void test_each_moves_by_its_rate(void **state)
{
    (void)state;
    sumi_trainer_config config = settings();
    fixture f;
    config.learning_rate = 1e-4f;
    config.muon_rate = .5f;
    config.weight_decay = .1f;
    config.warmup_steps = 2;
    open_fixture(&f, 1, &config);
    const sumi_params *params = &f.model->graph.params;
    float *before = malloc(params->value_count * sizeof *before);
    train(&f, 3); /* convolutions that start at zero keep others from gradients */
    memcpy(before, params->values, params->value_count * sizeof *before);
    for (size_t i = 0; i < params->value_count; i++)
        f.trainer->optimiser.state[0][i] = 0;
    train(&f, 1);
    int hidden = 0;
    for (int i = 0; i < params->count; i++) {
        const sumi_param *param = &params->items[i];
        if (!f.trainer->optimiser.muon.hidden[i]) {
            assert_true(moved(params, i, before) < 2e-3 * sqrt((double)param->count));
            continue;
        }
        /* Less what decays, which is near to orthogonal to it. */
        double columns = (double)param->shape[0], rows = (double)param->count / columns;
        if (strstr(param->name, "attention"))
            continue; /* what its zeros let through by now has few directions */
        if (strstr(param->name, "modulation"))
            columns /= 2;
        double each = columns < rows ? columns : rows;
        if (param->rank == 2)
            each = each < N ? each : N; /* no more than its gradient has images */
        double factor = sqrt(fmax(1, columns / rows)) * .5;
        double most = 1.25 * factor * sqrt(each * ((double)param->count / rows / columns));
        double found = moved(params, i, before);
        if (!(found < 1.2 * most && found > .3 * most))
            fail_msg("%s went %g, and a matrix near to orthogonal is %g", param->name, found, most);
        hidden++;
    }
    assert_true(hidden > f.trainer->optimiser.muon.range_count / 2);
    free(before);
    close_fixture(&f);
}

static void test_loss_falls(void **state)
{
    (void)state;
    sumi_trainer_config config = settings();
    fixture f;
    open_fixture(&f, 2, &config);
    double first = 0, last = 0;
    for (int i = 0; i < 80; i++)
        *(i < 10 ? &first : &last) += (i < 10 || i >= 70) * train(&f, 1);
    if (!(last < .8 * first))
        fail_msg("the loss went from %g to %g", first / 10, last / 10);
    close_fixture(&f);
}

/* ---- Bits and files -------------------------------------------------------------------------- */

static void check_file(const char *dir, const sumi_model *model)
{
    char path[PATH_MAX];
    sumi_tensor_file file;
    assert_ok(sumi_safetensors_read(join(path, dir, "optim.safetensors"), &file, NULL));
    assert_non_null(sumi_tensor_file_find(&file, "momentum_buffer.down0.0.conv1.weight"));
    assert_null(sumi_tensor_file_find(&file, "exp_avg.down0.0.conv1.weight"));
    assert_null(sumi_tensor_file_find(&file, "exp_avg_sq.down0.0.conv1.weight"));
    assert_non_null(sumi_tensor_file_find(&file, "exp_avg.down0.0.conv1.bias"));
    assert_non_null(sumi_tensor_file_find(&file, "exp_avg_sq.first.weight"));
    assert_null(sumi_tensor_file_find(&file, "momentum_buffer.first.weight"));
    assert_true((size_t)file.count < 2 * (size_t)model->graph.params.count);
    sumi_tensor_file_free(&file);
}

static void test_resume_and_threads_change_no_bit(void **state)
{
    (void)state;
    char folder[PATH_MAX], dir[PATH_MAX];
    sumi_trainer_config config = settings();
    fixture f[3];
    config.weight_decay = .01f;
    config.averages[0] = .9f;
    config.rate_schedule = "linear";
    config.schedule_steps = 6;
    make_folder(folder);
    join(dir, folder, "saved");
    for (int i = 0; i < 3; i++)
        open_fixture(&f[i], i + 1, &config);
    train(&f[0], 5);
    train(&f[1], 2);
    assert_ok(sumi_checkpoint_save(f[1].trainer, NULL, dir, NULL));
    check_file(dir, f[1].model);
    assert_ok(sumi_checkpoint_load(f[2].trainer, dir, NULL, NULL));
    train(&f[2], 3);
    assert_same_model(f[0].model, f[2].model);
    assert_same_model(f[0].trainer->averages.model[0], f[2].trainer->averages.model[0]);
    for (int i = 0; i < 2; i++)
        assert_memory_equal(f[0].trainer->optimiser.state[i], f[2].trainer->optimiser.state[i],
                            f[0].trainer->optimiser.count * sizeof(float));

    sumi_trainer_config other = config;
    sumi_trainer *trainer;
    sumi_error err = {""};
    other.muon_rate = .01f;
    assert_ok(sumi_train_create(&f[2].runtime, f[2].model, &other, &trainer, NULL));
    assert_int_equal(sumi_checkpoint_load(trainer, dir, NULL, &err), SUMI_EINVAL);
    assert_says(err, "muon_rate 0.02, not 0.01");
    sumi_train_free(trainer);
    other.muon_rate = NAN;
    assert_int_equal(sumi_train_create(&f[2].runtime, f[2].model, &other, &trainer, &err),
                     SUMI_EINVAL);
    assert_says(err, "muon_rate is nan");
    for (int i = 0; i < 3; i++)
        close_fixture(&f[i]);
    assert_ok(sumi_remove_tree(folder, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hidden_layers),
        cmocka_unit_test(test_each_moves_by_its_rate),
        cmocka_unit_test(test_loss_falls),
        cmocka_unit_test(test_resume_and_threads_change_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
