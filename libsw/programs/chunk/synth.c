/* SPDX-License-Identifier: MIT */
/* swchunk synth: a model of a given shape with seeded random weights. */
#include <string.h>

#include "programs/chunk/commands.h"
#include "programs/chunk/source/kinds.h"

#define SHAPE(layer_count, width, head_count, inner)                                               \
    {                                                                                              \
        .layers = (layer_count), .hidden = (width), .heads = (head_count),                         \
        .intermediate = (inner), .vocab = 30522, .positions = 512, .types = 2                      \
    }

static const struct shape {
    const char *name;
    struct swi_encoder_config config;
    bool mean_pooling;
} shapes[] = {
    {"bert-tiny", SHAPE(2, 128, 2, 512), false},
    {"minilm-l6", SHAPE(6, 384, 12, 1536), true},
    {"bert-base", SHAPE(12, 768, 12, 3072), false},
    {"bert-large", SHAPE(24, 1024, 16, 4096), false},
};

#define NUMBER_MAX (1u << 24)

/* Puts the shape's numbers where no option gave one. */
static bool apply_shape(const char *name, struct synth_options *synth)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (strcmp(name, shapes[i].name) != 0)
            continue;
        struct swi_encoder_config given = synth->config;
        struct swi_encoder_config *config = &synth->config;
        *config = shapes[i].config;
        synth->mean_pooling = shapes[i].mean_pooling;
        const struct {
            uint32_t *to, from;
        } changes[] = {{&config->layers, given.layers}, {&config->hidden, given.hidden},
                       {&config->heads, given.heads},   {&config->intermediate, given.intermediate},
                       {&config->vocab, given.vocab},   {&config->positions, given.positions}};
        for (size_t j = 0; j < sizeof changes / sizeof changes[0]; j++)
            if (changes[j].from)
                *changes[j].to = changes[j].from;
        return true;
    }
    return false;
}

#define NUMBER(field) .number = &(field), .least = 1, .most = NUMBER_MAX

int command_synth(int argc, char **argv)
{
    struct command_options given = {.format = {.layout = SW_LAYOUT_PANEL, .dtype = SW_DTYPE_F16}};
    struct synth_options synth = {0};
    struct swi_encoder_config *config = &synth.config;
    bool no_pooler = false;
    const struct cli_option options[] = {
        {"seed", "N", "seed of the random weights (default: 0)", .large = &synth.seed},
        OPTION_LAYOUT(given),
        OPTION_DTYPE(given),
        {"layers", "N", "replaces the shape's value", NUMBER(config->layers)},
        {"hidden", "N", "the same", NUMBER(config->hidden)},
        {"heads", "N", "the same", NUMBER(config->heads)},
        {"intermediate", "N", "the same", NUMBER(config->intermediate)},
        {"vocab-size", "N", "rows of the word table (default: 30522)", NUMBER(config->vocab)},
        {"max-positions", "N", "rows of the position table (default: 512)",
         NUMBER(config->positions)},
        {"no-pooler", NULL, "leave out the pooler", .flag = &no_pooler},
        {"labels", "N", "add a classifier of N labels", NUMBER(synth.features.labels)},
        {"mlm", NULL, "add a masked-language-model head, tied to the word table",
         .flag = &synth.features.mlm},
        OPTION_FORCE(given, "OUT if it is a chunk directory"),
        OPTION_QUIET(given),
        {0},
    };
    const struct cli_command command = {
        .program = "swchunk",
        .name = "synth",
        .operands = "SHAPE OUT",
        .least = 2,
        .most = 2,
        .about = "Write a model with seeded random weights and a usable vocabulary into the chunk "
                 "directory\n"
                 "OUT. The same shape, options and seed give the same bytes on every machine.\n"
                 "\n"
                 "  SHAPE       layers  hidden  heads  intermediate\n"
                 "  bert-tiny        2     128      2           512\n"
                 "  minilm-l6        6     384     12          1536   (with mean pooling)\n"
                 "  bert-base       12     768     12          3072\n"
                 "  bert-large      24    1024     16          4096",
        .options = options};
    struct cli_operands words;
    int status;
    if (!cli_parse(&command, argc, argv, &words, &status))
        return status;
    if (!apply_shape(words.at[0], &synth))
        return cli_usage(&command, "unknown shape '%s'", words.at[0]);
    synth.features.pooler = !no_pooler;
    struct swi_error error = {0};
    struct source *source;
    if (source_synth_open(&synth, &source, &error) < 0) {
        command_print(&error);
        return EXIT_FAILED;
    }
    return command_build(source, "generating", words.at[1], &given, false);
}
