/* SPDX-License-Identifier: MIT */
/* Which of a model's files its tokenizer is made from, and how long its texts may be: seen through
 * swbert, on copies of one model with other files beside the same weights.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "bert/fixture.h"

#define TOKENIZER_JSON(lowercase)                                                                  \
    "{\"added_tokens\": [{\"id\": 4, \"content\": \"FROMJSON\", \"special\": true}],"              \
    " \"normalizer\": {\"type\": \"BertNormalizer\", \"lowercase\": " lowercase "},"               \
    " \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}, \"model\": {\"type\": \"WordPiece\","   \
    " \"vocab\": {\"[PAD]\": 0, \"[UNK]\": 1, \"[CLS]\": 2, \"[SEP]\": 3, \"FROMJSON\": 4,"        \
    " \"json\": 5, \"JSON\": 6}}}"
#define VOCAB "[PAD]\n[UNK]\n[CLS]\n[SEP]\nFROMJSON\njson\nJSON\ntxt\n"

static const char *catalog;
static struct sup_broker broker;

/* A model of the catalog with just these files for its tokenizer (NULL: not there). */
static void make(const char *name, const char *vocab, const char *config, const char *tokenizer)
{
    const struct {
        const char *name, *text;
    } files[] = {
        {"vocab.txt", vocab}, {"tokenizer_config.json", config}, {"tokenizer.json", tokenizer}};
    sup_synth(catalog, name,
              SUP_ARGS("--vocab-size", "64", "--layers", "1", "--hidden", "16", "--intermediate",
                       "32", "--max-positions", "32"));
    for (size_t i = 0; i < 3; i++) {
        const char *path = sup_format("%s/%s/%s", catalog, name, files[i].name);
        if (sup_exists(path))
            sup_remove_tree(path);
        if (files[i].text)
            sup_write_text(path, files[i].text);
    }
}

static void add_file(const char *model, const char *name, const char *text)
{
    sup_write_text(sup_format("%s/%s/%s", catalog, model, name), text);
}

static void set_up(void)
{
    catalog = sup_path("models");
    sup_mkdir(catalog);
}

static void serve(void)
{
    broker = sup_broker_start(catalog, "16M", NULL);
}

static void tear_down(void)
{
    cr_expect_eq(sup_broker_stop(&broker), 0);
}

TestSuite(swbert_models, .init = set_up, .fini = tear_down, .timeout = 120);

/* The tokens of "json JSON txt FROMJSON", without [CLS] and [SEP]. */
static void expect_tokens(const char *model, const char *const tokens[4])
{
    json_t *lines = SWBERT_LINES("json JSON txt FROMJSON\n", "tokenize", "--model", model,
                                 "--no-special-tokens");
    json_t *got = json_object_get(json_array_get(lines, 0), "tokens");
    cr_assert_eq(json_array_size(got), 4, "%s: %s", model, json_dumps(got, 0));
    for (size_t i = 0; i < 4; i++)
        cr_expect_str_eq(json_string_value(json_array_get(got, i)), tokens[i], "%s: token %zu",
                         model, i);
    json_decref(lines);
}
#define EXPECT_TOKENS(model, ...) expect_tokens(model, (const char *const[]){__VA_ARGS__})

Test(swbert_models, the_files_that_a_tokenizer_is_made_from)
{
    make("txt", VOCAB, NULL, NULL);
    make("json", NULL, NULL, TOKENIZER_JSON("false"));
    make("both", VOCAB, NULL, TOKENIZER_JSON("false"));
    /* what the config says of casing and added tokens wins; the vocabulary is tokenizer.json's */
    make("settled", VOCAB, "{\"do_lower_case\": false}", TOKENIZER_JSON("true"));
    make("open-case", VOCAB, "{\"model_max_length\": 512}", TOKENIZER_JSON("false"));
    make("open-tokens", VOCAB, "{\"do_lower_case\": false}", TOKENIZER_JSON("true"));
    add_file("open-tokens", "added_tokens.json", "{\"FROMJSON\": 4}");
    make("listed-tokens", VOCAB,
         "{\"do_lower_case\": true, \"added_tokens_decoder\": {\"4\": {\"content\": \"FROMJSON\","
         " \"special\": true}}}",
         TOKENIZER_JSON("false"));
    add_file("listed-tokens", "added_tokens.json", "{\"FROMJSON\": 4}");
    serve();
    EXPECT_TOKENS("txt", "json", "json", "txt", "[UNK]");
    EXPECT_TOKENS("json", "json", "JSON", "[UNK]", "FROMJSON");
    EXPECT_TOKENS("both", "json", "JSON", "[UNK]", "FROMJSON");
    EXPECT_TOKENS("settled", "json", "JSON", "[UNK]", "FROMJSON");
    EXPECT_TOKENS("open-case", "json", "JSON", "[UNK]", "FROMJSON");
    EXPECT_TOKENS("open-tokens", "json", "JSON", "[UNK]", "FROMJSON");
    EXPECT_TOKENS("listed-tokens", "json", "json", "[UNK]", "FROMJSON");
}

