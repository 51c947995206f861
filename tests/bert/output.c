/* SPDX-License-Identifier: MIT */
/* What swbert prints, against the library's own results. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bert/fixture.h"

TestSuite(swbert_output, .init = swbert_start, .fini = swbert_stop, .timeout = 120);

static const char *text_of(json_t *line)
{
    return json_string_value(json_object_get(line, "text"));
}

/* The embedding of one text by the library. */
static void embed(sw_encoder *encoder, const char *text, size_t size, uint32_t max_tokens,
                  enum sw_pooling pooling, enum sw_normalize normalize, float *vector)
{
    const sw_tokenizer *tokenizer;
    cr_assert_eq(sw_encoder_tokenizer(encoder, &tokenizer), 0);
    struct sw_encoding encoding = {0};
    struct sw_encode_options options = SW_INIT(struct sw_encode_options);
    options.max_tokens = max_tokens;
    cr_assert_eq(sw_tokenizer_encode(tokenizer, text, size, NULL, 0, &options, &encoding), 0);
    struct sw_encoder_batch batch = SW_INIT(struct sw_encoder_batch);
    batch.sequences = 1;
    batch.lengths = &encoding.count;
    batch.ids = encoding.ids;
    cr_assert_eq(sw_encoder_embed(encoder, &batch, pooling, normalize, vector, SIZE_MAX), 0);
    sw_encoding_fini(&encoding);
}

static void expect_vector(json_t *line, const float *vector, size_t width)
{
    json_t *array = json_object_get(line, "embedding");
    cr_assert_eq(json_array_size(array), width);
    cr_expect_arr_eq(swbert_floats(array), vector, width * sizeof *vector,
                     "printed numbers must read back as the same float32");
}

Test(swbert_output, embed_prints_the_librarys_vectors)
{
    static const char *const texts[] = {"hello world", "", "  caf\u00e9\t\u4e16 \\ \"quoted\" ",
                                        "a\001b\x7f"};
    json_t *lines = SWBERT_LINES("hello world\n\n  caf\u00e9\t\u4e16 \\ \"quoted\" \na\001b\x7f\n",
                                 "embed", "--model", "tiny");
    cr_assert_eq(json_array_size(lines), 4);
    sw_encoder *encoder = swbert_open("tiny");
    for (size_t i = 0; i < 4; i++) {
        float vector[128];
        cr_expect_str_eq(text_of(json_array_get(lines, i)), texts[i]);
        embed(encoder, texts[i], strlen(texts[i]), 0, SW_POOLING_DEFAULT, 0, vector);
        expect_vector(json_array_get(lines, i), vector, 128);
    }
    json_decref(lines);
}

Test(swbert_output, embed_takes_any_bytes)
{
    static const char input[] = "a\xff"
                                "b\0c\r\n\xe4\xb8\nlast line without an end";
    json_t *lines =
        swbert_lines(input, sizeof input - 1, SUP_ARGS("swbert", "embed", "--model", "tiny"));
    cr_assert_eq(json_array_size(lines), 3);
    json_t *text = json_object_get(json_array_get(lines, 0), "text");
    static const char expected[] = "a\uFFFD"
                                   "b\0c\r";
    cr_expect_eq(json_string_length(text), sizeof expected - 1);
    cr_expect_arr_eq(json_string_value(text), expected, sizeof expected);
    cr_expect_str_eq(text_of(json_array_get(lines, 1)), "\uFFFD");
    cr_expect_str_eq(text_of(json_array_get(lines, 2)), "last line without an end");
    /* neither the malformed byte nor NUL nor the carriage return is part of a token */
    float vector[128];
    embed(swbert_open("tiny"), "abc", 3, 0, SW_POOLING_DEFAULT, 0, vector);
    expect_vector(json_array_get(lines, 0), vector, 128);
    json_decref(lines);
}

Test(swbert_output, nothing_in_nothing_out)
{
    struct sup_result result = SWBERT("", "embed", "--model", "tiny");
    cr_expect_eq(result.exit_code, 0);
    cr_expect_str_eq(result.out, "");
    result = SWBERT("", "tokenize", "--model", "tiny");
    cr_expect_eq(result.exit_code, 0);
    cr_expect_str_eq(result.out, "");
}

