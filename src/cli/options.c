/*
 * The tables of commands and options. options.h says what is made from them.
 */
#include "options.h"

#include "data/data.h"

#include <string.h>

#define BIT(command) (1u << SUMI_CMD_##command)

enum {
    DATA_SET = BIT(DATA_INFO) | BIT(DATA_PREVIEW),
    BENCH = BIT(BENCH_TRAIN) | BIT(BENCH_SAMPLE),
    COMPUTE = BIT(TRAIN) | BIT(SAMPLE) | BIT(PREDICT) | BENCH,
    EVALUATE = BIT(CLASSIFY_TRAIN) | BIT(EVAL),
    PICTURES_MAX = 1000000,
};

const sumi_command sumi_command_table[SUMI_CMD_COUNT + 1] = {
    [SUMI_CMD_DATA_LIST] = {"data list", "", 0, 0, "List the data sets that have a name",
                            "Says of each whether it is on this machine, and where, or what to "
                            "install. Any folder of pictures, IDX file or .npy array can be used "
                            "by its path as well.",
                            "sumi data list"},
    [SUMI_CMD_DATA_INFO] = {"data info", "D", 1, 1, "Say what is in a data set",
                            "Prints the number, size and channels of the images, the classes, the "
                            "mean and standard deviation of the pixels, and the SHA-256 of it all. "
                            "D is a name (fashion-mnist, shapes), an IDX file or the folder of "
                            "one, a folder of PNG and JPEG pictures (sub-folders are classes), or "
                            "an .npy array [n][h][w][c].",
                            "sumi data info fashion-mnist"},
    [SUMI_CMD_DATA_PREVIEW] = {"data preview", "D", 1, 1,
                               "Draw the first images of a data set as one picture", "",
                               "sumi data preview shapes -n 100 --out shapes.png"},
    [SUMI_CMD_TRAIN] = {"train", "D | [D] --resume RUN", 0, 1, "Train a model on a data set",
                        "Writes a run directory: settings, log, metrics, the loss plot, sample "
                        "grids, checkpoints and, at the end, model.pth. Ctrl-C saves and stops; "
                        "--resume goes on from the latest checkpoint as if nothing had happened; "
                        "with D, too, where its data have been moved to D. "
                        "Of --epochs, --steps and --minutes, whichever is reached first ends the "
                        "training.",
                        "sumi train fashion-mnist --epochs 10 --out runs/first"},
    [SUMI_CMD_SAMPLE] = {"sample", "MODEL|RUN", 0, 1, "Draw new images from a trained model",
                         "MODEL is a .safetensors or .pth file; RUN stands for its latest "
                         "checkpoint's averaged weights where there are some, else its weights. "
                         "Image number i of a seed is always the same image, whatever the number "
                         "of images, the batch size or the number of threads. Ctrl-C stops, and "
                         "the images that are whole are written.",
                         "sumi sample runs/first -n 16 --solver ddim --steps 50 --out x.png"},
    [SUMI_CMD_PREDICT] = {"predict", "MODEL", 1, 1, "Run the network once on given images",
                          "Reads x_t, float32 [n][h][w][c], and t, int32 or int64 [n], and writes "
                          "the predicted noise, float32 [n][h][w][c].",
                          "sumi predict model.pth --x x.npy --t t.npy --out eps.npy"},
    [SUMI_CMD_CLASSIFY_TRAIN] =
        {"classify train", "D", 1, 1, "Train an evaluator on a labelled data set",
         "Makes the small network whose features pictures are compared by, and tells what share of "
         "the test images it labels rightly; it is trained on the training split alone. The same "
         "seed gives the same bits, whatever the number of threads.",
         "sumi classify train fashion-mnist --out evaluator.safetensors"},
    [SUMI_CMD_EVAL] =
        {"eval", "MODEL|RUN|DIR|x.npy", 1, 1, "Say how good pictures are",
         "Compares the images of a model, or the pictures of a folder or array, with the test "
         "images of a data set: Frechet and kernel distance, precision, recall, density and "
         "coverage between features that an evaluator sees, the entropy of its classes, and how "
         "many pictures are copies of training images. Without --evaluator one is trained on the "
         "data, once, and kept in the user's cache. Figures of two evaluators or two numbers of "
         "pictures cannot be compared.",
         "sumi eval runs/first --data fashion-mnist --json"},
    [SUMI_CMD_CONVERT] = {"convert", "IN OUT", 2, 2, "Turn a model file into another format",
                          "IN is a .safetensors or .pth file, or a run directory; the ending of "
                          "OUT, .safetensors or .pth, says what is written.",
                          "sumi convert runs/first model.safetensors"},
    [SUMI_CMD_INFO] = {"info", "FILE", 1, 1, "Say what a file or a run directory is",
                       "Knows models (architecture, metadata, tensors), runs, data sets, pictures "
                       "and .npy arrays, all by their content.",
                       "sumi info model.pth"},
    [SUMI_CMD_DIFF] = {"diff", "A B", 2, 2, "Compare two models tensor by tensor",
                       "Prints each tensor that is missing or differs in type, shape or value. "
                       "Exits with 0 where names, types, shapes and all bits are equal (with "
                       "--tolerance: where no value is further off), else with 1.",
                       "sumi diff a.pth b.safetensors"},
    [SUMI_CMD_BENCH_TRAIN] =
        {"bench train", "", 0, 0, "Time training steps on random images",
         "Trains the tutorial's network on random images and prints the median "
         "over the timed steps, which follow three steps of warm-up.",
         "sumi bench train --batch 128 --json"},
    [SUMI_CMD_BENCH_SAMPLE] =
        {"bench sample", "", 0, 0, "Time network evaluations for sampling",
         "Evaluates the tutorial's network on random images and prints the median "
         "over the timed evaluations, which follow three of warm-up.",
         "sumi bench sample --size 32x32 --batch 16"},
    [SUMI_CMD_HELP] = {"help", "[COMMAND]", 0, 2, "Explain a command", "", "sumi help train"},
    [SUMI_CMD_VERSION] = {"version", "", 0, 0, "Print the version", "", "sumi --version"},
    [SUMI_CMD_COUNT] = {NULL, NULL, 0, 0, NULL, NULL, NULL},
};

