/*
 * The table of commands. options.h says what is made from it; options.c has their options.
 */
#include "options.h"

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
    [SUMI_CMD_TUNE] =
        {"tune", "MODEL|RUN", 1, 1, "Find and keep the way to sample a model in few evaluations",
         "Tries solvers, spacings and what shapes them at so many evaluations of the network an "
         "image: all of them with a few images of the same noise, what stands next to the best, "
         "and the best with more, by the Frechet distance that eval tells. The winner's figure is "
         "of other noise, beside that of how the model was sampled before. It is kept in the "
         "model's file, or the run, and sample, eval and grids use it from then on. The same seed "
         "finds the same way, whatever the number of threads. Ctrl-C stops, and nothing is "
         "changed.",
         "sumi tune runs/first --data fashion-mnist --nfe 10"},
    [SUMI_CMD_CONVERT] = {"convert", "IN OUT", 2, 2, "Turn a model file into another format",
                          "IN is a .safetensors or .pth file, or a run directory; the ending of "
                          "OUT, .safetensors or .pth, says what is written.",
                          "sumi convert runs/first model.safetensors"},
    [SUMI_CMD_AVERAGE] =
        {"average", "MODEL... | RUN --sigma-rel X", 1, SUMI_OPERANDS_MAX,
         "Make one model of several, or of a run's snapshots",
         "Writes the mean of the weights of models of one network. Of a run that was trained with "
         "--ema-power and --ema-snapshots, --sigma-rel writes an average of any width: each step "
         "weighs as a power of its number, and X is the standard deviation of those weights as a "
         "share of the run (Karras et al. 2024). Which is best shows afterwards; 0.05 to 0.15 are "
         "usual.",
         "sumi average runs/first --sigma-rel 0.07"},
    [SUMI_CMD_INFO] = {"info", "FILE", 1, 1, "Say what a file or a run directory is",
                       "Knows models (architecture, metadata, tensors), runs, data sets, pictures "
                       "and .npy arrays, all by their content.",
                       "sumi info model.pth"},
    [SUMI_CMD_DIFF] = {"diff", "A B", 2, 2, "Compare two models tensor by tensor",
                       "Prints each tensor that is missing or differs in type, shape or value. "
                       "Exits with 0 where names, types, shapes and all bits are equal (with "
                       "--tolerance: where no value is further off), else with 1.",
                       "sumi diff a.pth b.safetensors"},
    [SUMI_CMD_VERIFY] = {"verify", "RUN [D]", 1, 2, "Replay steps of a run and compare every bit",
                         "Goes from one of the run's checkpoints to the next, in memory, and "
                         "compares losses, weights, averages and the optimiser's state. Exits with "
                         "0 where all are the same, with 1 where not; says so where another "
                         "instruction set or build makes that impossible or unlikely. D is where "
                         "the data are now, if they were moved.",
                         "sumi verify runs/first"},
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
    [SUMI_CMD_DEVICES] = {"devices", "", 0, 0, "List what there is to compute on",
                          "Says of each its kind, memory and driver, and the largest block of "
                          "memory and group of work items that it has. Networks can be trained, "
                          "predicted with and sampled from on any that can be used: --device "
                          "takes their names.",
                          "sumi devices"},
    [SUMI_CMD_HELP] = {"help", "[COMMAND]", 0, 2, "Explain a command", "", "sumi help train"},
    [SUMI_CMD_VERSION] = {"version", "", 0, 0, "Print the version", "", "sumi --version"},
    [SUMI_CMD_COUNT] = {NULL, NULL, 0, 0, NULL, NULL, NULL},
};
