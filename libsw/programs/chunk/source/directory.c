/* SPDX-License-Identifier: MIT */
/* What kind of directory SRC is, where its weights are, and the small files that go along with
 * them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/json.h"
#include "core/manifest.h"
#include "encoder/model_tokenizer.h"
#include "programs/chunk/files.h"
#include "programs/chunk/source/kinds.h"
#include "programs/chunk/source/source.h"

#define SMALL_BYTES_MAX (64u << 20)

/* Only what does not exist is absent: a file that cannot be looked at is there, and opening it says
 * what is wrong. */
static bool is_there(int directory, const char *name)
{
    return faccessat(directory, name, F_OK, 0) == 0 || errno != ENOENT;
}

/* ---- what there is instead ------------------------------------------------------------------- */

static bool is_dangling_link(int directory, const char *name)
{
    struct stat status;
    return fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode) &&
           !is_there(directory, name);
}

/* No weights that can be read are there: says what is. */
static int fail_without_weights(int directory, struct swi_error *error)
{
    static const char *const ours[] = {HF_WEIGHTS_FILE, HF_INDEX_FILE, TORCH_WEIGHTS_FILE,
                                       TORCH_INDEX_FILE, SWI_MANIFEST_FILE};
    static const char *const others[] = {"tf_model.h5", "flax_model.msgpack", "model.onnx", "onnx",
                                         "openvino"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (is_dangling_link(directory, ours[i]))
            return swi_fail(error, -ENOENT,
                            "%s: is a link to a missing file; download the model again", ours[i]);
    if (is_there(directory, "snapshots"))
        return swi_fail(error, -ENOENT,
                        "this is a folder of Hugging Face's cache; give its subfolder "
                        "snapshots/REVISION that has " SWI_CONFIG_FILE);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (is_there(directory, others[i]))
            return swi_fail(error, SW_EUNSUPPORTED,
                            "found %s, but neither " HF_WEIGHTS_FILE " nor " TORCH_WEIGHTS_FILE
                            "; download one of them",
                            others[i]);
    return swi_fail(error, -ENOENT,
                    "neither " HF_WEIGHTS_FILE " nor " TORCH_WEIGHTS_FILE " nor " SWI_MANIFEST_FILE
                    " is there; SRC must be a model's directory");
}

/* ---- description ----------------------------------------------------------------------------- */

static int read_small(void *context, const char *path, void **ret_data, size_t *ret_size,
                      struct swi_error *error)
{
    const int *directory = context;
    char *data = NULL;
    if (!is_there(*directory, path) && !is_dangling_link(*directory, path))
        return SW_ENOCOMPONENT;
    int result = files_read(*directory, path, SMALL_BYTES_MAX, &data, ret_size, error);
    *ret_data = data;
    return result;
}

struct swi_files source_files(const int *directory)
{
    return (struct swi_files){.read = read_small, .context = (int *)(uintptr_t)directory};
}

int source_read_description(int directory, struct swi_description *ret, struct swi_error *error)
{
    struct swi_files files = source_files(&directory);
    return swi_description_read(&files, ret, error);
}

/* ---- weights --------------------------------------------------------------------------------- */

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

/* The weights of the directory itself. */
static int open_weights(int directory, struct source **ret, struct swi_error *error)
{
    if (is_there(directory, HF_INDEX_FILE) || is_there(directory, HF_WEIGHTS_FILE))
        return source_hf_open(directory, ret, error);
    if (is_there(directory, TORCH_INDEX_FILE) || is_there(directory, TORCH_WEIGHTS_FILE))
        return source_torch_open(directory, false, ret, error);
    if (is_there(directory, SWI_MANIFEST_FILE))
        return source_torch_open(directory, true, ret, error);
    return fail_without_weights(directory, error);
}

/* The weights in a folder of the directory; folder is "" or ends in a slash. */
static int open_folder(int directory, const char *folder, struct source **ret,
                       struct swi_error *error)
{
    if (!*folder)
        return open_weights(directory, ret, error);
    int inside = openat(directory, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = inside < 0 ? swi_fail(error, -errno, "%s", strerrordesc_np(errno))
                            : open_weights(inside, ret, error);
    if (inside >= 0)
        (void)close(inside);
    return result < 0 ? swi_fail_within(error, result, "%s: ", folder) : 0;
}

static int add_module(struct source *source, const struct swi_module *module, int directory,
                      struct swi_error *error)
{
    char prefix[16];
    struct source *part;
    if (!swi_module_has_weights(module))
        return 0;
    int result = open_folder(directory, module->path, &part, error);
    if (result < 0)
        return result;
    (void)snprintf(prefix, sizeof prefix, "%u.", module->number);
    return source_add_part(source, part, prefix, error);
}

static int open_kind(int directory, bool own, struct source **ret, struct swi_error *error)
{
    struct swi_description description;
    struct source *source = NULL;
    int result = source_read_description(directory, &description, error);
    if (result < 0)
        return result;
    result = own ? source_chunks_open(directory, &source, error)
                 : open_folder(directory, description.modules.folder, &source, error);
    if (result < 0) {
        swi_description_fini(&description);
        return result;
    }
    source->description = description;
    source->directory = fcntl(directory, F_DUPFD_CLOEXEC, 3);
    if (source->directory < 0)
        result = swi_fail(error, -errno, "%s", strerrordesc_np(errno));
    for (uint32_t i = 0; i < description.modules.count && !own && result == 0; i++)
        result = add_module(source, &description.modules.after[i], directory, error);
    if (result == 0)
        result = source_settle(source, error);
    if (result < 0)
        source_close(source);
    else
        *ret = source;
    return result;
}

static int open_at(const char *path, bool chunks_only, struct source **ret, struct swi_error *error)
{
    struct source *source = NULL;
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int own = directory < 0 ? swi_fail(error, -errno, "%s", strerrordesc_np(errno))
              : chunks_only ? 1
                            : has_own_manifest(directory, error);
    int result = own < 0 ? own : 0;
    if (result == 0 && !own && !is_there(directory, SWI_MODULES_FILE) &&
        !is_there(directory, SWI_CONFIG_FILE))
        result = fail_without_weights(directory, error);
    if (result == 0)
        result = open_kind(directory, own > 0, &source, error);
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

/* ---- text ------------------------------------------------------------------------------------ */

int source_check_text(const struct source *source, struct swi_error *error)
{
    sw_tokenizer *tokenizer = NULL;
    if (source->directory < 0)
        return 0;
    struct swi_files files = source_files(&source->directory);
    int result = swi_model_tokenizer(&files, &source->description, &tokenizer, error);
    if (result == SW_ENOCOMPONENT) /* such a model takes ids */
        return 0;
    uint32_t rows = source->description.config.vocab;
    if (result == 0 && sw_tokenizer_vocab_size(tokenizer) > rows) {
        int32_t id = (int32_t)rows;
        while (!sw_tokenizer_token(tokenizer, id))
            id++;
        result = swi_fail(error, SW_EFORMAT,
                          "the tokenizer has the token \"%.60s\" with id %d, but " SWI_CONFIG_FILE
                          " has vocab_size %u",
                          sw_tokenizer_token(tokenizer, id), id, rows);
    }
    sw_tokenizer_destroy(tokenizer);
    return result < 0 ? swi_fail_within(error, result, "%s: ", source->path) : 0;
}

/* ---- copying --------------------------------------------------------------------------------- */

static int copy_file(const struct source *source, int to, const char *name, const char *out,
                     struct swi_error *error)
{
    char *data = NULL;
    size_t size;
    if (!is_there(source->directory, name) && !is_dangling_link(source->directory, name))
        return 0;
    int result = files_read(source->directory, name, SMALL_BYTES_MAX, &data, &size, error);
    if (result == 0)
        result = swi_foreign_check(name, data, size, error);
    if (result < 0)
        (void)swi_fail_within(error, result, "%s: ", source->path);
    else if ((result = files_create(to, name, data, size, error)) < 0)
        (void)swi_fail_within(error, result, "%s: ", out);
    free(data);
    return result;
}

static int make_folder(int to, const char *folder, const char *out, struct swi_error *error)
{
    return !*folder || mkdirat(to, folder, 0777) == 0 || errno == EEXIST
               ? 0
               : swi_fail(error, -errno, "%s: %s: cannot create it: %s", out, folder,
                          strerrordesc_np(errno));
}

/* Copies these files of a folder, those that are there. */
static int copy_folder(const struct source *source, int to, const char *folder,
                       const char *const *names, size_t count, const char *out,
                       struct swi_error *error)
{
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        char path[SWI_MODULE_PATH + 64];
        (void)snprintf(path, sizeof path, "%s%.60s", folder, names[i]);
        if (is_there(source->directory, path))
            result = make_folder(to, folder, out, error);
        if (result == 0)
            result = copy_file(source, to, path, out, error);
    }
    return result;
}

static int copy_all(const struct source *source, int to, const char *out, struct swi_error *error)
{
    static const char *const transformer[] = {
        SWI_CONFIG_FILE,
        "vocab.txt",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "sentence_bert_config.json",
        "sentence_roberta_config.json",
        "sentence_distilbert_config.json",
        "sentence_camembert_config.json",
        "sentence_albert_config.json",
        "sentence_xlm-roberta_config.json",
        "sentence_xlnet_config.json",
    };
    static const char *const top[] = {SWI_MODULES_FILE, SWI_SENTENCE_FILE, "LICENSE",
                                      "LICENSE.txt",    "LICENSE.md",      "NOTICE"};
    static const char *const module[] = {SWI_CONFIG_FILE};
    const struct swi_modules *modules = &source->description.modules;
    int result = copy_folder(source, to, modules->folder, transformer,
                             sizeof transformer / sizeof transformer[0], out, error);
    if (result == 0)
        result = copy_folder(source, to, "", top, sizeof top / sizeof top[0], out, error);
    if (result == 0 && *modules->pooling_path)
        result = copy_folder(source, to, modules->pooling_path, module, 1, out, error);
    for (uint32_t i = 0; i < modules->count && result == 0; i++)
        if (*modules->after[i].path)
            result = copy_folder(source, to, modules->after[i].path, module, 1, out, error);
    return result;
}

int source_copy_files(struct source *source, int directory, const char *out,
                      struct swi_error *error)
{
    return source->ops->copy_files ? source->ops->copy_files(source, directory, out, error)
                                   : copy_all(source, directory, out, error);
}
