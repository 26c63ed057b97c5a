/*
 * Rows of the table of options: how a training run is kept.
 */
#include "option_rows.h"

enum { EVERY = (1u << SUMI_CMD_COUNT) - 1 - BIT(HELP) - BIT(VERSION) };

const sumi_option sumi_option_rows_run[] = {
    {.name = "config",
     .kind = SUMI_ARG_PATH,
     .metavar = "FILE",
     .resuming = true,
     .commands = EVERY,
     .help = "Read options from this file, a line `name = value` each (TOML), or from the "
             "config.json of a run, whose training begins anew; what is given here or in the "
             "environment goes before it."},
    {.name = "checkpoint-every",
     .kind = SUMI_ARG_INT,
     .low = 0,
     .high = UINT32_MAX,
     .initial = "0",
     .metavar = "N",
     .key = "train.checkpoint_every",
     .resuming = true,
     .commands = BIT(TRAIN),
     .help = "Write a checkpoint after every N steps, too; 0 goes by time and epochs alone."},
    {.name = "checkpoint-minutes",
     .kind = SUMI_ARG_REAL,
     .least = 0,
     .most = 1e6,
     .initial = "5",
     .metavar = "X",
     .key = "train.checkpoint_minutes",
     .resuming = true,
     .commands = BIT(TRAIN),
     .help =
         "Write a checkpoint where the last one is that old; 0 goes by steps and epochs alone."},
    {.name = "keep-last",
     .kind = SUMI_ARG_INT,
     .low = 1,
     .high = 100000,
     .initial = "2",
     .metavar = "N",
     .key = "train.keep_last",
     .resuming = true,
     .commands = BIT(TRAIN),
     .help = "Keep the newest N checkpoints."},
    {.name = "keep-best",
     .kind = SUMI_ARG_INT,
     .low = 1,
     .high = 100000,
     .initial = "1",
     .metavar = "N",
     .key = "train.keep_best",
     .resuming = true,
     .commands = BIT(TRAIN),
     .help = "Keep the N best checkpoints, too: by the loss of the epochs that they end or, with "
             "--eval-every, by score."},
    {.name = "keep-every",
     .kind = SUMI_ARG_INT,
     .low = 0,
     .high = UINT32_MAX,
     .initial = "0",
     .metavar = "N",
     .key = "train.keep_every",
     .resuming = true,
     .commands = BIT(TRAIN),
     .help = "Write a checkpoint after every N steps that is never removed; 0 writes none."},
    {.name = "on-nan",
     .kind = SUMI_ARG_CHOICE,
     .choices = "stop|rollback",
     .initial = "stop",
     .metavar = "WHAT",
     .key = "train.on_nan",
     .resuming = true,
     .commands = BIT(TRAIN),
     .help = "Where a loss or a gradient is no number: stop, or go back to the checkpoint before "
             "and on at half the learning rate. nan_report.json says what happened."},
    {.name = "eval-every",
     .kind = SUMI_ARG_INT,
     .low = 0,
     .high = 1000000000,
     .initial = "0",
     .metavar = "N",
     .key = "train.eval_every",
     .commands = BIT(TRAIN),
     .help =
         "Score the (averaged) weights as eval does after every N epochs, and at the end of the "
         "run: eval.jsonl, a curve in the page, and the best checkpoint is the one with the "
         "best score; 0 never does. Changes no bit of the training; counts towards --minutes."},
    {.name = "eval-images",
     .kind = SUMI_ARG_INT,
     .low = 1,
     .high = 1000000,
     .initial = "1000",
     .metavar = "N",
     .key = "train.eval_images",
     .commands = BIT(TRAIN),
     .help = "Images behind each of those scores; scores of other numbers cannot be compared."},
    {.name = "tune",
     .kind = SUMI_ARG_FLAG,
     .key = "train.tune",
     .commands = BIT(TRAIN),
     .by_recipe = true,
     .help =
         "At the end of the run, look for the way to sample the model that draws the best pictures "
         "in at most 20 evaluations, and keep it in the model; the recipe standard does, and "
         "--tune=off does not. Takes about a twentieth of the time; changes no weight."},
};

const int sumi_option_rows_run_count = sizeof sumi_option_rows_run / sizeof sumi_option_rows_run[0];
