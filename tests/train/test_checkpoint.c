/* Checkpoint folders: what is saved comes back, and anything else is refused with its name. */
#include "train_test.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

enum { N = 4, SIDE = 8, PIXELS = SIDE * SIDE };

typedef struct {
    sumi_runtime runtime;
    sumi_model *model;
    sumi_trainer *trainer;
    sumi_dataset *set;
} fixture;

static void open_fixture(fixture *f, int threads, uint64_t seed, float ema)
{
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    make_runtime(&f->runtime, threads);
    f->model = make_model(seed);
    f->set = make_shapes();
    config.batch = N;
    config.seed = 5;
    config.averages[0] = ema;
    config.height = config.width = SIDE;
    assert_ok(sumi_train_create(&f->runtime, f->model, &config, &f->trainer, NULL));
}

static void close_fixture(fixture *f)
{
    sumi_train_free(f->trainer);
    sumi_models_free(f->model);
    sumi_data_free(f->set);
    sumi_runtime_free(&f->runtime);
}

/* Steps with images that depend on the step alone. */
static void train(fixture *f, int steps)
{
    float images[N * PIXELS];
    for (int i = 0; i < steps; i++) {
        for (int k = 0; k < N; k++)
            sumi_data_read(f->set, f->trainer->steps * N + k, images + k * PIXELS, NULL);
        sumi_batch batch = {.size = sizeof batch, .n = N, .h = SIDE, .w = SIDE, .x = images};
        assert_ok(sumi_train_step(f->trainer, &batch, NULL, NULL));
    }
}

static void assert_same_trainer(const sumi_trainer *a, const sumi_trainer *b)
{
    size_t bytes = a->model->graph.params.value_count * sizeof(float);
    assert_int_equal(a->steps, b->steps);
    assert_same_model(a->model, b->model);
    assert_memory_equal(a->optimiser.state[0], b->optimiser.state[0], bytes);
    assert_memory_equal(a->optimiser.state[1], b->optimiser.state[1], bytes);
    for (int i = 0; i < a->averages.count; i++)
        assert_same_model(a->averages.model[i], b->averages.model[i]);
}

/* Stopping and going on gives the bits of going on without a stop, on other threads, too. */
static void check_resume(float ema)
{
    char folder[PATH_MAX], dir[PATH_MAX];
    fixture straight, first, second;
    make_folder(folder);
    join(dir, folder, "checkpoint");
    open_fixture(&straight, 1, 1, ema);
    train(&straight, 7);
    open_fixture(&first, 2, 1, ema);
    train(&first, 3);
    assert_ok(sumi_checkpoint_save(first.trainer, NULL, dir, NULL));
    open_fixture(&second, 3, 99, ema); /* other weights, which the checkpoint replaces */
    train(&second, 1);
    json_t *run = (json_t *)&run;
    assert_ok(sumi_checkpoint_load(second.trainer, dir, &run, NULL));
    assert_null(run);
    assert_same_trainer(first.trainer, second.trainer);
    assert_int_equal(second.model->info.steps, 3);
    train(&second, 4);
    assert_same_trainer(straight.trainer, second.trainer);
    close_fixture(&straight);
    close_fixture(&first);
    close_fixture(&second);
    assert_ok(sumi_remove_tree(folder, NULL));
}

static void test_resume_has_the_same_bits(void **state)
{
    (void)state;
    check_resume(0);
    check_resume(.9f);
}

