/* SPDX-License-Identifier: MIT */
/* What goes into chunks comes out again: both layouts, all element types, every way in. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "chunk/fixture.h"
#include "core/half.h"
#include "core/manifest.h"
#include "core/safetensors.h"
#include "support/support.h"

/* Imports with these options, verifies, exports, and gives the checkpoint that comes out. */
static struct checkpoint round_trip(const char *source, const char *layout, const char *dtype)
{
    const char *out = sup_path("trip-%s-%s", layout, dtype);
    const char *file = sup_format("%s.safetensors", out);
    struct sup_result result =
        SWCHUNK("import", source, out, "--layout", layout, "--dtype", dtype, "--force");
    cr_assert_eq(result.exit_code, 0, "%s", result.err);
    cr_assert(result.out_size == 0 && result.err_size == 0, "silent without a terminal");
    (void)sup_run_ok(SUP_ARGS("swchunk", "verify", out));
    (void)sup_run_ok(SUP_ARGS("swchunk", "export", out, file, "--force"));
    return checkpoint_load(file);
}

static uint16_t narrowed(const char *dtype, float value)
{
    return strcmp(dtype, "f16") == 0 ? swi_f32_to_f16(value) : swi_f32_to_bf16(value);
}

/* Matrices rounded, vectors as they were. */
static void expect_rounded(struct checkpoint *from, struct checkpoint *to, const char *dtype)
{
    cr_assert_eq(from->count, to->count);
    for (size_t i = 0; i < from->count; i++) {
        const struct checkpoint_tensor *a = &from->tensors[i];
        const struct checkpoint_tensor *b = checkpoint_find(to, a->name);
        if (a->rank == 1) {
            cr_assert_eq(b->dtype, SW_DTYPE_F32, "%s", a->name);
            cr_assert_eq(memcmp(a->data, b->data, a->bytes), 0, "%s", a->name);
            continue;
        }
        cr_assert_eq(b->bytes, a->bytes / 2, "%s", a->name);
        for (uint64_t j = 0; j < a->bytes / 4; j++) {
            float wide;
            uint16_t narrow;
            memcpy(&wide, a->data + 4 * j, 4);
            memcpy(&narrow, b->data + 2 * j, 2);
            cr_assert_eq(narrow, narrowed(dtype, wide), "%s", a->name);
        }
    }
}

Test(roundtrip, f32_comes_back_bit_for_bit_in_both_layouts, .timeout = 60)
{
    const char *source = fixture_model("model", NULL);
    struct checkpoint from = checkpoint_load(sup_format("%s/model.safetensors", source));
    struct checkpoint rows = round_trip(source, "rows", "f32");
    struct checkpoint panel = round_trip(source, "panel", "f32");
    checkpoint_expect_equal(&from, &rows);
    checkpoint_expect_equal(&from, &panel);
}

Test(roundtrip, narrow_types_are_rounded_to_nearest_and_vectors_are_not, .timeout = 60)
{
    const char *source = fixture_model("model", NULL);
    struct checkpoint from = checkpoint_load(sup_format("%s/model.safetensors", source));
    static const char *const layouts[] = {"rows", "panel"}, *const dtypes[] = {"f16", "bf16"};
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 2; j++) {
            struct checkpoint to = round_trip(source, layouts[i], dtypes[j]);
            expect_rounded(&from, &to, dtypes[j]);
        }
}

Test(roundtrip, heads_come_back_and_names_get_their_prefix, .timeout = 60)
{
    const char *source = fixture_model("model", SUP_ARGS("--labels", "3", "--mlm"));
    const char *file = sup_format("%s/model.safetensors", source);
    struct checkpoint from = checkpoint_load(file);
    /* a head of its own for the decoder, next sentences and spans, of odd sizes */
    static float values[500 * 40];
    for (size_t i = 0; i < 500 * 40; i++)
        values[i] = (float)i / 1024;
    (void)checkpoint_add(&from, "cls.predictions.decoder.weight", 500, 40, values);
    (void)checkpoint_add(&from, "cls.seq_relationship.weight", 2, 40, values + 7);
    (void)checkpoint_add(&from, "cls.seq_relationship.bias", 2, 0, values + 9);
    (void)checkpoint_add(&from, "qa_outputs.weight", 2, 40, values + 11);
    (void)checkpoint_add(&from, "qa_outputs.bias", 2, 0, values + 13);
    checkpoint_save(&from, file);
    fixture_config(source, "tie_word_embeddings", json_false());
    (void)checkpoint_find(&from, "bert.embeddings.LayerNorm.weight");
    (void)checkpoint_find(&from, "classifier.weight");
    struct checkpoint rows = round_trip(source, "rows", "f32");
    struct checkpoint panel = round_trip(source, "panel", "f32");
    checkpoint_expect_equal(&from, &rows);
    checkpoint_expect_equal(&from, &panel);
}

