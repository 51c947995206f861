/* SPDX-License-Identifier: MIT */
/* Making tokenizers: vocab.txt, tokenizer_config.json, tokenizer.json; and every way in which they
 * can be wrong, each with a message that says which file and what.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"
#include "tokenizer/fixture.h"

/* ids:              0      1      2      3  4   5     6    7   8      9 */
#define SMALL_VOCAB "[UNK]\n[CLS]\n[SEP]\na\nb\nhello\n##b\nA\ncaf\u00e9\ncafe\n"

static int create(const char *vocab, const char *config, const char *json, char message[512],
                  sw_tokenizer **ret)
{
    struct sw_tokenizer_files files = SW_INIT(struct sw_tokenizer_files);
    files.vocab = vocab;
    files.vocab_size = vocab ? strlen(vocab) : 0;
    files.tokenizer_config = config;
    files.tokenizer_config_size = config ? strlen(config) : 0;
    files.tokenizer = json;
    files.tokenizer_size = json ? strlen(json) : 0;
    message[0] = '\0';
    return sw_tokenizer_create(&files, message, 512, ret);
}

static sw_tokenizer *make(const char *vocab, const char *config, const char *json)
{
    char message[512];
    sw_tokenizer *tokenizer = NULL;
    int result = create(vocab, config, json, message, &tokenizer);
    cr_assert(result == 0, "%d: %s", result, message);
    return tokenizer;
}

/* The files are refused with this code, and the message names each of the parts. */
static void refuse(const char *vocab, const char *config, const char *json, int code,
                   const char *part, const char *other_part)
{
    char message[512];
    sw_tokenizer *const untouched = (sw_tokenizer *)message, *tokenizer = untouched;
    int result = create(vocab, config, json, message, &tokenizer);
    cr_expect(result == code, "wanted %d, got %d: %s", code, result, message);
    cr_expect(strstr(message, part) && strstr(message, other_part),
              "\"%s\" names not both \"%s\" and \"%s\"", message, part, other_part);
    cr_expect_eq(tokenizer, untouched);
}

static void expect(sw_tokenizer *tokenizer, const char *text, const char *tokens)
{
    fixture_expect_tokens(tokenizer, text, strlen(text), tokens);
    sw_tokenizer_destroy(tokenizer);
}

TestSuite(tokenizer_files, .timeout = 30);

/* ---- vocab.txt ---------------------------------------------------------------------------------
 */

Test(tokenizer_files, line_ends_of_every_kind)
{
    static const char *const vocabs[] = {
        "[UNK]\n[CLS]\n[SEP]\nhello\n##o\n",
        "[UNK]\r\n[CLS]\r\n[SEP]\r\nhello\r\n##o\r\n",
        "[UNK]\r[CLS]\r[SEP]\rhello\r##o",
        "[UNK]\n[CLS]\n[SEP]\nhello\n##o",
        "\xEF\xBB\xBF[UNK]\n[CLS]\r\n[SEP]\nhello\n##o",
    };
    for (size_t i = 0; i < sizeof vocabs / sizeof *vocabs; i++) {
        sw_tokenizer *tokenizer = make(vocabs[i], NULL, NULL);
        cr_expect_eq(sw_tokenizer_vocab_size(tokenizer), 5);
        cr_expect_eq(sw_tokenizer_id(tokenizer, "##o"), 4);
        expect(tokenizer, "helloo", "[CLS] hello ##o [SEP]");
    }
}

Test(tokenizer_files, of_equal_lines_the_last_is_found)
{
    sw_tokenizer *tokenizer = make("[UNK]\n[CLS]\n[SEP]\na\n##b\na\n##b\n", NULL, NULL);
    cr_expect_eq(sw_tokenizer_id(tokenizer, "a"), 5);
    cr_expect_eq(sw_tokenizer_id(tokenizer, "##b"), 6);
    cr_expect_str_eq(sw_tokenizer_token(tokenizer, 3), "a");
    expect(tokenizer, "ab", "[CLS] a ##b [SEP]");
}

Test(tokenizer_files, empty_lines_count)
{
    sw_tokenizer *tokenizer = make("[UNK]\n\n[CLS]\n\n[SEP]\na\n", NULL, NULL);
    cr_expect_eq(sw_tokenizer_id(tokenizer, "a"), 5);
    expect(tokenizer, "a", "[CLS] a [SEP]");
}

