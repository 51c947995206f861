/* SPDX-License-Identifier: MIT */
/* swbert tokenize: texts to token ids. */
#include <stdio.h>
#include <string.h>

#include "programs/bert/command.h"
#include "programs/bert/texts.h"

static int print_encoding(const sw_tokenizer *tokenizer, const struct sw_encoding *encoding)
{
    (void)fputs("{\"ids\":", stdout);
    print_ids(encoding->ids, encoding->count);
    (void)fputs(",\"tokens\":[", stdout);
    for (uint32_t i = 0; i < encoding->count; i++) {
        const char *token = sw_tokenizer_token(tokenizer, encoding->ids[i]);
        if (i > 0)
            (void)putchar(',');
        if (!print_string(token, strlen(token)))
            return command_fail("tokenize", "no memory for a token");
    }
    (void)fputs("]}\n", stdout);
    return EXIT_DONE;
}

static int tokenize_texts(const sw_tokenizer *tokenizer, const struct sw_encode_options *encode,
                          struct texts *texts, struct sw_encoding *encoding)
{
    struct text text;
    enum lines_next next;
    while ((next = texts_next(texts, true, &text)) == LINES_LINE) {
        int result = sw_tokenizer_encode(tokenizer, text.data, text.size, text.pair, text.pair_size,
                                         encode, encoding);
        if (result < 0)
            return command_fail("tokenize", "line %llu: %s",
                                (unsigned long long)texts->lines.number, sw_strerror(result));
        int status = print_encoding(tokenizer, encoding);
        if (status != EXIT_DONE || ferror(stdout))
            return status;
    }
    return next == LINES_END ? EXIT_DONE : EXIT_FAILED;
}

int command_tokenize(int argc, char **argv)
{
    struct command_options common = {.threads = 1};
    struct sw_encode_options encode = SW_INIT(struct sw_encode_options);
    struct texts texts = {.pairs = true};
    bool bare = false;
    const struct cli_option options[] = {
        {"max-tokens", "N", "cut texts to N tokens, special tokens included (default: never)",
         .number = &encode.max_tokens, .least = 1, .most = INT32_MAX},
        {"no-special-tokens", NULL, "leave out [CLS] and [SEP]", .flag = &bare},
        TEXTS_OPTIONS(texts),
        {0},
    };
    const struct cli_command command = {
        .program = "swbert",
        .name = "tokenize",
        .operands = "<TEXTS",
        .about = "Print {\"ids\":[…], \"tokens\":[…]} for each text on standard input.",
        .options = options};
    int status;
    if (!command_parse(&command, argc, argv, &common, &status))
        return status;
    encode.without_special_tokens = bare;
    if (encode.max_tokens == 1 && !encode.without_special_tokens)
        return command_usage("tokenize", "--max-tokens 1 leaves no room for [CLS] and [SEP]");
    struct worker worker;
    struct sw_encoding encoding = {0};
    const sw_tokenizer *tokenizer;
    status = texts_begin(&texts, "tokenize");
    if (status != EXIT_DONE)
        return status;
    status = worker_open("tokenize", &common, &worker);
    if (status == EXIT_DONE)
        status = worker_tokenizer(&worker, &tokenizer);
    if (status == EXIT_DONE)
        status = tokenize_texts(tokenizer, &encode, &texts, &encoding);
    if (status == EXIT_DONE)
        worker_print_stats(&worker, texts.lines.number, 0);
    sw_encoding_fini(&encoding);
    texts_fini(&texts);
    worker_close(&worker);
    return status;
}