Test(roundtrip, a_model_without_pooler_stays_without, .timeout = 60)
{
    const char *source = fixture_model("model", SUP_ARGS("--no-pooler"));
    struct checkpoint from = checkpoint_load(sup_format("%s/model.safetensors", source));
    struct checkpoint panel = round_trip(source, "panel", "f32");
    checkpoint_expect_equal(&from, &panel);
    cr_assert_not(sup_exists(sup_path("trip-panel-f32/pooler.safetensors")));
}

/* Digest of each chunk of a directory, in one string. */
static const char *digests(const char *directory)
{
    size_t size;
    const char *text = sup_read(sup_format("%s/chunk_info.json", directory), &size);
    struct swi_manifest manifest;
    struct swi_error error = {0};
    cr_assert_eq(swi_manifest_parse(text, size, &manifest, &error), 0, "%s", error.text);
    const char *all = "";
    for (size_t i = 0; i < manifest.count; i++) {
        char digest[SWI_DIGEST_HEX];
        swi_digest_format(manifest.chunks[i].digest, digest);
        all = sup_format("%s%s=%s\n", all, manifest.chunks[i].name, digest);
    }
    swi_manifest_fini(&manifest);
    return all;
}

static const char *import_digests(const char *source, const char *folder)
{
    sup_mkdir(sup_path("%s", folder));
    const char *out = sup_path("%s/same-name", folder);
    (void)sup_run_ok(SUP_ARGS("swchunk", "import", source, out));
    return digests(out);
}

Test(roundtrip, the_same_model_gives_the_same_bytes_whatever_its_spelling, .timeout = 60)
{
    const char *source = fixture_model("model", NULL);
    const char *plain = import_digests(source, "plain");
    const char *file = sup_format("%s/model.safetensors", source);
    /* "bert." in front, gamma and beta, other order, buffers, element types that hold the values
     * exactly */
    struct checkpoint checkpoint = checkpoint_load(file);
    for (size_t i = 0; i < checkpoint.count; i++) {
        char *name = checkpoint.tensors[i].name;
        char *norm = strstr(name, "LayerNorm.");
        const char *tail = norm && strcmp(norm, "LayerNorm.weight") == 0 ? "LayerNorm.gamma"
                           : norm                                        ? "LayerNorm.beta"
                                                                         : "";
        checkpoint.tensors[i].name = (char *)(uintptr_t)sup_format(
            "bert.%.*s%s", norm ? (int)(norm - name) : (int)strlen(name), name, tail);
    }
    struct checkpoint_tensor first = checkpoint.tensors[0];
    checkpoint.tensors[0] = checkpoint.tensors[checkpoint.count - 1];
    checkpoint.tensors[checkpoint.count - 1] = first;
    struct checkpoint_tensor *ids =
        checkpoint_add(&checkpoint, "bert.embeddings.position_ids", 1, 24, (float[24]){0});
    ids->dtype = SW_DTYPE_I64;
    ids->shape[1] = 12;
    checkpoint_save(&checkpoint, file);
    cr_assert_str_eq(import_digests(source, "spelled"), plain);
    /* from chunks of the other layout, by way of f32, which loses nothing */
    (void)sup_run_ok(SUP_ARGS("swchunk", "import", source, sup_path("between"), "--layout", "rows",
                              "--dtype", "f32"));
    cr_assert_str_eq(import_digests(sup_path("between"), "again"), plain);
    (void)sup_run_ok(SUP_ARGS("swchunk", "import", source, sup_path("narrow"), "--layout", "rows"));
    cr_assert_str_eq(import_digests(sup_path("narrow"), "from-f16"), plain,
                     "f16 chunks hold the same f16");
}

Test(roundtrip, a_wide_word_table_is_cut_and_joined, .timeout = 100)
{
    /* 40,000 × 256 × 4 bytes: three blocks, the last panel of nothing */
    const char *source = fixture_model(
        "model", SUP_ARGS("--vocab-size", "40000", "--hidden", "256", "--layers", "1"));
    struct checkpoint from = checkpoint_load(sup_format("%s/model.safetensors", source));
    struct checkpoint to = round_trip(source, "panel", "f32");
    checkpoint_expect_equal(&from, &to);
    uint64_t rows = 0;
    for (int block = 0; block < 3; block++) {
        const char *path = sup_path("trip-panel-f32/embeddings_words_%d.safetensors", block);
        size_t size;
        const char *bytes = sup_read(path, &size);
        cr_assert_leq(size, 16u << 20);
        struct swi_safetensors header;
        cr_assert_eq(swi_safetensors_parse(bytes, size, size, &header, NULL, NULL), 0);
        cr_assert_eq(header.count, 1);
        cr_assert_str_eq(header.tensors[0].name, "word_embeddings.weight");
        cr_assert_eq(strtoull(swi_safetensors_metadata(&header, "first_row"), NULL, 10), rows);
        cr_assert_eq(strtoull(swi_safetensors_metadata(&header, "rows"), NULL, 10),
                     header.tensors[0].shape[0]);
        rows += header.tensors[0].shape[0];
        swi_safetensors_fini(&header);
    }
    cr_assert_eq(rows, 40000);
    cr_assert_not(sup_exists(sup_path("trip-panel-f32/embeddings_words_3.safetensors")));
}

