/*
 * Copies among what a model draws that was trained on few images: which are closest, held against a
 * search by hand; that a run warns of them; and which runs look at all.
 */
#include "run/run_fixture.h"

#include <math.h>

#include "eval/scorer.h"
#include "io/io.h"

enum { SIDE = 8, PIXELS = SIDE * SIDE, DRAWN = 4, FEW = 16 };

/* A network without batch norms, whose weights a rate of nearly nothing leaves as they are. */
static void open_still(fixture *f, int threads)
{
    open_fixture(f, threads, 0);
    sumi_models_free(f->model);
    f->model = make_told_unet(0, 0);
    f->config.epochs = 1;
    f->config.learning_rate = 1e-12f;
    f->config.grid = DRAWN;
}

/* What the run draws. */
static void draw(fixture *f, uint8_t out[DRAWN * PIXELS])
{
    const int sizes[] = {SIDE, SIDE, 1};
    sumi_pictures pictures;
    sumi_sample_config sample = sumi_scorer_way(f->model);
    sample.count = DRAWN;
    sample.height = sample.width = SIDE;
    sample.seed = f->config.seed;
    f->model->info.range_lo = 0;
    f->model->info.range_hi = 1;
    assert_ok(sumi_pictures_draw(&f->runtime, f->model, &sample, sizes, &pictures, NULL));
    memcpy(out, pictures.images, DRAWN * PIXELS);
    sumi_pictures_free(&pictures);
}

static double distance(const uint8_t *a, const uint8_t *b)
{
    double sum = 0;
    for (int i = 0; i < PIXELS; i++)
        sum += (double)(a[i] - b[i]) * (a[i] - b[i]);
    return sqrt(sum);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median distance of a training picture to its nearest other. */
static double usual_of(const uint8_t *training, int n)
{
    double nearest[IMAGES];
    for (int i = 0; i < n; i++) {
        nearest[i] = INFINITY;
        for (int j = 0; j < n; j++)
            if (j != i)
                nearest[i] =
                    fmin(nearest[i], distance(training + i * PIXELS, training + j * PIXELS));
    }
    qsort(nearest, (size_t)n, sizeof *nearest, by_value);
    return n % 2 ? nearest[n / 2] : (nearest[n / 2 - 1] + nearest[n / 2]) / 2;
}

static void test_pairs(void **state)
{
    (void)state;
    fixture f;
    uint8_t drawn[DRAWN * PIXELS], training[IMAGES * PIXELS];
    open_still(&f, 2);
    assert_ok(run(&f, NULL));
    draw(&f, drawn);
    for (int i = 0; i < IMAGES; i++)
        sumi_data_read_bytes(f.set, i, training + i * PIXELS);
    double usual = usual_of(training, IMAGES);
    json_t *memory = read_json(&f, "memory.json"), *pair;
    size_t i;
    assert_int_equal(json_integer_value(json_object_get(memory, "step")), PER_EPOCH);
    assert_int_equal(json_integer_value(json_object_get(memory, "pictures")), DRAWN);
    json_array_foreach(json_object_get(memory, "pairs"), i, pair)
    {
        int64_t sample = json_integer_value(json_object_get(pair, "sample"));
        int64_t of = json_integer_value(json_object_get(pair, "training"));
        double ratio = json_number_value(json_object_get(pair, "ratio"));
        assert_in_range(sample, 0, DRAWN - 1);
        assert_in_range(of, 0, IMAGES - 1);
        for (int j = 0; j < IMAGES; j++)
            assert_true(distance(drawn + sample * PIXELS, training + j * PIXELS) >=
                        (1 - 1e-9) * ratio * usual);
        double its = distance(drawn + sample * PIXELS, training + of * PIXELS);
        assert_true(fabs(ratio - its / usual) < 1e-9 * ratio);
    }
    assert_true(i > 0);
    assert_true(has(&f, "memory.png"));
    assert_contains(&f, "index.html", "src=\"memory.png\"");
    assert_contains(&f, "train.log", "copies: 0 of 4 pictures");
    assert_int_equal(f.notes, 0);
    json_decref(memory);
    close_fixture(&f);
}

/* Trained on what it draws anyway, a model draws copies. */
static void test_warns(void **state)
{
    (void)state;
    fixture f;
    char path[PATH_MAX];
    uint8_t pixels[FEW * PIXELS];
    open_still(&f, 1);
    draw(&f, pixels);
    for (int i = DRAWN * PIXELS; i < FEW * PIXELS; i++)
        pixels[i] = (uint8_t)(i * 7919 % 251);
    sumi_npy array = {.dtype = SUMI_NPY_U8, .rank = 4, .shape = {FEW, SIDE, SIDE, 1}};
    array.count = FEW * PIXELS;
    array.data = pixels;
    sumi_data_free(f.set);
    assert_ok(sumi_npy_write(join(path, f.folder, "x.npy"), &array, NULL));
    assert_ok(sumi_data_open(path, NULL, &f.set, NULL));
    assert_ok(run(&f, NULL));
    json_t *memory = read_json(&f, "memory.json");
    assert_true(json_number_value(json_object_get(memory, "memorised")) == 1);
    for (size_t i = 0; i < DRAWN; i++) {
        const json_t *pair = json_array_get(json_object_get(memory, "pairs"), i);
        assert_true(json_number_value(json_object_get(pair, "ratio")) < .05);
        assert_int_equal(json_integer_value(json_object_get(pair, "training")),
                         json_integer_value(json_object_get(pair, "sample")));
    }
    assert_contains(&f, "train.log", "copies: 4 of 4 pictures");
    assert_contains(&f, "index.html", "4 of 4 samples are less than half as far");
    assert_contains(&f, "index.html", "--augment 0.12");
    assert_int_equal(f.notes, 1);
    json_decref(memory);
    close_fixture(&f);
}

/* A set of FEW images of c channels, each byte a function of its place. */
static sumi_dataset *make_images(const fixture *f, int c, uint8_t (*value)(int place))
{
    char path[PATH_MAX];
    static uint8_t pixels[FEW * PIXELS * 3];
    sumi_dataset *set;
    sumi_npy array = {.dtype = SUMI_NPY_U8, .rank = 4, .shape = {FEW, SIDE, SIDE, c}};
    array.count = (size_t)(FEW * PIXELS * c);
    array.data = pixels;
    for (int i = 0; i < FEW * PIXELS * c; i++)
        pixels[i] = value(i);
    assert_ok(sumi_npy_write(join(path, f->folder, "images.npy"), &array, NULL));
    assert_ok(sumi_data_open(path, NULL, &set, NULL));
    return set;
}

static uint8_t mixed(int place)
{
    return (uint8_t)(place * 7919 % 251);
}

static uint8_t all_alike(int place)
{
    return (uint8_t)(place % PIXELS);
}

/* Of colour and of labels, each of which is drawn in turn; and of pictures that are all the same,
 * where distances tell nothing. */
static void test_of_what(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        fixture f;
        open_still(&f, 1);
        sumi_model_config config = unet_config();
        config.in_channels = config.out_channels = kind == 0 ? 3 : 1;
        config.classes = kind == 1 ? 10 : 0;
        sumi_models_free(f.model);
        assert_ok(sumi_models_create(&config, &f.model, NULL));
        if (kind != 1) {
            sumi_data_free(f.set);
            f.set = make_images(&f, kind == 0 ? 3 : 1, kind == 0 ? mixed : all_alike);
        }
        assert_ok(run(&f, NULL));
        assert_int_equal(has(&f, "memory.json"), kind < 2);
        assert_int_equal(has(&f, "memory.png"), kind < 2);
        if (kind < 2)
            assert_contains(&f, "memory.json", "\"pictures\": 4");
        close_fixture(&f);
    }
}

