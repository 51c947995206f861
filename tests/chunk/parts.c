/* SPDX-License-Identifier: MIT */
/* swchunk's parts by themselves: the config's parser, the plan, staging. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chunk/fixture.h"
#include "encoder/description.h"
#include "programs/chunk/source/kinds.h"
#include "programs/chunk/write/plan.h"
#include "programs/chunk/write/staging.h"
#include "support/support.h"

static struct swi_error error;

/* ---- config ---------------------------------------------------------------------------------- */

#define CONFIG(more)                                                                               \
    "{\"num_hidden_layers\":2,\"hidden_size\":128,\"num_attention_heads\":2,"                      \
    "\"intermediate_size\":512,\"vocab_size\":30522" more "}"

Test(config, missing_keys_mean_what_hugging_face_means, .timeout = 10)
{
    struct swi_encoder_config config;
    const char *text = CONFIG("");
    cr_assert_eq(swi_encoder_config_parse(text, strlen(text), &config, &error), 0, "%s",
                 error.text);
    cr_assert(config.layers == 2 && config.hidden == 128 && config.heads == 2);
    cr_assert(config.intermediate == 512 && config.vocab == 30522);
    cr_assert(config.positions == 512 && config.types == 2);
    cr_assert(config.labels == 0 && !config.untied);
    text =
        CONFIG(",\"tie_word_embeddings\":false,\"id2label\":{\"0\":\"a\"},\"type_vocab_size\":1");
    cr_assert_eq(swi_encoder_config_parse(text, strlen(text), &config, &error), 0, "%s",
                 error.text);
    cr_assert(config.labels == 1 && config.untied && config.types == 1);
}

Test(config, flipped_bytes_do_no_harm, .timeout = 60)
{
    static const char text[] = CONFIG(",\"model_type\":\"bert\"");
    char changed[sizeof text];
    for (size_t i = 0; i + 1 < sizeof text; i++)
        for (int byte = 0; byte < 256; byte++) {
            memcpy(changed, text, sizeof text);
            changed[i] = (char)byte;
            struct swi_encoder_config config;
            if (swi_encoder_config_parse(changed, sizeof text - 1, &config, &error) == 0)
                cr_assert_eq(config.hidden % config.heads, 0);
        }
}

/* ---- plan ------------------------------------------------------------------------------------ */

static const struct swi_encoder_config small = {.layers = 2,
                                                .hidden = 40,
                                                .heads = 4,
                                                .intermediate = 72,
                                                .vocab = 500,
                                                .positions = 24,
                                                .types = 2};

static const struct plan_tensor *find(const struct plan *plan, const char *chunk, const char *name)
{
    for (size_t i = 0; i < plan->count; i++)
        for (size_t j = 0; j < plan->chunks[i].count; j++)
            if (strcmp(plan->chunks[i].name, chunk) == 0 &&
                strcmp(plan->chunks[i].tensors[j].name, name) == 0)
                return &plan->chunks[i].tensors[j];
    return NULL;
}

Test(plan, chunks_follow_the_forward_pass, .timeout = 10)
{
    struct plan plan;
    struct model_features features = {.pooler = true, .labels = 3};
    struct chunk_format format = {.layout = SW_LAYOUT_PANEL, .dtype = SW_DTYPE_F16};
    cr_assert_eq(plan_make(&small, &features, format, &plan, &error), 0);
    static const char *const names[] = {"embeddings", "layer_0", "layer_1", "pooler", "head"};
    cr_assert_eq(plan.count, 5);
    for (size_t i = 0; i < 5; i++) {
        cr_assert_str_eq(plan.chunks[i].name, names[i]);
        cr_assert_str_eq(plan.chunks[i].file, sup_format("%s.safetensors", names[i]));
    }
    plan_fini(&plan);
    features = (struct model_features){0};
    cr_assert_eq(plan_make(&small, &features, format, &plan, &error), 0);
    cr_assert_eq(plan.count, 3);
    plan_fini(&plan);
}