static void test_replaces_only_checkpoints(void **state)
{
    (void)state;
    char folder[PATH_MAX], dir[PATH_MAX], path[PATH_MAX], inside[PATH_MAX];
    fixture f;
    sumi_error err;
    make_folder(folder);
    open_fixture(&f, 1, 1, 0);
    train(&f, 1);
    join(dir, folder, "saved/");
    assert_ok(mkdir(dir, 0777)); /* an empty folder may be used */
    assert_ok(sumi_checkpoint_save(f.trainer, NULL, dir, NULL));
    train(&f, 1);
    assert_ok(sumi_checkpoint_save(f.trainer, NULL, dir, NULL));
    assert_ok(sumi_checkpoint_check(dir, NULL));
    train(&f, 1);
    assert_ok(sumi_checkpoint_load(f.trainer, dir, NULL, NULL));
    assert_int_equal(f.trainer->steps, 2);

    join(path, folder, "mine");
    assert_ok(mkdir(path, 0777));
    join(inside, path, "letter.txt");
    assert_ok(sumi_file_save(inside, "x", 1, NULL));
    assert_int_equal(sumi_checkpoint_save(f.trainer, NULL, path, &err), SUMI_EINVAL);
    assert_says(err, "mine is a folder with other files in it");
    assert_true(sumi_is_file(inside));
    assert_int_equal(sumi_checkpoint_save(f.trainer, NULL, inside, &err), SUMI_EIO);
    assert_true(sumi_is_file(inside));
    assert_int_equal(sumi_checkpoint_save(f.trainer, NULL, "/", &err), SUMI_EINVAL);
    assert_int_equal(sumi_checkpoint_save(f.trainer, NULL, ".", &err), SUMI_EINVAL);
    assert_int_equal(sumi_checkpoint_save(f.trainer, NULL, "..", &err), SUMI_EINVAL);
    assert_int_equal(sumi_checkpoint_save(f.trainer, NULL, "", &err), SUMI_EINVAL);
    /* Too long by itself, and with what it is called while it is written. */
    for (size_t length = PATH_MAX - 4; length <= PATH_MAX; length += 4) {
        char name[PATH_MAX + 1];
        memset(name, 'a', length);
        name[length] = '\0';
        assert_int_equal(sumi_checkpoint_save(f.trainer, NULL, name, &err), SUMI_EIO);
        assert_says(err, "File name too long");
    }
    join(path, inside, "below/a/file");
    assert_int_equal(sumi_checkpoint_save(f.trainer, NULL, path, &err), SUMI_EIO);
    assert_says(err, "letter.txt");
    close_fixture(&f);
    assert_ok(sumi_remove_tree(folder, NULL));
}

/* A name alone is a place in the folder of work. */
static void test_a_name_alone(void **state)
{
    (void)state;
    char folder[PATH_MAX], here[PATH_MAX], path[PATH_MAX];
    fixture f;
    make_folder(folder);
    open_fixture(&f, 1, 1, 0);
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(folder), 0);
    for (int i = 0; i < 2; i++)
        assert_ok(sumi_checkpoint_save(f.trainer, NULL, "saved", NULL));
    assert_int_equal(chdir(here), 0);
    assert_ok(sumi_checkpoint_check(join(path, folder, "saved"), NULL));
    close_fixture(&f);
    assert_ok(sumi_remove_tree(folder, NULL));
}

/* A machine that stops between the two renames of a replacement leaves the old one aside. */
static void test_recovers_an_interrupted_replacement(void **state)
{
    (void)state;
    char folder[PATH_MAX], dir[PATH_MAX], old[PATH_MAX];
    fixture f;
    make_folder(folder);
    open_fixture(&f, 1, 1, 0);
    train(&f, 2);
    join(dir, folder, "saved");
    join(old, folder, ".saved.sumi-old");
    assert_ok(sumi_checkpoint_save(f.trainer, NULL, dir, NULL));
    assert_int_equal(rename(dir, old), 0);
    train(&f, 1);
    assert_ok(sumi_checkpoint_load(f.trainer, dir, NULL, NULL));
    assert_int_equal(f.trainer->steps, 2);
    assert_false(sumi_is_dir(old));
    close_fixture(&f);
    assert_ok(sumi_remove_tree(folder, NULL));
}

static void flip_byte(const char *path, size_t at)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    fputc(byte ^ 1, file);
    fclose(file);
}

