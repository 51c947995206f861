/* SPDX-License-Identifier: MIT */
/* swchunk import: a model that somebody else has written becomes a chunk directory. */
#include "programs/chunk/commands.h"

int command_import(int argc, char **argv)
{
    struct command_options given = {.format = {.layout = SW_LAYOUT_PANEL, .dtype = SW_DTYPE_F16}};
    bool drop_extra = false;
    const struct cli_option options[] = {
        OPTION_LAYOUT(given),
        OPTION_DTYPE(given),
        {"drop-extra", NULL, "leave out tensors that a BERT does not have, instead of failing",
         .flag = &drop_extra},
        OPTION_FORCE(given, "OUT if it is a chunk directory"),
        OPTION_QUIET(given),
        {0},
    };
    const struct cli_command command = {
        .program = "swchunk",
        .name = "import",
        .operands = "SRC OUT",
        .least = 2,
        .most = 2,
        .about = "Cut the BERT model in the directory SRC into the chunk directory OUT, whose base "
                 "name\n"
                 "becomes the model's name.\n"
                 "\n"
                 "  SRC  a Hugging Face directory: config.json with model.safetensors or "
                 "pytorch_model.bin, or\n"
                 "       with shards of either and their index;\n"
                 "       a directory of .pt chunks as the older Python program wrote them; or\n"
                 "       a chunk directory, to change its layout or dtype",
        .options = options};
    struct cli_operands paths;
    int status;
    if (!cli_parse(&command, argc, argv, &paths, &status))
        return status;
    struct swi_error error = {0};
    struct source *source;
    if (source_open(paths.at[0], &source, &error) < 0) {
        command_print(&error);
        return EXIT_FAILED;
    }
    return command_build(source, "importing", paths.at[1], &given, drop_extra);
}
