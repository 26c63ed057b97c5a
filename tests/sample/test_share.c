/* Sampling by several ranks, here threads of one process: the images of one. */
#include "cpu/cpu_test.h"
#include "meeting.h"
#include "sample/sample.h"
#include "train/train_test.h"

enum { SIDE = 8, PIXELS = SIDE * SIDE, COUNT_MAX = 9 };

typedef struct {
    attendant *me; /* NULL: alone */
    sumi_runtime runtime;
    sumi_ranks ranks;
    sumi_model *model;
    sumi_sample_config config;
    float out[COUNT_MAX * PIXELS], seen[COUNT_MAX * PIXELS];
    int evaluations[COUNT_MAX];
    int64_t stop_at; /* images after which it stops; 0: none */
    int64_t tells;
    sumi_status status;
    sumi_error err;
} member;

static int take_images(void *user, int64_t first, const float *images, int n)
{
    member *m = user;
    memcpy(m->seen + first * PIXELS, images, (size_t)n * PIXELS * sizeof(float));
    return m->stop_at > 0 && first + n >= m->stop_at;
}

static int see_progress(void *user, const sumi_progress *progress)
{
    member *m = user;
    m->tells++;
    assert_true(progress->step <= progress->step_count || progress->step_count == 0);
    return 0;
}

static void open_member(member *m, attendant *me, int count)
{
    memset(m, 0, sizeof *m);
    m->me = me;
    make_runtime(&m->runtime, 1);
    m->model = make_model(3);
    m->config = (sumi_sample_config)SUMI_SAMPLE_CONFIG_INIT;
    m->config.count = count;
    m->config.height = m->config.width = SIDE;
    m->config.steps = 4;
    m->config.seed = 11;
    m->config.share = true;
    m->config.evaluations = m->evaluations;
    m->config.on_images = take_images;
    m->config.progress = see_progress;
    m->config.user = m;
}

static void *sample(void *arg)
{
    member *m = arg;
    if (m->me) {
        m->ranks = meeting_ranks(m->me);
        m->runtime.ranks = &m->ranks;
    }
    bool first = !m->me || m->me->rank == 0;
    m->status = sumi_sample_run(&m->runtime, m->model, &m->config, first ? m->out : NULL,
                                first ? sizeof m->out / sizeof *m->out : 0, &m->err);
    return NULL;
}

static void open_all(member *all, attendant *people, int ranks, int count)
{
    for (int r = 0; r < ranks; r++)
        open_member(&all[r], &people[r], count);
}

static void close_all(member *all, int ranks)
{
    for (int r = 0; r < ranks; r++) {
        sumi_models_free(all[r].model);
        all[r].runtime.ranks = NULL;
        sumi_runtime_free(&all[r].runtime);
    }
}

static void sample_all(member *all, attendant *people, int ranks)
{
    meeting_hold(ranks, people, sample, all, sizeof *all);
}

static void assert_all(const member *all, int ranks, sumi_status status, const char *says)
{
    for (int r = 0; r < ranks; r++)
        if (all[r].status != status || !strstr(all[r].err.text, says))
            fail_msg("rank %d: status %d, %s", r, all[r].status, all[r].err.text);
}

/* Also where a rank has no image, images between two others, and each its own evaluations. */
static void test_same_images(void **state)
{
    (void)state;
    static const struct {
        const char *solver;
        int count, batch, to_index;
    } cases[] = {{"ddpm", COUNT_MAX, 2, -1},
                 {"ddim", 5, 0, -1},
                 {"ddim", 1, 0, -1},
                 {"dpmpp-2m", 7, 1, 40},
                 {"rk45", 6, 2, -1}};
    static member all[4], one;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int ranks = 1; ranks <= 4; ranks++) {
            attendant people[MEETING_MAX];
            open_all(all, people, ranks, cases[c].count);
            open_member(&one, NULL, cases[c].count);
            for (int r = -1; r < ranks; r++) {
                sumi_sample_config *config = r < 0 ? &one.config : &all[r].config;
                config->solver = cases[c].solver;
                config->batch = cases[c].batch;
                config->to_index = cases[c].to_index;
                if (strcmp(config->solver, "rk45") == 0)
                    config->steps = 100;
            }
            sample(&one);
            assert_int_equal(one.status, SUMI_OK);
            sample_all(all, people, ranks);
            assert_all(all, ranks, SUMI_OK, "");
            assert_memory_equal(all[0].out, one.out, sizeof one.out);
            assert_memory_equal(all[0].seen, one.seen, sizeof one.seen);
            assert_memory_equal(all[0].evaluations, one.evaluations, sizeof one.evaluations);
            assert_true(all[0].tells > 0);
            close_all(all, ranks);
            close_all(&one, 1);
        }
}

/* In the midst of it; what was whole by then is kept. */
static void test_stops_together(void **state)
{
    (void)state;
    static member all[3], one;
    attendant people[MEETING_MAX];
    open_member(&one, NULL, COUNT_MAX);
    sample(&one);
    open_all(all, people, 3, COUNT_MAX);
    for (int r = 0; r < 3; r++)
        all[r].config.batch = 1;
    all[0].stop_at = 4;
    sample_all(all, people, 3);
    assert_all(all, 3, SUMI_CANCELLED, "cancelled: 6 of 9 images are whole");
    assert_memory_equal(all[0].seen, one.seen, 6 * PIXELS * sizeof(float));
    close_all(all, 3);
    open_all(all, people, 3, COUNT_MAX);
    atomic_store(&all[2].runtime.cancel, 1);
    sample_all(all, people, 3);
    assert_all(all, 3, SUMI_CANCELLED, "cancelled: 0 of 9 images are whole");
    close_all(all, 3);
    close_all(&one, 1);
}

static void check_refused(member *all, attendant *people, sumi_status status, const char *says)
{
    sample_all(all, people, 3);
    assert_all(all, 3, status, says);
    close_all(all, 3);
    open_all(all, people, 3, COUNT_MAX);
}

static void test_refuses(void **state)
{
    (void)state;
    static member all[3];
    attendant people[MEETING_MAX];
    open_all(all, people, 3, COUNT_MAX);
    all[1].config.seed = 12;
    check_refused(all, people, SUMI_EINVAL, "rank 1: sample seed is 12 here and 11 at rank 0");
    all[2].model->graph.params.values[5] += 1;
    check_refused(all, people, SUMI_EINVAL, "rank 2: model SHA-256 is ");
    all[1].config.solver = "none";
    check_refused(all, people, SUMI_EINVAL, "rank 1: unknown solver \"none\"");
    for (int r = 0; r < 3; r++)
        all[r].config.count = 0;
    check_refused(all, people, SUMI_EINVAL, "count is 0");
    const int32_t labels[COUNT_MAX] = {0};
    all[2].config.labels = labels;
    check_refused(all, people, SUMI_EINVAL, "rank 2: this model was trained without labels");
    close_all(all, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_images),
        cmocka_unit_test(test_stops_together),
        cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