static const sumi_option before_model[] = {
    /* The data. */
    {.name = "split",
     .kind = SUMI_ARG_CHOICE,
     .choices = "train|test|all",
     .initial = "train",
     .metavar = "SPLIT",
     .key = "data.split",
     .commands = DATA_SET | BIT(TRAIN),
     .help = "Which part of the set, for sets that have two; all is for folders of pictures whose "
             "sub-folders called train or test are classes like the others."},
    {.name = "size",
     .kind = SUMI_ARG_SIZE,
     .low = 1,
     .high = SUMI_SIDE_MAX,
     .metavar = "HxW",
     .commands = DATA_SET | BIT(TRAIN) | EVALUATE,
     .help =
         "Resize and centre-crop the images to this height and width; as stored if not given. "
         "Where a folder's pictures differ in size, that is the size of more than half of them, "
         "else about the medians of heights and of widths."},
    {.name = "channels",
     .kind = SUMI_ARG_CHOICE,
     .choices = "1|3",
     .metavar = "C",
     .commands = DATA_SET | BIT(TRAIN) | EVALUATE,
     .help =
         "Convert the images to grey (1) or colour (3); as stored if not given, which is colour "
         "where any picture of a folder is in colour."},
    {.name = "skip-bad",
     .kind = SUMI_ARG_FLAG,
     .commands = DATA_SET | BIT(TRAIN) | EVALUATE,
     .help = "Leave out the pictures of a folder that cannot be read, and say which."},
    {.name = "count",
     .letter = 'n',
     .kind = SUMI_ARG_INT,
     .low = 1,
     .high = 10000,
     .initial = "64",
     .metavar = "N",
     .commands = BIT(DATA_PREVIEW),
     .help = "How many images."},
    {.name = "out",
     .letter = 'o',
     .kind = SUMI_ARG_PATH,
     .metavar = "FILE.png",
     .required = true,
     .commands = BIT(DATA_PREVIEW),
     .help = "The picture to write."},

    /* Training. */
    {.name = "resume",
     .kind = SUMI_ARG_PATH,
     .metavar = "RUN",
     .resuming = true,
     .commands = BIT(TRAIN),
     .help = "Go on with this run, with its own settings and data; only the limits below can be "
             "set anew, and D, where the same data lie somewhere else by now."},
    {.name = "epochs",
     .kind = SUMI_ARG_INT,
     .low = 1,
     .high = 1000000000,
     .metavar = "N",
     .key = "train.epochs",
     .resuming = true,
     .commands = BIT(TRAIN),
     .help = "Stop after this many passes over the data; 10 where no limit is given."},
    {.name = "steps",
     .kind = SUMI_ARG_INT,
     .low = 1,
     .high = INT64_C(1000000000000),
     .metavar = "N",
     .key = "train.steps",
     .resuming = true,
     .commands = BIT(TRAIN),
     .help = "Stop after this many steps, counted from the start of the run."},
    {.name = "minutes",
     .kind = SUMI_ARG_REAL,
     .least = 1e-3,
     .most = 1e6,
     .metavar = "X",
     .key = "train.minutes",
     .resuming = true,
     .commands = BIT(TRAIN),
     .help = "Stop after this many minutes (of this call); grids are drawn by DDIM in 50 steps."},
    {.name = "out",
     .letter = 'o',
     .kind = SUMI_ARG_PATH,
     .metavar = "RUN",
     .commands = BIT(TRAIN),
     .help = "The run directory to make; runs/SET-DATE-TIME if not given."},
    {.name = "recipe",
     .kind = SUMI_ARG_CHOICE,
     .choices = "tutorial|seed",
     .initial = "tutorial",
     .metavar = "NAME",
     .key = "recipe",
     .commands = BIT(TRAIN),
     .help = "The set of defaults to start from; seed is the former name of tutorial."},
    {.name = "net",
     .kind = SUMI_ARG_CHOICE,
     .choice_at = sumi_net_at,
     .initial = "tutorial",
     .metavar = "NAME",
     .key = "model.net",
     .commands = BIT(TRAIN) | BENCH,
     .help = "The network; unet is told of the data's labels."},
    {.name = "init",
     .kind = SUMI_ARG_PATH,
     .metavar = "MODEL",
     .commands = BIT(TRAIN),
     .help = "Start from these weights instead of random ones."},
    {.name = "batch",
     .kind = SUMI_ARG_INT,
     .low = 1,
     .high = 65536,
     .initial = "128",
     .metavar = "N",
     .key = "train.batch",
     .commands = BIT(TRAIN),
     .help = "Images in one training step."},
    {.name = "lr",
     .kind = SUMI_ARG_REAL,
     .least = 1e-12,
     .most = 10,
     .initial = "0.001",
     .metavar = "X",
     .key = "train.learning_rate",
     .commands = BIT(TRAIN),
     .help = "The learning rate."},
    {.name = "lr-schedule",
     .kind = SUMI_ARG_CHOICE,
     .choice_at = sumi_rate_schedule_at,
     .initial = "constant",
     .metavar = "NAME",
     .key = "train.rate_schedule",
     .commands = BIT(TRAIN),
     .help =
         "How the learning rate goes on after its warm-up; linear and cosine end at --lr-steps."},
    {.name = "lr-warmup",
     .kind = SUMI_ARG_INT,
     .low = 0,
     .high = UINT32_MAX,
     .initial = "0",
     .metavar = "N",
     .key = "train.warmup_steps",
     .commands = BIT(TRAIN),
     .help = "Steps over which the learning rate rises from 0."},
    {.name = "lr-steps",
     .kind = SUMI_ARG_INT,
     .low = 0,
     .high = UINT32_MAX,
     .initial = "0",
     .metavar = "N",
     .key = "train.schedule_steps",
     .commands = BIT(TRAIN),
     .help = "The step at which a linear or cosine schedule has come to its end."},
    {.name = "lr-final",
     .kind = SUMI_ARG_REAL,
     .least = 0,
     .most = 1,
     .initial = "0",
     .metavar = "X",
     .key = "train.final_rate",
     .commands = BIT(TRAIN),
     .help = "What that end is, as a fraction of --lr."},
    {.name = "optimiser",
     .kind = SUMI_ARG_CHOICE,
     .choice_at = sumi_optimiser_at,
     .initial = "adam",
     .metavar = "NAME",
     .key = "train.optimiser",
     .commands = BIT(TRAIN),
     .help = "How weights follow gradients; adamw is Adam with --weight-decay."},
    {.name = "weight-decay",
     .kind = SUMI_ARG_REAL,
     .least = 0,
     .most = 1,
     .initial = "0",
     .metavar = "X",
     .key = "train.weight_decay",
     .commands = BIT(TRAIN),
     .help = "How far adamw draws weights to zero, times the learning rate, in each step."},
    {.name = "label-drop",
     .kind = SUMI_ARG_REAL,
     .least = 0,
     .most = 1,
     .initial = "0.1",
     .metavar = "X",
     .key = "train.label_drop",
     .commands = BIT(TRAIN),
     .help = "The share of images whose label is withheld from a network that is told of labels, "
             "so that it learns to do without."},
    {.name = "ema",
     .kind = SUMI_ARG_REAL,
     .least = 0,
     .most = .999999,
     .initial = "0",
     .metavar = "X",
     .key = "train.ema",
     .commands = BIT(TRAIN),
     .help = "The decay of an average of the weights, kept beside them; 0 keeps none."},
    {.name = "seed",
     .kind = SUMI_ARG_INT,
     .low = 0,
     .high = INT64_MAX,
     .initial = "0",
     .metavar = "N",
     .key = "train.seed",
     .commands = BIT(TRAIN),
     .help = "Where every random number of the run comes from: the same seed gives the same bits."},
    {.name = "grid",
     .kind = SUMI_ARG_INT,
     .low = 0,
     .high = 1024,
     .initial = "64",
     .metavar = "N",
     .key = "train.grid",
     .commands = BIT(TRAIN),
     .help = "Pictures in each sample grid of the run directory; 0 draws none. A grid takes "
             "timesteps x N evaluations."},
};

