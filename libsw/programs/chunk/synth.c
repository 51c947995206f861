/* SPDX-License-Identifier: MIT */
/* swchunk synth: a model of a given shape with seeded random weights. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "programs/chunk/commands.h"
#include "programs/chunk/source/kinds.h"

static const char help[] =
    "Usage: swchunk synth SHAPE OUT [options]\n"
    "Write a model with seeded random weights and a usable vocabulary into the chunk directory\n"
    "OUT. The same shape, options and seed give the same bytes on every machine.\n"
    "\n"
    "  SHAPE       layers  hidden  heads  intermediate\n"
    "  bert-tiny        2     128      2           512\n"
    "  minilm-l6        6     384     12          1536   (with mean pooling)\n"
    "  bert-base       12     768     12          3072\n"
    "  bert-large      24    1024     16          4096\n"
    "\n"
    "  --seed N              other weights (default 0)\n"
    "  --layout rows|panel   how matrices lie in memory (default panel)\n"
    "  --dtype f32|f16|bf16  element type of matrices (default f16); vectors are always f32\n"
    "  --layers N, --hidden N, --heads N, --intermediate N\n"
    "                        instead of the shape's own\n"
    "  --vocab-size N        rows of the word table (default 30522)\n"
    "  --max-positions N     rows of the position table (default 512)\n"
    "  --no-pooler           without a pooler\n"
    "  --labels N            with a classifier of N labels\n"
    "  --mlm                 with a masked-language-model head, tied to the word table\n"
    "  --force               replace OUT where it is a chunk directory\n"
    "  -h, --help            show this and exit\n";

enum {
    OPTION_SEED = OPTION_OWN,
    OPTION_LAYERS,
    OPTION_HIDDEN,
    OPTION_HEADS,
    OPTION_INTERMEDIATE,
    OPTION_VOCAB,
    OPTION_POSITIONS,
    OPTION_NO_POOLER,
    OPTION_LABELS,
    OPTION_MLM,
};

static const struct option options[] = {
    {"seed", required_argument, NULL, OPTION_SEED},
    {"layout", required_argument, NULL, OPTION_LAYOUT},
    {"dtype", required_argument, NULL, OPTION_DTYPE},
    {"layers", required_argument, NULL, OPTION_LAYERS},
    {"hidden", required_argument, NULL, OPTION_HIDDEN},
    {"heads", required_argument, NULL, OPTION_HEADS},
    {"intermediate", required_argument, NULL, OPTION_INTERMEDIATE},
    {"vocab-size", required_argument, NULL, OPTION_VOCAB},
    {"max-positions", required_argument, NULL, OPTION_POSITIONS},
    {"no-pooler", no_argument, NULL, OPTION_NO_POOLER},
    {"labels", required_argument, NULL, OPTION_LABELS},
    {"mlm", no_argument, NULL, OPTION_MLM},
    {"force", no_argument, NULL, OPTION_FORCE},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

static const struct shape {
    const char *name;
    struct model_config config;
    bool mean_pooling;
} shapes[] = {
    {"bert-tiny", {2, 128, 2, 512, 30522, 512, 2, 0, false}, false},
    {"minilm-l6", {6, 384, 12, 1536, 30522, 512, 2, 0, false}, true},
    {"bert-base", {12, 768, 12, 3072, 30522, 512, 2, 0, false}, false},
    {"bert-large", {24, 1024, 16, 4096, 30522, 512, 2, 0, false}, false},
};

struct request {
    struct synth_options synth;
    struct chunk_format format;
    bool force;
};

static bool number(const char *text, unsigned long long most, unsigned long long *ret)
{
    if (text[0] < '0' || text[0] > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*end != 0 || errno != 0 || value > most)
        return false;
    *ret = value;
    return true;
}

static const char *name_of(int option)
{
    for (const struct option *at = options; at->name; at++)
        if (at->val == option)
            return at->name;
    return "?";
}

/* The number that an option sets; NULL for one that sets something else. */
static uint32_t *number_of(struct request *request, int option)
{
    struct model_config *config = &request->synth.config;
    switch (option) {
    case OPTION_LAYERS:
        return &config->layers;
    case OPTION_HIDDEN:
        return &config->hidden;
    case OPTION_HEADS:
        return &config->heads;
    case OPTION_INTERMEDIATE:
        return &config->intermediate;
    case OPTION_VOCAB:
        return &config->vocab;
    case OPTION_POSITIONS:
        return &config->positions;
    case OPTION_LABELS:
        return &request->synth.features.labels;
    default:
        return NULL;
    }
}