Test(tokenizer_files, an_odd_vocabulary_is_refused)
{
    refuse(NULL, NULL, NULL, SW_EFORMAT, "vocab.txt", "tokenizer.json");
    refuse("", NULL, NULL, SW_EFORMAT, "vocab.txt", "empty");
    refuse("[CLS]\n[SEP]\na\n", NULL, NULL, SW_EFORMAT, "[UNK]", "unk_token");
    refuse("[UNK]\n[SEP]\na\n", NULL, NULL, SW_EFORMAT, "[CLS]", "cls_token");
    refuse("[UNK]\n[CLS]\na\n", NULL, NULL, SW_EFORMAT, "[SEP]", "sep_token");
    refuse("[UNK]\n[CLS]\n[SEP]\nab\xff\n", NULL, NULL, SW_EFORMAT, "vocab.txt: line 4",
           "not UTF-8 (byte 3)");
}

Test(tokenizer_files, arguments_are_checked)
{
    sw_tokenizer *tokenizer = NULL;
    struct sw_tokenizer_files files = {0};
    char message[8] = "";
    cr_expect_eq(sw_tokenizer_create(&files, message, sizeof message, &tokenizer), -EINVAL);
    cr_expect_eq(strlen(message), sizeof message - 1, "the message is cut to size");
    cr_expect_eq(sw_tokenizer_create(NULL, NULL, 0, &tokenizer), -EINVAL);
    cr_expect_null(tokenizer);
    sw_tokenizer_destroy(NULL);
    sw_encoding_fini(NULL);
}

/* ---- tokenizer_config.json
 * ----------------------------------------------------------------------- */

Test(tokenizer_files, config_sets_case_and_accents)
{
    expect(make(SMALL_VOCAB, "{}", NULL), "A caf\u00e9", "[CLS] a cafe [SEP]");
    /* what Hugging Face writes for "no limit" is larger than any integer */
    expect(make(SMALL_VOCAB,
                "{\"model_max_length\": 1000000000000000019884624838656, \"do_lower_case\": false}",
                NULL),
           "A", "[CLS] A [SEP]");
    expect(make(SMALL_VOCAB, "{\"do_lower_case\": false}", NULL), "A caf\u00e9",
           "[CLS] A caf\u00e9 [SEP]");
    expect(make(SMALL_VOCAB, "{\"do_lower_case\": false, \"strip_accents\": true}", NULL),
           "A caf\u00e9", "[CLS] A cafe [SEP]");
    expect(make(SMALL_VOCAB, "{\"strip_accents\": false}", NULL), "A caf\u00e9",
           "[CLS] a caf\u00e9 [SEP]");
    expect(make(SMALL_VOCAB, "{\"do_lower_case\": false, \"strip_accents\": null}", NULL),
           "A caf\u00e9", "[CLS] A caf\u00e9 [SEP]");
}

Test(tokenizer_files, config_sets_ideographs)
{
    static const char vocab[] = "[UNK]\n[CLS]\n[SEP]\n\u4e16\n##\u754c\n\u754c\n";
    expect(make(vocab, NULL, NULL), "\u4e16\u754c", "[CLS] \u4e16 \u754c [SEP]");
    expect(make(vocab, "{\"tokenize_chinese_chars\": false}", NULL), "\u4e16\u754c",
           "[CLS] \u4e16 ##\u754c [SEP]");
}

Test(tokenizer_files, config_names_the_special_tokens)
{
    static const char vocab[] = "<unk>\n<s>\n</s>\na\n<mask>\n";
    static const char config[] =
        "{\"unk_token\": \"<unk>\", \"cls_token\": {\"__type\": \"AddedToken\", \"content\": "
        "\"<s>\"}, \"sep_token\": \"</s>\", \"mask_token\": \"<mask>\", \"pad_token\": null}";
    expect(make(vocab, config, NULL), "a x<mask>a", "<s> a <unk> <mask> a </s>");
}

