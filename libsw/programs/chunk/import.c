/* SPDX-License-Identifier: MIT */
/* swchunk import: a model that somebody else has written becomes a chunk directory. */
#include <getopt.h>
#include <stdio.h>

#include "programs/chunk/commands.h"

static const char help[] =
    "Usage: swchunk import SRC OUT [options]\n"
    "Cut the BERT model in the directory SRC into the chunk directory OUT, whose base name\n"
    "becomes the model's name.\n"
    "\n"
    "  SRC  a Hugging Face directory: config.json with model.safetensors or pytorch_model.bin, or\n"
    "       with shards of either and their index;\n"
    "       a directory of .pt chunks as the older Python program wrote them; or\n"
    "       a chunk directory, to change its layout or dtype\n"
    "\n"
    "  --layout rows|panel   how matrices lie in memory (default panel)\n"
    "  --dtype f32|f16|bf16  element type of matrices (default f16); vectors are always f32\n"
    "  --drop-extra          leave out tensors that a BERT does not have, instead of refusing\n"
    "  --force               replace OUT where it is a chunk directory\n"
    "  -h, --help            show this and exit\n";

enum { OPTION_DROP = OPTION_OWN };

static const struct option options[] = {
    {"layout", required_argument, NULL, OPTION_LAYOUT},
    {"dtype", required_argument, NULL, OPTION_DTYPE},
    {"drop-extra", no_argument, NULL, OPTION_DROP},
    {"force", no_argument, NULL, OPTION_FORCE},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

int command_import(int argc, char **argv)
{
    struct chunk_format format = {.layout = SW_LAYOUT_PANEL, .dtype = SW_DTYPE_F16};
    bool force = false, drop_extra = false;
    for (int option; (option = getopt_long(argc, argv, ":h", options, NULL)) != -1;)
        switch (option) {
        case OPTION_LAYOUT:
            if (!command_layout(optarg, &format.layout))
                return command_usage("import", "--layout %s: it is rows or panel", optarg);
            break;
        case OPTION_DTYPE:
            if (!command_dtype(optarg, &format.dtype))
                return command_usage("import", "--dtype %s: it is f32, f16 or bf16", optarg);
            break;
        case OPTION_DROP:
            drop_extra = true;
            break;
        case OPTION_FORCE:
            force = true;
            break;
        case OPTION_HELP:
            (void)fputs(help, stdout);
            return EXIT_DONE;
        case ':':
            return command_usage("import", "%s needs a value", argv[optind - 1]);
        default:
            return command_usage("import", "unknown option %s", argv[optind - 1]);
        }
    if (argc - optind != 2)
        return command_usage("import", "it takes SRC and OUT");
    struct swi_error error = {0};
    struct source *source;
    if (source_open(argv[optind], &source, &error) < 0) {
        command_print(&error);
        return EXIT_FAILED;
    }
    return command_build(source, "importing", argv[optind + 1], format, force, drop_extra);
}
