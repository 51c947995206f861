/* SPDX-License-Identifier: MIT */
/* Everything that import refuses: one line that names file and tensor, status 1, and nothing left
 * behind. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "chunk/fixture.h"
#include "support/support.h"

#define QUERY "encoder.layer.1.attention.self.query.weight"

static const char *model; /* the directory, fresh for each test */
static const char *file;
static struct checkpoint checkpoint;

static void load(void)
{
    model = fixture_model("model", NULL);
    file = sup_format("%s/model.safetensors", model);
    checkpoint = checkpoint_load(file);
}

/* Saves what the test has done to the checkpoint; import must refuse it. */
#define EXPECT_REFUSED(...)                                                                        \
    do {                                                                                           \
        checkpoint_save(&checkpoint, file);                                                        \
        fixture_expect_import_refused(model, NULL, TEXTS(model, __VA_ARGS__));                     \
    } while (0)

Test(refusal, a_missing_tensor, .init = load, .timeout = 60)
{
    checkpoint_remove(&checkpoint, QUERY);
    EXPECT_REFUSED("tensor " QUERY " is missing", "config.json");
}

Test(refusal, a_missing_half_of_a_head, .init = load, .timeout = 60)
{
    static float values[80];
    (void)checkpoint_add(&checkpoint, "classifier.weight", 2, 40, values);
    EXPECT_REFUSED("tensor classifier.bias is missing");
}

Test(refusal, a_wrong_shape, .init = load, .timeout = 60)
{
    struct checkpoint_tensor *tensor = checkpoint_find(&checkpoint, QUERY);
    tensor->shape[0] = 20;
    tensor->shape[1] = 80;
    EXPECT_REFUSED("model.safetensors: tensor " QUERY, "[20, 80]", "[40, 40]");
}

Test(refusal, a_vector_where_a_matrix_belongs, .init = load, .timeout = 60)
{
    struct checkpoint_tensor *tensor = checkpoint_find(&checkpoint, QUERY);
    tensor->rank = 1;
    tensor->shape[0] = 1600;
    EXPECT_REFUSED("model.safetensors: tensor " QUERY, "[1600]", "[40, 40]");
}

Test(refusal, integers_where_weights_belong, .init = load, .timeout = 60)
{
    struct checkpoint_tensor *tensor = checkpoint_find(&checkpoint, "pooler.dense.bias");
    tensor->dtype = SW_DTYPE_I64;
    tensor->bytes = 320;
    tensor->data = checkpoint_find(&checkpoint, QUERY)->data;
    EXPECT_REFUSED("pooler.dense.bias", "I64");
}

/* The tied copies of a masked-LM head are compared before any type is looked at by the plan. */
Test(refusal, integers_where_tied_copies_are_compared, .timeout = 60)
{
    static float values[2 * 500];
    model = fixture_model("model", SUP_ARGS("--mlm"));
    file = sup_format("%s/model.safetensors", model);
    checkpoint = checkpoint_load(file);
    checkpoint_remove(&checkpoint, "cls.predictions.bias");
    static const char *const copies[] = {"cls.predictions.bias", "cls.predictions.decoder.bias"};
    for (size_t i = 0; i < 2; i++) {
        struct checkpoint_tensor *bias = checkpoint_add(&checkpoint, copies[i], 1000, 0, values);
        bias->dtype = SW_DTYPE_I64;
        bias->shape[0] = 500;
    }
    EXPECT_REFUSED("cls.predictions.", "holds I64");
}

Test(refusal, a_tensor_that_no_bert_has_unless_told_to_drop_it, .init = load, .timeout = 60)
{
    static float values[40];
    (void)checkpoint_add(&checkpoint, "adapter.weight", 40, 0, values);
    EXPECT_REFUSED("model.safetensors: tensor adapter.weight", "--drop-extra");
    (void)sup_run_ok(SUP_ARGS("swchunk", "import", model, sup_path("out"), "--drop-extra"));
    (void)sup_run_ok(SUP_ARGS("swchunk", "verify", sup_path("out")));
}

