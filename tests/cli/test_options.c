/*
 * The table of options: what it holds, how command lines and config.json are read by it, and that
 * help, manual page and completion tell of all of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cli/options.h"

enum { WORDS_MAX = 16 };

/* Parses the words of a line that are separated by single spaces; '~' stands for an empty word. */
static sumi_status parse(const char *line, sumi_options *options, sumi_error *err)
{
    static _Thread_local char buffer[512];
    const char *words[WORDS_MAX];
    int count = 0;
    assert_true(strlen(line) < sizeof buffer);
    strcpy(buffer, line);
    for (char *word = buffer; *line != '\0' && word != NULL;) {
        char *next = strchr(word, ' ');
        if (next != NULL)
            *next++ = '\0';
        assert_true(count < WORDS_MAX);
        words[count++] = strcmp(word, "~") == 0 ? "" : word;
        word = next;
    }
    return sumi_options_parse(count, words, options, err);
}

static void assert_parses(const char *line, sumi_options *options)
{
    sumi_error err = {""};
    if (parse(line, options, &err) != SUMI_OK)
        fail_msg("'%s' is refused: %s", line, err.text);
}

static void assert_refused(const char *line, const char *part)
{
    sumi_options options;
    sumi_error err = {""};
    if (parse(line, &options, &err) != SUMI_EINVAL)
        fail_msg("'%s' is accepted", line);
    if (strstr(err.text, part) == NULL)
        fail_msg("'%s' is refused without '%s': %s", line, part, err.text);
    if (strchr(err.text, '\n') != NULL)
        fail_msg("'%s' is refused in more than one line", line);
}

/* The shortest line that the command accepts. */
static void complete_line(sumi_command_id id, char *line, size_t size)
{
    const sumi_command *command = &sumi_command_table[id];
    size_t used = (size_t)snprintf(line, size, "%s", command->name);
    for (int i = 0; i < command->operands_min; i++)
        used += (size_t)snprintf(line + used, size - used, " file%d", i);
    sumi_option o;
    for (int i = 0; sumi_option_at(i, &o); i++)
        if (sumi_option_belongs(&o, id) && o.required)
            used += (size_t)snprintf(line + used, size - used, " --%s=file", o.name);
}

static void test_table_is_sound(void **state)
{
    (void)state;
    for (int id = 0; id < SUMI_CMD_COUNT; id++) {
        char line[256];
        sumi_options options;
        complete_line((sumi_command_id)id, line, sizeof line);
        assert_parses(line, &options);
        assert_int_equal(options.command, id);
        assert_true(sumi_option_find((sumi_command_id)id, "help", 4, NULL) >= 0);
    }
    sumi_option a, b;
    int count = 0;
    for (; sumi_option_at(count, &a); count++) {
        assert_int_equal(a.help[strlen(a.help) - 1], '.');
        assert_true((a.metavar == NULL) == (a.kind == SUMI_ARG_FLAG));
        assert_true((a.choices || a.choice_at) == (a.kind == SUMI_ARG_CHOICE));
        assert_true(a.commands != 0 && a.commands < 1u << SUMI_CMD_COUNT);
        if (a.kind == SUMI_ARG_INT || a.kind == SUMI_ARG_SIZE)
            assert_true(a.low < a.high);
        if (a.kind == SUMI_ARG_REAL)
            assert_true(a.least < a.most);
        for (int k = count + 1; sumi_option_at(k, &b); k++)
            if (a.commands & b.commands) {
                assert_string_not_equal(a.name, b.name);
                assert_true(a.letter == 0 || a.letter != b.letter);
            }
    }
    assert_true(count > 60 && count < SUMI_OPTIONS_MAX); /* none was left out */
}

static void test_every_kind_is_read(void **state)
{
    sumi_options o;
    int height = 0, width = 0;
    (void)state;
    assert_parses("train shapes --epochs 3 --lr=2.5e-4 -q --size 8x6 -o run --device cpu", &o);
    assert_int_equal(o.command, SUMI_CMD_TRAIN);
    assert_int_equal(o.operand_count, 1);
    assert_string_equal(o.operands[0], "shapes");
    assert_int_equal(sumi_option_int(&o, "epochs"), 3);
    assert_true(sumi_option_real(&o, "lr") == 2.5e-4);
    assert_true(sumi_option_flag(&o, "quiet"));
    assert_false(sumi_option_flag(&o, "json"));
    sumi_option_size(&o, "size", &height, &width);
    assert_int_equal(height, 8);
    assert_int_equal(width, 6);
    assert_string_equal(sumi_option_text(&o, "out"), "run");
    assert_string_equal(sumi_option_text(&o, "device"), "cpu");

    assert_parses("sample m.pth --size 24 --out=a=b.png", &o);
    sumi_option_size(&o, "size", &height, &width);
    assert_true(height == 24 && width == 24);
    assert_string_equal(sumi_option_text(&o, "out"), "a=b.png");
}

