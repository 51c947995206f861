/* SPDX-License-Identifier: MIT */
/* What the commands share. */
#include <errno.h>
#include <string.h>

#include "programs/chunk/commands.h"
#include "programs/chunk/write/staging.h"
#include "programs/chunk/write/writer.h"

void command_print(const struct swi_error *error)
{
    cli_complain("swchunk", "%s", error->text);
}

bool command_take_layout(const char *text, void *place)
{
    static const enum sw_layout all[] = {SW_LAYOUT_ROWS, SW_LAYOUT_PANEL};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcmp(text, sw_layout_name(all[i])) == 0) {
            *(enum sw_layout *)place = all[i];
            return true;
        }
    return false;
}

bool command_take_dtype(const char *text, void *place)
{
    static const enum sw_dtype all[] = {SW_DTYPE_F32, SW_DTYPE_F16, SW_DTYPE_BF16};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcasecmp(text, sw_dtype_name(all[i])) == 0) {
            *(enum sw_dtype *)place = all[i];
            return true;
        }
    return false;
}

static int build(struct source *source, struct progress *progress, const char *out,
                 const struct plan *plan, bool force, struct swi_error *error)
{
    struct staging staging;
    int result = staging_begin_directory(&staging, out, force, error);
    if (result < 0)
        return result;
    struct writer writer = {
        .source = source, .progress = progress, .out = out, .align_bytes = SWI_TENSOR_ALIGN};
    result = writer_directory(&writer, &staging, plan, error);
    if (result < 0) {
        staging_discard(&staging);
        return result;
    }
    return staging_commit(&staging, error);
}

int command_build(struct source *source, const char *verb, const char *out,
                  const struct command_options *options, bool drop_extra)
{
    struct swi_error error = {0};
    struct progress progress = {0};
    struct plan plan = {0};
    int result =
        plan_make(&source->description.config, &source->features, options->format, &plan, &error);
    if (result == 0)
        result = source_check(source, &plan, drop_extra, &error);
    if (result == 0)
        result = source_check_text(source, &error);
    progress_begin(&progress, verb, plan_bytes(&plan), options->quiet);
    if (result == 0)
        result = build(source, &progress, out, &plan, options->force, &error);
    progress_end(&progress);
    if (result == 0 && *source->note) {
        struct swi_error note;
        (void)swi_fail(&note, 0, "note: %s", source->note);
        command_print(&note);
    }
    plan_fini(&plan);
    source_close(source);
    if (result < 0 && progress.signal == 0)
        command_print(&error);
    progress_deliver(&progress);
    return result < 0 ? EXIT_FAILED : EXIT_DONE;
}