Test(refusal, one_tensor_under_two_spellings, .init = load, .timeout = 60)
{
    static float values[40];
    (void)checkpoint_add(&checkpoint, "bert.embeddings.LayerNorm.beta", 40, 0, values);
    EXPECT_REFUSED("embeddings.LayerNorm.bias appears twice");
}

static void expect_note(const char *text)
{
    checkpoint_save(&checkpoint, file);
    struct sup_result result =
        sup_run(SUP_ARGS("swchunk", "import", model, sup_path("noted"), "--force"));
    cr_expect_eq(result.exit_code, 0, "%s", result.err);
    cr_expect(strstr(result.err, text), "%s", result.err);
}

/* Tied, as Hugging Face's loader does it, and said so. */
Test(refusal, a_tied_decoder_that_differs, .init = load, .timeout = 60)
{
    model = fixture_model("mlm", SUP_ARGS("--mlm"));
    file = sup_format("%s/model.safetensors", model);
    checkpoint = checkpoint_load(file);
    struct checkpoint_tensor *words =
        checkpoint_find(&checkpoint, "bert.embeddings.word_embeddings.weight");
    struct checkpoint_tensor *decoder =
        checkpoint_add(&checkpoint, "cls.predictions.decoder.weight", 500, 40,
                       (const float *)(const void *)words->data);
    checkpoint_save(&checkpoint, file);
    (void)sup_run_ok(SUP_ARGS("swchunk", "import", model, sup_path("equal")));
    decoder->data[decoder->bytes - 1] ^= 1;
    expect_note("cls.predictions.decoder.weight is tied to embeddings.word_embeddings.weight");
    decoder->data[decoder->bytes - 1] ^= 1;
    static float bias[500] = {[499] = 1};
    (void)checkpoint_add(&checkpoint, "cls.predictions.decoder.bias", 500, 0, bias);
    expect_note("cls.predictions.decoder.bias is tied to cls.predictions.bias");
}

/* ---- values ---------------------------------------------------------------------------------- */

static void set_value(const char *name, size_t element, float value)
{
    memcpy(checkpoint_find(&checkpoint, name)->data + element * sizeof value, &value, sizeof value);
}

Test(refusal, what_is_not_a_number, .init = load, .timeout = 60)
{
    set_value(QUERY, 83, NAN);
    EXPECT_REFUSED("model.safetensors: tensor " QUERY, "[2, 3]", "not a number");
    fixture_expect_import_refused(model, SUP_ARGS("--layout", "rows", "--dtype", "f32"),
                                  TEXTS(QUERY, "[2, 3]", "not a number"));
}

Test(refusal, infinity_also_in_a_vector, .init = load, .timeout = 60)
{
    set_value("encoder.layer.0.output.dense.bias", 39, -INFINITY);
    EXPECT_REFUSED("encoder.layer.0.output.dense.bias", "[39]", "infinite");
}

Test(refusal, values_that_overflow_f16, .init = load, .timeout = 60)
{
    set_value("encoder.layer.0.output.dense.weight", 1, 65519.996F);
    checkpoint_save(&checkpoint, file);
    (void)sup_run_ok(SUP_ARGS("swchunk", "import", model, sup_path("largest")));
    set_value("encoder.layer.0.output.dense.weight", 1, -65520);
    EXPECT_REFUSED("encoder.layer.0.output.dense.weight", "[0, 1]", "-65520", "overflows F16",
                   "--dtype bf16 or f32");
    (void)sup_run_ok(SUP_ARGS("swchunk", "import", model, sup_path("bf16"), "--dtype", "bf16"));
    set_value("encoder.layer.0.output.dense.weight", 1, 3.4e38F);
    checkpoint_save(&checkpoint, file);
    fixture_expect_import_refused(model, SUP_ARGS("--dtype", "bf16"),
                                  TEXTS("overflows BF16", "--dtype f32"));
    (void)sup_run_ok(SUP_ARGS("swchunk", "import", model, sup_path("f32"), "--dtype", "f32"));
}