Test(roundtrip, shards_with_an_index_are_one_model, .timeout = 60)
{
    const char *source = fixture_model("model", NULL);
    const char *file = sup_format("%s/model.safetensors", source);
    const char *plain = import_digests(source, "plain");
    struct checkpoint whole = checkpoint_load(file);
    json_t *map = json_object();
    for (size_t shard = 0; shard < 3; shard++) {
        const char *name = sup_format("model-0000%zu-of-00003.safetensors", shard + 1);
        size_t first = whole.count * shard / 3, last = whole.count * (shard + 1) / 3;
        struct checkpoint part = {.tensors = whole.tensors + first, .count = last - first};
        checkpoint_save(&part, sup_format("%s/%s", source, name));
        for (size_t i = first; i < last; i++)
            (void)json_object_set_new(map, whole.tensors[i].name, json_string(name));
    }
    json_t *index = json_pack("{s:{s:i}, s:o}", "metadata", "total_size", 1, "weight_map", map);
    const char *index_path = sup_format("%s/model.safetensors.index.json", source);
    cr_assert_eq(json_dump_file(index, index_path, 0), 0);
    sup_remove_tree(file);
    cr_assert_str_eq(import_digests(source, "sharded"), plain);
    /* and their faults are named */
    (void)json_object_set_new(map, "pooler.dense.bias",
                              json_string("model-00001-of-00003.safetensors"));
    cr_assert_eq(json_dump_file(index, index_path, 0), 0);
    fixture_expect_import_refused(
        source, NULL, TEXTS("model-00001-of-00003.safetensors", "pooler.dense.bias", "missing"));
    (void)json_object_set_new(map, "pooler.dense.bias", json_string("../outside.safetensors"));
    cr_assert_eq(json_dump_file(index, index_path, 0), 0);
    fixture_expect_import_refused(source, NULL,
                                  TEXTS("pooler.dense.bias", "not a plain file name"));
    (void)json_object_set_new(map, "pooler.dense.bias", json_string("absent.safetensors"));
    cr_assert_eq(json_dump_file(index, index_path, 0), 0);
    fixture_expect_import_refused(source, NULL, TEXTS("absent.safetensors", "No such file"));
    json_decref(index);
}

Test(roundtrip, files_beside_the_weights_are_carried_along, .timeout = 60)
{
    const char *source = fixture_model("model", NULL);
    sup_mkdir(sup_format("%s/1_Pooling", source));
    sup_write_text(sup_format("%s/1_Pooling/config.json", source), "{\"pooling\": 1}");
    sup_write_text(sup_format("%s/tokenizer.json", source),
                   "{\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}, \"model\": {\"type\": "
                   "\"WordPiece\", \"vocab\": {\"[UNK]\": 0, \"[CLS]\": 1, \"[SEP]\": 2}}}");
    sup_write_text(sup_format("%s/LICENSE", source), "yours");
    sup_write_text(sup_format("%s/secret.key", source), "mine");
    const char *out = sup_path("out");
    (void)sup_run_ok(SUP_ARGS("swchunk", "import", source, out));
    static const char *const names[] = {"config.json",    "vocab.txt", "tokenizer_config.json",
                                        "tokenizer.json", "LICENSE",   "1_Pooling/config.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        cr_assert_str_eq(sup_read(sup_format("%s/%s", out, names[i]), NULL),
                         sup_read(sup_format("%s/%s", source, names[i]), NULL), "%s", names[i]);
    cr_assert_not(sup_exists(sup_format("%s/secret.key", out)));
    cr_assert_not(sup_exists(sup_format("%s/model.safetensors", out)));
}

Test(roundtrip, the_published_bert_tiny_in_every_form, .timeout = 100)
{
    const char *source = sup_test_data("models/bert-tiny");
    struct checkpoint from = checkpoint_load(sup_format("%s/model.safetensors", source));
    static const char *const layouts[] = {"rows", "panel"};
    for (size_t i = 0; i < 2; i++) {
        struct checkpoint f32 = round_trip(source, layouts[i], "f32");
        checkpoint_expect_equal(&from, &f32);
        struct checkpoint f16 = round_trip(source, layouts[i], "f16");
        expect_rounded(&from, &f16, "f16");
        struct checkpoint bf16 = round_trip(source, layouts[i], "bf16");
        expect_rounded(&from, &bf16, "bf16");
    }
}
