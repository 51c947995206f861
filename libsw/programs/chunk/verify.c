/* SPDX-License-Identifier: MIT */
/* swchunk verify: every chunk re-hashed and held against manifest and config. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/size.h"
#include "programs/chunk/chunk_directory.h"
#include "programs/chunk/commands.h"

static void print_within(struct swi_error *error, const char *path)
{
    (void)swi_fail_within(error, error->code, "%s: ", path);
    command_print(error);
}

/* Opens and hashes each. Returns how many are bad, or -EINTR. */
static int check_files(struct chunk_directory *chunks, const char *path, struct progress *progress)
{
    int bad = 0;
    for (size_t i = 0; i < chunks->manifest.count; i++) {
        struct swi_error error = {0};
        progress_item(progress, chunks->manifest.chunks[i].name);
        int result = chunk_directory_open_file(chunks, i, &error);
        if (result == 0)
            result = chunk_directory_hash(chunks, i, progress, &error);
        if (result == -EINTR)
            return result;
        if (result < 0) {
            progress_end(progress);
            print_within(&error, path);
            bad++;
        }
    }
    return bad;
}

/* With every file whole: do they make the model that the config describes? */
static int check_plan(struct chunk_directory *chunks, const char *path)
{
    struct swi_error error = {0};
    int bad = 0;
    if (chunk_directory_plan(chunks, &error) < 0) {
        print_within(&error, path);
        return 1;
    }
    for (size_t i = 0; i < chunks->manifest.count; i++)
        if (chunk_directory_check(chunks, i, &error) < 0) {
            print_within(&error, path);
            bad++;
        }
    return bad;
}

static int verify(const char *path, bool quiet)
{
    struct swi_error error = {0};
    struct chunk_directory chunks;
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = directory < 0 ? swi_fail(&error, -errno, "%s", strerrordesc_np(errno))
                               : chunk_directory_open(directory, &chunks, &error);
    if (directory >= 0)
        (void)close(directory);
    if (result < 0) {
        print_within(&error, path);
        return EXIT_FAILED;
    }
    struct progress progress;
    progress_begin(&progress, "verifying", chunks.manifest.total_bytes, quiet);
    int bad = check_files(&chunks, path, &progress);
    if (bad == 0)
        bad = check_plan(&chunks, path);
    progress_end(&progress);
    if (bad == 0) {
        char size[32];
        swi_size_format(chunks.manifest.total_bytes, size, sizeof size);
        (void)printf("%s: %zu chunks, %s, all good\n", chunks.manifest.model_name,
                     chunks.manifest.count, size);
    }
    chunk_directory_close(&chunks);
    progress_deliver(&progress);
    return bad == 0 ? EXIT_DONE : EXIT_FAILED;
}

int command_verify(int argc, char **argv)
{
    struct command_options given = {0};
    const struct cli_option options[] = {OPTION_QUIET(given), {0}};
    const struct cli_command command = {
        .program = "swchunk",
        .name = "verify",
        .operands = "DIR",
        .least = 1,
        .most = 1,
        .about = "Read every chunk of DIR again, compare it with its digest, and check the names, "
                 "shapes and\n"
                 "types of its tensors against config.json. Report each bad chunk.",
        .options = options};
    struct cli_operands paths;
    int status;
    if (!cli_parse(&command, argc, argv, &paths, &status))
        return status;
    return verify(paths.at[0], given.quiet);
}