Test(tokenizer_files, config_adds_tokens)
{
    static const char config[] =
        "{\"additional_special_tokens\": [\"[E1]\", \"hello\"],"
        " \"added_tokens_decoder\": {"
        "  \"3\": {\"content\": \"a\", \"special\": true},"
        "  \"20\": {\"content\": \"[E2]\", \"special\": true, \"lstrip\": true},"
        "  \"21\": {\"content\": \"C++\", \"single_word\": true}}}";
    sw_tokenizer *tokenizer = make(SMALL_VOCAB, config, NULL);
    cr_expect_eq(sw_tokenizer_id(tokenizer, "[E2]"), 20);
    cr_expect_eq(sw_tokenizer_id(tokenizer, "C++"), 21);
    cr_expect_eq(sw_tokenizer_id(tokenizer, "[E1]"), 22, "new tokens come behind all others");
    cr_expect_eq(sw_tokenizer_vocab_size(tokenizer), 23);
    cr_expect_null(sw_tokenizer_token(tokenizer, 15), "a gap has no token");
    /* special: as written; not special: also after lower-casing, and here only as a word of its own
     */
    expect(tokenizer, "[E1]b [e1] xhellob c++ C++b",
           "[CLS] [E1] b [UNK] [UNK] [UNK] [UNK] hello b C++ [UNK] [UNK] [UNK] b [SEP]");
}

Test(tokenizer_files, a_vocabulary_grows_by_what_is_added_and_keeps_what_it_had)
{
    enum { ADDED_COUNT = 900 };
    const char *config = sup_format("{\"additional_special_tokens\": [\"[E0]\"");
    for (unsigned i = 1; i < ADDED_COUNT; i++)
        config = sup_format("%s, \"[E%u]\"", config, i);
    sw_tokenizer *tokenizer = make(SMALL_VOCAB, sup_format("%s]}", config), NULL);
    uint32_t size = sw_tokenizer_vocab_size(tokenizer);
    for (unsigned i = 0; i < ADDED_COUNT; i++) {
        int32_t id = (int32_t)(size - ADDED_COUNT + i);
        const char *text = sup_format("[E%u]", i);
        cr_assert_eq(sw_tokenizer_id(tokenizer, text), id, "%s", text);
        cr_assert_str_eq(sw_tokenizer_token(tokenizer, id), text);
    }
    expect(tokenizer, "a[E899]b hello", "[CLS] a [E899] b hello [SEP]");
}

Test(tokenizer_files, white_space_as_a_token_is_taken_once)
{
    static const char *const kinds[] = {"true", "false"};
    for (size_t i = 0; i < 2; i++) {
        const char *config =
            sup_format("{\"added_tokens_decoder\": {\"20\": {\"content\": \" \", \"special\": %s,"
                       " \"lstrip\": true, \"rstrip\": true}}}",
                       kinds[i]);
        expect(make(SMALL_VOCAB, config, NULL), "a    b ", "[CLS] a   b   [SEP]");
    }
}

Test(tokenizer_files, an_odd_config_is_refused)
{
    refuse(SMALL_VOCAB, "{", NULL, SW_EFORMAT, "tokenizer_config.json", "line 1");
    refuse(SMALL_VOCAB, "[]", NULL, SW_EFORMAT, "tokenizer_config.json", "object");
    refuse(SMALL_VOCAB, "{\"do_lower_case\": \"yes\"}", NULL, SW_EFORMAT, "do_lower_case",
           "true or false");
    refuse(SMALL_VOCAB, "{\"cls_token\": 3}", NULL, SW_EFORMAT, "cls_token", "string");
    refuse(SMALL_VOCAB, "{\"cls_token\": \"<s>\"}", NULL, SW_EFORMAT, "<s>", "cls_token");
    refuse(SMALL_VOCAB, "{\"additional_special_tokens\": 7}", NULL, SW_EFORMAT,
           "additional_special_tokens", "array");
    refuse(SMALL_VOCAB, "{\"additional_special_tokens\": [7]}", NULL, SW_EFORMAT,
           "tokenizer_config.json", "content");
    refuse(SMALL_VOCAB, "{\"added_tokens_decoder\": {\"x\": {\"content\": \"y\"}}}", NULL,
           SW_EFORMAT, "is not the id of an added token", "\"x\"");
    refuse(SMALL_VOCAB, "{\"added_tokens_decoder\": {\"3\": {\"content\": \"y\"}}}", NULL,
           SW_EFORMAT, "same id 3", "\"y\"");
    refuse(SMALL_VOCAB, "{\"added_tokens_decoder\": {\"99999999\": {\"content\": \"y\"}}}", NULL,
           SW_EFORMAT, "is not the id of an added token", "99999999");
    refuse(SMALL_VOCAB, "{\"tokenizer_class\": \"BertJapaneseTokenizer\"}", NULL, SW_EUNSUPPORTED,
           "BertJapaneseTokenizer", "ids");
}

