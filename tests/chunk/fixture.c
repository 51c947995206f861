/* SPDX-License-Identifier: MIT */
/* Checkpoints in memory, and what swchunk says about them. */
#include "chunk/fixture.h"

#include <criterion/criterion.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/safetensors.h"
#include "support/keep.h"
#include "support/support.h"

static char *keep_bytes(const void *data, size_t size)
{
    char *copy = sup_keep(size);
    if (size)
        memcpy(copy, data, size);
    return copy;
}

struct checkpoint checkpoint_load(const char *path)
{
    size_t size;
    const char *bytes = sup_read(path, &size);
    struct swi_safetensors header;
    struct swi_error error = {0};
    cr_assert_eq(swi_safetensors_parse(bytes, size, size, &header, NULL, &error), 0, "%s: %s", path,
                 error.text);
    struct checkpoint checkpoint = {
        .tensors = sup_keep((header.count + 16) * sizeof(struct checkpoint_tensor)),
        .count = header.count};
    for (size_t i = 0; i < header.count; i++) {
        const struct swi_tensor *from = &header.tensors[i];
        struct checkpoint_tensor *to = &checkpoint.tensors[i];
        *to = (struct checkpoint_tensor){.name = keep_bytes(from->name, strlen(from->name)),
                                         .dtype = from->dtype,
                                         .rank = from->rank,
                                         .data = keep_bytes(bytes + from->offset, from->bytes),
                                         .bytes = from->bytes};
        memcpy(to->shape, from->shape, sizeof to->shape);
    }
    swi_safetensors_fini(&header);
    return checkpoint;
}

void checkpoint_save(const struct checkpoint *checkpoint, const char *path)
{
    json_t *header = json_object();
    uint64_t at = 0;
    for (size_t i = 0; i < checkpoint->count; i++) {
        const struct checkpoint_tensor *tensor = &checkpoint->tensors[i];
        json_t *shape = json_array();
        for (uint32_t j = 0; j < tensor->rank; j++)
            (void)json_array_append_new(shape, json_integer((json_int_t)tensor->shape[j]));
        (void)json_object_set_new(
            header, tensor->name,
            json_pack("{s:s, s:o, s:[I, I]}", "dtype", sw_dtype_name(tensor->dtype), "shape", shape,
                      "data_offsets", (json_int_t)at, (json_int_t)(at + tensor->bytes)));
        at += tensor->bytes;
    }
    char *text = json_dumps(header, 0);
    json_decref(header);
    cr_assert_not_null(text);
    size_t length = strlen(text);
    char *file = sup_keep(8 + length + at);
    uint64_t prefix = htole64(length);
    memcpy(file, &prefix, 8);
    memcpy(file + 8, text, length);
    free(text);
    char *data = file + 8 + length;
    for (size_t i = 0; i < checkpoint->count; i++) {
        memcpy(data, checkpoint->tensors[i].data, checkpoint->tensors[i].bytes);
        data += checkpoint->tensors[i].bytes;
    }
    sup_write(path, file, 8 + length + at);
}

struct checkpoint_tensor *checkpoint_find(struct checkpoint *checkpoint, const char *name)
{
    for (size_t i = 0; i < checkpoint->count; i++)
        if (strcmp(checkpoint->tensors[i].name, name) == 0)
            return &checkpoint->tensors[i];
    cr_assert(false, "no tensor %s", name);
    return NULL;
}

void checkpoint_remove(struct checkpoint *checkpoint, const char *name)
{
    struct checkpoint_tensor *tensor = checkpoint_find(checkpoint, name);
    *tensor = checkpoint->tensors[--checkpoint->count];
}

struct checkpoint_tensor *checkpoint_add(struct checkpoint *checkpoint, const char *name,
                                         uint64_t n, uint64_t k, const float *data)
{
    struct checkpoint_tensor *grown =
        sup_keep((checkpoint->count + 16) * sizeof *checkpoint->tensors);
    memcpy(grown, checkpoint->tensors, checkpoint->count * sizeof *grown);
    checkpoint->tensors = grown;
    uint64_t bytes = n * (k ? k : 1) * sizeof(float);
    struct checkpoint_tensor *tensor = &checkpoint->tensors[checkpoint->count++];
    *tensor = (struct checkpoint_tensor){.name = keep_bytes(name, strlen(name)),
                                         .dtype = SW_DTYPE_F32,
                                         .rank = k ? 2 : 1,
                                         .shape = {n, k},
                                         .data = keep_bytes(data, bytes),
                                         .bytes = bytes};
    return tensor;
}