static void test_damage_is_found(void **state)
{
    (void)state;
    static const char *const files[] = {"model.safetensors", "ema.safetensors", "optim.safetensors",
                                        "state.json"};
    char folder[PATH_MAX], dir[PATH_MAX], path[PATH_MAX];
    fixture f, before;
    sumi_error err;
    make_folder(folder);
    open_fixture(&f, 1, 1, .9f);
    open_fixture(&before, 1, 1, .9f);
    train(&f, 2);
    train(&before, 2);
    join(dir, folder, "saved");
    for (int i = 0; i < 4; i++) {
        struct stat st;
        assert_ok(sumi_checkpoint_save(f.trainer, NULL, dir, NULL));
        join(path, dir, files[i]);
        assert_int_equal(stat(path, &st), 0);
        const off_t places[] = {0, st.st_size / 2, st.st_size - 1};
        for (int k = 0; k < 3; k++) {
            flip_byte(path, (size_t)places[k]);
            assert_int_equal(sumi_checkpoint_load(f.trainer, dir, NULL, &err), SUMI_EFORMAT);
            assert_says(err, files[i]);
            assert_says(err, "is damaged: the manifest says SHA-256");
            flip_byte(path, (size_t)places[k]);
        }
        assert_ok(sumi_checkpoint_check(dir, NULL));
        assert_int_equal(truncate(path, st.st_size - 1), 0);
        assert_int_equal(sumi_checkpoint_load(f.trainer, dir, NULL, &err), SUMI_EFORMAT);
        assert_says(err, files[i]);
        assert_says(err, "bytes, found");
        assert_int_equal(unlink(path), 0);
        assert_int_equal(sumi_checkpoint_load(f.trainer, dir, NULL, &err), SUMI_EIO);
        assert_says(err, files[i]);
        assert_same_trainer(before.trainer, f.trainer); /* nothing was taken over */
    }
    close_fixture(&f);
    close_fixture(&before);
    assert_ok(sumi_remove_tree(folder, NULL));
}

static void test_bad_manifests(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "manifest.json"},
        {"[]", "format"},
        {"{}", "format"},
        {"{\"format\": 2, \"files\": []}", "format"},
        {"{\"format\": 1}", "files"},
        {"{\"format\": 1, \"files\": [1]}", "name"},
        {"{\"format\": 1, \"files\": []}", "does not list model.safetensors"},
        {"{\"format\": 1, \"files\": [{\"name\": \"../x\", \"bytes\": 1, \"sha256\": \"\"}]}",
         "unexpected file \"../x\""},
        {"{\"format\": 1, \"files\": [{\"name\": \"state.json\", \"bytes\": 1}]}", "sha256"},
        {"{\"format\": 1, \"files\": [{\"name\": \"state.json\", \"bytes\": -1, \"sha256\": "
         "\"\"}]}",
         "bytes"},
    };
    char folder[PATH_MAX], dir[PATH_MAX], path[PATH_MAX];
    fixture f;
    sumi_error err;
    make_folder(folder);
    open_fixture(&f, 1, 1, 0);
    join(dir, folder, "saved");
    assert_ok(sumi_checkpoint_save(f.trainer, NULL, dir, NULL));
    join(path, dir, "manifest.json");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_ok(sumi_file_save(path, bad[i].text, strlen(bad[i].text), NULL));
        assert_int_equal(sumi_checkpoint_load(f.trainer, dir, NULL, &err), SUMI_EFORMAT);
        assert_says(err, bad[i].says);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(sumi_checkpoint_load(f.trainer, dir, NULL, &err), SUMI_EIO);
    close_fixture(&f);
    assert_ok(sumi_remove_tree(folder, NULL));
}

/* ---- Damage that hashes do not tell ---------------------------------------------------------- */

static json_t *read_object(const char *dir, const char *name)
{
    char path[PATH_MAX];
    json_t *object;
    assert_ok(sumi_json_read(join(path, dir, name), &object, NULL));
    return object;
}

