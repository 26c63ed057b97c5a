/*
 * Sets that no measure can take are refused with one line that names set, picture and number.
 */
#include "eval/eval_test.h"

static float features[] = {1, 2, 3, 4, 5, 6};
static float probabilities[] = {.5f, .5f, 1, 0, .25f, .75f};
static const int32_t labels[] = {0, 1, -1};
static const uint8_t images[12];

static sumi_eval_set whole(void)
{
    return (sumi_eval_set){.name = "samples",
                           .n = 3,
                           .d = 2,
                           .classes = 2,
                           .h = 2,
                           .w = 1,
                           .c = 2,
                           .features = features,
                           .probabilities = probabilities,
                           .labels = labels,
                           .images = images};
}

static void refuses(const sumi_eval_set *set, const char *says)
{
    sumi_error err = {""};
    assert_int_equal(sumi_eval_check(set, &err), SUMI_EINVAL);
    assert_says(&err, says);
}

static void test_good_sets(void **state)
{
    (void)state;
    sumi_eval_set set = whole();
    assert_int_equal(sumi_eval_check(&set, NULL), SUMI_OK);
    set.images = NULL;
    set.h = set.w = set.c = 0;
    set.labels = NULL;
    assert_int_equal(sumi_eval_check(&set, NULL), SUMI_OK);
}

static void test_sizes(void **state)
{
    (void)state;
    sumi_eval_set set = whole();
    set.n = 0;
    refuses(&set, "samples: there are no pictures");
    set = whole();
    set.n = (int64_t)1 << 40;
    refuses(&set, "1099511627776 pictures");
    set = whole();
    set.d = 0;
    refuses(&set, "features of 0 numbers");
    set = whole();
    set.classes = 0;
    refuses(&set, "0 classes");
    set = whole();
    set.w = -1;
    refuses(&set, "pictures of 2x-1x2");
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        int at;
        float value;
        const char *says;
    } bad[] = {{5, NAN, "samples: number 1 of the features of picture 2 is NaN"},
               {0, INFINITY, "samples: number 0 of the features of picture 0 is infinite"}};
    for (int i = 0; i < COUNT(bad); i++) {
        sumi_eval_set set = whole();
        float kept = features[bad[i].at];
        features[bad[i].at] = bad[i].value;
        refuses(&set, bad[i].says);
        features[bad[i].at] = kept;
    }
    sumi_eval_set set = whole();
    probabilities[2] = .75f;
    refuses(&set, "samples: the probabilities of picture 1 add up to 0.75");
    probabilities[2] = 1.5f;
    probabilities[3] = -.5f;
    refuses(&set, "one is negative");
    probabilities[3] = NAN;
    refuses(&set, "number 1 of the probabilities of picture 1 is NaN");
    probabilities[2] = 1;
    probabilities[3] = 0;
    static const int32_t wrong[] = {0, 2, 1};
    set.labels = wrong;
    refuses(&set, "label 2 of picture 1, expected -1..1");
}

static void test_pairs(void **state)
{
    (void)state;
    sumi_error err = {""};
    sumi_eval_set a = whole(), b = whole();
    b.name = "test";
    assert_int_equal(sumi_eval_check_pair(&a, &b, NULL), SUMI_OK);
    b.d = 3;
    assert_int_equal(sumi_eval_check_pair(&a, &b, &err), SUMI_ESHAPE);
    assert_says(&err, "samples has features of 2 numbers, test of 3");
    b = whole();
    b.classes = 4;
    assert_int_equal(sumi_eval_check_pair(&a, &b, &err), SUMI_ESHAPE);
    assert_says(&err, "2 classes");
    b = whole();
    b.c = 1;
    assert_int_equal(sumi_eval_check_pair(&a, &b, &err), SUMI_ESHAPE);
    assert_says(&err, "pictures of 2x1x2");
    b.images = NULL;
    assert_int_equal(sumi_eval_check_pair(&a, &b, NULL), SUMI_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_sets),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