/* ---- tokenizer.json
 * ------------------------------------------------------------------------------- */

#define NORMALIZER(rest) "\"normalizer\": {\"type\": \"BertNormalizer\"" rest "}"
#define PRE_TOKENIZER    "\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}"
#define MODEL(rest)                                                                                \
    "\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\","                               \
    " \"continuing_subword_prefix\": \"##\", \"max_input_chars_per_word\": 100," rest              \
    " \"vocab\": {\"[UNK]\": 0, \"[CLS]\": 1, \"[SEP]\": 2, \"a\": 3, \"b\": 4, \"##b\": 6,"       \
    " \"A\": 7, \"caf\u00e9\": 8, \"cafe\": 9, \"<s>\": 10}}"
#define DOCUMENT(parts) "{\"version\": \"1.0\", " parts "}"

Test(tokenizer_files, json_alone_is_enough)
{
    static const char json[] =
        DOCUMENT(NORMALIZER(", \"lowercase\": true") ", " PRE_TOKENIZER ", " MODEL(""));
    sw_tokenizer *tokenizer = make(NULL, NULL, json);
    cr_expect_eq(sw_tokenizer_vocab_size(tokenizer), 11);
    cr_expect_null(sw_tokenizer_token(tokenizer, 5), "a gap in the ids has no token");
    expect(tokenizer, "Ab caf\u00e9 c", "[CLS] a ##b cafe [UNK] [SEP]");
}

Test(tokenizer_files, json_sets_the_normalizer)
{
    expect(make(NULL, NULL,
                DOCUMENT(
                    NORMALIZER(", \"lowercase\": false, \"strip_accents\": null") ", " PRE_TOKENIZER
                                                                                  ", " MODEL(""))),
           "A caf\u00e9 a\x7f"
           "b",
           "[CLS] A caf\u00e9 a ##b [SEP]");
    expect(make(NULL, NULL,
                DOCUMENT(NORMALIZER(", \"lowercase\": true, \"strip_accents\": false,"
                                    " \"clean_text\": false") ", " PRE_TOKENIZER ", " MODEL(""))),
           "A caf\u00e9 a\x7f"
           "b a\v"
           "b",
           "[CLS] a caf\u00e9 [UNK] a b [SEP]");
    expect(make(NULL, NULL, DOCUMENT("\"normalizer\": null, " PRE_TOKENIZER ", " MODEL(""))),
           "A caf\u00e9", "[CLS] A caf\u00e9 [SEP]");
}

Test(tokenizer_files, config_overrides_json)
{
    static const char json[] = DOCUMENT(NORMALIZER(
        ", \"lowercase\": true, \"strip_accents\": false") ", " PRE_TOKENIZER ", " MODEL(""));
    expect(make(NULL, "{\"do_lower_case\": false}", json), "A caf\u00e9",
           "[CLS] A caf\u00e9 [SEP]");
    expect(make(NULL, "{\"strip_accents\": true}", json), "A caf\u00e9", "[CLS] a cafe [SEP]");
    expect(make(NULL, "{\"tokenizer_class\": \"BertTokenizer\"}", json), "A caf\u00e9",
           "[CLS] a caf\u00e9 [SEP]");
}

Test(tokenizer_files, json_sets_the_model)
{
    static const char other_prefix[] =
        DOCUMENT(NORMALIZER("") ", " PRE_TOKENIZER
                                ", \"model\": {\"type\": \"WordPiece\", \"unk_token\": \"<u>\","
                                " \"continuing_subword_prefix\": \"\","
                                " \"max_input_chars_per_word\": 3, \"vocab\": {\"<u>\": 0,"
                                " \"[CLS]\": 1, \"[SEP]\": 2, \"a\": 3, \"bc\": 4, \"b\": 5}}");
    expect(make(NULL, NULL, other_prefix), "abc aaa aaaa x", "[CLS] a bc a a a <u> <u> [SEP]");
}

