/* SPDX-License-Identifier: MIT */
/* What kind of directory SRC is, and the small files that go along with weights. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/manifest.h"
#include "programs/chunk/files.h"
#include "programs/chunk/source/kinds.h"
#include "programs/chunk/source/source.h"

#define SMALL_BYTES_MAX (64u << 20)

static bool is_there(int directory, const char *name)
{
    return faccessat(directory, name, F_OK, 0) == 0;
}

/* 1 for a manifest of this format, 0 for an older one or none. Whether it is any good is its
 * reader's business. */
static int has_own_manifest(int directory, struct swi_error *error)
{
    if (!is_there(directory, SWI_MANIFEST_FILE))
        return 0;
    struct swi_manifest manifest;
    int result = swi_manifest_read(directory, &manifest, error);
    if (result == SW_EVERSION)
        return 0;
    if (result < 0)
        return result;
    swi_manifest_fini(&manifest);
    return 1;
}

static int open_kind(int directory, struct source **ret, struct swi_error *error)
{
    int own = has_own_manifest(directory, error);
    if (own < 0)
        return own;
    if (own)
        return source_chunks_open(directory, ret, error);
    if (is_there(directory, HF_INDEX_FILE) || is_there(directory, HF_WEIGHTS_FILE))
        return source_hf_open(directory, ret, error);
    if (is_there(directory, TORCH_INDEX_FILE) || is_there(directory, TORCH_WEIGHTS_FILE))
        return source_torch_open(directory, false, ret, error);
    if (is_there(directory, SWI_MANIFEST_FILE))
        return source_torch_open(directory, true, ret, error);
    return swi_fail(error, -ENOENT,
                    "neither " HF_WEIGHTS_FILE " nor " TORCH_WEIGHTS_FILE " nor " SWI_MANIFEST_FILE
                    " is there; SRC must be a model's directory");
}

static int open_at(const char *path, bool chunks_only, struct source **ret, struct swi_error *error)
{
    struct source *source = NULL;
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = directory < 0 ? swi_fail(error, -errno, "%s", strerrordesc_np(errno))
                 : chunks_only ? source_chunks_open(directory, &source, error)
                               : open_kind(directory, &source, error);
    if (directory >= 0)
        (void)close(directory);
    if (result < 0)
        return swi_fail_within(error, result, "%s: ", path);
    source->path = strdup(path);
    if (!source->path) {
        source_close(source);
        return swi_fail(error, -ENOMEM, "out of memory");
    }
    *ret = source;
    return 0;
}

int source_open(const char *path, struct source **ret, struct swi_error *error)
{
    return open_at(path, false, ret, error);
}

int source_open_chunks(const char *path, struct source **ret, struct swi_error *error)
{
    return open_at(path, true, ret, error);
}

int source_read_config(int directory, struct model_config *ret, struct swi_error *error)
{
    char *text;
    size_t size;
    int result = files_read(directory, CONFIG_FILE, CONFIG_BYTES_MAX, &text, &size, error);
    if (result < 0)
        return result;
    result = model_config_parse(text, size, ret, error);
    free(text);
    return result;
}

/* A vocabulary with more tokens than the word table has rows would make ids that no row answers. */
static int check_vocabulary(const char *text, size_t size, const struct model_config *config,
                            struct swi_error *error)
{
    uint64_t lines = 0;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    if (size > 0 && text[size - 1] != '\n')
        lines++;
    if (lines > config->vocab)
        return swi_fail(error, SW_EFORMAT,
                        "vocab.txt: %llu tokens, but " CONFIG_FILE " has vocab_size %u",
                        (unsigned long long)lines, config->vocab);
    return 0;
}

static int copy_file(const struct source *source, int from, int to, const char *name,
                     const char *out, struct swi_error *error)
{
    char *data = NULL;
    size_t size;
    int result = files_read(from, name, SMALL_BYTES_MAX, &data, &size, error);
    if (result == 0 && strcmp(name, "vocab.txt") == 0)
        result = check_vocabulary(data, size, &source->config, error);
    if (result < 0)
        (void)swi_fail_within(error, result, "%s: ", source->path);
    else if ((result = files_create(to, name, data, size, error)) < 0)
        (void)swi_fail_within(error, result, "%s: ", out);
    free(data);
    return result;
}

int source_copy_directory(const struct source *source, int from, int to, const char *out,
                          struct swi_error *error)
{
    static const char *const names[] = {
        CONFIG_FILE,
        "vocab.txt",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "modules.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "1_Pooling/config.json",
        "LICENSE",
        "LICENSE.txt",
        "LICENSE.md",
        "NOTICE",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!is_there(from, names[i]))
            continue;
        if (strchr(names[i], '/') && mkdirat(to, "1_Pooling", 0777) < 0)
            return swi_fail(error, -errno, "%s: 1_Pooling: cannot create it: %s", out,
                            strerrordesc_np(errno));
        int result = copy_file(source, from, to, names[i], out, error);
        if (result < 0)
            return result;
    }
    return 0;
}