/* Writes the manifest of the files as they are now. */
static void seal(const char *dir)
{
    static const char *const files[] = {"model.safetensors", "optim.safetensors", "state.json",
                                        "ema.safetensors"};
    char path[PATH_MAX], hex[65];
    json_t *list = json_array();
    for (int i = 0; i < 4; i++) {
        sumi_sha256 sha;
        uint8_t *data;
        size_t size;
        if (!sumi_is_file(join(path, dir, files[i])))
            continue;
        assert_ok(sumi_file_read(path, 1 << 26, &data, &size, NULL));
        sumi_sha256_init(&sha);
        sumi_sha256_update(&sha, data, size);
        sumi_sha256_final(&sha, hex);
        free(data);
        json_array_append_new(list, json_pack("{s:s, s:I, s:s}", "name", files[i], "bytes",
                                              (json_int_t)size, "sha256", hex));
    }
    json_t *manifest = json_pack("{s:i, s:o}", "format", 1, "files", list);
    assert_ok(sumi_json_write(join(path, dir, "manifest.json"), manifest, NULL));
    json_decref(manifest);
}

typedef struct {
    const char *name; /* of the first tensor from now on; NULL: its own */
    int more;         /* dimensions of it; -1: another has others */
    const char *says;
} other_state;

/* What the optimiser remembers, of another name or shape. */
static void put_state(const char *dir, const other_state *other)
{
    char path[PATH_MAX], *name;
    sumi_tensor_file file;
    assert_ok(sumi_safetensors_read(join(path, dir, "optim.safetensors"), &file, NULL));
    name = file.tensors[0].name;
    if (other->name)
        file.tensors[0].name = (char *)(uintptr_t)other->name;
    if (other->more > 0)
        file.tensors[0].shape[file.tensors[0].rank++] = 1;
    if (other->more < 0) { /* as many numbers in other dimensions */
        sumi_file_tensor *tensor = file.tensors;
        while (tensor->rank < 2 || tensor->shape[1] < 2)
            tensor++;
        tensor->shape[0] *= tensor->shape[1];
        tensor->shape[1] = 1;
    }
    assert_ok(sumi_safetensors_write(path, &file, NULL));
    file.tensors[0].name = name;
    sumi_tensor_file_free(&file);
    seal(dir);
}

static void test_what_is_sealed_and_wrong(void **state)
{
    (void)state;
    static const other_state others[] = {{"another", 0, " is missing"},
                                         {NULL, 1, " is not that of this model"},
                                         {NULL, -1, " is not that of this model"}};
    char folder[PATH_MAX], dir[PATH_MAX], path[PATH_MAX], from[PATH_MAX];
    fixture f, before;
    sumi_error err;
    make_folder(folder);
    open_fixture(&f, 1, 1, 0);
    open_fixture(&before, 1, 1, 0);
    join(dir, folder, "saved");
    for (int i = 0; i < 3; i++) {
        assert_ok(sumi_checkpoint_save(f.trainer, NULL, dir, NULL));
        put_state(dir, &others[i]);
        assert_ok(sumi_checkpoint_check(dir, NULL));
        assert_int_not_equal(sumi_checkpoint_load(f.trainer, dir, NULL, &err), SUMI_OK);
        assert_says(err, others[i].says);
    }
    /* An average that no setting asks for. */
    uint8_t *data;
    size_t size;
    assert_ok(sumi_checkpoint_save(f.trainer, NULL, dir, NULL));
    assert_ok(sumi_file_read(join(from, dir, "model.safetensors"), 1 << 26, &data, &size, NULL));
    assert_ok(sumi_file_save(join(path, dir, "ema.safetensors"), data, size, NULL));
    free(data);
    seal(dir);
    assert_int_equal(sumi_checkpoint_load(f.trainer, dir, NULL, &err), SUMI_EFORMAT);
    assert_says(err, "has 0 averages, but there is ema.safetensors");
    /* A file that is listed twice. */
    assert_ok(sumi_checkpoint_save(f.trainer, NULL, dir, NULL));
    json_t *manifest = read_object(dir, "manifest.json");
    json_t *files = json_object_get(manifest, "files");
    json_array_append(files, json_array_get(files, 0));
    assert_ok(sumi_json_write(join(path, dir, "manifest.json"), manifest, NULL));
    json_decref(manifest);
    assert_int_equal(sumi_checkpoint_check(dir, &err), SUMI_EFORMAT);
    assert_says(err, "unexpected file \"model.safetensors\"");
    assert_same_trainer(before.trainer, f.trainer);
    close_fixture(&f);
    close_fixture(&before);
    assert_ok(sumi_remove_tree(folder, NULL));
}