Test(swbert_output, batches_change_nothing)
{
    static const char input[] =
        "one\ntwo words\nthree words here\nand four of them\n\nsix\nseven\n";
    const char *first = SWBERT(input, "embed", "--model", "tiny").out;
    cr_assert_neq(*first, '\0');
    static const char *const sizes[] = {"1", "2", "3", "4096"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        cr_expect_str_eq(SWBERT(input, "embed", "--model", "tiny", "--batch-size", sizes[i]).out,
                         first);
    cr_expect_str_eq(SWBERT(input, "embed", "--model", "tiny", "--threads", "2").out, first);
}

Test(swbert_output, pooling_and_length)
{
    static const struct {
        const char *name;
        enum sw_pooling pooling;
    } kinds[] = {{"cls", SW_POOLING_CLS},
                 {"mean", SW_POOLING_MEAN},
                 {"max", SW_POOLING_MAX},
                 {"pooler", SW_POOLING_POOLER}};
    sw_encoder *encoder = swbert_open("tiny");
    for (size_t i = 0; i < 4; i++) {
        float vector[128];
        double squares = 0;
        embed(encoder, "some text", 9, 0, kinds[i].pooling, 0, vector);
        json_t *lines =
            SWBERT_LINES("some text\n", "embed", "--model", "tiny", "--pooling", kinds[i].name);
        expect_vector(json_array_get(lines, 0), vector, 128);
        json_decref(lines);
        lines = SWBERT_LINES("some text\n", "embed", "--model", "tiny", "--pooling", kinds[i].name,
                             "--normalize");
        embed(encoder, "some text", 9, 0, kinds[i].pooling, 1, vector);
        expect_vector(json_array_get(lines, 0), vector, 128);
        for (size_t j = 0; j < 128; j++)
            squares += (double)vector[j] * (double)vector[j];
        cr_expect_float_eq(sqrt(squares), 1, 1e-6);
        json_decref(lines);
    }
}

Test(swbert_output, texts_are_cut_to_what_the_model_reads)
{
    static const char text[] = "a b c d e f g h i j k l m n o p q r s t u v w x y z\n";
    sw_encoder *encoder = swbert_open("bare");
    float vector[48];
    json_t *lines = SWBERT_LINES(text, "embed", "--model", "bare");
    embed(encoder, text, sizeof text - 1, 16, SW_POOLING_DEFAULT, 0, vector);
    expect_vector(json_array_get(lines, 0), vector, 48);
    json_decref(lines);
    lines = SWBERT_LINES(text, "embed", "--model", "bare", "--max-tokens", "5");
    embed(encoder, text, sizeof text - 1, 5, SW_POOLING_DEFAULT, 0, vector);
    expect_vector(json_array_get(lines, 0), vector, 48);
    json_decref(lines);
}

Test(swbert_output, stats_go_to_standard_error)
{
    static const char input[] = "a b c d e f g h i j k l m n o p q r s t u v w x y z\na\n";
    struct sup_result result = SWBERT(input, "embed", "--model", "bare", "--stats");
    cr_expect_eq(result.exit_code, 0);
    cr_expect(strstr(result.err, "2 texts (1 cut), 19 tokens, 1 passes in "), "%s", result.err);
    cr_expect_str_eq(result.out, SWBERT(input, "embed", "--model", "bare").out);
}

Test(swbert_output, npy_holds_the_same_vectors)
{
    static const char input[] = "one\ntwo words\n\nfour\n";
    struct sup_result result =
        SWBERT(input, "embed", "--model", "tiny", "--format", "npy", "--batch-size", "3");
    cr_assert_eq(result.exit_code, 0);
    static const char magic[] = "\x93NUMPY\x01";
    cr_assert_gt(result.out_size, 10);
    cr_expect_arr_eq(result.out, magic, sizeof magic);
    size_t header = (size_t)(uint8_t)result.out[8] + 256 * (size_t)(uint8_t)result.out[9];
    cr_expect_eq((10 + header) % 64, 0);
    cr_assert_eq(result.out_size, 10 + header + 4 * 128 * sizeof(float));
    cr_expect(memmem(result.out, 10 + header, "'shape': (4, 128)", 17));
    cr_expect(memmem(result.out, 10 + header, "'descr': '<f4'", 14));
    cr_expect_eq(result.out[9 + header], '\n');
    json_t *lines = SWBERT_LINES(input, "embed", "--model", "tiny");
    for (size_t i = 0; i < 4; i++) {
        float vector[128];
        memcpy(vector, result.out + 10 + header + i * sizeof vector, sizeof vector);
        expect_vector(json_array_get(lines, i), vector, 128);
    }
    json_decref(lines);
    result = SWBERT("", "embed", "--model", "tiny", "--format", "npy");
    cr_expect(memmem(result.out, result.out_size, "'shape': (0, 128)", 17));
}

Test(swbert_output, forward_prints_the_librarys_states)
{
    static const int32_t ids[] = {2, 7, 9, 3}, types[] = {0, 0, 1, 1};
    static const uint8_t mask[] = {1, 1, 0, 1};
    const uint32_t length = 4;
    float hidden[4 * 128], pooled[128];
    struct sw_encoder_batch batch = SW_INIT(struct sw_encoder_batch);
    batch.sequences = 1;
    batch.lengths = &length;
    batch.ids = ids;
    batch.type_ids = types;
    batch.mask = mask;
    struct sw_encoder_output output = SW_INIT(struct sw_encoder_output);
    output.last_hidden_state = hidden;
    output.pooler_output = pooled;
    cr_assert_eq(sw_encoder_forward(swbert_open("tiny"), &batch, &output), 0);
    json_t *lines = SWBERT_LINES("", "forward", "--model", "tiny", "--ids", " 2,7 9\t3 ",
                                 "--type-ids", "0 0 1 1", "--mask", "1 1 0 1");
    cr_assert_eq(json_array_size(lines), 1);
    json_t *line = json_array_get(lines, 0), *states = json_object_get(line, "last_hidden_state");
    cr_assert_eq(json_array_size(states), 4);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(json_array_size(json_array_get(states, i)), 128);
        cr_expect_arr_eq(swbert_floats(json_array_get(states, i)), hidden + i * 128,
                         128 * sizeof *hidden);
    }
    json_t *pooler = json_object_get(line, "pooler_output");
    cr_assert_eq(json_array_size(pooler), 128);
    cr_expect_arr_eq(swbert_floats(pooler), pooled, sizeof pooled);
    json_decref(lines);
}

