/* SPDX-License-Identifier: MIT */
/* swchunk info: what is in a chunk directory. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/size.h"
#include "programs/chunk/chunk_directory.h"
#include "programs/chunk/commands.h"

static const char *metadata_of(const struct chunk_file *file, const char *key)
{
    const char *value = swi_safetensors_metadata(&file->header, key);
    return value ? value : "?";
}

static json_t *chunk_json(const struct swi_manifest_chunk *chunk, const struct chunk_file *file)
{
    char digest[SWI_DIGEST_HEX];
    swi_digest_format(chunk->digest, digest);
    json_t *tensors = json_array();
    for (size_t i = 0; i < file->header.count; i++) {
        const struct swi_tensor *tensor = &file->header.tensors[i];
        json_t *shape = json_array();
        for (uint32_t j = 0; j < tensor->rank; j++)
            (void)json_array_append_new(shape, json_integer((json_int_t)tensor->shape[j]));
        (void)json_array_append_new(
            tensors, json_pack("{s:s, s:s, s:o, s:I, s:I}", "name", tensor->name, "dtype",
                               sw_dtype_name(tensor->dtype), "shape", shape, "offset",
                               (json_int_t)tensor->offset, "bytes", (json_int_t)tensor->bytes));
    }
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:o}", "name", chunk->name, "file",
                     chunk->file, "bytes", (json_int_t)chunk->bytes, "dtype",
                     metadata_of(file, "dtype"), "layout", metadata_of(file, "layout"), "xxh3_128",
                     digest, "tensors", tensors);
}

static int print_json(const struct chunk_directory *chunks)
{
    const struct swi_manifest *manifest = &chunks->manifest;
    const struct swi_encoder_config *config = &chunks->description.config;
    json_t *list = json_array();
    for (size_t i = 0; i < manifest->count; i++)
        (void)json_array_append_new(list, chunk_json(&manifest->chunks[i], &chunks->files[i]));
    json_t *root = json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "model_name",
        manifest->model_name, "model_type", manifest->model_type, "layout", manifest->layout,
        "dtype", manifest->dtype, "num_layers", (json_int_t)config->layers, "hidden_size",
        (json_int_t)config->hidden, "num_attention_heads", (json_int_t)config->heads,
        "intermediate_size", (json_int_t)config->intermediate, "vocab_size",
        (json_int_t)config->vocab, "max_position_embeddings", (json_int_t)config->positions,
        "type_vocab_size", (json_int_t)config->types, "total_bytes",
        (json_int_t)manifest->total_bytes, "chunks", list);
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    if (!text)
        return swi_fail(NULL, -ENOMEM, "out of memory");
    (void)puts(text);
    free(text);
    return 0;
}

static int print_table(const struct chunk_directory *chunks)
{
    const struct swi_manifest *manifest = &chunks->manifest;
    const struct swi_encoder_config *config = &chunks->description.config;
    char size[32];
    swi_size_format(manifest->total_bytes, size, sizeof size);
    (void)printf("%s: %s, %u layers, hidden %u, %u heads, intermediate %u, vocabulary %u, "
                 "positions %u\n%zu chunks, %s, layout %s, dtype %s\n\n",
                 manifest->model_name, manifest->model_type, config->layers, config->hidden,
                 config->heads, config->intermediate, config->vocab, config->positions,
                 manifest->count, size, manifest->layout, manifest->dtype);
    int width = (int)strlen("chunk");
    for (size_t i = 0; i < manifest->count; i++) {
        int length = (int)strlen(manifest->chunks[i].name);
        width = length > width ? length : width;
    }
    (void)printf("%-*s  %8s  %7s  %-5s  %s\n", width, "chunk", "MB", "tensors", "dtype", "layout");
    for (size_t i = 0; i < manifest->count; i++)
        (void)printf("%-*s  %8.2f  %7zu  %-5s  %s\n", width, manifest->chunks[i].name,
                     (double)manifest->chunks[i].bytes / 0x1p20, chunks->files[i].header.count,
                     metadata_of(&chunks->files[i], "dtype"),
                     metadata_of(&chunks->files[i], "layout"));
    return 0;
}

static int info(const char *path, bool json)
{
    struct swi_error error = {0};
    struct chunk_directory chunks = {.directory = -1};
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = directory < 0 ? swi_fail(&error, -errno, "%s", strerrordesc_np(errno))
                               : chunk_directory_open(directory, &chunks, &error);
    if (directory >= 0)
        (void)close(directory);
    for (size_t i = 0; i < chunks.manifest.count && result == 0; i++)
        result = chunk_directory_open_file(&chunks, i, &error);
    if (result == 0)
        result = json ? print_json(&chunks) : print_table(&chunks);
    chunk_directory_close(&chunks);
    if (result < 0) {
        (void)swi_fail_within(&error, result, "%s: ", path);
        command_print(&error);
    }
    return result < 0 ? EXIT_FAILED : EXIT_DONE;
}

int command_info(int argc, char **argv)
{
    bool json = false;
    const struct cli_option options[] = {{"json", NULL, "print one JSON object", .flag = &json},
                                         {0}};
    const struct cli_command command = {.program = "swchunk",
                                        .name = "info",
                                        .operands = "DIR",
                                        .least = 1,
                                        .most = 1,
                                        .about = "Describe the chunk directory DIR: the model, its "
                                                 "chunks, their sizes and types. Read headers\n"
                                                 "only; swchunk verify reads everything.",
                                        .options = options};
    struct cli_operands paths;
    int status;
    if (!cli_parse(&command, argc, argv, &paths, &status))
        return status;
    return info(paths.at[0], json);
}