/* Settings of each kind: what another version wrote, what is the same, and what is not. */
static void test_kinds_of_settings(void **state)
{
    (void)state;
    typedef struct {
        int whole;
        int64_t large, end;
        uint64_t seed;
        float real;
        bool flag, old_flag;
        const char *text;
        sumi_precision precision;
    } config;
#define AT(field) offsetof(config, field)
    static const sumi_kept table[] = {{"whole", SUMI_KEPT_INT, AT(whole), NULL},
                                      {"large", SUMI_KEPT_INT64, AT(large), "7"},
                                      {"end", SUMI_KEPT_END, AT(end), "0"},
                                      {"seed", SUMI_KEPT_SEED, AT(seed), NULL},
                                      {"real", SUMI_KEPT_FLOAT, AT(real), "0.5"},
                                      {"flag", SUMI_KEPT_BOOL, AT(flag), "true"},
                                      {"old_flag", SUMI_KEPT_BOOL, AT(old_flag), "false"},
                                      {"text", SUMI_KEPT_TEXT, AT(text), "as before"},
                                      {"precision", SUMI_KEPT_PRECISION, AT(precision), "fp32"},
                                      {NULL, SUMI_KEPT_INT, 0, NULL}};
#undef AT
    const config now = {3, 7, 9, UINT64_MAX, .5f, true, false, "as before", SUMI_PRECISION_FP32};
    static const struct {
        const char *name, *value, *says;
    } cases[] = {
        {"whole", "4", "x: trained with whole 4, not 3"},
        {"whole", "3.5", "\"whole\" is not of its type"},
        {"large", "null", "\"large\" is not of its type"},
        {"end", "10", "x: trained with end 10, not 9"},
        {"end", "0", NULL},
        {"end", "false", "\"end\" is not of its type"},
        {"seed", "-1", NULL}, /* as version 0.1 wrote it */
        {"seed", "8", "x: trained with seed 8, not 18446744073709551615"},
        {"seed", "\"8\"", "x: trained with seed 8, not 18446744073709551615"},
        {"seed", "0.5", "\"seed\" is not of its type"},
        {"real", "1", "x: trained with real 1, not 0.5"},
        {"real", "0.25", "x: trained with real 0.25, not 0.5"},
        {"real", "\"0.5\"", "\"real\" is not of its type"},
        {"flag", "false", "x: trained with flag false, not true"},
        {"old_flag", "true", "x: trained with old_flag true, not false"},
        {"flag", "1", "\"flag\" is not of its type"},
        {"text", "\"other\"", "x: trained with text other, not as before"},
        {"text", "1", "\"text\" is not of its type"},
        {"precision", "\"bf16\"", "x: trained with precision bf16, not fp32"},
        {"precision", "[]", "\"precision\" is not of its type"},
    };
    json_t *none = json_object();
    assert_ok(sumi_kept_check("x", none, table, &now, NULL)); /* all as before, or unknown */
    json_decref(none);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sumi_error err = {""};
        json_t *object = json_object();
        assert_true(sumi_kept_write(object, table, &now));
        assert_ok(sumi_kept_check("x", object, table, &now, NULL));
        json_object_set_new(object, cases[i].name,
                            json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        sumi_status status = sumi_kept_check("x", object, table, &now, &err);
        if ((status == SUMI_OK) != !cases[i].says ||
            (cases[i].says && !strstr(err.text, cases[i].says)))
            fail_msg("%s %s: %s", cases[i].name, cases[i].value, err.text);
        json_decref(object);
    }
    assert_false(sumi_kept_write(NULL, table, &now));
}

