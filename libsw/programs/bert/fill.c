/* SPDX-License-Identifier: MIT */
/* swbert fill: texts with [MASK] in them to the words that fit best there. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "programs/bert/command.h"
#include "programs/bert/texts.h"

struct fill {
    uint32_t top;
    struct worker worker;
    const sw_tokenizer *tokenizer;
    int32_t mask_id;
    struct sw_encode_options encode;
    struct sw_encoding encoding;
    struct texts texts;
    uint32_t *masks; /* [max_tokens] places of the mask in the text */
    float *logits;   /* [capacity, vocab] */
    uint32_t capacity;
};

static int begin(struct fill *fill)
{
    int status = worker_tokenizer(&fill->worker, &fill->tokenizer);
    if (status != EXIT_DONE)
        return status;
    fill->mask_id = sw_tokenizer_special(fill->tokenizer, SW_SPECIAL_MASK);
    if (fill->mask_id < 0)
        return command_fail("fill", "the tokenizer of the model %s has no mask token",
                            fill->worker.options.model);
    if (fill->top > fill->worker.config.vocab_size)
        fill->top = fill->worker.config.vocab_size;
    fill->encode.max_tokens = fill->worker.config.max_tokens;
    fill->masks = calloc(fill->encode.max_tokens, sizeof *fill->masks);
    return fill->masks ? EXIT_DONE : command_fail("fill", "out of memory");
}

/* The best tokens of one mask, one after the other; takes each from the logits. */
static int print_mask(const struct fill *fill, float *logits)
{
    uint32_t vocab = fill->worker.config.vocab_size;
    if (first_odd(logits, vocab) < vocab)
        return command_fail("fill",
                            "the scores are not finite: check the weights with swchunk verify");
    double largest = -HUGE_VAL, sum = 0;
    for (uint32_t i = 0; i < vocab; i++)
        largest = fmax(largest, (double)logits[i]);
    for (uint32_t i = 0; i < vocab; i++)
        sum += exp((double)logits[i] - largest);
    (void)putchar('[');
    for (uint32_t n = 0; n < fill->top; n++) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < vocab; i++)
            best = logits[i] > logits[best] ? i : best;
        const char *token = sw_tokenizer_token(fill->tokenizer, (int32_t)best);
        token = token ? token : "";
        (void)fputs(n ? ",{\"token\":" : "{\"token\":", stdout);
        if (!print_string(token, strlen(token)))
            return command_fail("fill", "no memory to print a token");
        (void)printf(",\"id\":%u,\"score\":%.9g}", best, exp((double)logits[best] - largest) / sum);
        logits[best] = -HUGE_VALF;
    }
    (void)putchar(']');
    return EXIT_DONE;
}

static int fill_masks(struct fill *fill, uint32_t count)
{
    if (count > fill->capacity) {
        free(fill->logits);
        fill->capacity = count;
        fill->logits = calloc((size_t)count * fill->worker.config.vocab_size, sizeof *fill->logits);
        if (!fill->logits) {
            fill->capacity = 0;
            return command_fail("fill", "no memory for %u masks on line %llu", count,
                                (unsigned long long)fill->texts.lines.number);
        }
    }
    struct sw_encoder_batch batch = SW_INIT(struct sw_encoder_batch);
    batch.sequences = 1;
    batch.lengths = &fill->encoding.count;
    batch.ids = fill->encoding.ids;
    int result = sw_encoder_fill(fill->worker.encoder, &batch, fill->masks, count, fill->logits);
    return result < 0 ? worker_fail(&fill->worker, result) : EXIT_DONE;
}

static uint32_t count_masks(struct fill *fill, bool keep)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < fill->encoding.count; i++) {
        if (fill->encoding.ids[i] != fill->mask_id)
            continue;
        if (keep)
            fill->masks[count] = i;
        count++;
    }
    return count;
}

/* There is no mask in what the model reads: is there one in the whole text? */
static int fail_without_mask(struct fill *fill, const char *text, size_t size)
{
    const char *mask = sw_tokenizer_token(fill->tokenizer, fill->mask_id);
    unsigned long long line = fill->texts.lines.number;
    struct sw_encode_options whole = SW_INIT(struct sw_encode_options);
    if (sw_tokenizer_encode(fill->tokenizer, text, size, NULL, 0, &whole, &fill->encoding) == 0 &&
        count_masks(fill, false) > 0)
        return command_fail("fill",
                            "line %llu: its %s is beyond the %u tokens that the model reads; "
                            "shorten the text",
                            line, mask, fill->encode.max_tokens);
    return command_fail("fill", "line %llu has no %s", line, mask);
}

static int fill_text(struct fill *fill, const char *text, size_t size)
{
    int result =
        sw_tokenizer_encode(fill->tokenizer, text, size, NULL, 0, &fill->encode, &fill->encoding);
    if (result < 0)
        return command_fail("fill", "line %llu: %s", (unsigned long long)fill->texts.lines.number,
                            sw_strerror(result));
    uint32_t count = count_masks(fill, true);
    if (count == 0)
        return fail_without_mask(fill, text, size);
    int status = fill_masks(fill, count);
    if (status != EXIT_DONE)
        return status;
    (void)fputs("{\"text\":", stdout);
    if (!print_string(text, size))
        return command_fail("fill", "no memory to print a line");
    (void)fputs(",\"masks\":[", stdout);
    for (uint32_t i = 0; status == EXIT_DONE && i < count; i++) {
        if (i > 0)
            (void)putchar(',');
        status = print_mask(fill, fill->logits + (size_t)i * fill->worker.config.vocab_size);
    }
    (void)fputs("]}\n", stdout);
    return status;
}

static int fill_texts(struct fill *fill)
{
    struct text text;
    enum lines_next next;
    while ((next = texts_next(&fill->texts, true, &text)) == LINES_LINE) {
        int status = fill_text(fill, text.data, text.size);
        if (status != EXIT_DONE || ferror(stdout))
            return status;
    }
    return next == LINES_END ? EXIT_DONE : EXIT_FAILED;
}

int command_fill(int argc, char **argv)
{
    struct command_options common = {.threads = 1};
    struct fill fill = {.top = 5, .encode = SW_INIT(struct sw_encode_options)};
    const struct cli_option options[] = {
        {"top", "N", "print N tokens for each mask (default: 5)", .number = &fill.top, .least = 1,
         .most = 100},
        TEXTS_OPTIONS(fill.texts),
        {0},
    };
    const struct cli_command command = {
        .program = "swbert",
        .name = "fill",
        .operands = "<TEXTS",
        .about =
            "Print {\"text\":…, \"masks\":[[{\"token\":…, \"id\":…, \"score\":…}…]…]} for each "
            "text on\n"
            "standard input: the likeliest tokens for each mask in it, with their probabilities. "
            "The "
            "mask is the\n"
            "tokenizer's own, [MASK] for most models.",
        .options = options};
    int status;
    if (!command_parse(&command, argc, argv, &common, &status))
        return status;
    status = texts_begin(&fill.texts, "fill");
    if (status == EXIT_DONE)
        status = worker_open("fill", &common, &fill.worker);
    if (status == EXIT_DONE)
        status = begin(&fill);
    if (status == EXIT_DONE)
        status = fill_texts(&fill);
    if (status == EXIT_DONE)
        worker_print_stats(&fill.worker, fill.texts.lines.number, 0);
    free(fill.masks);
    free(fill.logits);
    texts_fini(&fill.texts);
    sw_encoding_fini(&fill.encoding);
    worker_close(&fill.worker);
    return status;
}