Test(plan, panels_fuse_query_key_and_value_and_round_up, .timeout = 10)
{
    struct plan plan;
    struct model_features features = {.pooler = true, .labels = 3};
    struct chunk_format format = {.layout = SW_LAYOUT_PANEL, .dtype = SW_DTYPE_F16};
    cr_assert_eq(plan_make(&small, &features, format, &plan, &error), 0);
    const struct plan_tensor *qkv = find(&plan, "layer_1", "attention.qkv.weight");
    cr_assert(qkv && qkv->rank == 3 && qkv->n == 120 && qkv->k == 40 && qkv->part_count == 3);
    cr_assert(qkv->shape[0] == 8 && qkv->shape[1] == 40 && qkv->shape[2] == 16);
    cr_assert_str_eq(qkv->parts[2].name, "encoder.layer.1.attention.self.value.weight");
    cr_assert_null(find(&plan, "layer_1", "attention.self.query.weight"));
    const struct plan_tensor *bias = find(&plan, "layer_1", "attention.qkv.bias");
    cr_assert(bias && bias->rank == 1 && bias->shape[0] == 120 && bias->dtype == SW_DTYPE_F32);
    const struct plan_tensor *words = find(&plan, "embeddings", "word_embeddings.weight");
    cr_assert(words && words->rank == 2 && words->shape[0] == 500, "tables stay rows");
    const struct plan_tensor *head = find(&plan, "head", "classifier.weight");
    cr_assert(head && head->rank == 3 && head->shape[0] == 1);
    plan_fini(&plan);
}

Test(plan, blocks_cover_the_word_table_once, .timeout = 20)
{
    static const uint32_t vocabularies[] = {30522, 32768, 8192, 8193, 119547, 1000003};
    static const uint32_t widths[] = {384, 768, 1024, 4096};
    for (size_t v = 0; v < sizeof vocabularies / sizeof vocabularies[0]; v++)
        for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
            struct swi_encoder_config config = small;
            struct model_features features = {0};
            struct chunk_format format = {.layout = SW_LAYOUT_ROWS, .dtype = SW_DTYPE_F16};
            struct plan plan;
            config.vocab = vocabularies[v];
            config.hidden = widths[w];
            cr_assert_eq(plan_make(&config, &features, format, &plan, &error), 0);
            uint64_t next = 0, least = UINT64_MAX, most = 0, row_bytes = 2ull * config.hidden;
            for (size_t i = 0; i < plan.count; i++) {
                const struct plan_chunk *chunk = &plan.chunks[i];
                if (!chunk->block)
                    continue;
                cr_assert_eq(chunk->first_row, next);
                cr_assert_eq(chunk->tensors[0].shape[0], chunk->rows);
                cr_assert_leq(chunk->rows * row_bytes + 4096, PLAN_BLOCK_MAX);
                next += chunk->rows;
                least = chunk->rows < least ? chunk->rows : least;
                most = chunk->rows > most ? chunk->rows : most;
            }
            bool cut = config.vocab * row_bytes > PLAN_BLOCK_MAX;
            cr_assert_eq(next, cut ? config.vocab : 0);
            cr_assert(!cut || most - least <= 1, "about equal");
            cr_assert_eq(find(&plan, "embeddings", "word_embeddings.weight") == NULL, cut);
            plan_fini(&plan);
        }
}

Test(plan, a_model_of_too_many_chunks_is_refused, .timeout = 20)
{
    struct swi_encoder_config config = small;
    struct model_features features = {0};
    struct chunk_format format = {.layout = SW_LAYOUT_ROWS, .dtype = SW_DTYPE_F32};
    struct plan plan;
    config.vocab = 1u << 24;
    config.hidden = 1u << 16;
    cr_assert_eq(plan_make(&config, &features, format, &plan, &error), SW_EUNSUPPORTED);
    cr_assert_not_null(strstr(error.text, "chunks"));
}