static const sumi_option after_model[] = {
    /* Sampling and prediction. */
    {.name = "count",
     .letter = 'n',
     .kind = SUMI_ARG_INT,
     .low = 1,
     .high = PICTURES_MAX,
     .initial = "16",
     .metavar = "N",
     .commands = BIT(SAMPLE),
     .help = "How many images; 1 with --index. The tutorial draws 128."},
    {.name = "out",
     .letter = 'o',
     .kind = SUMI_ARG_PATH,
     .metavar = "x.png|DIR/|x.npy",
     .required = true,
     .commands = BIT(SAMPLE),
     .help = "One grid as a PNG, or a folder with one PNG an image, or an array of uint8 "
             "[n][h][w][c]."},
    {.name = "size",
     .kind = SUMI_ARG_SIZE,
     .low = 1,
     .high = SUMI_SIDE_MAX,
     .initial = "32x32",
     .metavar = "HxW",
     .commands = BIT(SAMPLE),
     .help =
         "Height and width of the images; multiples of 4 for the tutorial's network. Without it, "
         "the size that the model was trained on, but 32x32 for 28x28."},
    {.name = "solver",
     .kind = SUMI_ARG_CHOICE,
     .choice_at = sumi_solver_at,
     .initial = "ddpm",
     .metavar = "NAME",
     .commands = BIT(SAMPLE),
     .help = "How noise is taken away; all but ddpm need far fewer steps. ddim-inverse goes from "
             "--image to the noise it would come from, which --noise takes."},
    {.name = "spacing",
     .kind = SUMI_ARG_CHOICE,
     .choice_at = sumi_spacing_at,
     .initial = "trailing",
     .metavar = "NAME",
     .commands = BIT(SAMPLE) | BIT(EVAL),
     .help = "Which timesteps the evaluations are at."},
    {.name = "steps",
     .kind = SUMI_ARG_INT,
     .low = 0,
     .high = 100000,
     .initial = "0",
     .metavar = "N",
     .commands = BIT(SAMPLE),
     .help = "Network evaluations for one image, at most; 0 takes as many as there are timesteps."},
    {.name = "eta",
     .kind = SUMI_ARG_REAL,
     .least = 0,
     .most = 1,
     .metavar = "X",
     .commands = BIT(SAMPLE) | BIT(EVAL),
     .help =
         "Noise that the solver adds: from 0, none, to 1, as much as ddpm. 0 for ddim and 1 for "
         "euler-a and the solvers of dpmpp with an s or sde, if not given; others have none."},
    {.name = "levels",
     .kind = SUMI_ARG_STRING,
     .metavar = "T,T,...",
     .commands = BIT(SAMPLE),
     .help = "The levels of the evaluations themselves, in place of --steps and --spacing: falling "
             "timesteps, fractions too, or with sigma: before them (sigma:80,5,0.1) deviations of "
             "the noise where the image counts once."},
    {.name = "churn",
     .kind = SUMI_ARG_REAL,
     .least = 0,
     .most = 1e6,
     .initial = "0",
     .metavar = "X",
     .commands = BIT(SAMPLE),
     .help = "Noise that heun adds before its steps, in all: S_churn of Karras et al. 2022."},
    {.name = "churn-min",
     .kind = SUMI_ARG_REAL,
     .least = 0,
     .most = 1e30,
     .initial = "0",
     .metavar = "X",
     .commands = BIT(SAMPLE),
     .help = "The least sigma at which it does (S_tmin)."},
    {.name = "churn-max",
     .kind = SUMI_ARG_REAL,
     .least = 0,
     .most = 1e30,
     .initial = "1e30",
     .metavar = "X",
     .commands = BIT(SAMPLE),
     .help = "The largest (S_tmax)."},
    {.name = "churn-noise",
     .kind = SUMI_ARG_REAL,
     .least = 0,
     .most = 10,
     .initial = "1",
     .metavar = "X",
     .commands = BIT(SAMPLE),
     .help = "The deviation of that noise (S_noise)."},
    {.name = "clip",
     .kind = SUMI_ARG_STRING,
     .metavar = "on|LO,HI",
     .commands = BIT(SAMPLE),
     .help = "Clip every prediction of the image to the model's range, or to LO..HI."},
    {.name = "threshold",
     .kind = SUMI_ARG_REAL,
     .least = 0,
     .most = 1,
     .initial = "0",
     .metavar = "X",
     .commands = BIT(SAMPLE),
     .help = "Dynamic thresholding (Saharia et al. 2022): where fewer than this share of a "
             "prediction's numbers lie in that range, clip less and shrink them into it; 0.995 is "
             "common, 0 does nothing."},
    {.name = "image",
     .kind = SUMI_ARG_PATH,
     .metavar = "x.png",
     .commands = BIT(SAMPLE),
     .help = "Begin from this picture (PNG or JPEG) with noise on it, which --strength says how "
             "much of; its size is that of the images."},
    {.name = "strength",
     .kind = SUMI_ARG_REAL,
     .least = 1e-6,
     .most = 1,
     .initial = "1",
     .metavar = "X",
     .commands = BIT(SAMPLE),
     .help = "Where to begin with --image, as a share of the timesteps: near 0 little is changed, "
             "1 leaves a trace."},
    {.name = "like",
     .kind = SUMI_ARG_PATH,
     .metavar = "x.png",
     .commands = BIT(SAMPLE),
     .help = "Take the model and the options that this picture of sumi's was sampled with, where "
             "the command line gives none."},
    {.name = "strip",
     .kind = SUMI_ARG_FLAG,
     .commands = BIT(SAMPLE),
     .help = "Draw how each image forms into --out x.png: a row of x_t and a row of the image that "
             "is predicted there, from noise to the image; 4 images if not given."},
    {.name = "gif",
     .kind = SUMI_ARG_PATH,
     .metavar = "x.gif",
     .commands = BIT(SAMPLE),
     .help = "Write how the images form as a moving GIF, too (greys exactly, colours as 256)."},
    {.name = "apng",
     .kind = SUMI_ARG_PATH,
     .metavar = "x.png",
     .commands = BIT(SAMPLE),
     .help = "The same as an animated PNG, in all its colours."},
    {.name = "mask",
     .kind = SUMI_ARG_PATH,
     .metavar = "m.png",
     .commands = BIT(SAMPLE),
     .help = "Keep --image where this picture is black, and make anew what is white (RePaint, "
             "Lugmayr et al. 2022)."},
    {.name = "resample",
     .kind = SUMI_ARG_INT,
     .low = 1,
     .high = 1000,
     .initial = "10",
     .metavar = "N",
     .commands = BIT(SAMPLE),
     .help = "With --mask: pass each level N times, so that both parts come to agree; the "
             "evaluations grow by nearly as much. 1 never goes back."},
    {.name = "jump",
     .kind = SUMI_ARG_INT,
     .low = 0,
     .high = 100000,
     .initial = "0",
     .metavar = "N",
     .commands = BIT(SAMPLE),
     .help = "How many steps go back at a time for that; 0 takes a 25th of them, as in the paper."},
    {.name = "interpolate",
     .kind = SUMI_ARG_STRING,
     .metavar = "A,B",
     .commands = BIT(SAMPLE),
     .help = "The images lie between image A of the seed, the first, and image B, the last."},
    {.name = "rtol",
     .kind = SUMI_ARG_REAL,
     .least = 0,
     .most = 1,
     .initial = "0.001",
     .metavar = "X",
     .commands = BIT(SAMPLE),
     .help = "What error a step of rk45 may have, as a share of each number's size; --steps is the "
             "most evaluations an image may take."},
    {.name = "atol",
     .kind = SUMI_ARG_REAL,
     .least = 1e-9,
     .most = 1,
     .initial = "0.001",
     .metavar = "X",
     .commands = BIT(SAMPLE),
     .help = "And in addition, whatever its size."},
    {.name = "label",
     .kind = SUMI_ARG_STRING,
     .metavar = "NAME|N|all",
     .commands = BIT(SAMPLE),
     .help = "What the images show: a label of the data that the model was trained on, by name or "
             "number; all: each in turn."},
    {.name = "noise",
     .kind = SUMI_ARG_PATH,
     .metavar = "x.npy",
     .commands = BIT(SAMPLE),
     .help = "Begin from this noise, float32 [n][h][w][c], in place of the seed's."},
    {.name = "seed",
     .kind = SUMI_ARG_INT,
     .low = 0,
     .high = INT64_MAX,
     .initial = "0",
     .metavar = "N",
     .commands = BIT(SAMPLE),
     .help = "Where every random number comes from: the same seed gives the same images."},
    {.name = "index",
     .kind = SUMI_ARG_INT,
     .low = 0,
     .high = INT64_C(1000000000000),
     .metavar = "I",
     .commands = BIT(SAMPLE),
     .help = "Draw image number I of the seed alone, or with -n, the N images from there on."},
    {.name = "batch",
     .kind = SUMI_ARG_INT,
     .low = 0,
     .high = 65536,
     .initial = "0",
     .metavar = "N",
     .commands = BIT(SAMPLE),
     .help = "Images evaluated together, 0 lets sumi choose; never changes a bit of the result."},
    {.name = "x",
     .kind = SUMI_ARG_PATH,
     .metavar = "x.npy",
     .required = true,
     .commands = BIT(PREDICT),
     .help = "The noised images, float32 [n][h][w][c]."},
    {.name = "t",
     .kind = SUMI_ARG_PATH,
     .metavar = "t.npy",
     .required = true,
     .commands = BIT(PREDICT),
     .help = "Their timesteps, int32 or int64 [n], each from 1 to T."},
    {.name = "out",
     .letter = 'o',
     .kind = SUMI_ARG_PATH,
     .metavar = "eps.npy",
     .required = true,
     .commands = BIT(PREDICT),
     .help = "The array to write: the predicted noise."},

    /* Evaluators. */
    {.name = "out",
     .letter = 'o',
     .kind = SUMI_ARG_PATH,
     .metavar = "FILE",
     .required = true,
     .commands = BIT(CLASSIFY_TRAIN),
     .help = "The .safetensors file to write."},
    {.name = "shape",
     .kind = SUMI_ARG_CHOICE,
     .choices = "v1|v2|random-conv",
     .initial = "v1",
     .metavar = "NAME",
     .commands = BIT(CLASSIFY_TRAIN),
     .help = "The network: v1, or v2 of another make, to check v1 by; random-conv needs no labels, "
             "is not trained, and tells less."},
    {.name = "epochs",
     .kind = SUMI_ARG_INT,
     .low = 0,
     .high = 100000,
     .initial = "0",
     .metavar = "N",
     .commands = BIT(CLASSIFY_TRAIN),
     .help = "Passes over the training images; 0 lets sumi choose: 5, and more for small sets."},
    {.name = "seed",
     .kind = SUMI_ARG_INT,
     .low = 0,
     .high = INT64_MAX,
     .initial = "0",
     .metavar = "N",
     .commands = BIT(CLASSIFY_TRAIN),
     .help = "Where initial weights and the order of the images come from."},

    {.name = "data",
     .kind = SUMI_ARG_STRING,
     .metavar = "D",
     .required = true,
     .commands = BIT(EVAL),
     .help = "The data that the pictures should be like: a name or path, as for train."},
    {.name = "evaluator",
     .kind = SUMI_ARG_PATH,
     .metavar = "FILE",
     .commands = BIT(EVAL),
     .help = "An evaluator of these data, made by classify train."},
    {.name = "held-back",
     .kind = SUMI_ARG_FLAG,
     .commands = BIT(EVAL),
     .help = "Tell the distance by a second evaluator, v2, too."},
    {.name = "tier",
     .kind = SUMI_ARG_CHOICE,
     .choices = "smoke|standard|full",
     .initial = "smoke",
     .metavar = "NAME",
     .commands = BIT(EVAL),
     .help = "Of a model: 1,000 images of 20 evaluations, 10,000 of 20, or 10,000 of 50."},
    {.name = "count",
     .letter = 'n',
     .kind = SUMI_ARG_INT,
     .low = 0,
     .high = 1000000,
     .initial = "0",
     .metavar = "N",
     .commands = BIT(EVAL),
     .help = "How many pictures; 0 takes all of a folder or array, or the tier's."},
    {.name = "seed",
     .kind = SUMI_ARG_INT,
     .low = 0,
     .high = INT64_MAX,
     .initial = "0",
     .metavar = "N",
     .commands = BIT(EVAL),
     .help = "Where the model's images and the intervals come from."},
    {.name = "solver",
     .kind = SUMI_ARG_CHOICE,
     .choice_at = sumi_solver_at,
     .initial = "dpmpp-2m",
     .metavar = "NAME",
     .commands = BIT(EVAL),
     .help = "How the model's images are drawn."},
    {.name = "steps",
     .kind = SUMI_ARG_INT,
     .low = 0,
     .high = 100000,
     .metavar = "N",
     .commands = BIT(EVAL),
     .help = "Network evaluations for one of them, at most; the tier's if not given, and 0 takes "
             "as many as there are timesteps."},
    {.name = "bits",
     .kind = SUMI_ARG_FLAG,
     .commands = BIT(EVAL),
     .help = "Of a model: bits per dimension of 100 test images, in 10,100 predictions."},
    {.name = "html",
     .kind = SUMI_ARG_PATH,
     .metavar = "DIR",
     .commands = BIT(EVAL),
     .help = "Write a page with pictures into this folder, too."},
    {.name = "export-npz",
     .kind = SUMI_ARG_PATH,
     .metavar = "x.npz",
     .commands = BIT(EVAL),
     .help = "Write the pictures for other evaluators, uint8 arr_0 [n][h][w][c]."},

    /* Comparing and timing. */
    {.name = "tolerance",
     .kind = SUMI_ARG_REAL,
     .least = 0,
     .most = 1e30,
     .metavar = "X",
     .commands = BIT(DIFF),
     .help = "Take values that are at most this far apart for equal."},
    {.name = "size",
     .kind = SUMI_ARG_SIZE,
     .low = 1,
     .high = SUMI_SIDE_MAX,
     .initial = "28x28",
     .metavar = "HxW",
     .commands = BIT(BENCH_TRAIN),
     .help = "Height and width of the images."},
    {.name = "batch",
     .kind = SUMI_ARG_INT,
     .low = 1,
     .high = 65536,
     .initial = "128",
     .metavar = "N",
     .commands = BIT(BENCH_TRAIN),
     .help = "Images in one step."},
    {.name = "size",
     .kind = SUMI_ARG_SIZE,
     .low = 1,
     .high = SUMI_SIDE_MAX,
     .initial = "32x32",
     .metavar = "HxW",
     .commands = BIT(BENCH_SAMPLE),
     .help = "Height and width of the images."},
    {.name = "batch",
     .kind = SUMI_ARG_INT,
     .low = 1,
     .high = 65536,
     .initial = "64",
     .metavar = "N",
     .commands = BIT(BENCH_SAMPLE),
     .help = "Images in one step."},
    {.name = "profile",
     .kind = SUMI_ARG_FLAG,
     .commands = BENCH,
     .help = "Time each operation and layer, and hold it against the machine's multiply-adds and "
             "memory."},
    {.name = "svg",
     .kind = SUMI_ARG_PATH,
     .metavar = "FILE",
     .commands = BENCH,
     .help = "With --profile: draw the times as an SVG picture too."},
    {.name = "steps",
     .kind = SUMI_ARG_INT,
     .low = 1,
     .high = 100000,
     .initial = "10",
     .metavar = "N",
     .commands = BENCH,
     .help = "Steps that are timed; with --profile 1000 at most."},

    /* Common to several commands. */
    {.name = "threads",
     .kind = SUMI_ARG_INT,
     .low = 0,
     .high = 1024,
     .initial = "0",
     .metavar = "N",
     .resuming = true,
     .commands = COMPUTE | EVALUATE,
     .help = "Threads to compute with, 0 for every core; never changes a bit of the result."},
    {.name = "precision",
     .kind = SUMI_ARG_CHOICE,
     .choice_at = sumi_precision_at,
     .initial = "fp32",
     .metavar = "NAME",
     .key = "train.precision",
     .commands = COMPUTE | BIT(EVAL),
     .help =
         "What the network computes in: fp32 is float32; bf16 keeps tensors between layers as "
         "bfloat16 in half the memory; fixed16 keeps float32 and multiplies scaled 16-bit integers "
         "where that is faster. On CPUs with AMX bf16 multiplies in bfloat16, on others as "
         "fixed16. "
         "Weights stay float32."},
    {.name = "device",
     .kind = SUMI_ARG_CHOICE,
     .choices = "auto|cpu|cuda|mps",
     .initial = "auto",
     .metavar = "NAME",
     .resuming = true,
     .commands = COMPUTE | EVALUATE,
     .help = "What to compute on; this build has the CPU only."},
    {.name = "json",
     .kind = SUMI_ARG_FLAG,
     .resuming = true,
     .commands =
         BIT(DATA_LIST) | DATA_SET | COMPUTE | EVALUATE | BIT(CONVERT) | BIT(INFO) | BIT(DIFF),
     .help = "Print the result as JSON on standard output, and progress as lines of JSON on "
             "standard error."},
    {.name = "quiet",
     .letter = 'q',
     .kind = SUMI_ARG_FLAG,
     .resuming = true,
     .commands = BIT(DATA_PREVIEW) | BIT(CONVERT) | COMPUTE | EVALUATE,
     .help = "Say nothing unless something goes wrong."},
    {.name = "man", .kind = SUMI_ARG_FLAG, .commands = BIT(HELP), .help = "Print the manual page."},
    {.name = "bash-completion",
     .kind = SUMI_ARG_FLAG,
     .commands = BIT(HELP),
     .help = "Print what makes bash complete sumi's commands and options."},
    {.name = "help",
     .letter = 'h',
     .kind = SUMI_ARG_FLAG,
     .resuming = true,
     .commands = (1u << SUMI_CMD_COUNT) - 1,
     .help = "Explain the command."},
};