static void test_defaults_are_not_given(void **state)
{
    sumi_options o;
    (void)state;
    assert_parses("train shapes --batch 128", &o);
    assert_true(sumi_option_given(&o, "batch"));
    assert_false(sumi_option_given(&o, "lr"));
    assert_true(sumi_option_real(&o, "lr") == 1e-3);
    assert_false(sumi_option_given(&o, "epochs"));
    assert_int_equal(sumi_option_int(&o, "epochs"), 0);
    assert_null(sumi_option_text(&o, "out"));
}

/* The recipe is written down twice, here and in sumi.h's INIT macros. */
static void test_defaults_are_the_recipe(void **state)
{
    const sumi_train_config train = SUMI_TRAIN_CONFIG_INIT;
    const sumi_model_config model = SUMI_MODEL_CONFIG_INIT;
    const sumi_sample_config sample = SUMI_SAMPLE_CONFIG_INIT;
    sumi_options o;
    int height = 0, width = 0;
    (void)state;
    assert_parses("train shapes", &o);
    assert_int_equal(sumi_option_int(&o, "batch"), train.batch);
    assert_true((float)sumi_option_real(&o, "lr") == train.learning_rate);
    assert_true(sumi_option_text(&o, "ema") == NULL && train.ema == 0);
    assert_int_equal(sumi_option_int(&o, "grid"), train.grid);
    assert_string_equal(sumi_option_text(&o, "precision"), "fp32");
    assert_int_equal(train.precision, SUMI_PRECISION_FP32);
    assert_int_equal(sumi_option_int(&o, "time-dim"), model.time_dim);
    assert_int_equal(sumi_option_int(&o, "base-channels"), model.base_channels);
    assert_int_equal(sumi_option_int(&o, "timesteps"), model.timesteps);
    assert_true((float)sumi_option_real(&o, "beta-start") == model.beta_start);
    assert_true((float)sumi_option_real(&o, "beta-end") == model.beta_end);
    /* The program's default is another recipe than the library's. */
    assert_string_equal(sumi_option_text(&o, "recipe"), "standard");
    assert_string_equal(model.preset, "tutorial");
    assert_parses("sample m --out x.png", &o);
    sumi_option_size(&o, "size", &height, &width);
    assert_true(height == sample.height && width == sample.width);
    assert_int_equal(sumi_option_int(&o, "steps"), sample.steps);
    sumi_choice_t solver = SUMI_CHOICE_INIT;
    assert_int_equal(sumi_solver_at(0, &solver), SUMI_OK); /* what NULL stands for */
    assert_null(sample.solver);
    assert_string_equal(sumi_option_text(&o, "solver"), solver.name);
    sumi_choice_t spacing = SUMI_CHOICE_INIT;
    assert_int_equal(sumi_spacing_at(0, &spacing), SUMI_OK); /* what NULL stands for */
    assert_null(sample.spacing);
    assert_string_equal(sumi_option_text(&o, "spacing"), spacing.name);
}

/* Every field of a model that does not follow from the data is an option of train, and a key of
 * config.json. */
static void test_fields_are_options(void **state)
{
    sumi_field_t field = SUMI_FIELD_INIT;
    int count = 0;
    (void)state;
    for (int i = 0; sumi_model_field_at(i, &field) == SUMI_OK; i++) {
        sumi_option option;
        char name[64], key[80];
        size_t length = (size_t)snprintf(name, sizeof name, "%s", field.name);
        for (char *c = name; *c != '\0'; c++)
            *c = (char)(*c == '_' ? '-' : *c);
        bool wanted = field.settable && !field.from_data;
        bool is =
            sumi_option_find(SUMI_CMD_TRAIN, name, length, &option) >= 0 && option.field != NULL;
        assert_int_equal(is, wanted);
        if (!wanted)
            continue;
        count++;
        snprintf(key, sizeof key, "model.%s", field.name);
        assert_string_equal(option.key, key);
        assert_string_equal(option.help, field.about);
        assert_int_equal(strcmp(field.part, "net") == 0,
                         sumi_option_belongs(&option, SUMI_CMD_BENCH_TRAIN));
    }
    assert_true(count >= 16);
}

