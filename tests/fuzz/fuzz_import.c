/* SPDX-License-Identifier: MIT */
/* A model's directory, as swchunk import reads it: indexes, shards, archives and chunks that need
 * not agree with each other. For each file: its number (1) in the list below, its length (3) and
 * its bytes. Whatever opens can be read from end to end, or says why not. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "input.h"
#include "programs/chunk/source/source.h"

#define FILES_MAX   12
#define READ_FLOATS 4096u
#define READ_MOST   (1u << 18) /* floats of one input */

static const char *const names[] = {
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "chunk_info.json",
    "1.safetensors",
    "2.safetensors",
    "1.bin",
    "2.bin",
    "embeddings.safetensors",
    "layer_0.safetensors",
    "pooler.safetensors",
    "embeddings.pt",
    "layer_0.pt",
    "vocab.txt",
};
#define NAMES (sizeof names / sizeof names[0])

static char directory[64];

static void clear(void)
{
    char path[128];
    for (size_t i = 0; i < NAMES; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        (void)unlink(path);
    }
}

static void remove_directory(void)
{
    clear();
    (void)rmdir(directory);
}

static void write_files(struct fuzz_input *input)
{
    char path[128];
    for (int i = 0; i < FILES_MAX && fuzz_left(input); i++) {
        size_t size, number = fuzz_byte(input) % NAMES;
        const uint8_t *bytes = fuzz_bytes(input, (size_t)fuzz_number(input, 3), &size);
        (void)snprintf(path, sizeof path, "%s/%s", directory, names[number]);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        FUZZ_CHECK(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
        (void)close(fd);
    }
}

static void read_rows(struct source *source, const struct plan_tensor *tensor, uint64_t *left)
{
    static float buffer[READ_FLOATS];
    struct swi_error error = {0};
    uint64_t rows = tensor->k <= READ_FLOATS ? READ_FLOATS / tensor->k : 0;
    for (uint64_t row = 0; rows > 0 && row < tensor->n; row += rows) {
        uint64_t count = tensor->n - row < rows ? tensor->n - row : rows;
        if (*left < count * tensor->k)
            return;
        *left -= count * tensor->k;
        if (source_read_rows(source, tensor, row, count, buffer, &error) < 0) {
            FUZZ_CHECK(error.text[0] != 0);
            return;
        }
    }
}

static void read_planned(struct source *source, enum sw_layout layout)
{
    struct chunk_format format = {.layout = layout, .dtype = SW_DTYPE_F16};
    struct swi_error error = {0};
    struct plan plan;
    uint64_t left = READ_MOST;
    if (plan_make(&source->description.config, &source->features, format, &plan, &error) < 0) {
        FUZZ_CHECK(error.text[0] != 0);
        return;
    }
    int result = source_check(source, &plan, true, &error);
    FUZZ_CHECK(result == 0 || error.text[0] != 0);
    for (size_t i = 0; result == 0 && i < plan.count; i++)
        for (size_t j = 0; j < plan.chunks[i].count; j++)
            read_rows(source, &plan.chunks[i].tensors[j], &left);
    plan_fini(&plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = fuzz_input_of(data, size);
    struct source *source = NULL;
    struct swi_error error = {0};
    if (!directory[0]) {
        const char *parent = getenv("TMPDIR");
        (void)snprintf(directory, sizeof directory, "%.40s/sw-fuzz-XXXXXX",
                       parent ? parent : "/tmp");
        FUZZ_CHECK(mkdtemp(directory) != NULL && atexit(remove_directory) == 0);
    }
    write_files(&input);
    if (source_open(directory, &source, &error) < 0) {
        FUZZ_CHECK(error.text[0] != 0);
    } else {
        for (size_t i = 1; i < source->count; i++)
            FUZZ_CHECK(strcmp(source->tensors[i - 1].name, source->tensors[i].name) < 0);
        read_planned(source, SW_LAYOUT_ROWS);
        read_planned(source, SW_LAYOUT_PANEL);
        source_close(source);
    }
    clear();
    return 0;
}
