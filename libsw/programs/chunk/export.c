/* SPDX-License-Identifier: MIT */
/* swchunk export: back to one file that Hugging Face's loaders take. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "programs/chunk/commands.h"
#include "programs/chunk/source/kinds.h"
#include "programs/chunk/write/staging.h"
#include "programs/chunk/write/writer.h"

static const char help[] =
    "Usage: swchunk export DIR OUT.safetensors [options]\n"
    "Join the chunks of DIR into one safetensors file with Hugging Face's names and shapes.\n"
    "Matrices keep the element type of the chunks: what was imported as f32 comes back bit for\n"
    "bit. Names begin with \"bert.\" where the model has a head, as Hugging Face writes them.\n"
    "\n"
    "  --force     replace OUT.safetensors\n"
    "  -h, --help  show this and exit\n";

static const struct option options[] = {
    {"force", no_argument, NULL, OPTION_FORCE},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

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
        bool prefixed =
            plan_has_head(&source->features) && strcmp(plan->chunks[i].name, "head") != 0;
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

static int export(const char *path, const char *out, bool force)
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
    result = plan_make(&source->config, &source->features, format, &plan, &error);
    progress_begin(&progress, "exporting", plan_bytes(&plan));
    if (result == 0)
        result = write_file(source, &progress, &plan, out, force, &error);
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
    bool force = false;
    for (int option; (option = getopt_long(argc, argv, ":h", options, NULL)) != -1;)
        switch (option) {
        case OPTION_FORCE:
            force = true;
            break;
        case OPTION_HELP:
            (void)fputs(help, stdout);
            return EXIT_DONE;
        default:
            return command_usage("export", "unknown option %s", argv[optind - 1]);
        }
    if (argc - optind != 2)
        return command_usage("export", "it takes DIR and OUT.safetensors");
    return export(argv[optind], argv[optind + 1], force);
}
