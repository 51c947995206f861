/* SPDX-License-Identifier: MIT */
/* Lines, and what of a line is a text. */
#include "programs/bert/texts.h"

#include <string.h>
#include <unistd.h>

#include "core/json.h"
#include "programs/bert/command.h"

enum { INPUT_TEXT, INPUT_JSONL };

const char *const texts_inputs[] = {"text", "jsonl", NULL};

int texts_begin(struct texts *texts, const char *command)
{
    texts->command = command;
    texts->lines = (struct lines){.fd = STDIN_FILENO, .end_byte = texts->null ? 0 : '\n'};
    if (texts->null && texts->input == INPUT_JSONL)
        return command_usage(command, "--null ends plain texts; a text in JSON may hold anything");
    return EXIT_DONE;
}

static enum lines_next fail(const struct texts *texts, const char *what)
{
    (void)command_fail(texts->command, "line %llu %s", (unsigned long long)texts->lines.number,
                       what);
    return LINES_FAILED;
}

static enum lines_next take_plain(const struct texts *texts, const char *line, size_t size,
                                  struct text *ret)
{
    *ret = (struct text){.data = line, .size = size, .shown = line, .shown_size = size};
    if (!texts->tabs)
        return LINES_LINE;
    const char *tab = memchr(line, '\t', size);
    if (!tab)
        return fail(texts, "has no tab between two texts");
    ret->size = (size_t)(tab - line);
    ret->pair = tab + 1;
    ret->pair_size = size - ret->size - 1;
    return LINES_LINE;
}

static enum lines_next take_json(struct texts *texts, const char *line, size_t size,
                                 struct text *ret)
{
    char name[40];
    struct swi_error error;
    json_decref(texts->line);
    texts->line = NULL;
    (void)snprintf(name, sizeof name, "line %llu", (unsigned long long)texts->lines.number);
    if (swi_json_read(name, line, size, NULL, &texts->line, &error) < 0) {
        (void)command_fail(texts->command, "%s", error.text);
        return LINES_FAILED;
    }
    bool object = json_is_object(texts->line);
    const json_t *text = object ? json_object_get(texts->line, "text") : texts->line;
    const json_t *pair = object ? json_object_get(texts->line, "pair") : NULL;
    if (!json_is_string(text) || (pair && !json_is_null(pair) && !json_is_string(pair)))
        return fail(texts, "must be a JSON string, or an object with \"text\" and \"pair\"");
    if (json_is_string(pair) && !texts->pairs)
        return fail(texts, "has a pair, which this command does not take");
    *ret = (struct text){.data = json_string_value(text),
                         .size = json_string_length(text),
                         .pair = json_string_value(pair),
                         .pair_size = json_string_length(pair)};
    ret->shown = ret->data;
    ret->shown_size = ret->size;
    return LINES_LINE;
}

enum lines_next texts_next(struct texts *texts, bool wait, struct text *ret)
{
    const char *line;
    size_t size;
    enum lines_next next = command_next_line(texts->command, &texts->lines, wait, &line, &size);
    if (next != LINES_LINE)
        return next;
    return texts->input == INPUT_JSONL ? take_json(texts, line, size, ret)
                                       : take_plain(texts, line, size, ret);
}

void texts_fini(struct texts *texts)
{
    json_decref(texts->line);
    texts->line = NULL;
    lines_fini(&texts->lines);
}
