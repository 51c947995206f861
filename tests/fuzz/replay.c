/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target over the files of the directories (and the files) that are named: what was
 * found once is looked for in every test run, with any compiler. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

static void replay_file(const char *path)
{
    struct stat status;
    FILE *file = fopen(path, "rbe");
    if (!file || fstat(fileno(file), &status) < 0) {
        (void)fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    /* exactly as long as the input, so that a sanitizer sees a read beyond it */
    size_t size = (size_t)status.st_size;
    uint8_t *data = malloc(size ? size : 1);
    if (!data || fread(data, 1, size, file) != size) {
        (void)fprintf(stderr, "replay: %s: cannot read it\n", path);
        exit(1);
    }
    (void)fclose(file);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++) {
        struct dirent **entries;
        int found = scandir(argv[i], &entries, NULL, alphasort);
        if (found < 0) {
            replay_file(argv[i]);
            count++;
        }
        for (int j = 0; j < found; j++) {
            char path[4096];
            (void)snprintf(path, sizeof path, "%s/%s", argv[i], entries[j]->d_name);
            if (entries[j]->d_name[0] != '.') {
                replay_file(path);
                count++;
            }
            free(entries[j]);
        }
        if (found >= 0)
            free(entries);
    }
    (void)printf("%d inputs\n", count);
    return count > 0 ? 0 : 1;
}
