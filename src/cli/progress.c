/*
 * The progress bar and its plainer forms; progress.h says which is shown when.
 */
#include "progress.h"

#include <langinfo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Pauses between two updates: a terminal can be watched, a log is read later. */
static double pause_s(sumi_show show)
{
    return show == SUMI_SHOW_BAR ? 0.1 : show == SUMI_SHOW_JSON ? 0.5 : 5;
}

enum { BAR_MAX = 30, BAR_MIN = 5, COLUMNS_DEFAULT = 80, SMOOTH_STEPS = 20 };

static bool set_and_not_empty(const char *variable)
{
    const char *value = getenv(variable);
    return value != NULL && value[0] != '\0';
}

void sumi_bar_begin(sumi_bar *bar, const sumi_cli *cli)
{
    const char *terminal = getenv("TERM");
    bool smart = isatty(STDERR_FILENO) && terminal != NULL && strcmp(terminal, "dumb") != 0;
    memset(bar, 0, sizeof *bar);
    bar->show = cli->json    ? SUMI_SHOW_JSON
                : cli->quiet ? SUMI_SHOW_NOTHING
                : smart      ? SUMI_SHOW_BAR
                             : SUMI_SHOW_LINES;
    if ((cli->json && cli->quiet) || !sumi_cli_talks(cli))
        bar->show = SUMI_SHOW_NOTHING;
    bar->unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    bar->colour = !set_and_not_empty("NO_COLOR");
    bar->loss = bar->epoch_loss = NAN;
    bar->shown_at = -1e9;
}

static int terminal_columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return COLUMNS_DEFAULT;
}

/* How much is done, 0 to 1; negative where it is not known. A call that is limited by time alone
 * has no number of steps, but knows when it ends. */
static double fraction(const sumi_progress *p)
{
    if (p->step_count > 0)
        return fmin(1, (double)p->step / (double)p->step_count);
    if (p->eta_s >= 0 && p->elapsed_s + p->eta_s > 0)
        return p->elapsed_s / (p->elapsed_s + p->eta_s);
    return -1;
}

/* "1970/4690 [02:31<03:43, 812 img/s, loss 0.029, lr 0.001]" */
static void numbers(const sumi_bar *bar, const sumi_progress *p, char *out, size_t size)
{
    char elapsed[32], eta[32] = "?", steps[48], rest[64] = "", waiting[32] = "";
    sumi_format_duration(p->elapsed_s, elapsed);
    if (p->eta_s >= 0)
        sumi_format_duration(p->eta_s, eta);
    if (p->step_count > 0)
        snprintf(steps, sizeof steps, "%lld/%lld", (long long)p->step, (long long)p->step_count);
    else
        snprintf(steps, sizeof steps, "%lld steps", (long long)p->step);
    if (p->phase == SUMI_PHASE_TRAIN)
        snprintf(rest, sizeof rest, ", loss %.4g, lr %.3g", bar->loss, p->learning_rate);
    if (p->waiting > 0)
        snprintf(waiting, sizeof waiting, ", %.0f %% waiting", 100 * p->waiting);
    double speed = fmin(p->images_per_s, 1e9);
    snprintf(out, size, "%s [%s<%s, %.*f %s%s%s]", steps, elapsed, eta, speed < 10 ? 2 : 0, speed,
             p->phase == SUMI_PHASE_TRAIN ? "img/s" : "eval/s", waiting, rest);
}

/* A bar of `cells` columns, in eighths of a block where the terminal has them. */
static char *draw_bar(char *out, double done, int cells, bool unicode)
{
    int eighths = (int)(done * cells * 8 + 1e-9);
    for (int i = 0; i < cells; i++) {
        int part = eighths - 8 * i;
        if (!unicode)
            *out++ = part >= 8 ? '#' : part >= 4 ? '>' : '.';
        else if (part <= 0)
            *out++ = ' ';
        else { /* U+2588 is the whole block, U+258F the eighth */
            memcpy(out, "\xE2\x96", 2);
            out[2] = (char)(part >= 8 ? 0x88 : 0x90 - part);
            out += 3;
        }
    }
    *out = '\0';
    return out;
}

void sumi_bar_text(const sumi_bar *bar, const sumi_progress *p, int width, char *out, size_t size)
{
    char left[64] = "", right[256], middle[BAR_MAX * 3 + 1] = "";
    double done = fraction(p);
    if (p->phase == SUMI_PHASE_TRAIN && p->epoch_count > 0)
        snprintf(left, sizeof left, "epoch %lld/%lld ", (long long)p->epoch + 1,
                 (long long)p->epoch_count);
    else if (p->phase == SUMI_PHASE_TRAIN)
        snprintf(left, sizeof left, "epoch %lld ", (long long)p->epoch + 1);
    else if (bar->training)
        snprintf(left, sizeof left, "sample grid ");
    size_t used = strlen(left);
    if (done >= 0)
        snprintf(left + used, sizeof left - used, "%3d%% ", (int)(100 * done));
    numbers(bar, p, right, sizeof right);
    width = width < 0 ? 0 : width;
    int cells = width - (int)(strlen(left) + strlen(right)) - 3;
    if (done < 0 || cells < BAR_MIN) {
        snprintf(out, size < (size_t)width + 1 ? size : (size_t)width + 1, "%s%s", left, right);
        return;
    }
    draw_bar(middle, done, cells < BAR_MAX ? cells : BAR_MAX, bar->unicode);
    bool colour = bar->colour && bar->show == SUMI_SHOW_BAR;
    snprintf(out, size, "%s|%s%s%s| %s", left, colour ? "\033[36m" : "", middle,
             colour ? "\033[0m" : "", right);
}