/* A run that was stopped before it looks when it goes on, and once. */
static void test_goes_on(void **state)
{
    (void)state;
    fixture f;
    char path[PATH_MAX];
    open_still(&f, 1);
    assert_ok(run(&f, NULL));
    char *first = read_text(&f, "memory.json");
    for (int again = 0; again < 3; again++) {
        f.samples = 0;
        f.config.resume = true;
        if (again == 0)
            assert_int_equal(unlink(join(path, f.run, "memory.json")), 0);
        if (again == 2) /* of a disk that lost it */
            assert_ok(sumi_file_save(path, "{", 1, NULL));
        assert_ok(run(&f, NULL));
        assert_true((f.samples > 0) == (again != 1));
        char *second = read_text(&f, "memory.json");
        assert_string_equal(first, second);
        free(second);
    }
    free(first);
    close_fixture(&f);
}

static void test_who_looks(void **state)
{
    (void)state;
    static const struct {
        int64_t images;
        int grid;
        bool looks;
    } cases[] = {{10, 1, true}, {9, 1, false}, {10, 0, false}, {2000, 1, true}, {2001, 1, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        open_still(&f, 2);
        sumi_data_free(f.set);
        f.set = make_small_set(cases[i].images);
        f.config.grid = cases[i].grid;
        f.config.epochs = 0;
        f.config.steps = 1;
        assert_ok(run(&f, NULL));
        assert_true(has(&f, "memory.json") == cases[i].looks);
        close_fixture(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),     cmocka_unit_test(test_warns),
        cmocka_unit_test(test_of_what),   cmocka_unit_test(test_goes_on),
        cmocka_unit_test(test_who_looks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
