/* SPDX-License-Identifier: MIT */
/* Texts with known ids: every rule on a small vocabulary made for it, and texts in many scripts on
 * published vocabularies. The ids of the rules were worked out by hand and agree with Hugging Face's
 * tokenizers 0.23.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"
#include "tokenizer/fixture.h"

static void check_rules(const char *vocab, const char *name, const char *config)
{
    sw_tokenizer *tokenizer = fixture_tokenizer(fixture_path(vocab), config);
    json_t *lines = fixture_lines(fixture_path(name));
    cr_assert(json_array_size(lines) > 0);
    for (size_t i = 0; i < json_array_size(lines); i++) {
        json_t *line = json_array_get(lines, i);
        fixture_expect(tokenizer, json_object_get(line, "text"), json_object_get(line, "ids"),
                       json_string_value(json_object_get(line, "rule")));
    }
    json_decref(lines);
    sw_tokenizer_destroy(tokenizer);
}

Test(tokenizer_vectors, every_rule_uncased, .timeout = 60)
{
    check_rules("vocab.txt", "uncased.jsonl", NULL);
}

Test(tokenizer_vectors, every_rule_cased, .timeout = 60)
{
    check_rules("vocab.txt", "cased.jsonl", "{\"do_lower_case\": false}");
}

Test(tokenizer_vectors, every_rule_lower_cased_with_accents, .timeout = 60)
{
    check_rules("vocab.txt", "uncased-accents.jsonl",
                "{\"do_lower_case\": true, \"strip_accents\": false}");
}

/* Texts in many scripts on the parts of published vocabularies that they use; published.py made them. */
Test(tokenizer_vectors, many_scripts_uncased, .timeout = 60)
{
    check_rules("published-uncased-vocab.txt", "published-uncased.jsonl", NULL);
}

Test(tokenizer_vectors, many_scripts_cased, .timeout = 60)
{
    check_rules("published-cased-vocab.txt", "published-cased.jsonl", "{\"do_lower_case\": false}");
}

/* Lines of the shared files where transformers.js, which made them, departs from Hugging Face's
 * own tokenizers, and the ids that those give. */
struct exception {
    size_t line;
    const char *why;
    const char *ids;
};

/* JavaScript lower-cases a whole string and makes the last sigma of a word final; the tokenizers
 * crate lower-cases code point by code point. */
#define FINAL_SIGMA "final sigma"
/* transformers.js matches ideographs by UTF-16 units and so misses those beyond U+FFFF. */
#define SUPPLEMENTARY "ideographs beyond U+FFFF stand alone"

static const struct exception uncased_exceptions[] = {
    {13, FINAL_SIGMA,
     "[101,9960,1104,14540,4817,1096,1096,1173,18199,29733,29735,29736,15297,1173,14608,29733,"
     "102]"},
    {20, SUPPLEMENTARY, "[101,100,100,100,100,100,4012,4502,2102,102]"},
    {0},
};

static const struct exception cased_exceptions[] = {
    {20, SUPPLEMENTARY, "[101,100,100,100,100,7398,10212,18115,102]"},
    {0},
};

static void check_published(const char *vocab, const char *config, const char *name,
                            const struct exception *exception)
{
    vocab = sup_test_data(vocab);
    name = sup_test_data(name);
    sw_tokenizer *tokenizer = fixture_tokenizer(vocab, config);
    json_t *lines = fixture_lines(name);
    cr_assert(json_array_size(lines) >= 300);
    for (size_t i = 0; i < json_array_size(lines); i++) {
        json_t *line = json_array_get(lines, i), *ids = json_object_get(line, "ids");
        const char *what = sup_format("%s: line %zu", name, i + 1);
        if (exception->line == i + 1) {
            what = sup_format("%s (%s)", what, exception->why);
            json_t *right = json_loads(exception->ids, 0, NULL);
            cr_expect_not(json_equal(ids, right), "%s: no longer an exception", what);
            fixture_expect(tokenizer, json_object_get(line, "text"), right, what);
            json_decref(right);
            exception++;
        } else {
            fixture_expect(tokenizer, json_object_get(line, "text"), ids, what);
        }
    }
    cr_expect_eq(exception->line, 0, "exceptions beyond the last line");
    json_decref(lines);
    sw_tokenizer_destroy(tokenizer);
}

Test(tokenizer_vectors, bert_base_uncased, .timeout = 60)
{
    check_published("models/bert-tiny/vocab.txt", NULL, "tokenization/bert-base-uncased.jsonl",
                    uncased_exceptions);
}

Test(tokenizer_vectors, bert_base_multilingual_cased, .timeout = 60)
{
    check_published("tokenization/bert-base-multilingual-cased-vocab.txt",
                    "{\"do_lower_case\": false}", "tokenization/bert-base-multilingual-cased.jsonl",
                    cased_exceptions);
}