/* One line on stderr that names both parts. */
static void expect_failure(const char *model, const char *part, const char *other_part)
{
    struct sup_result result = SWBERT("text\n", "embed", "--model", model);
    cr_expect_eq(result.exit_code, 1);
    cr_expect_str_eq(result.out, "");
    cr_expect(strstr(result.err, part) && strstr(result.err, other_part), "%s", result.err);
    const char *feed = strchr(result.err, '\n');
    cr_expect(feed && feed[1] == '\0', "not one line: %s", result.err);
}

Test(swbert_models, a_tokenizer_that_cannot_be_made)
{
    make("nothing", NULL, NULL, NULL);
    make("no-unk", "[CLS]\n[SEP]\na\n", NULL, NULL);
    make("bad-config", VOCAB, "{", NULL);
    make("bad-json", NULL, NULL, "{\"model\": {\"type\": \"BPE\"}}");
    serve();
    expect_failure("nothing", "vocab.txt", "tokenizer.json");
    expect_failure("no-unk", "[UNK]", "unk_token");
    expect_failure("bad-config", "tokenizer_config.json", "line 1");
    expect_failure("bad-json", "tokenizer.json", "pre_tokenizer");
    /* ids need no tokenizer */
    json_decref(SWBERT_LINES("", "forward", "--model", "nothing", "--ids", "2 3"));
}

/* How many tokens embed gives the model of a text that has many. */
static unsigned tokens_of(const char *model)
{
    char text[201], *at;
    memset(text, ',', sizeof text - 2);
    text[sizeof text - 2] = '\n';
    text[sizeof text - 1] = '\0';
    struct sup_result result = SWBERT(text, "embed", "--model", model, "--stats");
    unsigned tokens = 0;
    cr_assert_eq(result.exit_code, 0, "%s", result.err);
    at = strstr(result.err, "cut), ");
    cr_assert(at && sscanf(at, "cut), %u tokens", &tokens) == 1, "%s", result.err);
    return tokens;
}

Test(swbert_models, how_long_a_text_may_be)
{
    make("positions", VOCAB, NULL, NULL);
    make("config", VOCAB, "{\"model_max_length\": 20}", NULL);
    make("sentence", VOCAB, "{\"model_max_length\": 20}", NULL);
    add_file("sentence", "sentence_bert_config.json", "{\"max_seq_length\": 10}");
    make("no-limit", VOCAB, "{\"model_max_length\": 1000000000000000019884624838656}", NULL);
    make("odd", VOCAB, "{\"model_max_length\": \"many\"}", NULL);
    make("broken", VOCAB, NULL, NULL);
    add_file("broken", "sentence_bert_config.json", "not JSON");
    make("longer", VOCAB, "{\"model_max_length\": 10}", NULL);
    add_file("longer", "sentence_bert_config.json", "{\"max_seq_length\": 20}");
    serve();
    cr_expect_eq(tokens_of("positions"), 32);
    cr_expect_eq(tokens_of("config"), 20);
    cr_expect_eq(tokens_of("sentence"), 10);
    cr_expect_eq(tokens_of("no-limit"), 32);
    cr_expect_eq(tokens_of("odd"), 32);
    cr_expect_eq(tokens_of("longer"), 20);
    expect_failure("broken", "sentence_bert_config.json", "line 1");
}
