/*
 * The files of a run's folder. One of them is replaced by the input, and the run is asked to go on:
 * it does, or says why not. Where the file is one that the manifest of a checkpoint lists, the
 * manifest is that of the input, as whoever makes such a file would make it.
 */
#include <unistd.h>

#include "base/copy_tree.h"
#include "model.h"
#include "run/run.h"

enum { STEPS = 3, BATCH = 4, IMAGES = 8 };

#define CHECKPOINT "checkpoints/step_3/"
static const char *const names[] = {"config.json",
                                    "env.json",
                                    "metrics.jsonl",
                                    "metrics.csv",
                                    "eval.jsonl",
                                    "sampling.json",
                                    "tuning.json",
                                    "rollbacks.json",
                                    "memory.json",
                                    "latest",
                                    "best",
                                    "events.out.tfevents.sumi",
                                    "run.lock",
                                    "train.log",
                                    "skipped.txt",
                                    CHECKPOINT "manifest.json",
                                    CHECKPOINT "state.json"};
enum { NAMES = sizeof names / sizeof *names };

static char folder[PATH_MAX], whole[PATH_MAX]; /* the run, and as it was */
static sumi_runtime runtime;
static sumi_dataset *set;

/* Trains to the end, or goes on where all is done already. */
static sumi_status train(bool resume, sumi_error *err)
{
    sumi_train_config config = SUMI_TRAIN_CONFIG_INIT;
    sumi_model *model = fuzz_model(0);
    config.out_dir = folder;
    config.resume = resume;
    config.epochs = 0;
    config.steps = STEPS;
    config.batch = BATCH;
    config.grid = 0;
    config.ema = .5f;
    sumi_status status = sumi_run_train(&runtime, model, set, &config, err);
    sumi_models_free(model);
    return status;
}

static void remove_folders(void)
{
    sumi_remove_tree(folder, NULL);
    sumi_remove_tree(whole, NULL);
}

/* A run that is done, and a copy of it. */
static void begin(void)
{
    const char *root = getenv("TMPDIR");
    sumi_dataset_config config = SUMI_DATASET_CONFIG_INIT;
    sumi_error err;
    char base[PATH_MAX];
    snprintf(base, sizeof base, "%s/sumi-fuzz-%ld", root ? root : "/tmp", (long)getpid());
    snprintf(folder, sizeof folder, "%.4000s-run", base);
    snprintf(whole, sizeof whole, "%.4000s-whole", base);
    config.height = config.width = 8;
    config.channels = 1;
    fuzz_check(sumi_runtime_init(&runtime, 1, NULL, &err) == SUMI_OK, "a runtime");
    fuzz_check(sumi_data_open("shapes", &config, &set, &err) == SUMI_OK, "data");
    set->count = IMAGES;
    atexit(remove_folders);
    fuzz_check(train(false, &err) == SUMI_OK, "a run");
    fuzz_check(copy_tree(folder, whole), "a copy");
}

static void put(const char *name, const uint8_t *data, size_t size)
{
    char path[PATH_MAX];
    sumi_path_join(path, sizeof path, folder, name, NULL);
    FILE *file = fopen(path, "wb");
    fuzz_check(file && fwrite(data, 1, size, file) == size && fclose(file) == 0, "a file");
}

/* Gives state.json's entry of the manifest the size and hash of these bytes. */
static void put_in_manifest(const uint8_t *data, size_t size)
{
    char path[PATH_MAX], hex[65];
    json_t *manifest, *entry;
    sumi_sha256 sha;
    size_t i;
    sumi_path_join(path, sizeof path, folder, CHECKPOINT "manifest.json", NULL);
    fuzz_check(sumi_json_read(path, &manifest, NULL) == SUMI_OK, "a manifest");
    sumi_sha256_init(&sha);
    sumi_sha256_update(&sha, data, size);
    sumi_sha256_final(&sha, hex);
    json_array_foreach(json_object_get(manifest, "files"), i, entry)
    {
        if (strcmp(json_string_value(json_object_get(entry, "name")), "state.json") != 0)
            continue;
        json_object_set_new(entry, "sha256", json_string(hex));
        json_object_set_new(entry, "bytes", json_integer((json_int_t)size));
    }
    fuzz_check(json_dump_file(manifest, path, 0) == 0, "the manifest");
    json_decref(manifest);
}

/* The first byte says which file it is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sumi_error err = {""};
    if (size == 0)
        return 0;
    if (!set)
        begin();
    int which = data[0] % NAMES;
    put(names[which], data + 1, size - 1);
    if (which == NAMES - 1)
        put_in_manifest(data + 1, size - 1);
    sumi_status status = train(true, &err);
    fuzz_check(status == SUMI_OK || (err.text[0] && !strchr(err.text, '\n')), "one line says why");
    /* Whatever it was, the weights are still there. */
    sumi_remove_tree(folder, NULL);
    fuzz_check(copy_tree(whole, folder), "a copy");
    return 0;
}