/* ---- Other settings -------------------------------------------------------------------------- */

static void test_other_settings_are_refused(void **state)
{
    (void)state;
    char folder[PATH_MAX], dir[PATH_MAX];
    fixture f;
    sumi_error err;
    sumi_trainer *other;
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    sumi_model_config wide = SUMI_MODEL_CONFIG_INIT;
    sumi_model *model;
    make_folder(folder);
    open_fixture(&f, 1, 1, .5f);
    join(dir, folder, "saved");
    assert_ok(sumi_checkpoint_save(f.trainer, NULL, dir, NULL));

    config.seed = 6;
    config.averages[0] = .5f;
    assert_ok(sumi_train_create(&f.runtime, f.model, &config, &other, NULL));
    assert_int_equal(sumi_checkpoint_load(other, dir, NULL, &err), SUMI_EINVAL);
    assert_says(err, "trained with seed 5, not 6");
    sumi_train_free(other);

    config.seed = 5;
    config.averages[0] = .5f;
    wide.base_channels = 16;
    wide.time_dim = 12;
    wide.timesteps = 100;
    wide.beta_end = .1f;
    assert_ok(sumi_models_create(&wide, &model, NULL));
    assert_ok(sumi_train_create(&f.runtime, model, &config, &other, NULL));
    assert_int_equal(sumi_checkpoint_load(other, dir, NULL, &err), SUMI_ESHAPE);
    assert_says(err, "base_channels 8, expected 16");
    sumi_train_free(other);
    sumi_models_free(model);
    close_fixture(&f);
    assert_ok(sumi_remove_tree(folder, NULL));
}

/* Each setting that changes bits is refused with both values, and nothing is taken. */
static void test_what_changes_bits_is_compared(void **state)
{
    (void)state;
    static const struct {
        float rate, ema, other_rate, other_ema;
        uint64_t seed, other_seed;
        sumi_precision precision, other_precision;
        const char *says;
    } cases[] = {
        {1e-3f, 0, 2e-3f, 0, 5, 5, 0, 0, "learning_rate 0.001, not 0.002"},
        {1e-3f, 0, 1.0000002e-3f, 0, 5, 5, 0, 0, "learning_rate 0.001, not 0.0010000002"},
        {3e-5f, .9f, 1e-5f, .9f, 5, 5, 0, 0, "learning_rate 3e-05, not 1e-05"},
        {1e-3f, .9f, 1e-3f, .99f, 5, 5, 0, 0, "ema 0.9, not 0.99"},
        {1e-3f, .5f, 1e-3f, 0, 5, 5, 0, 0, "ema 0.5, not 0"},
        {1e-3f, 0, 1e-3f, .999f, 5, 5, 0, 0, "ema 0, not 0.999"},
        {1e-3f, 0, 1e-3f, 0, 5, UINT64_MAX, 0, 0, "seed 5, not 18446744073709551615"},
        {1e-3f, 0, 1e-3f, 0, UINT64_MAX, 0, 0, 0, "seed 18446744073709551615, not 0"},
        {1e-3f, 0, 1e-3f, 0, 5, 5, SUMI_PRECISION_FP32, SUMI_PRECISION_BF16, "fp32, not bf16"},
        {1e-3f, 0, 1e-3f, 0, 5, 5, SUMI_PRECISION_BF16, SUMI_PRECISION_FP32, "bf16, not fp32"},
        {1e-3f, 0, 1e-3f, 0, 5, 5, SUMI_PRECISION_FIXED16, SUMI_PRECISION_FP32,
         "fixed16, not fp32"},
        {1e-3f, 0, 1e-3f, 0, 5, 5, SUMI_PRECISION_BF16, SUMI_PRECISION_FIXED16,
         "bf16, not fixed16"},
    };
    char folder[PATH_MAX], dir[PATH_MAX];
    make_folder(folder);
    join(dir, folder, "saved");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        sumi_error err = {""};
        sumi_trainer *first, *same, *other;
        sumi_model *fresh = make_model(77), *untouched = make_model(77);
        sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
        open_fixture(&f, 1, 1, 0);
        config.batch = N;
        config.learning_rate = cases[i].rate;
        config.averages[0] = cases[i].ema;
        config.seed = cases[i].seed;
        config.precision = cases[i].precision;
        assert_ok(sumi_train_create(&f.runtime, f.model, &config, &first, NULL));
        assert_ok(sumi_checkpoint_save(first, NULL, dir, NULL));
        config.batch = N + 1; /* of a trainer, the largest batch only */
        assert_ok(sumi_train_create(&f.runtime, f.model, &config, &same, NULL));
        assert_ok(sumi_checkpoint_load(same, dir, NULL, NULL));
        config.learning_rate = cases[i].other_rate;
        config.averages[0] = cases[i].other_ema;
        config.seed = cases[i].other_seed;
        config.precision = cases[i].other_precision;
        assert_ok(sumi_train_create(&f.runtime, fresh, &config, &other, NULL));
        assert_int_equal(sumi_checkpoint_load(other, dir, NULL, &err), SUMI_EINVAL);
        assert_says(err, cases[i].says);
        assert_says(err, dir);
        assert_same_model(fresh, untouched);
        sumi_train_free(first);
        sumi_train_free(same);
        sumi_train_free(other);
        sumi_models_free(fresh);
        sumi_models_free(untouched);
        close_fixture(&f);
    }
    assert_ok(sumi_remove_tree(folder, NULL));
}

