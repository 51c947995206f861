/* SPDX-License-Identifier: MIT */
/* swbert classify: texts, or pairs of texts, to labels and scores. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "programs/bert/command.h"
#include "programs/bert/texts.h"

struct classify {
    struct worker worker;
    const sw_tokenizer *tokenizer;
    struct sw_classes classes;
    struct sw_encode_options encode;
    struct sw_encoding encoding;
    struct texts texts;
    float *scores; /* [classes] */
};

static int begin(struct classify *classify)
{
    const struct sw_encoder_config *config = &classify->worker.config;
    if (classify->encode.max_tokens > config->max_positions)
        return command_fail("classify", "--max-tokens %u: this model reads at most %u",
                            classify->encode.max_tokens, config->max_positions);
    if (classify->encode.max_tokens == 0)
        classify->encode.max_tokens = classify->worker.config.max_tokens;
    int result = sw_encoder_get_classes(classify->worker.encoder, &classify->classes);
    if (result < 0)
        return worker_fail(&classify->worker, result);
    classify->scores = calloc(classify->classes.count, sizeof *classify->scores);
    if (!classify->scores)
        return command_fail("classify", "no memory for %u scores", classify->classes.count);
    return worker_tokenizer(&classify->worker, &classify->tokenizer);
}

static bool print_label(const struct classify *classify, uint32_t index)
{
    const char *name = classify->classes.names[index];
    return print_string(name, strlen(name));
}

/* The "label" or "labels" member, with its comma. */
static bool print_verdict(const struct classify *classify)
{
    const struct sw_classes *classes = &classify->classes;
    uint32_t best = 0, listed = 0;
    bool printed = true;
    switch (classes->problem) {
    case SW_PROBLEM_REGRESSION:
        break;
    case SW_PROBLEM_SINGLE_LABEL:
        for (uint32_t i = 1; i < classes->count; i++)
            best = classify->scores[i] > classify->scores[best] ? i : best;
        (void)fputs(",\"label\":", stdout);
        printed = print_label(classify, best);
        break;
    case SW_PROBLEM_MULTI_LABEL:
        (void)fputs(",\"labels\":[", stdout);
        for (uint32_t i = 0; printed && i < classes->count; i++) {
            if (classify->scores[i] < 0.5f)
                continue;
            if (listed++ > 0)
                (void)putchar(',');
            printed = print_label(classify, i);
        }
        (void)putchar(']');
        break;
    }
    return printed;
}

static int print_result(const struct classify *classify, const char *text, size_t size)
{
    uint32_t count = classify->classes.count;
    if (first_odd(classify->scores, count) < count)
        return command_fail(
            "classify",
            "the scores of line %llu are not finite: check the weights with swchunk verify",
            (unsigned long long)classify->texts.lines.number);
    (void)fputs("{\"text\":", stdout);
    bool printed = print_string(text, size) && print_verdict(classify);
    (void)fputs(",\"scores\":{", stdout);
    for (uint32_t i = 0; printed && i < count; i++) {
        if (i > 0)
            (void)putchar(',');
        printed = print_label(classify, i);
        (void)printf(":%.9g", (double)classify->scores[i]);
    }
    (void)fputs("}}\n", stdout);
    return printed ? EXIT_DONE : command_fail("classify", "no memory to print a line");
}

static int classify_text(struct classify *classify, const struct text *text)
{
    int result = sw_tokenizer_encode(classify->tokenizer, text->data, text->size, text->pair,
                                     text->pair_size, &classify->encode, &classify->encoding);
    if (result < 0)
        return command_fail("classify", "line %llu: %s",
                            (unsigned long long)classify->texts.lines.number, sw_strerror(result));
    struct sw_encoder_batch batch = SW_INIT(struct sw_encoder_batch);
    batch.sequences = 1;
    batch.lengths = &classify->encoding.count;
    batch.ids = classify->encoding.ids;
    batch.type_ids = classify->encoding.type_ids;
    result = sw_encoder_classify(classify->worker.encoder, &batch, NULL, classify->scores);
    return result < 0 ? worker_fail(&classify->worker, result)
                      : print_result(classify, text->shown, text->shown_size);
}

static int classify_texts(struct classify *classify)
{
    struct text text;
    enum lines_next next;
    while ((next = texts_next(&classify->texts, true, &text)) == LINES_LINE) {
        int status = classify_text(classify, &text);
        if (status != EXIT_DONE || ferror(stdout))
            return status;
    }
    return next == LINES_END ? EXIT_DONE : EXIT_FAILED;
}

int command_classify(int argc, char **argv)
{
    struct command_options common = {.threads = 1};
    struct classify classify = {.encode = SW_INIT(struct sw_encode_options),
                                .classes = SW_INIT(struct sw_classes),
                                .texts = {.pairs = true}};
    const struct cli_option options[] = {
        {"pairs", NULL, "read two texts from each line, with a tab between them",
         .flag = &classify.texts.tabs},
        TEXTS_OPTIONS(classify.texts),
        {"max-tokens", "N", "cut texts to N tokens (default: the model's limit)",
         .number = &classify.encode.max_tokens, .least = 3, .most = INT32_MAX},
        {0},
    };
    const struct cli_command command = {.program = "swbert",
                                        .name = "classify",
                                        .operands = "<TEXTS",
                                        .about =
                                            "Print {\"text\":…, \"label\":…, \"scores\":{LABEL:…}} "
                                            "for each text on standard input. For a\n"
                                            "model of several labels at once, \"labels\" lists "
                                            "those that score 0.5 or more; a regression has\n"
                                            "no label.",
                                        .options = options};
    int status;
    if (!command_parse(&command, argc, argv, &common, &status))
        return status;
    status = texts_begin(&classify.texts, "classify");
    if (status == EXIT_DONE)
        status = worker_open("classify", &common, &classify.worker);
    if (status == EXIT_DONE)
        status = begin(&classify);
    if (status == EXIT_DONE)
        status = classify_texts(&classify);
    if (status == EXIT_DONE)
        worker_print_stats(&classify.worker, classify.texts.lines.number, 0);
    free(classify.scores);
    texts_fini(&classify.texts);
    sw_encoding_fini(&classify.encoding);
    worker_close(&classify.worker);
    return status;
}