Test(tokenizer_files, json_sets_the_special_tokens_around)
{
    static const char bert_processing[] = DOCUMENT(NORMALIZER("") ", " PRE_TOKENIZER ", " MODEL(
        "") ", \"post_processor\": {\"type\": \"BertProcessing\", \"cls\": [\"<s>\", 10],"
            " \"sep\": [\"[SEP]\", 2]}");
    expect(make(NULL, NULL, bert_processing), "a", "<s> a [SEP]");
    static const char template[] = DOCUMENT(NORMALIZER("") ", " PRE_TOKENIZER ", " MODEL(
        "") ", \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": ["
            "{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}},"
            "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}},"
            "{\"SpecialToken\": {\"id\": \"[SEP]\", \"type_id\": 0}}], \"pair\": []}");
    expect(make(NULL, NULL, template), "a", "<s> a [SEP]");
}

#define ADDED                                                                                      \
    "\"added_tokens\": [{\"id\": 1, \"content\": \"[CLS]\", \"special\": true, \"normalized\": "   \
    "false}, {\"id\": 11, \"content\": \"Word\", \"single_word\": true, \"normalized\": true},"    \
    "{\"id\": 12, \"content\": \"<e>\", \"lstrip\": true, \"rstrip\": true, \"normalized\": "      \
    "false}, {\"id\": 13, \"content\": \"<e><e>\", \"normalized\": false},"                        \
    "{\"id\": 14, \"content\": \"caf\u00c9\", \"normalized\": true}]"

Test(tokenizer_files, json_adds_tokens)
{
    static const char json[] =
        DOCUMENT(NORMALIZER("") ", " PRE_TOKENIZER ", " ADDED ", " MODEL(""));
    sw_tokenizer *tokenizer = make(NULL, NULL, json);
    cr_expect_eq(sw_tokenizer_id(tokenizer, "Word"), 11);
    cr_expect_eq(sw_tokenizer_vocab_size(tokenizer), 15);
    /* normalized tokens are found whatever the case; single words only between other things */
    expect(tokenizer, "a WORD aword word,b word", "[CLS] a Word [UNK] Word [UNK] b Word [SEP]");
    /* leftmost, then longest; the white space around goes with the token */
    tokenizer = make(NULL, NULL, json);
    expect(tokenizer, "a <e> b<e><e>b<e> <e>", "[CLS] a <e> b <e><e> b <e> <e> [SEP]");
    tokenizer = make(NULL, NULL, json);
    expect(tokenizer, "bcafe\u0301b", "[CLS] b caf\u00c9 b [SEP]");
}

Test(tokenizer_files, starts_survive_normalized_added_tokens)
{
    static const char json[] =
        DOCUMENT(NORMALIZER("") ", " PRE_TOKENIZER ", " ADDED ", " MODEL(""));
    static const uint32_t starts[] = {0, 0, 3, 8, 12, 13};
    static const char text[] = "\u00c1 word ab\u0301 b";
    sw_tokenizer *tokenizer = make(NULL, NULL, json);
    struct sw_encoding encoding = {0};
    cr_assert_eq(sw_tokenizer_encode(tokenizer, text, sizeof text - 1, NULL, 0, NULL, &encoding),
                 0);
    cr_assert_str_eq(fixture_tokens(tokenizer, &encoding), "[CLS] a Word a ##b b [SEP]");
    cr_expect_eq(encoding.starts[1], starts[1]);
    cr_expect_eq(encoding.starts[2], starts[2]);
    cr_expect_eq(encoding.starts[3], starts[3]);
    cr_expect_eq(encoding.starts[4], starts[3], "a continuation starts where its word does");
    cr_expect_eq(encoding.starts[5], 13);
    sw_encoding_fini(&encoding);
    sw_tokenizer_destroy(tokenizer);
}

Test(tokenizer_files, an_unsupported_json_is_refused_by_name)
{
    refuse(NULL, NULL,
           DOCUMENT("\"normalizer\": {\"type\": \"NFKC\"}, " PRE_TOKENIZER ", " MODEL("")),
           SW_EUNSUPPORTED, "normalizer", "NFKC");
    refuse(NULL, NULL,
           DOCUMENT(NORMALIZER("") ", \"pre_tokenizer\": {\"type\": \"ByteLevel\"}, " MODEL("")),
           SW_EUNSUPPORTED, "pre_tokenizer", "ByteLevel");
    refuse(NULL, NULL,
           DOCUMENT(NORMALIZER("") ", " PRE_TOKENIZER ", \"model\": {\"type\": \"BPE\"}"),
           SW_EUNSUPPORTED, "model", "BPE");
    refuse(NULL, NULL,
           DOCUMENT(NORMALIZER("") ", " PRE_TOKENIZER ", " MODEL(
               "") ", \"post_processor\": {\"type\": \"RobertaProcessing\"}"),
           SW_EUNSUPPORTED, "post_processor", "RobertaProcessing");
    refuse(NULL, NULL,
           DOCUMENT(NORMALIZER("") ", " PRE_TOKENIZER ", " MODEL(
               "") ", \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": ["
                   "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}]}"),
           SW_EUNSUPPORTED, "post_processor", "template");
}

Test(tokenizer_files, an_odd_json_is_refused)
{
    refuse(NULL, NULL, "{\"model\": ", SW_EFORMAT, "tokenizer.json", "line 1");
    refuse(NULL, NULL, DOCUMENT(NORMALIZER("") ", " MODEL("")), SW_EFORMAT, "tokenizer.json",
           "pre_tokenizer");
    refuse(NULL, NULL, DOCUMENT(NORMALIZER("") ", " PRE_TOKENIZER), SW_EFORMAT, "tokenizer.json",
           "model");
    refuse(NULL, NULL, DOCUMENT(NORMALIZER(", \"lowercase\": 1") ", " PRE_TOKENIZER ", " MODEL("")),
           SW_EFORMAT, "normalizer", "lowercase");
    refuse(NULL, NULL,
           DOCUMENT(NORMALIZER("") ", " PRE_TOKENIZER
                                   ", \"model\": {\"type\": \"WordPiece\", \"vocab\": []}"),
           SW_EFORMAT, "vocab", "object");
    refuse(NULL, NULL,
           DOCUMENT(NORMALIZER("") ", " PRE_TOKENIZER
                                   ", \"model\": {\"type\": \"WordPiece\", \"vocab\": {}}"),
           SW_EFORMAT, "tokenizer.json", "empty");
    refuse(NULL, NULL,
           DOCUMENT(NORMALIZER("") ", " PRE_TOKENIZER ", \"model\": {\"type\": \"WordPiece\","
                                   " \"vocab\": {\"a\": 0, \"b\": 0}}"),
           SW_EFORMAT, "same id 0", "\"b\"");
    refuse(NULL, NULL,
           DOCUMENT(NORMALIZER("") ", " PRE_TOKENIZER ", \"model\": {\"type\": \"WordPiece\","
                                   " \"vocab\": {\"a\": -1}}"),
           SW_EFORMAT, "not a whole number", "\"a\"");
    refuse(NULL, NULL,
           DOCUMENT(NORMALIZER("") ", " PRE_TOKENIZER ", \"model\": {\"type\": \"WordPiece\","
                                   " \"vocab\": {\"a\": 1.5}}"),
           SW_EFORMAT, "\"a\"", "whole");
    refuse(NULL, NULL,
           DOCUMENT(NORMALIZER("") ", " PRE_TOKENIZER ", \"model\": {\"type\": \"WordPiece\","
                                   " \"max_input_chars_per_word\": 0, \"vocab\": {\"a\": 0}}"),
           SW_EFORMAT, "max_input_chars_per_word", "1");
    refuse(NULL, NULL,
           DOCUMENT(NORMALIZER("") ", " PRE_TOKENIZER ", \"added_tokens\": [\"x\"], " MODEL("")),
           SW_EFORMAT, "added_tokens[0]", "id");
}

Test(tokenizer_files, nothing_needed_is_refused_elsewhere)
{
    /* tokenizer.json counts where both are there; padding, decoder and truncation length are ignored */
    static const char json[] = DOCUMENT(NORMALIZER("") ", " PRE_TOKENIZER ", " MODEL(
        "") ", \"decoder\": {\"type\": \"WordPiece\"}, \"padding\": {\"strategy\": 7},"
            " \"truncation\": {\"max_length\": 1, \"direction\": \"Left\"}");
    sw_tokenizer *tokenizer = make(SMALL_VOCAB, NULL, json);
    cr_expect_eq(sw_tokenizer_id(tokenizer, "hello"), -1);
    cr_expect_eq(sw_tokenizer_id(tokenizer, "<s>"), 10);
    struct sw_encode_options options = SW_INIT(struct sw_encode_options);
    options.max_tokens = 3;
    struct sw_encoding encoding = {0};
    cr_assert_eq(sw_tokenizer_encode(tokenizer, "a b", 3, NULL, 0, &options, &encoding), 0);
    cr_expect_str_eq(fixture_tokens(tokenizer, &encoding), "[CLS] b [SEP]");
    sw_encoding_fini(&encoding);
    sw_tokenizer_destroy(tokenizer);
}