/* Names that the library lists are all that the options take. */
static void test_listed_names(void **state)
{
    (void)state;
    sumi_options o;
    sumi_choice_t choice = SUMI_CHOICE_INIT;
    char line[128];
    int count = 0;
    for (; sumi_solver_at(count, &choice) == SUMI_OK; count++) {
        snprintf(line, sizeof line, "sample m --out x.png --solver %s", choice.name);
        assert_parses(line, &o);
        assert_string_equal(sumi_option_text(&o, "solver"), choice.name);
        assert_true(strlen(choice.about) > 0 && choice.evaluations >= 1);
    }
    assert_true(count >= 15);
    assert_int_equal(sumi_solver_at(-1, &choice), SUMI_EINVAL);
    assert_int_equal(sumi_solver_at(0, NULL), SUMI_EINVAL);
    for (count = 0; sumi_spacing_at(count, &choice) == SUMI_OK; count++) {
        snprintf(line, sizeof line, "sample m --out x.png --spacing %s", choice.name);
        assert_parses(line, &o);
    }
    assert_true(count >= 6);
    assert_refused("sample m --out x.png --solver heu", "did you mean heun?");
    assert_refused("sample m --out x.png --spacing even", "expected trailing, uniform, leading");
    assert_refused("sample m --out x.png --solver ''", "expected ddpm");
}

static void test_short_forms(void **state)
{
    sumi_options o;
    (void)state;
    assert_parses("sample m -qn4 -ox.png", &o);
    assert_true(sumi_option_flag(&o, "quiet"));
    assert_int_equal(sumi_option_int(&o, "count"), 4);
    assert_string_equal(sumi_option_text(&o, "out"), "x.png");
    assert_parses("sample m -qo x.png -n 7 -n 5", &o);
    assert_string_equal(sumi_option_text(&o, "out"), "x.png");
    assert_int_equal(sumi_option_int(&o, "count"), 5);
    assert_refused("sample m -o x.png -n", "-n: expected N after it, found nothing");
    assert_refused("sample m -o x.png -nq", "-n: expected a whole number");
    assert_refused("sample m -o x.png -qz", "unknown option -z in '-qz'");
}

static void test_operands(void **state)
{
    sumi_options o;
    (void)state;
    assert_parses("convert -- --a -b", &o);
    assert_string_equal(o.operands[0], "--a");
    assert_string_equal(o.operands[1], "-b");
    assert_parses("info -", &o);
    assert_string_equal(o.operands[0], "-");
    assert_refused("info", "info: expected FILE, found nothing");
    assert_refused("convert a", "convert: expected IN OUT, found one argument");
    assert_refused("info a b", "info: expected FILE alone, found also 'b'");
    assert_refused("data list x", "data list: expected no argument, found 'x'");
    assert_refused("info ~", "found an empty argument");
}

static void test_help_and_version(void **state)
{
    sumi_options o;
    (void)state;
    assert_parses("", &o);
    assert_int_equal(o.command, SUMI_CMD_HELP);
    assert_parses("-h", &o);
    assert_int_equal(o.command, SUMI_CMD_HELP);
    assert_parses("--version", &o);
    assert_int_equal(o.command, SUMI_CMD_VERSION);
    assert_parses("sample --help --nonsense", &o);
    assert_true(o.help && o.command == SUMI_CMD_SAMPLE);
    assert_parses("sample -qh", &o);
    assert_true(o.help);
}

