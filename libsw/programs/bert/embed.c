/* SPDX-License-Identifier: MIT */
/* swbert embed: texts to vectors. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "programs/bert/batch.h"
#include "programs/bert/command.h"
#include "programs/bert/npy.h"
#include "programs/bert/texts.h"

struct embed {
    enum sw_pooling pooling;
    enum sw_normalize normalize;
    const char *prompt_name; /* NULL: the model's default */
    bool no_prompt;
    bool npy_format;
    uint32_t batch_size;
    /* while running */
    struct worker worker;
    const sw_tokenizer *tokenizer;
    struct sw_encode_options encode;
    struct sw_encoding encoding;
    struct texts texts;
    struct batch batch;
    struct npy npy;
    const char *prompt;
    uint32_t prompt_tokens;
    char *joined; /* prompt and text */
    size_t joined_capacity;
    uint64_t printed, cut;
};

#define POOLINGS "cls, mean, max, mean_sqrt_len_tokens, weightedmean, lasttoken or pooler"

static bool take_pooling(const char *value, void *place)
{
    static const struct {
        const char *name;
        enum sw_pooling pooling;
    } kinds[] = {{"cls", SW_POOLING_CLS},
                 {"mean", SW_POOLING_MEAN},
                 {"max", SW_POOLING_MAX},
                 {"mean_sqrt_len_tokens", SW_POOLING_MEAN_SQRT_LEN},
                 {"weightedmean", SW_POOLING_WEIGHTED_MEAN},
                 {"lasttoken", SW_POOLING_LAST_TOKEN},
                 {"pooler", SW_POOLING_POOLER}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(value, kinds[i].name) == 0) {
            *(enum sw_pooling *)place = kinds[i].pooling;
            return true;
        }
    }
    return false;
}

static int take_prompt(struct embed *embed)
{
    embed->prompt = "";
    if (embed->no_prompt)
        return EXIT_DONE;
    int result = sw_encoder_prompt(embed->worker.encoder, embed->prompt_name, &embed->prompt,
                                   &embed->prompt_tokens);
    return result < 0 ? worker_fail(&embed->worker, result) : EXIT_DONE;
}

static int begin(struct embed *embed)
{
    const struct sw_encoder_config *config = &embed->worker.config;
    if (embed->pooling == SW_POOLING_POOLER && !config->has_pooler)
        return command_fail("embed", "the model %s has no pooler: use --pooling cls, mean or max",
                            embed->worker.options.model);
    if (embed->encode.max_tokens > config->max_positions)
        return command_fail("embed", "--max-tokens %u: this model reads at most %u",
                            embed->encode.max_tokens, config->max_positions);
    if (embed->encode.max_tokens == 0)
        embed->encode.max_tokens = config->max_tokens;
    int status = worker_tokenizer(&embed->worker, &embed->tokenizer);
    if (status != EXIT_DONE)
        return status;
    status = take_prompt(embed);
    if (status != EXIT_DONE)
        return status;
    uint32_t width;
    int result = sw_encoder_embedding_size(embed->worker.encoder, embed->pooling, &width);
    if (result < 0)
        return worker_fail(&embed->worker, result);
    if (batch_init(&embed->batch, embed->batch_size, width) < 0)
        return command_fail("embed", "no memory for %u vectors; use a smaller --batch-size",
                            embed->batch_size);
    result = embed->npy_format ? npy_begin(&embed->npy, width) : 0;
    if (result < 0)
        return command_fail("embed",
                            "cannot create a temporary file for the array: %s; set TMPDIR to a "
                            "directory with room",
                            sw_strerror(result));
    return EXIT_DONE;
}

/* Whether a text whose encoding is as long as may be has lost something. */
static bool was_cut(struct embed *embed, const char *text, size_t size)
{
    if (embed->encoding.count < embed->encode.max_tokens)
        return false;
    struct sw_encode_options whole = embed->encode;
    whole.truncation = SW_TRUNCATE_NEVER;
    return sw_tokenizer_encode(embed->tokenizer, text, size, NULL, 0, &whole, &embed->encoding) ==
           -E2BIG;
}