Test(refusal, a_large_bias_is_no_overflow, .init = load, .timeout = 60)
{
    set_value("encoder.layer.0.output.dense.bias", 0, 1e30F);
    checkpoint_save(&checkpoint, file);
    (void)sup_run_ok(SUP_ARGS("swchunk", "import", model, sup_path("out")));
}

/* ---- the file itself ------------------------------------------------------------------------- */

/* Replaces a piece of the header by one of the same length. */
static void patch(const char *from, const char *to)
{
    size_t size;
    char *bytes = sup_read(file, &size);
    char *at = memmem(bytes, size, from, strlen(from));
    cr_assert_not_null(at, "%s", from);
    cr_assert_eq(strlen(from), strlen(to));
    memcpy(at, to, strlen(to));
    sup_write(file, bytes, size);
}

Test(refusal, an_unknown_dtype, .init = load, .timeout = 60)
{
    checkpoint_save(&checkpoint, file);
    patch("\"F32\"", "\"C64\"");
    fixture_expect_import_refused(model, NULL,
                                  TEXTS("model.safetensors: tensor embeddings.", "holds C64"));
}

Test(refusal, offsets_outside_the_file, .init = load, .timeout = 60)
{
    checkpoint_save(&checkpoint, file);
    size_t size;
    char *bytes = sup_read(file, &size);
    sup_write(file, bytes, size - 1);
    fixture_expect_import_refused(model, NULL, TEXTS("model.safetensors: tensor ", "outside"));
    sup_write(file, bytes, 100);
    fixture_expect_import_refused(model, NULL, TEXTS("model.safetensors: ", "truncated"));
    sup_write(file, bytes, 0);
    fixture_expect_import_refused(model, NULL, TEXTS("model.safetensors: ", "empty"));
}

Test(refusal, overlapping_tensors, .init = load, .timeout = 60)
{
    checkpoint_save(&checkpoint, file);
    /* the second tensor (24 × 40 floats after 500 × 40) moved onto the first */
    patch("[80000, 83840]", "[79996, 83836]");
    fixture_expect_import_refused(
        model, NULL,
        TEXTS("model.safetensors: tensor embeddings.position", "overlaps tensor embeddings.word"));
}

Test(refusal, what_is_no_safetensors_file, .init = load, .timeout = 60)
{
    sup_write_text(file, "PK\003\004 this is some other format altogether");
    fixture_expect_import_refused(model, NULL,
                                  TEXTS("model.safetensors: ", "is this a safetensors file?"));
    sup_remove_tree(file);
    sup_mkdir(file);
    fixture_expect_import_refused(model, NULL, TEXTS("model.safetensors: not a regular file"));
    sup_remove_tree(file);
    fixture_expect_import_refused(model, NULL, TEXTS(model, "SRC must be"));
    (void)sup_run_ok(SUP_ARGS("/usr/bin/mkfifo", file));
    fixture_expect_import_refused(model, NULL, TEXTS("model.safetensors: not a regular file"));
}

/* ---- the config ------------------------------------------------------------------------------ */

static void refuse_config(const char *key, json_t *value, const char *const texts[])
{
    char *before = sup_read(sup_format("%s/config.json", model), NULL);
    fixture_config(model, key, value);
    fixture_expect_import_refused(model, NULL, texts);
    sup_write_text(sup_format("%s/config.json", model), before);
}

Test(refusal, a_config_that_contradicts_the_tensors, .init = load, .timeout = 100)
{
    refuse_config("num_hidden_layers", json_integer(1),
                  TEXTS("tensor encoder.layer.1.", "1 layers"));
    refuse_config("num_hidden_layers", json_integer(3),
                  TEXTS("tensor encoder.layer.2.", "is missing"));
    refuse_config("hidden_size", json_integer(44), TEXTS("embeddings.", "[500, 40]", "[500, 44]"));
    refuse_config("vocab_size", json_integer(501), TEXTS("word_embeddings.weight", "[501, 40]"));
    refuse_config("max_position_embeddings", json_integer(23),
                  TEXTS("position_embeddings.weight", "[23, 40]"));
    refuse_config("type_vocab_size", json_integer(1), TEXTS("token_type_embeddings", "[1, 40]"));
    refuse_config("intermediate_size", json_integer(73), TEXTS("intermediate.dense", "[73, 40]"));
    refuse_config("num_attention_heads", json_integer(3), TEXTS("config.json: ", "not a multiple"));
}