static void test_suggestions(void **state)
{
    (void)state;
    assert_refused("trian shapes", "unknown command 'trian'; did you mean train?");
    assert_refused("data infos x", "unknown command 'data infos'; did you mean data info?");
    assert_refused("data", "data: expected one more word");
    assert_refused("qqqqqqqq", "unknown command 'qqqqqqqq'; see: sumi help");
    assert_refused("train s --bacth 3", "unknown option --bacth; did you mean --batch?");
    assert_refused("train s --bacth=3", "unknown option --bacth; did you mean --batch?");
    assert_refused("train s --zzzzzzzz", "unknown option --zzzzzzzz; see: sumi help train");
    assert_refused("train s --solver ddim", "unknown option --solver");
    assert_refused("sample m --out x.png --solver dddim", "did you mean ddim?");
    assert_refused("--quiet train", "expected a command, found '--quiet'");
    const char *const names[] = {"batch", "beta-end", NULL};
    assert_string_equal(sumi_suggest("batch", names), "batch");
    assert_string_equal(sumi_suggest("btach", names), "batch");
    assert_null(sumi_suggest("", names));
    assert_null(sumi_suggest("x", names));
    assert_null(sumi_suggest("a-name-that-is-longer-than-any-option-there-is", names));
}

static void test_missing_values(void **state)
{
    (void)state;
    assert_refused("sample m", "--out x.png|DIR/|x.npy is missing");
    assert_refused("sample m --out", "--out: expected x.png|DIR/|x.npy after it, found nothing");
    assert_refused("sample m --out --json", "--out: expected x.png|DIR/|x.npy after it, found "
                                            "'--json'");
    assert_refused("sample m --out=", "--out: expected x.png|DIR/|x.npy, found nothing");
    assert_refused("sample m --out x.png --quiet=1", "--quiet: expected no value, found '1'");
}

static const char *const bad_values[][12] = {
    [SUMI_ARG_INT] = {"", "x", "1x", "1.5", " 1", "+1", "0x10", "1e3", "99999999999999999999",
                      "--1", NULL},
    [SUMI_ARG_REAL] = {"", "x", "nan", "inf", "0x1p3", "1e999", "1e", ".", "1,5", " 1", NULL},
    [SUMI_ARG_SIZE] = {"", "x", "8x", "x8", "8x8x8", "0x8", "8x0", "8*8", "-8x8", "8 x8",
                       "8x99999999999", NULL},
    [SUMI_ARG_STRING] = {"", NULL},
    [SUMI_ARG_PATH] = {"", NULL},
    [SUMI_ARG_CHOICE] = {"", "|", "no such word", NULL},
    [SUMI_ARG_LIST] = {"", "x", ",", "1,", ",1", "1,,2", "1 2", "0", NULL},
};

static void refuse_value(sumi_command_id id, const sumi_option *option, const char *value)
{
    char line[256], name[64], pair[512];
    const char *words[WORDS_MAX];
    sumi_options options;
    sumi_error err = {""};
    int count = 0;
    complete_line(id, line, sizeof line);
    for (char *word = strtok(line, " "); word != NULL; word = strtok(NULL, " "))
        words[count++] = word;
    snprintf(name, sizeof name, "--%s:", option->name);
    snprintf(pair, sizeof pair, "--%s=%s", option->name, value);
    words[count++] = pair;
    if (sumi_options_parse(count, words, &options, &err) != SUMI_EINVAL)
        fail_msg("sumi %s accepts %s", sumi_command_table[id].name, pair);
    if (strstr(err.text, name) == NULL || strstr(err.text, "expected") == NULL ||
        strstr(err.text, "found") == NULL)
        fail_msg("%s is refused unclearly: %s", pair, err.text);
}

static void accept_value(sumi_command_id id, const sumi_option *option, const char *value)
{
    char line[512];
    sumi_options options;
    complete_line(id, line, sizeof line);
    size_t used = strlen(line);
    snprintf(line + used, sizeof line - used, " --%s=%s", option->name, value);
    assert_parses(line, &options);
}

static void test_ranges_of_every_option(void **state)
{
    (void)state;
    sumi_option option;
    const sumi_option *const o = &option;
    for (int i = 0; sumi_option_at(i, &option); i++)
        for (int id = 0; id < SUMI_CMD_COUNT; id++) {
            char text[64];
            if (!sumi_option_belongs(o, (sumi_command_id)id) || o->kind == SUMI_ARG_FLAG)
                continue;
            for (const char *const *bad = bad_values[o->kind]; *bad != NULL; bad++)
                refuse_value((sumi_command_id)id, o, *bad);
            if (o->kind == SUMI_ARG_INT) {
                snprintf(text, sizeof text, "%lld", (long long)o->low);
                accept_value((sumi_command_id)id, o, text);
                snprintf(text, sizeof text, "%lld", (long long)o->high);
                accept_value((sumi_command_id)id, o, text);
                snprintf(text, sizeof text, "%lld", (long long)o->low - 1);
                refuse_value((sumi_command_id)id, o, text);
                snprintf(text, sizeof text, "%llu", (unsigned long long)o->high + 1);
                refuse_value((sumi_command_id)id, o, text);
            } else if (o->kind == SUMI_ARG_REAL) {
                snprintf(text, sizeof text, "%.17g", o->least);
                accept_value((sumi_command_id)id, o, text);
                snprintf(text, sizeof text, "%.17g", o->most);
                accept_value((sumi_command_id)id, o, text);
                snprintf(text, sizeof text, "%.17g", o->least - .001);
                refuse_value((sumi_command_id)id, o, text);
                snprintf(text, sizeof text, "%.17g", o->most * 1.001);
                refuse_value((sumi_command_id)id, o, text);
            }
        }
}