/* Four averages, AdamW and a schedule: all of it is kept, and going on has the same bits. */
static void test_everything_is_kept(void **state)
{
    (void)state;
    char folder[PATH_MAX], dir[PATH_MAX];
    sumi_trainer_config config = SUMI_TRAINER_CONFIG_INIT;
    config.batch = N;
    config.optimiser = "adamw";
    config.weight_decay = .01f;
    config.rate_schedule = "cosine";
    config.warmup_steps = 2;
    config.schedule_steps = 6;
    config.final_rate = .1f;
    static const float decays[SUMI_AVERAGES_MAX] = {.9f, .7f, .5f, .3f};
    memcpy(config.averages, decays, sizeof decays);
    config.height = config.width = SIDE;
    fixture f[3];
    make_folder(folder);
    join(dir, folder, "saved");
    for (int i = 0; i < 3; i++) {
        open_fixture(&f[i], i + 1, i == 2 ? 9 : 1, 0);
        sumi_train_free(f[i].trainer);
        assert_ok(sumi_train_create(&f[i].runtime, f[i].model, &config, &f[i].trainer, NULL));
    }
    train(&f[0], 7);
    train(&f[1], 3);
    assert_ok(sumi_checkpoint_save(f[1].trainer, NULL, dir, NULL));
    assert_ok(sumi_checkpoint_load(f[2].trainer, dir, NULL, NULL));
    train(&f[2], 4);
    assert_same_trainer(f[0].trainer, f[2].trainer);

    sumi_trainer_config bad[6] = {config, config, config, config, config, config};
    bad[0].optimiser = "adam";
    bad[0].weight_decay = 0;
    bad[1].weight_decay = .02f;
    bad[2].rate_schedule = "linear";
    bad[3].warmup_steps = 1;
    bad[4].schedule_steps = 8;
    bad[5].averages[3] = 0;
    static const char *const says[] = {
        "optimiser adamw, not adam",        "weight_decay 0.01, not 0.02",
        "rate_schedule cosine, not linear", "warmup_steps 2, not 1",
        "schedule_steps 6, not 8",          "ema_4 0.3, not 0"};
    for (int i = 0; i < 6; i++) {
        sumi_error err = {""};
        sumi_trainer *other;
        assert_ok(sumi_train_create(&f[2].runtime, f[2].model, &bad[i], &other, NULL));
        assert_int_equal(sumi_checkpoint_load(other, dir, NULL, &err), SUMI_EINVAL);
        assert_says(err, says[i]);
        sumi_train_free(other);
    }
    for (int i = 0; i < 3; i++)
        close_fixture(&f[i]);
    assert_ok(sumi_remove_tree(folder, NULL));
}