/* The text with the prompt in front. NULL: no memory. */
static const char *with_prompt(struct embed *embed, const char *text, size_t *size)
{
    size_t prompt = strlen(embed->prompt), needed = prompt + *size;
    if (prompt == 0)
        return text;
    if (needed > embed->joined_capacity) {
        char *grown = realloc(embed->joined, needed * 2);
        if (!grown)
            return NULL;
        embed->joined = grown;
        embed->joined_capacity = needed * 2;
    }
    memcpy(embed->joined, embed->prompt, prompt);
    if (*size > 0)
        memcpy(embed->joined + prompt, text, *size);
    *size = needed;
    return embed->joined;
}

static int add_text(struct embed *embed, const char *text, size_t size)
{
    size_t whole_size = size;
    const char *whole = with_prompt(embed, text, &whole_size);
    int result = whole ? sw_tokenizer_encode(embed->tokenizer, whole, whole_size, NULL, 0,
                                             &embed->encode, &embed->encoding)
                       : -ENOMEM;
    if (result == 0)
        result = batch_add(&embed->batch, text, size, embed->encoding.ids, embed->encoding.count);
    if (result < 0)
        return command_fail("embed", "line %llu: %s", (unsigned long long)embed->texts.lines.number,
                            sw_strerror(result));
    if (embed->worker.options.stats)
        embed->cut += was_cut(embed, whole, whole_size);
    return EXIT_DONE;
}

static int print_batch(const struct embed *embed)
{
    const struct batch *batch = &embed->batch;
    const char *text = batch->text;
    for (uint32_t i = 0; i < batch->count; i++) {
        (void)fputs("{\"text\":", stdout);
        if (!print_string(text, batch->sizes[i]))
            return command_fail("embed", "no memory to print line %llu",
                                (unsigned long long)embed->printed + i + 1);
        (void)fputs(",\"embedding\":", stdout);
        print_floats(batch->vectors + i * batch->width, batch->width);
        (void)fputs("}\n", stdout);
        text += batch->sizes[i];
    }
    return EXIT_DONE;
}

/* Computes the collected texts and hands out their vectors. */
static int run_batch(struct embed *embed)
{
    struct batch *texts = &embed->batch;
    struct sw_encoder_batch batch = SW_INIT(struct sw_encoder_batch);
    batch.sequences = texts->count;
    batch.lengths = texts->lengths;
    batch.ids = texts->ids;
    struct sw_encoder_request request = SW_INIT(struct sw_encoder_request);
    request.work = SW_WORK_EMBED;
    request.batch = &batch;
    request.pooling = embed->pooling;
    request.normalize = embed->normalize;
    request.prompt_tokens = embed->prompt_tokens;
    request.embeddings = texts->vectors;
    request.embeddings_capacity = texts->capacity * texts->width;
    int result = sw_encoder_run(embed->worker.encoder, &request);
    if (result < 0)
        return worker_fail(&embed->worker, result);
    size_t total = texts->count * texts->width, odd = first_odd(texts->vectors, total);
    if (odd < total)
        return command_fail(
            "embed", "the vector of line %llu is not finite: check the weights with swchunk verify",
            (unsigned long long)(embed->printed + odd / texts->width + 1));
    int status = EXIT_DONE;
    if (!embed->npy_format) {
        status = print_batch(embed);
    } else {
        result = npy_rows(&embed->npy, texts->vectors, texts->count);
        if (result < 0)
            status = command_fail("embed",
                                  "cannot write to the temporary file: %s; set TMPDIR to a "
                                  "directory with room",
                                  sw_strerror(result));
    }
    embed->printed += texts->count;
    batch_clear(texts);
    return status;
}