Test(swbert_output, no_pooler_is_null)
{
    json_t *lines = SWBERT_LINES("", "forward", "--model", "bare", "--ids", "2 3");
    json_t *line = json_array_get(lines, 0);
    cr_expect(json_is_null(json_object_get(line, "pooler_output")));
    cr_expect_eq(json_array_size(json_object_get(line, "last_hidden_state")), 2);
    json_decref(lines);
}

Test(swbert_output, tokenize_prints_ids_and_tokens)
{
    static const char input[] = "[CLS] a, b [MASK]\n\n\xff \"\n";
    const sw_tokenizer *tokenizer;
    cr_assert_eq(sw_encoder_tokenizer(swbert_open("tiny"), &tokenizer), 0);
    json_t *lines = SWBERT_LINES(input, "tokenize", "--model", "tiny");
    cr_assert_eq(json_array_size(lines), 3);
    static const char *const tokens[] = {"[CLS]", "[CLS]", "a", ",", "b", "[MASK]", "[SEP]"};
    json_t *first = json_array_get(lines, 0);
    cr_assert_eq(json_array_size(json_object_get(first, "tokens")), 7);
    cr_assert_eq(json_array_size(json_object_get(first, "ids")), 7);
    for (size_t i = 0; i < 7; i++) {
        cr_expect_str_eq(json_string_value(json_array_get(json_object_get(first, "tokens"), i)),
                         tokens[i]);
        cr_expect_eq(json_integer_value(json_array_get(json_object_get(first, "ids"), i)),
                     sw_tokenizer_id(tokenizer, tokens[i]));
    }
    cr_expect_eq(json_array_size(json_object_get(json_array_get(lines, 1), "ids")), 2);
    cr_expect_eq(json_array_size(json_object_get(json_array_get(lines, 2), "ids")), 3);
    json_decref(lines);
    lines = SWBERT_LINES("a b c d\n", "tokenize", "--model", "tiny", "--max-tokens", "3",
                         "--no-special-tokens");
    cr_expect_eq(json_array_size(json_object_get(json_array_get(lines, 0), "ids")), 3);
    json_decref(lines);
}
