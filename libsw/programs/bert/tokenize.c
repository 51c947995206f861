/* SPDX-License-Identifier: MIT */
/* swbert tokenize: texts to token ids. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "programs/bert/command.h"

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

static int tokenize_lines(const sw_tokenizer *tokenizer, const struct sw_encode_options *encode,
                          struct lines *lines, struct sw_encoding *encoding)
{
    const char *text;
    size_t size;
    enum lines_next next;
    while ((next = command_next_line("tokenize", lines, true, &text, &size)) == LINES_LINE) {
        int result = sw_tokenizer_encode(tokenizer, text, size, NULL, 0, encode, encoding);
        if (result < 0)
            return command_fail("tokenize", "line %llu: %s", (unsigned long long)lines->number,
                                sw_strerror(result));
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
    bool bare = false;
    const struct cli_option options[] = {
        {"max-tokens", "N", "cut texts to N tokens, special tokens included (default: never)",
         .number = &encode.max_tokens, .least = 1, .most = INT32_MAX},
        {"no-special-tokens", NULL, "leave out [CLS] and [SEP]", .flag = &bare},
        {0},
    };
    const struct cli_command command = {
        .program = "swbert",
        .name = "tokenize",
        .operands = "<TEXTS",
        .about = "Print {\"ids\":[…], \"tokens\":[…]} for each line of standard input.",
        .options = options};
    int status;
    if (!command_parse(&command, argc, argv, &common, &status))
        return status;
    encode.without_special_tokens = bare;
    if (encode.max_tokens == 1 && !encode.without_special_tokens)
        return command_usage("tokenize", "--max-tokens 1 leaves no room for [CLS] and [SEP]");
    struct worker worker;
    struct lines lines = {.fd = STDIN_FILENO};
    struct sw_encoding encoding = {0};
    const sw_tokenizer *tokenizer;
    status = worker_open("tokenize", &common, &worker);
    if (status == EXIT_DONE)
        status = worker_tokenizer(&worker, &tokenizer);
    if (status == EXIT_DONE)
        status = tokenize_lines(tokenizer, &encode, &lines, &encoding);
    if (status == EXIT_DONE)
        worker_print_stats(&worker, lines.number, 0);
    sw_encoding_fini(&encoding);
    lines_fini(&lines);
    worker_close(&worker);
    return status;
}