Test(refusal, another_kind_of_model, .init = load, .timeout = 60)
{
    refuse_config("model_type", json_string("roberta"),
                  TEXTS("config.json: ", "\"roberta\"", "not supported"));
    refuse_config("model_type", json_integer(4), TEXTS("config.json: ", "not supported"));
    refuse_config("position_embedding_type", json_string("relative_key"),
                  TEXTS("config.json: ", "relative_key"));
    refuse_config("is_decoder", json_true(), TEXTS("config.json: ", "decoder"));
}

Test(refusal, numbers_that_are_none, .init = load, .timeout = 60)
{
    refuse_config("hidden_size", NULL, TEXTS("config.json: \"hidden_size\" must be"));
    refuse_config("hidden_size", json_string("40"), TEXTS("config.json: \"hidden_size\""));
    refuse_config("hidden_size", json_real(40), TEXTS("config.json: \"hidden_size\""));
    refuse_config("hidden_size", json_integer(0), TEXTS("config.json: \"hidden_size\""));
    refuse_config("hidden_size", json_integer(-40), TEXTS("config.json: \"hidden_size\""));
    refuse_config("num_hidden_layers", json_integer(INT64_MAX), TEXTS("\"num_hidden_layers\""));
    refuse_config("vocab_size", json_integer(1 << 30), TEXTS("config.json: \"vocab_size\""));
}

static void refuse_config_text(const char *text, size_t size, const char *const texts[])
{
    sup_write(sup_format("%s/config.json", model), text, size);
    fixture_expect_import_refused(model, NULL, texts);
}

Test(refusal, a_config_that_is_no_json, .init = load, .timeout = 60)
{
    refuse_config_text("{\"a\": \"\xff\"}", 10, TEXTS("config.json: line 1"));
    refuse_config_text("[1]", 3, TEXTS("config.json: must hold a JSON object"));
    refuse_config_text("", 0, TEXTS("config.json: the file is empty"));
    refuse_config_text("{}{}", 4, TEXTS("config.json: line 1"));
}

Test(refusal, labels_that_contradict_the_classifier, .init = load, .timeout = 60)
{
    model = fixture_model("labelled", SUP_ARGS("--labels", "3"));
    refuse_config("id2label", json_pack("{s:s, s:s}", "0", "a", "1", "b"),
                  TEXTS("classifier.weight has 3 rows", "2 labels"));
}

Test(refusal, a_vocabulary_longer_than_the_word_table, .init = load, .timeout = 60)
{
    const char *path = sup_format("%s/vocab.txt", model);
    const char *text = sup_read(path, NULL);
    sup_write_text(path, sup_format("%sone-more", text));
    fixture_expect_import_refused(model, NULL, TEXTS("\"one-more\" with id 500", "vocab_size 500"));
}

Test(refusal, an_early_config_without_model_type_is_a_bert, .init = load, .timeout = 60)
{
    fixture_config(model, "model_type", NULL);
    fixture_config(model, "max_position_embeddings", NULL);
    fixture_expect_import_refused(model, NULL,
                                  TEXTS("[512, 40]")); /* the default of a missing key */
    fixture_config(model, "max_position_embeddings", json_integer(24));
    (void)sup_run_ok(SUP_ARGS("swchunk", "import", model, sup_path("out")));
    (void)sup_run_ok(SUP_ARGS("swchunk", "verify", sup_path("out")));
}

/* A name from a hostile file reaches the terminal without its control characters. */
Test(refusal, control_characters_do_not_reach_the_terminal, .init = load, .timeout = 60)
{
    static float values[40];
    (void)checkpoint_add(&checkpoint, "a\033[2Jb\n\rc", 40, 0, values);
    EXPECT_REFUSED("a?[2Jb??c");
}
