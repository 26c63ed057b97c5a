/*
 * Rows of the table of options: how a training run is kept.
 */
#include "option_rows.h"

const sumi_option sumi_option_rows_run[] = {
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
     .help = "Keep the newest N checkpoints; the one of the best epoch is always kept."},
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
};

const int sumi_option_rows_run_count = sizeof sumi_option_rows_run / sizeof sumi_option_rows_run[0];
