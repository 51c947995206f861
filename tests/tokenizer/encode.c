/* SPDX-License-Identifier: MIT */
/* The public calls on one tokenizer: special tokens, pairs, truncation, reuse, and text that nobody
 * checked.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"
#include "tokenizer/fixture.h"

static sw_tokenizer *tokenizer;
static struct sw_encoding encoding;

static void set_up(void)
{
    tokenizer = fixture_tokenizer(fixture_path("vocab.txt"), NULL);
}

static void tear_down(void)
{
    sw_encoding_fini(&encoding);
    sw_tokenizer_destroy(tokenizer);
}

TestSuite(tokenizer_encode, .init = set_up, .fini = tear_down, .timeout = 60);

static int encode_pair(const char *text, const char *pair, struct sw_encode_options options)
{
    options.size = sizeof options;
    return sw_tokenizer_encode(tokenizer, text, strlen(text), pair, pair ? strlen(pair) : 0,
                               &options, &encoding);
}

static void expect_pair(const char *text, const char *pair, struct sw_encode_options options,
                        const char *tokens)
{
    int result = encode_pair(text, pair, options);
    cr_assert(result == 0, "%s", sw_strerror(result));
    cr_expect_str_eq(fixture_tokens(tokenizer, &encoding), tokens);
}

Test(tokenizer_encode, special_tokens_surround_a_text)
{
    expect_pair("hello", NULL, (struct sw_encode_options){0}, "[CLS] hello [SEP]");
    expect_pair("", NULL, (struct sw_encode_options){0}, "[CLS] [SEP]");
    expect_pair("hello", NULL, (struct sw_encode_options){.without_special_tokens = 1}, "hello");
    expect_pair("", NULL, (struct sw_encode_options){.without_special_tokens = 1}, "");
}

Test(tokenizer_encode, a_pair_has_types_zero_and_one)
{
    static const int32_t types[] = {0, 0, 0, 0, 0, 1, 1, 1};
    expect_pair("unaffable", "a b", (struct sw_encode_options){0},
                "[CLS] un ##aff ##able [SEP] a b [SEP]");
    cr_expect_arr_eq(encoding.type_ids, types, sizeof types);
    expect_pair("a", "", (struct sw_encode_options){0}, "[CLS] a [SEP] [SEP]");
    cr_expect_eq(encoding.type_ids[3], 1);
    expect_pair("a", "b", (struct sw_encode_options){.without_special_tokens = 1}, "a b");
    cr_expect_eq(encoding.type_ids[0], 0);
    cr_expect_eq(encoding.type_ids[1], 1);
}

Test(tokenizer_encode, starts_are_byte_offsets_of_words)
{
    /* a, é (2 bytes), unaffable, 世 (3 bytes), [MASK], ! */
    static const uint32_t starts[] = {0, 0, 2, 5, 5, 5, 14, 17, 23, 24};
    expect_pair("a \u00e9 unaffable\u4e16[MASK]!", NULL, (struct sw_encode_options){0},
                "[CLS] a e un ##aff ##able \u4e16 [MASK] ! [SEP]");
    cr_expect_arr_eq(encoding.starts, starts, sizeof starts);
}

/* ---- truncation --------------------------------------------------------------------------------
 */

Test(tokenizer_encode, a_text_keeps_its_beginning)
{
    struct sw_encode_options options = {.max_tokens = 4};
    expect_pair("a b a b", NULL, options, "[CLS] a b [SEP]");
    expect_pair("unaffable", NULL, options, "[CLS] un ##aff [SEP]");
    options.truncation = SW_TRUNCATE_FIRST;
    expect_pair("a b a b", NULL, options, "[CLS] a b [SEP]");
    options.max_tokens = 2;
    options.truncation = SW_TRUNCATE_LONGEST_FIRST;
    expect_pair("a b a b", NULL, options, "[CLS] [SEP]");
    options = (struct sw_encode_options){.max_tokens = 3, .without_special_tokens = 1};
    expect_pair("a b a b", NULL, options, "a b a");
}

Test(tokenizer_encode, what_fits_is_left_alone)
{
    for (int strategy = SW_TRUNCATE_LONGEST_FIRST; strategy <= SW_TRUNCATE_NEVER; strategy++) {
        struct sw_encode_options options = {.max_tokens = 7,
                                            .truncation = (enum sw_truncation)strategy};
        expect_pair("a b", "a b", options, "[CLS] a b [SEP] a b [SEP]");
        expect_pair("a b a b a", NULL, options, "[CLS] a b a b a [SEP]");
    }
}