const char *sumi_option_choice(const sumi_option *option, int index, int *length)
{
    const char *word = option->choices;
    if (option->choice_at != NULL) {
        sumi_choice_t choice = SUMI_CHOICE_INIT;
        word = option->choice_at(index, &choice) == SUMI_OK ? choice.name : NULL;
    } else
        for (; word != NULL && index > 0; index--) {
            word = strchr(word, '|');
            word += word != NULL;
        }
    if (word != NULL)
        *length = (int)strcspn(word, "|");
    return word;
}

/* time_dim of the part net: --time-dim, which config.json keeps as model.time_dim. */
static void option_of(const sumi_field_t *field, sumi_option *out)
{
    static const struct {
        sumi_arg_kind kind;
        const char *metavar;
    } kinds[] = {[SUMI_FIELD_INT] = {SUMI_ARG_INT, "N"},
                 [SUMI_FIELD_INT64] = {SUMI_ARG_INT, "N"},
                 [SUMI_FIELD_FLOAT] = {SUMI_ARG_REAL, "X"},
                 [SUMI_FIELD_BOOL] = {SUMI_ARG_FLAG, NULL},
                 [SUMI_FIELD_CHOICE] = {SUMI_ARG_CHOICE, "NAME"},
                 [SUMI_FIELD_LIST] = {SUMI_ARG_LIST, "N,N"}};
    bool net = strcmp(field->part, "net") == 0, flag = field->kind == SUMI_FIELD_BOOL;
    *out = (sumi_option){.kind = kinds[field->kind].kind,
                         .metavar = kinds[field->kind].metavar,
                         .low = (int64_t)field->low,
                         .high = (int64_t)field->high,
                         .least = field->low,
                         .most = field->high,
                         .choice_at = field->choice_at,
                         .initial = flag ? NULL : field->initial,
                         .commands = BIT(TRAIN) | (net ? BENCH : 0),
                         .help = field->about,
                         .field = field->name};
    snprintf(out->key, sizeof out->key, "model.%s", field->name);
    snprintf(out->name, sizeof out->name, "%s", field->name);
    for (char *c = out->name; *c != '\0'; c++)
        if (*c == '_')
            *c = '-';
}

bool sumi_option_at(int index, sumi_option *out)
{
    int before = sizeof before_model / sizeof before_model[0];
    int after = sizeof after_model / sizeof after_model[0];
    if (index < before) {
        *out = before_model[index];
        return true;
    }
    index -= before;
    sumi_field_t field = SUMI_FIELD_INIT;
    for (int i = 0; sumi_model_field_at(i, &field) == SUMI_OK; i++) {
        if (!field.settable || field.from_data)
            continue;
        if (index-- == 0) {
            option_of(&field, out);
            return true;
        }
    }
    if (index < after)
        *out = after_model[index];
    return index < after;
}

bool sumi_option_belongs(const sumi_option *option, sumi_command_id command)
{
    return (option->commands >> command & 1u) != 0;
}

int sumi_option_find(sumi_command_id command, const char *name, size_t length, sumi_option *out)
{
    sumi_option option;
    for (int i = 0; sumi_option_at(i, &option); i++)
        if (sumi_option_belongs(&option, command) && strlen(option.name) == length &&
            memcmp(option.name, name, length) == 0) {
            if (out != NULL)
                *out = option;
            return i;
        }
    return -1;
}
