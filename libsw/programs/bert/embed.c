/* SPDX-License-Identifier: MIT */
/* swbert embed: texts to vectors. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "programs/bert/batch.h"
#include "programs/bert/command.h"
#include "programs/bert/npy.h"

struct embed {
    enum sw_pooling pooling;
    int normalize;
    bool npy_format;
    uint32_t batch_size;
    /* while running */
    struct worker worker;
    const sw_tokenizer *tokenizer;
    struct sw_encode_options encode;
    struct sw_encoding encoding;
    struct lines lines;
    struct batch batch;
    struct npy npy;
    uint64_t texts, cut;
};

static bool take_pooling(const char *value, void *place)
{
    static const struct {
        const char *name;
        enum sw_pooling pooling;
    } kinds[] = {{"cls", SW_POOLING_CLS},
                 {"mean", SW_POOLING_MEAN},
                 {"max", SW_POOLING_MAX},
                 {"pooler", SW_POOLING_POOLER}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(value, kinds[i].name) == 0) {
            *(enum sw_pooling *)place = kinds[i].pooling;
            return true;
        }
    }
    return false;
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
        embed->encode.max_tokens = worker_token_limit(&embed->worker);
    int status = worker_tokenizer(&embed->worker, &embed->tokenizer);
    if (status != EXIT_DONE)
        return status;
    if (batch_init(&embed->batch, embed->batch_size, config->hidden_size) < 0)
        return command_fail("embed", "no memory for %u vectors; use a smaller --batch-size",
                            embed->batch_size);
    int result = embed->npy_format ? npy_begin(&embed->npy, config->hidden_size) : 0;
    if (result < 0)
        return command_fail("embed",
                            "cannot make a temporary file for the array: %s; set TMPDIR to a "
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

static int add_text(struct embed *embed, const char *text, size_t size)
{
    int result = sw_tokenizer_encode(embed->tokenizer, text, size, NULL, 0, &embed->encode,
                                     &embed->encoding);
    if (result == 0)
        result = batch_add(&embed->batch, text, size, embed->encoding.ids, embed->encoding.count);
    if (result < 0)
        return command_fail("embed", "line %llu: %s", (unsigned long long)embed->lines.number,
                            sw_strerror(result));
    if (embed->worker.options.stats)
        embed->cut += was_cut(embed, text, size);
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
                                (unsigned long long)embed->texts + i + 1);
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
    int result = sw_encoder_embed(embed->worker.encoder, &batch, embed->pooling, embed->normalize,
                                  texts->vectors);
    if (result < 0)
        return worker_fail(&embed->worker, result);
    size_t total = texts->count * texts->width, odd = first_odd(texts->vectors, total);
    if (odd < total)
        return command_fail("embed",
                            "the vector of line %llu is not finite: are the weights sound? "
                            "(swchunk verify)",
                            (unsigned long long)(embed->texts + odd / texts->width + 1));
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
    embed->texts += texts->count;
    batch_clear(texts);
    return status;
}

/* Takes what input there is, up to a batch, and computes it; waits only with nothing in hand. */
static int embed_lines(struct embed *embed)
{
    enum lines_next next = LINES_LINE;
    int status = EXIT_DONE;
    while (next != LINES_END && status == EXIT_DONE && !ferror(stdout)) {
        const char *text;
        size_t size;
        next = command_next_line("embed", &embed->lines, embed->batch.count == 0, &text, &size);
        if (next == LINES_FAILED)
            status = EXIT_FAILED;
        if (next == LINES_LINE)
            status = add_text(embed, text, size);
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
    worker_print_stats(&embed->worker, embed->texts, embed->cut);
    return EXIT_DONE;
}

int command_embed(int argc, char **argv)
{
    struct command_options common = {.threads = 1};
    struct embed embed = {.batch_size = 32,
                          .encode = SW_INIT(struct sw_encode_options),
                          .lines = {.fd = STDIN_FILENO},
                          .npy = {.fd = -1}};
    static const char *const formats[] = {"jsonl", "npy", NULL};
    bool normalize = false;
    unsigned format = 0;
    const struct cli_option options[] = {
        {"pooling", "KIND",
         "cls, mean, max or pooler (default: as the model's 1_Pooling says, mean\n"
         "without one)",
         .take = take_pooling, .place = &embed.pooling, .expected = "cls, mean, max or pooler"},
        {"normalize", NULL, "scale vectors to length 1", .flag = &normalize},
        {"format", "FORMAT",
         "jsonl: a line {\"text\":…, \"embedding\":[…]} each (default)\n"
         "npy: one float32 array of NumPy's at the end",
         .choice = &format, .choices = formats},
        {"batch-size", "N", "compute up to N texts at once (default: 32)",
         .number = &embed.batch_size, .least = 1, .most = 4096},
        {"max-tokens", "N", "cut texts to N tokens (default: what the model is made for)",
         .number = &embed.encode.max_tokens, .least = 2, .most = INT32_MAX},
        {0},
    };
    const struct cli_command command = {.program = "swbert",
                                        .name = "embed",
                                        .operands = "<TEXTS",
                                        .about =
                                            "Print one vector for each line of standard input.",
                                        .options = options};
    int status;
    if (!command_parse(&command, argc, argv, &common, &status))
        return status;
    embed.normalize = normalize;
    embed.npy_format = format == 1;
    status = worker_open("embed", &common, &embed.worker);
    if (status == EXIT_DONE)
        status = begin(&embed);
    if (status == EXIT_DONE)
        status = embed_lines(&embed);
    if (status == EXIT_DONE)
        status = finish(&embed);
    npy_close(&embed.npy);
    batch_fini(&embed.batch);
    lines_fini(&embed.lines);
    sw_encoding_fini(&embed.encoding);
    worker_close(&embed.worker);
    return status;
}