/* ---- config.json ----------------------------------------------------------------------------- */

static sumi_status take_config(const char *text, const char *line, sumi_options *options,
                               json_t **config, sumi_error *err)
{
    assert_parses(line, options);
    *config = json_loads(text, 0, NULL);
    assert_non_null(*config);
    return sumi_options_config(options, "run/config.json", *config, err);
}

static void test_config_is_taken(void **state)
{
    sumi_options o;
    json_t *config = NULL;
    sumi_error err = {""};
    (void)state;
    assert_int_equal(take_config("{\"recipe\": \"seed\", \"model\": {\"time_dim\": 64, "
                                 "\"beta_end\": 0.0099999997764825821, \"stratified\": true, "
                                 "\"schedule\": \"cosine\"},"
                                 "\"train\": {\"epochs\": 0, \"steps\": 50, \"minutes\": 0.0, "
                                 "\"batch\": 7, \"learning_rate\": 0.5, \"beta1\": null}}",
                                 "train --resume run --batch 9", &o, &config, &err),
                     SUMI_OK);
    assert_int_equal(sumi_option_int(&o, "time-dim"), 64);
    assert_true((float)sumi_option_real(&o, "beta-end") == .01f);
    assert_true(sumi_option_flag(&o, "stratified"));
    assert_string_equal(sumi_option_text(&o, "schedule"), "cosine");
    assert_string_equal(sumi_option_text(&o, "objective"), "eps");
    assert_int_equal(sumi_option_int(&o, "steps"), 50);
    assert_false(sumi_option_given(&o, "steps"));
    assert_int_equal(sumi_option_int(&o, "epochs"), 0); /* 0 in the file: no limit */
    assert_int_equal(sumi_option_int(&o, "batch"), 9);  /* the command line wins */
    assert_true(sumi_option_real(&o, "lr") == .5);
    assert_true(sumi_option_real(&o, "beta1") == 0);
    assert_int_equal(sumi_option_int(&o, "timesteps"), 1000); /* not in the file: the default */
    assert_string_equal(sumi_option_text(&o, "recipe"), "seed");
    json_decref(config);
}

static void test_config_is_checked(void **state)
{
    static const char *const bad[] = {
        "{\"train\": {\"batch\": 0}}",        "{\"train\": {\"batch\": \"many\"}}",
        "{\"train\": {\"batch\": 1.5}}",      "{\"train\": {\"batch\": []}}",
        "{\"train\": {\"batch\": -1}}",       "{\"train\": {\"learning_rate\": 1e300}}",
        "{\"model\": {\"time_dim\": 99999}}", "{\"recipe\": \"other\"}",
        "{\"train\": {\"seed\": -1}}",        "{\"model\": {\"stratified\": 1}}",
        "{\"model\": {\"law\": \"foo\"}}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sumi_options o;
        json_t *config = NULL;
        sumi_error err = {""};
        if (take_config(bad[i], "train --resume run", &o, &config, &err) != SUMI_EFORMAT)
            fail_msg("%s is accepted", bad[i]);
        assert_non_null(strstr(err.text, "run/config.json: "));
        assert_non_null(strstr(err.text, "expected"));
        json_decref(config);
    }
}

/* ---- Text made from the table ---------------------------------------------------------------- */

static char *text_of_help(sumi_command_id id)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    sumi_help_command(out, id);
    fclose(out);
    return text;
}

static char *text_of(void (*print)(FILE *))
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    print(out);
    fclose(out);
    return text;
}