void checkpoint_expect_equal(struct checkpoint *left, struct checkpoint *right)
{
    cr_assert_eq(left->count, right->count);
    for (size_t i = 0; i < left->count; i++) {
        const struct checkpoint_tensor *a = &left->tensors[i];
        const struct checkpoint_tensor *b = checkpoint_find(right, a->name);
        cr_assert(a->dtype == b->dtype && a->rank == b->rank && a->bytes == b->bytes, "%s",
                  a->name);
        cr_assert_eq(memcmp(a->shape, b->shape, a->rank * sizeof a->shape[0]), 0, "%s", a->name);
        cr_assert_eq(memcmp(a->data, b->data, a->bytes), 0, "%s differs", a->name);
    }
}

/* argv of swchunk: these words and then more. */
static const char *const *words_of(const char *const first[], const char *const more[])
{
    size_t count = 0;
    const char **words = sup_keep(64 * sizeof *words);
    words[count++] = "swchunk";
    for (; first && *first; first++)
        words[count++] = *first;
    for (; more && *more && count < 63; more++)
        words[count++] = *more;
    return words;
}

const char *fixture_model(const char *name, const char *const options[])
{
    const char *chunks = sup_path("%s-chunks", name), *directory = sup_path("%s", name);
    (void)sup_run_ok(words_of(SUP_ARGS("synth", "bert-tiny", chunks, "--hidden", "40", "--heads",
                                       "4", "--intermediate", "72", "--vocab-size", "500",
                                       "--max-positions", "24", "--dtype", "f32"),
                              options));
    sup_mkdir(directory);
    (void)sup_run_ok(
        SUP_ARGS("swchunk", "export", chunks, sup_format("%s/model.safetensors", directory)));
    static const char *const files[] = {"config.json", "vocab.txt", "tokenizer_config.json"};
    for (size_t i = 0; i < 3; i++) {
        size_t size;
        const char *text = sup_read(sup_format("%s/%s", chunks, files[i]), &size);
        sup_write(sup_format("%s/%s", directory, files[i]), text, size);
    }
    return directory;
}

void fixture_config(const char *directory, const char *key, json_t *value)
{
    const char *path = sup_format("%s/config.json", directory);
    json_t *config = json_load_file(path, 0, NULL);
    cr_assert_not_null(config);
    cr_assert_eq(value ? json_object_set_new(config, key, value) : json_object_del(config, key), 0);
    cr_assert_eq(json_dump_file(config, path, JSON_INDENT(2)), 0);
    json_decref(config);
}

void fixture_expect_refusal(int exit_code, const char *const words[], const char *const texts[])
{
    struct sup_result result = sup_run(words_of(words, NULL));
    cr_assert_eq(result.exit_code, exit_code, "exit %d: %s", result.exit_code, result.err);
    cr_assert_eq(result.out_size, 0, "nothing on stdout: %s", result.out);
    cr_assert(result.err_size > 0 && strchr(result.err, '\n') == result.err + result.err_size - 1,
              "one line: %s", result.err);
    for (; *texts; texts++)
        cr_assert_not_null(strstr(result.err, *texts), "\"%s\" in: %s", *texts, result.err);
}

void fixture_expect_import_refused(const char *source, const char *const options[],
                                   const char *const texts[])
{
    sup_mkdir(sup_path("refused"));
    const char *out = sup_path("refused/out");
    const char *const *words = words_of(SUP_ARGS("import", source, out), options);
    fixture_expect_refusal(1, words + 1, texts);
    cr_assert_eq(sup_count_entries(sup_path("refused")), 0, "something is left behind");
    sup_remove_tree(sup_path("refused"));
}
