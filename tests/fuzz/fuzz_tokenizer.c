/* SPDX-License-Identifier: MIT */
/* The tokenizer's inputs: vocab.txt, tokenizer_config.json, tokenizer.json, and text.
 *
 * An input is up to six sections, each ended by the record separator (byte 1E): vocab.txt,
 * tokenizer_config.json, tokenizer.json, text, second text, and two bytes of options. An empty
 * section is a file or text that is not there. One without any separator is a text alone; it meets
 * a built-in vocabulary, as does a text that comes with neither vocabulary.
 */
#include <string.h>

#include <sw/tokenizer.h>

#include "fuzz.h"

enum { VOCAB, CONFIG, JSON, TEXT, PAIR, OPTIONS, SECTIONS };

struct section {
    const char *data; /* NULL when empty */
    size_t size;
};

static const char default_vocab[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n##a\n##b\nun\n##aff\n##able\n.\n,\n[\n]\n\u00e9\n"
    "##\u00e9\n\u4e16\n\u1112\n##\u1161\n##\u11ab\n##\u302e\n##\u0307\ni\n##i\nx\n##x\n";

static void split(const uint8_t *data, size_t size, struct section sections[SECTIONS])
{
    const char *at = (const char *)data, *end = at + size;
    memset(sections, 0, SECTIONS * sizeof *sections);
    if (!memchr(at, 0x1E, size)) {
        sections[TEXT] = (struct section){at, size};
        return;
    }
    for (int i = 0; i < SECTIONS && at < end; i++) {
        const char *stop = memchr(at, 0x1E, (size_t)(end - at));
        if (!stop)
            stop = end;
        if (stop > at)
            sections[i] = (struct section){at, (size_t)(stop - at)};
        at = stop < end ? stop + 1 : end;
    }
}

static sw_tokenizer *create(const struct section sections[SECTIONS])
{
    struct sw_tokenizer_files files = SW_INIT(struct sw_tokenizer_files);
    files.vocab = sections[VOCAB].data;
    files.vocab_size = sections[VOCAB].size;
    files.tokenizer_config = sections[CONFIG].data;
    files.tokenizer_config_size = sections[CONFIG].size;
    files.tokenizer = sections[JSON].data;
    files.tokenizer_size = sections[JSON].size;
    if (!files.vocab && !files.tokenizer) {
        files.vocab = default_vocab;
        files.vocab_size = sizeof default_vocab - 1;
    }
    char message[512] = "";
    sw_tokenizer *tokenizer = NULL;
    int result = sw_tokenizer_create(&files, message, sizeof message, &tokenizer);
    FUZZ_CHECK((result == 0) == (tokenizer != NULL));
    FUZZ_CHECK(result == 0 || message[0] != '\0');
    return tokenizer;
}

static void check_encoding(const sw_tokenizer *tokenizer, const struct sw_encoding *encoding,
                           const struct section sections[SECTIONS],
                           const struct sw_encode_options *options)
{
    FUZZ_CHECK(options->max_tokens == 0 || encoding->count <= options->max_tokens);
    FUZZ_CHECK(encoding->count >= (options->without_special_tokens ? 0u : 2u));
    for (uint32_t i = 0; i < encoding->count; i++) {
        int32_t type = encoding->type_ids[i];
        FUZZ_CHECK(sw_tokenizer_token(tokenizer, encoding->ids[i]) != NULL);
        FUZZ_CHECK(type == 0 || (type == 1 && sections[PAIR].data));
        FUZZ_CHECK(i == 0 || encoding->type_ids[i - 1] <= type);
        FUZZ_CHECK(encoding->starts[i] <= sections[type ? PAIR : TEXT].size);
    }
}

static int encode(const sw_tokenizer *tokenizer, const struct section sections[SECTIONS],
                  const struct sw_encode_options *options, struct sw_encoding *encoding)
{
    int result = sw_tokenizer_encode(tokenizer, sections[TEXT].data, sections[TEXT].size,
                                     sections[PAIR].data, sections[PAIR].size, options, encoding);
    if (result == 0)
        check_encoding(tokenizer, encoding, sections, options);
    else
        FUZZ_CHECK(encoding->count == 0);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct section sections[SECTIONS];
    split(data, size, sections);
    sw_tokenizer *tokenizer = create(sections);
    if (!tokenizer)
        return 0;
    struct sw_encode_options options = SW_INIT(struct sw_encode_options);
    struct sw_encoding whole = {0}, cut = {0};
    FUZZ_CHECK(encode(tokenizer, sections, &options, &whole) == 0);
    const uint8_t *bytes = (const uint8_t *)sections[OPTIONS].data;
    options.max_tokens = sections[OPTIONS].size > 0 ? bytes[0] : 8;
    options.truncation = (enum sw_truncation)(sections[OPTIONS].size > 1 ? bytes[1] & 3 : 0);
    options.without_special_tokens = sections[OPTIONS].size > 1 && (bytes[1] & 4);
    /* what fits is not changed by a limit */
    if (encode(tokenizer, sections, &options, &cut) == 0 && !options.without_special_tokens &&
        options.max_tokens >= whole.count) {
        FUZZ_CHECK(cut.count == whole.count);
        FUZZ_CHECK(memcmp(cut.ids, whole.ids, whole.count * sizeof *whole.ids) == 0);
    }
    sw_encoding_fini(&whole);
    sw_encoding_fini(&cut);
    sw_tokenizer_destroy(tokenizer);
    return 0;
}