static void test_help_tells_every_option(void **state)
{
    (void)state;
    for (int id = 0; id < SUMI_CMD_COUNT; id++) {
        char *text = text_of_help((sumi_command_id)id);
        assert_non_null(strstr(text, sumi_command_table[id].summary));
        assert_non_null(strstr(text, sumi_command_table[id].example));
        sumi_option o;
        for (int i = 0; sumi_option_at(i, &o); i++) {
            char name[64];
            snprintf(name, sizeof name, "--%s%s%s\n", o.name, o.metavar != NULL ? " " : "",
                     o.metavar != NULL ? o.metavar : "");
            name[strlen(name) - 1] = '\0';
            if (sumi_option_belongs(&o, (sumi_command_id)id) && strstr(text, name) == NULL)
                fail_msg("the help of %s lacks %s", sumi_command_table[id].name, name);
        }
        for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1)
            assert_true(strcspn(line, "\n") <= 80);
        free(text);
    }
    char *text = text_of(sumi_help_program);
    for (int id = 0; id < SUMI_CMD_COUNT; id++)
        assert_non_null(strstr(text, sumi_command_table[id].summary));
    free(text);
}

static void test_help_of_groups(void **state)
{
    char *text = NULL;
    size_t size = 0;
    (void)state;
    FILE *out = open_memstream(&text, &size);
    assert_false(sumi_help_group(out, "train"));
    assert_false(sumi_help_group(out, "dat"));
    assert_true(sumi_help_group(out, "data"));
    fclose(out);
    assert_non_null(strstr(text, "data preview"));
    assert_null(strstr(text, "bench"));
    free(text);
}

/* The hyphens of a name as the manual page writes them. */
static void escape(const char *name, char *out)
{
    for (; *name != '\0'; name++) {
        if (*name == '-')
            *out++ = '\\';
        *out++ = *name;
    }
    *out = '\0';
}

static void test_manual_tells_every_option(void **state)
{
    char *text = text_of(sumi_help_man);
    (void)state;
    sumi_option o;
    for (int i = 0; sumi_option_at(i, &o); i++) {
        char name[64], wanted[80];
        escape(o.name, name);
        snprintf(wanted, sizeof wanted, "\\-\\-%s", name);
        if (strstr(text, wanted) == NULL)
            fail_msg("the manual page lacks --%s", o.name);
    }
    for (const sumi_command *c = sumi_command_table; c->name != NULL; c++) {
        char wanted[80];
        snprintf(wanted, sizeof wanted, ".SS sumi %s", c->name);
        assert_non_null(strstr(text, wanted));
    }
    assert_int_equal(strncmp(text, ".\\\"", 3), 0);
    assert_non_null(strstr(text, "\n.TH SUMI 1 "));
    assert_non_null(strstr(text, "\n.SH EXIT STATUS\n"));
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1)
        assert_true(strcspn(line, "\n") <= 80);
    free(text);
}

static void test_completion_tells_every_option(void **state)
{
    char *text = text_of(sumi_help_bash_completion);
    (void)state;
    sumi_option o;
    for (int i = 0; sumi_option_at(i, &o); i++) {
        char name[64];
        snprintf(name, sizeof name, "--%s", o.name);
        if (strstr(text, name) == NULL)
            fail_msg("the completion lacks %s", name);
    }
    assert_non_null(strstr(text, "'data train sample predict classify eval tune convert average "
                                 "info diff verify bench devices help version"));
    assert_non_null(strstr(text, "'list info preview'"));
    assert_non_null(strstr(text, "words='ddpm ddpm-large ddim ddim-inverse euler "));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_sound),
        cmocka_unit_test(test_every_kind_is_read),
        cmocka_unit_test(test_defaults_are_not_given),
        cmocka_unit_test(test_defaults_are_the_recipe),
        cmocka_unit_test(test_fields_are_options),
        cmocka_unit_test(test_listed_names),
        cmocka_unit_test(test_short_forms),
        cmocka_unit_test(test_operands),
        cmocka_unit_test(test_help_and_version),
        cmocka_unit_test(test_suggestions),
        cmocka_unit_test(test_missing_values),
        cmocka_unit_test(test_ranges_of_every_option),
        cmocka_unit_test(test_config_is_taken),
        cmocka_unit_test(test_config_is_checked),
        cmocka_unit_test(test_help_tells_every_option),
        cmocka_unit_test(test_help_of_groups),
        cmocka_unit_test(test_manual_tells_every_option),
        cmocka_unit_test(test_completion_tells_every_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
