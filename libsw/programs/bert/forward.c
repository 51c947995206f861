/* SPDX-License-Identifier: MIT */
/* swbert forward: one sequence of token ids to hidden states. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "programs/bert/command.h"

struct request {
    const char *ids, *type_ids, *mask;
};

struct list {
    int32_t *values;
    size_t count;
};

/* Numbers separated by spaces or commas, each from 0 to below limit. */
static int parse_list(const char *option, const char *text, uint32_t limit, struct list *ret)
{
    struct list list = {.values = calloc(strlen(text) / 2 + 1, sizeof *list.values)};
    if (!list.values)
        return command_fail("forward", "no memory for %s", option);
    while (*(text += strspn(text, " ,\t\n"))) {
        char *end = NULL;
        errno = 0;
        long value = strtol(text, &end, 10);
        if (end == text || (*end && !strchr(" ,\t\n", *end))) {
            free(list.values);
            return command_usage("forward", "%s: \"%.20s\" is not a number", option, text);
        }
        if (errno != 0 || value < 0 || value >= (long)limit) {
            free(list.values);
            return command_fail("forward", "%s: %.*s (number %zu) is not one of 0 to %u", option,
                                (int)(end - text < 20 ? end - text : 20), text, list.count + 1,
                                limit - 1);
        }
        list.values[list.count++] = (int32_t)value;
        text = end;
    }
    *ret = list;
    return EXIT_DONE;
}

struct sequence {
    struct list ids, type_ids, mask;
    uint8_t *mask_bytes;
    float *hidden, *pooled;
};

static int parse_companion(const char *option, const char *text, uint32_t limit, size_t count,
                           struct list *ret)
{
    if (!text)
        return EXIT_DONE;
    int status = parse_list(option, text, limit, ret);
    if (status == EXIT_DONE && ret->count != count)
        status = command_fail("forward", "%s has %zu numbers, but --ids has %zu", option,
                              ret->count, count);
    return status;
}

static int parse(const struct request *request, const struct sw_encoder_config *config,
                 struct sequence *sequence)
{
    int status = parse_list("--ids", request->ids, config->vocab_size, &sequence->ids);
    size_t count = sequence->ids.count;
    if (status == EXIT_DONE && count == 0)
        status = command_fail("forward", "--ids holds no ids; a sequence has at least one");
    if (status == EXIT_DONE && count > config->max_positions)
        status = command_fail("forward", "--ids holds %zu ids; this model reads at most %u", count,
                              config->max_positions);
    if (status == EXIT_DONE)
        status = parse_companion("--type-ids", request->type_ids, config->type_vocab_size, count,
                                 &sequence->type_ids);
    if (status == EXIT_DONE)
        status = parse_companion("--mask", request->mask, 2, count, &sequence->mask);
    return status;
}

/* Room for the results, and the mask as bytes. */
static int prepare(const struct sw_encoder_config *config, struct sequence *sequence)
{
    size_t count = sequence->ids.count;
    sequence->hidden = calloc(count * config->hidden_size, sizeof *sequence->hidden);
    if (config->has_pooler)
        sequence->pooled = calloc(config->hidden_size, sizeof *sequence->pooled);
    if (sequence->mask.values)
        sequence->mask_bytes = calloc(count, 1);
    if (!sequence->hidden || (config->has_pooler && !sequence->pooled) ||
        (sequence->mask.values && !sequence->mask_bytes))
        return command_fail("forward", "no memory for the results");
    for (size_t i = 0; sequence->mask_bytes && i < count; i++)
        sequence->mask_bytes[i] = (uint8_t)sequence->mask.values[i];
    return EXIT_DONE;
}

static int print(const struct sw_encoder_config *config, const struct sequence *sequence)
{
    size_t width = config->hidden_size, total = sequence->ids.count * width;
    size_t odd = first_odd(sequence->hidden, total);
    if (odd < total)
        return command_fail(
            "forward",
            "the hidden state of token %zu is not finite: check the weights with swchunk verify",
            odd / width + 1);
    if (sequence->pooled && first_odd(sequence->pooled, width) < width)
        return command_fail(
            "forward", "the pooler's output is not finite: check the weights with swchunk verify");
    (void)fputs("{\"last_hidden_state\":[", stdout);
    for (size_t i = 0; i < sequence->ids.count; i++) {
        if (i > 0)
            (void)putchar(',');
        print_floats(sequence->hidden + i * width, width);
    }
    (void)fputs("],\"pooler_output\":", stdout);
    if (sequence->pooled)
        print_floats(sequence->pooled, width);
    else
        (void)fputs("null", stdout);
    (void)fputs("}\n", stdout);
    return EXIT_DONE;
}

static int forward(struct worker *worker, const struct request *request, struct sequence *sequence)
{
    int status = parse(request, &worker->config, sequence);
    if (status == EXIT_DONE)
        status = prepare(&worker->config, sequence);
    if (status != EXIT_DONE)
        return status;
    uint32_t length = (uint32_t)sequence->ids.count;
    struct sw_encoder_batch batch = SW_INIT(struct sw_encoder_batch);
    batch.sequences = 1;
    batch.lengths = &length;
    batch.ids = sequence->ids.values;
    batch.type_ids = sequence->type_ids.values;
    batch.mask = sequence->mask_bytes;
    struct sw_encoder_output output = SW_INIT(struct sw_encoder_output);
    output.last_hidden_state = sequence->hidden;
    output.pooler_output = sequence->pooled;
    int result = sw_encoder_forward(worker->encoder, &batch, &output);
    if (result < 0)
        return worker_fail(worker, result);
    status = print(&worker->config, sequence);
    if (status == EXIT_DONE)
        worker_print_stats(worker, 1, 0);
    return status;
}

int command_forward(int argc, char **argv)
{
    struct command_options common = {.threads = 1};
    struct request request = {0};
    const struct cli_option options[] = {
        {"ids", "IDS", "the token ids, such as \"101 7592 102\"", .text = &request.ids,
         .required = true},
        {"type-ids", "TYPES", "0 or 1 for each (default: all 0)", .text = &request.type_ids},
        {"mask", "BITS", "1 or 0 for each: 0 hides a token from the others (default: all 1)",
         .text = &request.mask},
        {0},
    };
    const struct cli_command command = {
        .program = "swbert",
        .name = "forward",
        .about =
            "Print {\"last_hidden_state\":[[…]…], \"pooler_output\":[…]} for one sequence of token "
            "ids.\n"
            "Separate numbers by spaces or commas. pooler_output is null when the model has none.",
        .options = options};
    int status;
    if (!command_parse(&command, argc, argv, &common, &status))
        return status;
    struct worker worker;
    struct sequence sequence = {0};
    status = worker_open("forward", &common, &worker);
    if (status == EXIT_DONE)
        status = forward(&worker, &request, &sequence);
    free(sequence.ids.values);
    free(sequence.type_ids.values);
    free(sequence.mask.values);
    free(sequence.mask_bytes);
    free(sequence.hidden);
    free(sequence.pooled);
    worker_close(&worker);
    return status;
}