/* Takes what input there is, up to a batch, and computes it; waits only with nothing in hand. */
static int embed_texts(struct embed *embed)
{
    enum lines_next next = LINES_LINE;
    int status = EXIT_DONE;
    while (next != LINES_END && status == EXIT_DONE && !ferror(stdout)) {
        struct text text;
        next = texts_next(&embed->texts, embed->batch.count == 0, &text);
        if (next == LINES_FAILED)
            status = EXIT_FAILED;
        if (next == LINES_LINE)
            status = add_text(embed, text.data, text.size);
        bool pause = next == LINES_PAUSE || next == LINES_END;
        if (status == EXIT_DONE && embed->batch.count > 0 && (pause || batch_full(&embed->batch)))
            status = run_batch(embed);
    }
    return status;
}

static int finish(struct embed *embed)
{
    int result = embed->npy_format ? npy_finish(&embed->npy) : 0;
    if (result < 0)
        return command_fail("embed", "cannot read the temporary file: %s", sw_strerror(result));
    worker_print_stats(&embed->worker, embed->printed, embed->cut);
    return EXIT_DONE;
}

int command_embed(int argc, char **argv)
{
    struct command_options common = {.threads = 1};
    struct embed embed = {
        .batch_size = 32, .encode = SW_INIT(struct sw_encode_options), .npy = {.fd = -1}};
    static const char *const formats[] = {"jsonl", "npy", NULL};
    bool normalize = false, no_normalize = false;
    unsigned format = 0;
    const struct cli_option options[] = {
        {"pooling", "KIND", POOLINGS " (default: the\nmodel's own)", .take = take_pooling,
         .place = &embed.pooling, .expected = POOLINGS},
        {"normalize", NULL, "scale vectors to length 1", .flag = &normalize},
        {"no-normalize", NULL, "leave out the model's own normalization", .flag = &no_normalize},
        {"prompt", "NAME", "put the model's prompt NAME in front of each text",
         .text = &embed.prompt_name},
        {"no-prompt", NULL, "use no prompt, even if the model has a default one",
         .flag = &embed.no_prompt},
        {"format", "FORMAT",
         "jsonl: a line {\"text\":…, \"embedding\":[…]} per text (default)\nnpy: one NumPy array "
         "of float32 at the end",
         .choice = &format, .choices = formats},
        TEXTS_OPTIONS(embed.texts),
        {"batch-size", "N", "compute up to N texts at once (default: 32)",
         .number = &embed.batch_size, .least = 1, .most = 4096},
        {"max-tokens", "N", "cut texts to N tokens (default: the model's limit)",
         .number = &embed.encode.max_tokens, .least = 2, .most = INT32_MAX},
        {0},
    };
    const struct cli_command command = {.program = "swbert",
                                        .name = "embed",
                                        .operands = "<TEXTS",
                                        .about =
                                            "Print one vector for each text on standard input.",
                                        .options = options};
    int status;
    if (!command_parse(&command, argc, argv, &common, &status))
        return status;
    if (normalize && no_normalize)
        return command_usage("embed", "--normalize and --no-normalize exclude each other");
    if (normalize)
        embed.normalize = SW_NORMALIZE_YES;
    else if (no_normalize)
        embed.normalize = SW_NORMALIZE_NO;
    embed.npy_format = format == 1;
    status = texts_begin(&embed.texts, "embed");
    if (status == EXIT_DONE)
        status = worker_open("embed", &common, &embed.worker);
    if (status == EXIT_DONE)
        status = begin(&embed);
    if (status == EXIT_DONE)
        status = embed_texts(&embed);
    if (status == EXIT_DONE)
        status = finish(&embed);
    npy_close(&embed.npy);
    free(embed.joined);
    batch_fini(&embed.batch);
    texts_fini(&embed.texts);
    sw_encoding_fini(&embed.encoding);
    worker_close(&embed.worker);
    return status;
}