/* Texts of n times a and m times b; how many of each stay when 7 have room. As the tokenizers
 * crate's rule has it: the shorter stays whole where the longer can make up for it. */
Test(tokenizer_encode, longest_first_shares_the_room)
{
    static const unsigned cases[][4] = {
        {0, 0, 0, 0}, {0, 2, 0, 2}, {0, 4, 0, 4}, {0, 8, 0, 7}, {2, 0, 2, 0}, {2, 4, 2, 4},
        {2, 8, 2, 5}, {4, 0, 4, 0}, {4, 2, 4, 2}, {4, 4, 3, 4}, {4, 8, 3, 4}, {8, 0, 7, 0},
        {8, 2, 5, 2}, {8, 4, 4, 3}, {8, 8, 3, 4}, {9, 8, 3, 4}, {8, 7, 3, 4}, {8, 6, 4, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32] = "", pair[32] = "";
        for (unsigned j = 0; j < cases[i][0]; j++)
            strcat(text, "a ");
        for (unsigned j = 0; j < cases[i][1]; j++)
            strcat(pair, "b ");
        struct sw_encode_options options = {.max_tokens = 7, .without_special_tokens = 1};
        cr_assert_eq(encode_pair(text, pair, options), 0);
        unsigned kept[2] = {0, 0};
        for (uint32_t j = 0; j < encoding.count; j++)
            kept[encoding.type_ids[j]]++;
        cr_expect(kept[0] == cases[i][2] && kept[1] == cases[i][3],
                  "%u and %u tokens: wanted %u and %u, got %u and %u", cases[i][0], cases[i][1],
                  cases[i][2], cases[i][3], kept[0], kept[1]);
    }
}

Test(tokenizer_encode, one_of_a_pair_gives_up_tokens)
{
    struct sw_encode_options options = {.max_tokens = 6, .truncation = SW_TRUNCATE_FIRST};
    expect_pair("a b a b", "b b", options, "[CLS] a [SEP] b b [SEP]");
    options.truncation = SW_TRUNCATE_SECOND;
    expect_pair("b b", "a b a b", options, "[CLS] b b [SEP] a [SEP]");
}

Test(tokenizer_encode, room_for_nothing_leaves_the_special_tokens)
{
    for (int strategy = SW_TRUNCATE_LONGEST_FIRST; strategy <= SW_TRUNCATE_SECOND; strategy++)
        expect_pair(
            "a b", "b",
            (struct sw_encode_options){.max_tokens = 3, .truncation = (enum sw_truncation)strategy},
            "[CLS] [SEP] [SEP]");
}

Test(tokenizer_encode, what_cannot_be_cut_is_an_error)
{
    struct sw_encode_options options = {.max_tokens = 6, .truncation = SW_TRUNCATE_FIRST};
    cr_expect_eq(encode_pair("a b", "a b a b a b", options), -E2BIG);
    cr_expect_eq(encoding.count, 0);
    options.truncation = SW_TRUNCATE_SECOND;
    cr_expect_eq(encode_pair("a b a b a b", "a b", options), -E2BIG);
    cr_expect_eq(encode_pair("a b a b a b", NULL, options), -EINVAL, "there is no second text");
    options.truncation = SW_TRUNCATE_NEVER;
    cr_expect_eq(encode_pair("a b a b a", NULL, options), -E2BIG);
    cr_expect_eq(encode_pair("a b", "a b", options), -E2BIG);
}

Test(tokenizer_encode, room_for_the_special_tokens_is_needed)
{
    cr_expect_eq(encode_pair("a", NULL, (struct sw_encode_options){.max_tokens = 1}), -EINVAL);
    cr_expect_eq(encode_pair("a", "b", (struct sw_encode_options){.max_tokens = 2}), -EINVAL);
}

Test(tokenizer_encode, truncation_from_the_left)
{
    sw_tokenizer_destroy(tokenizer);
    tokenizer = fixture_tokenizer(fixture_path("vocab.txt"), "{\"truncation_side\": \"left\"}");
    struct sw_encode_options options = {.max_tokens = 4};
    expect_pair("a hello b want", NULL, options, "[CLS] b want [SEP]");
    options.max_tokens = 6;
    expect_pair("a hello b want", "a b", options, "[CLS] b want [SEP] b [SEP]");
}