/* One option other than --help. Returns EXIT_DONE or, having said why, EXIT_USAGE. */
static int take(struct request *request, int option)
{
    unsigned long long value;
    uint32_t *field = number_of(request, option);
    if (field) {
        if (!number(optarg, 1u << 24, &value) || value == 0)
            return command_usage("synth", "--%s %s: not a number from 1 to %u", name_of(option),
                                 optarg, 1u << 24);
        *field = (uint32_t)value;
        return EXIT_DONE;
    }
    switch (option) {
    case OPTION_SEED:
        if (!number(optarg, UINT64_MAX, &value))
            return command_usage("synth", "--seed %s: not a number below 2^64", optarg);
        request->synth.seed = value;
        return EXIT_DONE;
    case OPTION_LAYOUT:
        return command_layout(optarg, &request->format.layout)
                   ? EXIT_DONE
                   : command_usage("synth", "--layout %s: it is rows or panel", optarg);
    case OPTION_DTYPE:
        return command_dtype(optarg, &request->format.dtype)
                   ? EXIT_DONE
                   : command_usage("synth", "--dtype %s: it is f32, f16 or bf16", optarg);
    case OPTION_NO_POOLER:
        request->synth.features.pooler = false;
        return EXIT_DONE;
    case OPTION_MLM:
        request->synth.features.mlm = true;
        return EXIT_DONE;
    default:
        request->force = true;
        return EXIT_DONE;
    }
}

/* Options first into a request of zeros, because the shape that they change comes after them. */
static int apply_shape(struct request *request, const char *name)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (strcmp(name, shapes[i].name) != 0)
            continue;
        struct model_config given = request->synth.config;
        request->synth.config = shapes[i].config;
        request->synth.mean_pooling = shapes[i].mean_pooling;
        struct request changes = {.synth = {.config = given}};
        for (int option = OPTION_LAYERS; option <= OPTION_POSITIONS; option++)
            if (*number_of(&changes, option))
                *number_of(request, option) = *number_of(&changes, option);
        return EXIT_DONE;
    }
    return command_usage("synth", "%s: no such shape", name);
}

int command_synth(int argc, char **argv)
{
    struct request request = {
        .synth = {.features = {.pooler = true}},
        .format = {.layout = SW_LAYOUT_PANEL, .dtype = SW_DTYPE_F16},
    };
    for (int option; (option = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (option == OPTION_HELP) {
            (void)fputs(help, stdout);
            return EXIT_DONE;
        }
        if (option == ':')
            return command_usage("synth", "%s needs a value", argv[optind - 1]);
        if (option == '?')
            return command_usage("synth", "unknown option %s", argv[optind - 1]);
        int status = take(&request, option);
        if (status != EXIT_DONE)
            return status;
    }
    if (argc - optind != 2)
        return command_usage("synth", "it takes SHAPE and OUT");
    int status = apply_shape(&request, argv[optind]);
    if (status != EXIT_DONE)
        return status;
    struct swi_error error = {0};
    struct source *source;
    if (source_synth_open(&request.synth, &source, &error) < 0) {
        command_print(&error);
        return EXIT_FAILED;
    }
    return command_build(source, "generating", argv[optind + 1], request.format, request.force,
                         false);
}