static void test_model_of_a_checkpoint(void **state)
{
    (void)state;
    char folder[PATH_MAX], dir[PATH_MAX];
    fixture f;
    sumi_model *model;
    make_folder(folder);
    join(dir, folder, "saved");
    for (int i = 0; i < 2; i++) {
        open_fixture(&f, 1, 1, i ? .9f : 0);
        train(&f, 2);
        assert_ok(sumi_checkpoint_save(f.trainer, NULL, dir, NULL));
        assert_ok(sumi_checkpoint_model(dir, &model, NULL));
        assert_same_model(model, i ? f.trainer->averages.model[0] : f.model);
        assert_int_equal(model->info.steps, 2);
        assert_int_equal(model->info.width, SIDE);
        sumi_models_free(model);
        close_fixture(&f);
    }
    assert_ok(sumi_remove_tree(folder, NULL));
}

/* A disk that is full at some point of a save: the checkpoint before stays, nothing is left over.
 */
static void test_full_disk(void **state)
{
    (void)state;
    char folder[PATH_MAX], dir[PATH_MAX], path[PATH_MAX];
    fixture f;
    sumi_error err;
    struct rlimit old, limit;
    make_folder(folder);
    open_fixture(&f, 1, 1, 0);
    train(&f, 1);
    join(dir, folder, "saved");
    assert_ok(sumi_checkpoint_save(f.trainer, NULL, dir, NULL));
    train(&f, 1);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    const rlim_t limits[] = {0, 100, 10000, 200000};
    for (int i = 0; i < 4; i++) {
        limit = old;
        limit.rlim_cur = limits[i];
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        sumi_status status = sumi_checkpoint_save(f.trainer, NULL, dir, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(status, SUMI_EIO);
        assert_says(err, "File too large");
        assert_ok(sumi_checkpoint_check(dir, NULL));
        assert_false(sumi_is_dir(join(path, folder, ".saved.sumi-tmp")));
    }
    assert_ok(sumi_checkpoint_load(f.trainer, dir, NULL, NULL));
    assert_int_equal(f.trainer->steps, 1);
    close_fixture(&f);
    assert_ok(sumi_remove_tree(folder, NULL));
}

static void test_run_state_travels(void **state)
{
    (void)state;
    char folder[PATH_MAX], dir[PATH_MAX];
    fixture f;
    make_folder(folder);
    open_fixture(&f, 1, 1, 0);
    join(dir, folder, "saved");
    json_t *run = json_pack("{s:f, s:s}", "loss_sum", 0.1 + 0.2, "best", "step_1"), *back = NULL;
    assert_ok(sumi_checkpoint_save(f.trainer, run, dir, NULL));
    assert_ok(sumi_checkpoint_load(f.trainer, dir, &back, NULL));
    assert_true(json_equal(run, back)); /* reals with all their digits */
    json_decref(run);
    json_decref(back);
    close_fixture(&f);
    assert_ok(sumi_remove_tree(folder, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resume_has_the_same_bits),
        cmocka_unit_test(test_replaces_only_checkpoints),
        cmocka_unit_test(test_a_name_alone),
        cmocka_unit_test(test_recovers_an_interrupted_replacement),
        cmocka_unit_test(test_damage_is_found),
        cmocka_unit_test(test_bad_manifests),
        cmocka_unit_test(test_what_is_sealed_and_wrong),
        cmocka_unit_test(test_kinds_of_settings),
        cmocka_unit_test(test_other_settings_are_refused),
        cmocka_unit_test(test_what_changes_bits_is_compared),
        cmocka_unit_test(test_everything_is_kept),
        cmocka_unit_test(test_model_of_a_checkpoint),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_run_state_travels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