/* ---- calls
 * ----------------------------------------------------------------------------------------- */

Test(tokenizer_encode, tokens_and_ids_are_each_others_inverse)
{
    cr_expect_eq(sw_tokenizer_vocab_size(tokenizer), 78);
    for (int32_t id = 0; id < 78; id++)
        cr_expect_eq(sw_tokenizer_id(tokenizer, sw_tokenizer_token(tokenizer, id)), id);
    cr_expect_null(sw_tokenizer_token(tokenizer, -1));
    cr_expect_null(sw_tokenizer_token(tokenizer, 78));
    cr_expect_null(sw_tokenizer_token(tokenizer, INT32_MAX));
    cr_expect_eq(sw_tokenizer_id(tokenizer, "no such token"), -1);
    cr_expect_eq(sw_tokenizer_id(tokenizer, ""), -1);
}

Test(tokenizer_encode, arguments_are_checked)
{
    struct sw_encode_options options = {0};
    cr_expect_eq(sw_tokenizer_encode(tokenizer, NULL, 1, NULL, 0, NULL, &encoding), -EINVAL);
    cr_expect_eq(sw_tokenizer_encode(tokenizer, "a", 1, NULL, 1, NULL, &encoding), -EINVAL);
    cr_expect_eq(sw_tokenizer_encode(tokenizer, "a", 1, NULL, 0, NULL, NULL), -EINVAL);
    cr_expect_eq(sw_tokenizer_encode(tokenizer, "a", 1, NULL, 0, &options, &encoding), -EINVAL,
                 "size is not set");
    cr_expect_eq(sw_tokenizer_encode(tokenizer, NULL, 0, NULL, 0, NULL, &encoding), 0);
}

Test(tokenizer_encode, a_warm_encoding_keeps_its_buffers)
{
    expect_pair("hello hello hello", NULL, (struct sw_encode_options){0},
                "[CLS] hello hello hello [SEP]");
    const struct sw_encoding before = encoding;
    for (int i = 0; i < 1000; i++)
        expect_pair("unaffable caf\u00e9", "a b", (struct sw_encode_options){0},
                    "[CLS] un ##aff ##able cafe [SEP] a b [SEP]");
    cr_expect(before.ids == encoding.ids && before.type_ids == encoding.type_ids &&
              before.starts == encoding.starts && before.scratch == encoding.scratch);
}

/* ---- text that nobody checked
 * --------------------------------------------------------------------- */

#define BYTES(text) text, sizeof text - 1

Test(tokenizer_encode, malformed_utf8_is_dropped_as_u_fffd)
{
    fixture_expect_tokens(tokenizer,
                          BYTES("a\xff"
                                "b"),
                          "[CLS] a ##b [SEP]");
    fixture_expect_tokens(tokenizer, BYTES("a\xe4\xb8 b"), "[CLS] a b [SEP]");
    fixture_expect_tokens(tokenizer, BYTES("a\xed\xa0\x80 b"), "[CLS] a b [SEP]");
    fixture_expect_tokens(tokenizer, BYTES("a\xc0\xafz"), "[CLS] a ##z [SEP]");
    fixture_expect_tokens(tokenizer, BYTES("\xf0\x9f\x98"), "[CLS] [SEP]");
    fixture_expect_tokens(tokenizer, BYTES("\xf4\x90\x80\x80 a"), "[CLS] a [SEP]");
    fixture_expect_tokens(tokenizer, BYTES("[SEP\xff] [SEP]\xff[SEP]"),
                          "[CLS] [ [UNK] ] [SEP] [SEP] [SEP]");
    /* the sequence that is cut short ends where the next character begins */
    fixture_expect_tokens(tokenizer, BYTES("a\xe4\xb8\xe4\xb8\x96"), "[CLS] a \u4e16 [SEP]");
}