/* ---- staging --------------------------------------------------------------------------------- */

static const char *folder;

static void make_folder(void)
{
    folder = sup_path("folder");
    sup_mkdir(folder);
}

Test(staging, the_target_appears_with_the_commit_and_not_before, .init = make_folder, .timeout = 20)
{
    struct staging staging;
    const char *target = sup_format("%s/target/", folder);
    cr_assert_eq(staging_begin_directory(&staging, target, false, &error), 0, "%s", error.text);
    cr_assert_str_eq(staging.name, "target");
    int fd = openat(staging.directory, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
    cr_assert_geq(fd, 0);
    (void)close(fd);
    cr_assert_not(sup_exists(target));
    cr_assert_eq(staging_commit(&staging, &error), 0);
    cr_assert(sup_exists(sup_format("%s/target/file", folder)));
    cr_assert_eq(sup_count_entries(folder), 1);
    staging_discard(&staging); /* afterwards it does nothing */
    cr_assert_eq(sup_count_entries(folder), 1);
}

Test(staging, discard_removes_everything, .init = make_folder, .timeout = 20)
{
    struct staging staging;
    cr_assert_eq(staging_begin_directory(&staging, sup_format("%s/t", folder), false, &error), 0);
    cr_assert_eq(mkdirat(staging.directory, "sub", 0777), 0);
    int fd = openat(staging.directory, "sub/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
    (void)close(fd);
    sup_write_text(sup_path("outside"), "text");
    cr_assert_eq(symlinkat(sup_path("outside"), staging.directory, "link"), 0);
    cr_assert_eq(symlinkat(sup_dir(), staging.directory, "sub/link"), 0);
    staging_discard(&staging);
    cr_assert_eq(sup_count_entries(folder), 0);
    cr_assert(sup_exists(sup_path("outside")), "links are not followed");
}

Test(staging, what_appears_meanwhile_is_not_replaced, .init = make_folder, .timeout = 20)
{
    struct staging staging;
    const char *target = sup_format("%s/t", folder);
    cr_assert_eq(staging_begin_directory(&staging, target, false, &error), 0);
    sup_mkdir(target);
    sup_write_text(sup_format("%s/theirs", target), "text");
    cr_assert_eq(staging_commit(&staging, &error), -EEXIST);
    cr_assert_eq(sup_count_entries(folder), 1);
    cr_assert(sup_exists(sup_format("%s/theirs", target)));
    const char *file = sup_format("%s/f", folder);
    cr_assert_eq(staging_begin_file(&staging, file, false, &error), 0);
    sup_write_text(file, "theirs");
    cr_assert_eq(staging_commit(&staging, &error), -EEXIST);
    cr_assert_str_eq(sup_read(file, NULL), "theirs");
    cr_assert_eq(sup_count_entries(folder), 2);
}

/* ---- widening -------------------------------------------------------------------------------- */

Test(source, narrow_elements_are_widened_in_place, .timeout = 20)
{
    for (uint64_t count = 0; count < 70; count++) {
        float out[70];
        uint16_t narrow[70];
        for (uint64_t i = 0; i < count; i++)
            narrow[i] = (uint16_t)(0x3c00 + i); /* 1 and up, in steps of 2^-10 */
        memcpy(source_narrow_part(out, count, SW_DTYPE_F16), narrow, count * 2);
        source_widen(out, count, SW_DTYPE_F16);
        for (uint64_t i = 0; i < count; i++)
            cr_assert(out[i] == 1 + (float)i / 1024);
        for (uint64_t i = 0; i < count; i++)
            narrow[i] = (uint16_t)(0x3f80 + i); /* 1 and up, in steps of 2^-7 */
        memcpy(source_narrow_part(out, count, SW_DTYPE_BF16), narrow, count * 2);
        source_widen(out, count, SW_DTYPE_BF16);
        for (uint64_t i = 0; i < count; i++)
            cr_assert(out[i] == 1 + (float)i / 128);
    }
}