static void json_update(const sumi_progress *p)
{
    static const char *const phases[] = {"train", "epoch", "sample", "save",
                                         "grid",  "note",  "score"};
    json_t *line =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:f}", "phase", phases[p->phase], "step",
                  (json_int_t)p->step, "step_count", (json_int_t)p->step_count, "epoch",
                  (json_int_t)p->epoch, "epoch_count", (json_int_t)p->epoch_count, "images_per_s",
                  isfinite(p->images_per_s) ? p->images_per_s : 0.0, "elapsed_s", p->elapsed_s);
    if (line == NULL)
        return;
    if (p->eta_s >= 0)
        json_object_set_new(line, "eta_s", json_real(p->eta_s));
    if (p->phase == SUMI_PHASE_TRAIN || p->phase == SUMI_PHASE_EPOCH) {
        json_object_set_new(line, "loss", json_real(p->loss));
        json_object_set_new(line, "learning_rate", json_real(p->learning_rate));
    }
    if (p->waiting > 0)
        json_object_set_new(line, "waiting", json_real(p->waiting));
    if (p->path != NULL)
        json_object_set_new(line, "path", sumi_json_name(p->path));
    if (p->note != NULL)
        json_object_set_new(line, "note", json_string(p->note));
    char *text = json_dumps(line, JSON_COMPACT);
    if (text != NULL)
        fprintf(stderr, "%s\n", text);
    free(text);
    json_decref(line);
}

static void clear_line(sumi_bar *bar)
{
    if (bar->drawn)
        fputs("\r\033[K", stderr);
    bar->drawn = false;
}

/* What happens once and is told at once: an epoch's end, a file. */
static void tell_event(sumi_bar *bar, const sumi_progress *p)
{
    char loss[32];
    clear_line(bar);
    if (p->phase == SUMI_PHASE_EPOCH) {
        sumi_format_shortest(p->loss, loss);
        fprintf(stderr, "Epoch %lld | Loss: %s\n", (long long)p->epoch, loss);
    } else if (p->note != NULL) {
        sumi_cli_put(stderr, 0, p->note);
        fputc('\n', stderr);
    } else if (p->path != NULL) {
        fprintf(stderr, "%s %s\n", p->phase == SUMI_PHASE_SAVE ? "saved" : "drew", p->path);
    }
}

/* Sampling within a training (its grids) counts steps of its own, which are not the run's. */
static void remember(sumi_bar *bar, const sumi_progress *p)
{
    if (p->phase != SUMI_PHASE_TRAIN && p->phase != SUMI_PHASE_EPOCH)
        return;
    bar->training = true;
    bar->elapsed_s = p->elapsed_s;
    bar->steps = p->step;
    if (p->phase == SUMI_PHASE_EPOCH) {
        bar->epochs = p->epoch + 1;
        bar->epoch_loss = p->loss;
    } else {
        /* A mean at first, so that the large losses of the first steps are soon forgotten. */
        bar->losses++;
        double window = (double)(bar->losses < SMOOTH_STEPS ? bar->losses : SMOOTH_STEPS);
        bar->loss = bar->losses == 1 ? p->loss : bar->loss + (p->loss - bar->loss) / window;
    }
}

int sumi_bar_update(void *user, const sumi_progress *p)
{
    sumi_bar *bar = user;
    remember(bar, p);
    if (bar->show == SUMI_SHOW_NOTHING)
        return 0;
    bool event = p->phase != SUMI_PHASE_TRAIN && p->phase != SUMI_PHASE_SAMPLE;
    bool last = p->step_count > 0 && p->step == p->step_count;
    double now = sumi_time_now();
    if (!event && !last && now - bar->shown_at < pause_s(bar->show))
        return 0;
    if (!event)
        bar->shown_at = now;
    if (bar->show == SUMI_SHOW_JSON) {
        json_update(p);
    } else if (event) {
        tell_event(bar, p);
    } else {
        char text[512];
        int width = bar->show == SUMI_SHOW_BAR ? terminal_columns() - 1 : COLUMNS_DEFAULT;
        sumi_bar_text(bar, p, width, text, sizeof text);
        if (bar->show == SUMI_SHOW_BAR)
            fprintf(stderr, "\r%s\033[K", text);
        else
            fprintf(stderr, "%s\n", text);
        bar->drawn = bar->show == SUMI_SHOW_BAR;
    }
    fflush(stderr);
    return 0;
}

void sumi_bar_end(sumi_bar *bar)
{
    clear_line(bar);
    fflush(stderr);
}
