/* SPDX-License-Identifier: MIT */
/* swchunk export: back to one file that Hugging Face's loaders take. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "programs/chunk/commands.h"
#include "programs/chunk/source/kinds.h"
#include "programs/chunk/write/staging.h"
#include "programs/chunk/write/writer.h"

/* All tensors of the plan in one list under the names that they have in a checkpoint. */
static int flatten(const struct source *source, const struct plan *plan, struct plan_tensor **ret,
                   size_t *ret_count, struct swi_error *error)
{
    size_t count = 0;
    for (size_t i = 0; i < plan->count; i++)
        count += plan->chunks[i].count;
    struct plan_tensor *list = calloc(count, sizeof *list);
    if (!list)
        return swi_fail(error, -ENOMEM, "out of memory");
    size_t at = 0;
    for (size_t i = 0; i < plan->count; i++) {
        bool prefixed = plan_has_head(&source->features) &&
                        strcmp(plan->chunks[i].name, "head") != 0 &&
                        strncmp(plan->chunks[i].name, "module_", 7) != 0;
        for (size_t j = 0; j < plan->chunks[i].count; j++, at++) {
            list[at] = plan->chunks[i].tensors[j];
            (void)snprintf(list[at].name, sizeof list[at].name, "%s%.70s", prefixed ? "bert." : "",
                           list[at].parts[0].name);
        }
    }
    *ret = list;
    *ret_count = count;
    return 0;
}

static int write_file(struct source *source, struct progress *progress, const struct plan *plan,
                      const char *out, bool force, struct swi_error *error)
{
    struct staging staging;
    int result = staging_begin_file(&staging, out, force, error);
    if (result < 0)
        return result;
    struct plan_tensor *list = NULL;
    size_t count = 0;
    struct written written;
    char key[] = "format", value[] = "pt";
    const struct swi_metadata metadata[] = {{key, value}};
    struct writer writer = {.source = source, .progress = progress, .out = out, .align_bytes = 1};
    result = flatten(source, plan, &list, &count, error);
    if (result == 0)
        result =
            writer_file(&writer, staging.file, NULL, list, count, metadata, 1, &written, error);
    free(list);
    if (result < 0) {
        staging_discard(&staging);
        return result;
    }
    return staging_commit(&staging, error);
}

static int export(const char *path, const char *out, const struct command_options *options)
{
    struct swi_error error = {0};
    struct source *source = NULL;
    int result = source_open_chunks(path, &source, &error);
    if (result < 0) {
        command_print(&error);
        return EXIT_FAILED;
    }
    struct chunk_format format = {
        .layout = SW_LAYOUT_ROWS, .dtype = source_chunks_dtype(source), .whole = true};
    struct plan plan = {0};
    struct progress progress;
    result = plan_make(&source->description.config, &source->features, format, &plan, &error);
    progress_begin(&progress, "exporting", plan_bytes(&plan), options->quiet);
    if (result == 0)
        result = write_file(source, &progress, &plan, out, options->force, &error);
    progress_end(&progress);
    plan_fini(&plan);
    source_close(source);
    if (result < 0 && progress.signal == 0)
        command_print(&error);
    progress_deliver(&progress);
    return result < 0 ? EXIT_FAILED : EXIT_DONE;
}

int command_export(int argc, char **argv)
{
    struct command_options given = {0};
    const struct cli_option options[] = {
        OPTION_FORCE(given, "OUT.safetensors"),
        OPTION_QUIET(given),
        {0},
    };
    const struct cli_command command = {.program = "swchunk",
                                        .name = "export",
                                        .operands = "DIR OUT.safetensors",
                                        .least = 2,
                                        .most = 2,
                                        .about = "Join the chunks of DIR into one safetensors file "
                                                 "with Hugging Face's names and shapes.\n"
                                                 "Matrices keep the element type of the chunks: "
                                                 "what was imported as f32 comes back bit for\n"
                                                 "bit. Names begin with \"bert.\" where the model "
                                                 "has a head, as Hugging Face writes them.",
                                        .options = options};
    struct cli_operands paths;
    int status;
    if (!cli_parse(&command, argc, argv, &paths, &status))
        return status;
    return export(paths.at[0], paths.at[1], &given);
}
