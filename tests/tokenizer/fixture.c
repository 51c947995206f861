/* SPDX-License-Identifier: MIT */
/* Common ground of the tokenizer's tests. */
#include "tokenizer/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

sw_tokenizer *fixture_tokenizer(const char *vocab_path, const char *config)
{
    struct sw_tokenizer_files files = SW_INIT(struct sw_tokenizer_files);
    files.vocab = sup_read(vocab_path, &files.vocab_size);
    files.tokenizer_config = config;
    files.tokenizer_config_size = config ? strlen(config) : 0;
    char message[512] = "";
    sw_tokenizer *tokenizer = NULL;
    int result = sw_tokenizer_create(&files, message, sizeof message, &tokenizer);
    cr_assert(result == 0, "%s: %s", vocab_path, message);
    return tokenizer;
}

const char *fixture_path(const char *name)
{
    return sup_format("%s/tests/tokenizer/%s", SW_SOURCE_DIR, name);
}

json_t *fixture_lines(const char *path)
{
    size_t size;
    char *data = sup_read(path, &size);
    json_t *lines = json_array();
    for (char *line = data, *end; line < data + size; line = end + 1) {
        end = memchr(line, '\n', (size_t)(data + size - line));
        cr_assert(end, "%s: the last line has no end", path);
        json_error_t problem;
        json_t *object = json_loadb(line, (size_t)(end - line), JSON_ALLOW_NUL, &problem);
        cr_assert(object, "%s: line %zu: %s", path, json_array_size(lines) + 1, problem.text);
        json_array_append_new(lines, object);
    }
    return lines;
}

void fixture_expect(const sw_tokenizer *tokenizer, json_t *text, json_t *ids, const char *what)
{
    struct sw_encoding encoding = {0};
    int result = sw_tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text),
                                     NULL, 0, NULL, &encoding);
    cr_assert(result == 0, "%s: %s", what, sw_strerror(result));
    bool same = encoding.count == json_array_size(ids);
    for (uint32_t i = 0; i < encoding.count && same; i++)
        same = encoding.ids[i] == json_integer_value(json_array_get(ids, i));
    cr_expect(same, "%s: \"%s\": wanted %s, got %s", what, json_string_value(text),
              json_dumps(ids, JSON_COMPACT), fixture_tokens(tokenizer, &encoding));
    sw_encoding_fini(&encoding);
}

const char *fixture_tokens(const sw_tokenizer *tokenizer, const struct sw_encoding *encoding)
{
    const char *tokens = "";
    for (uint32_t i = 0; i < encoding->count; i++) {
        const char *token = sw_tokenizer_token(tokenizer, encoding->ids[i]);
        tokens = sup_format("%s%s%s", tokens, i ? " " : "", token ? token : "?");
    }
    return tokens;
}

void fixture_expect_tokens(const sw_tokenizer *tokenizer, const char *text, size_t size,
                           const char *tokens)
{
    struct sw_encoding encoding = {0};
    int result = sw_tokenizer_encode(tokenizer, text, size, NULL, 0, NULL, &encoding);
    cr_assert(result == 0, "%s", sw_strerror(result));
    const char *got = fixture_tokens(tokenizer, &encoding);
    cr_expect(strcmp(got, tokens) == 0, "\"%.*s\": wanted %s, got %s", (int)size, text, tokens,
              got);
    sw_encoding_fini(&encoding);
}