Test(tokenizer_encode, malformed_utf8_stays_where_nothing_is_cleaned)
{
    /* Each malformed sequence is one U+FFFD, as long as its well-formed beginning, as Python
     * decodes with errors="replace". */
    static const char vocab[] = "[UNK]\n[CLS]\n[SEP]\n\uFFFD\n##\uFFFD\na\n##a\n";
    static const char json[] =
        "{\"normalizer\": null, \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"},"
        " \"model\": {\"type\": \"WordPiece\"}}";
    struct sw_tokenizer_files files = SW_INIT(struct sw_tokenizer_files);
    files.vocab = vocab;
    files.vocab_size = sizeof vocab - 1;
    files.tokenizer = json;
    files.tokenizer_size = sizeof json - 1;
    sw_tokenizer *plain;
    cr_assert_eq(sw_tokenizer_create(&files, NULL, 0, &plain), 0);
    fixture_expect_tokens(plain, BYTES("a\xff"), "[CLS] a ##\uFFFD [SEP]");
    fixture_expect_tokens(plain,
                          BYTES("\xf0\x9f\x98"
                                "a"),
                          "[CLS] \uFFFD ##a [SEP]");
    fixture_expect_tokens(plain, BYTES("\xed\xa0\x80"), "[CLS] \uFFFD ##\uFFFD ##\uFFFD [SEP]");
    fixture_expect_tokens(plain, BYTES("\xc0\xaf"), "[CLS] \uFFFD ##\uFFFD [SEP]");
    fixture_expect_tokens(plain, BYTES("\xe4\xb8"), "[CLS] \uFFFD [SEP]");
    fixture_expect_tokens(plain, BYTES("\xf0\x80\x80"), "[CLS] \uFFFD ##\uFFFD ##\uFFFD [SEP]");
    fixture_expect_tokens(plain, BYTES("\xf5\x80"), "[CLS] \uFFFD ##\uFFFD [SEP]");
    sw_tokenizer_destroy(plain);
}

Test(tokenizer_encode, a_line_of_ten_megabytes)
{
    size_t size = 10u << 20;
    char *text = malloc(size);
    cr_assert(text);
    for (size_t i = 0; i < size; i += 2) {
        text[i] = 'a';
        text[i + 1] = ' ';
    }
    cr_expect_eq(sw_tokenizer_encode(tokenizer, text, size, NULL, 0, NULL, &encoding), 0);
    cr_expect_eq(encoding.count, size / 2 + 2);
    struct sw_encode_options options = SW_INIT(struct sw_encode_options);
    options.max_tokens = 512;
    cr_expect_eq(sw_tokenizer_encode(tokenizer, text, size, text, size, &options, &encoding), 0);
    cr_expect_eq(encoding.count, 512);
    free(text);
}

Test(tokenizer_encode, a_word_of_ten_megabytes)
{
    size_t size = 10u << 20;
    char *text = malloc(size);
    cr_assert(text);
    memset(text, 'x', size);
    cr_expect_eq(sw_tokenizer_encode(tokenizer, text, size, NULL, 0, NULL, &encoding), 0);
    cr_expect_str_eq(fixture_tokens(tokenizer, &encoding), "[CLS] [UNK] [SEP]");
    /* nothing but marks, in the order that canonical ordering likes least: U+302E above U+1D165 */
    for (size_t i = 0; i + 7 <= size; i += 7)
        memcpy(text + i, "\u302e\U0001d165", 7);
    cr_expect_eq(sw_tokenizer_encode(tokenizer, text, size / 7 * 7, NULL, 0, NULL, &encoding), 0);
    cr_expect_str_eq(fixture_tokens(tokenizer, &encoding), "[CLS] [UNK] [SEP]");
    free(text);
}

Test(tokenizer_encode, early_ends_change_nothing)
{
    /* max_tokens lets encoding stop early: the beginning must be the same as without a limit */
    const char *text = "unaffable hello, caf\u00e9 \u4e16\u754c [MASK] unwanted! running a b";
    struct sw_encoding whole = {0};
    struct sw_encode_options options = SW_INIT(struct sw_encode_options);
    cr_assert_eq(sw_tokenizer_encode(tokenizer, text, strlen(text), NULL, 0, NULL, &whole), 0);
    for (options.max_tokens = 2; options.max_tokens < whole.count; options.max_tokens++) {
        cr_assert_eq(
            sw_tokenizer_encode(tokenizer, text, strlen(text), NULL, 0, &options, &encoding), 0);
        cr_assert_eq(encoding.count, options.max_tokens);
        cr_expect_arr_eq(encoding.ids, whole.ids, (encoding.count - 1) * sizeof *whole.ids);
        cr_expect_eq(encoding.ids[encoding.count - 1], sw_tokenizer_id(tokenizer, "[SEP]"));
    }
    sw_encoding_fini(&whole);
}
