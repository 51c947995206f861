/* SPDX-License-Identifier: MIT */
/* Tables for people. */
#include "ctl/lib/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/size.h"
#include "ctl/lib/text.h"

#define COLUMNS_MAX 16

struct cell {
    char *text;
    enum ctl_tone tone;
};

struct ctl_table {
    size_t columns;
    bool right[COLUMNS_MAX];
    struct cell *cells; /* rows × columns; the first row is the headers */
    size_t count, capacity;
};

bool ctl_colour(void)
{
    const char *no = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && !(no && *no);
}

static void *need(void *memory)
{
    if (!memory) {
        (void)fprintf(stderr, "swctl: out of memory\n");
        exit(1);
    }
    return memory;
}

/* Takes text, and removes terminal controls. */
static void add(struct ctl_table *table, enum ctl_tone tone, char *text)
{
    ctl_text_clean(text);
    if (table->count == table->capacity) {
        table->capacity = table->capacity * 2 + 64;
        table->cells = need(realloc(table->cells, table->capacity * sizeof *table->cells));
    }
    table->cells[table->count++] = (struct cell){.text = text, .tone = tone};
}

struct ctl_table *ctl_table_create(const char *headers)
{
    struct ctl_table *table = need(calloc(1, sizeof *table));
    while (headers && table->columns < COLUMNS_MAX) {
        const char *end = strchr(headers, '|');
        bool right = headers[0] == '>';
        headers += right;
        table->right[table->columns++] = right;
        add(table, CTL_PLAIN,
            need(end ? strndup(headers, (size_t)(end - headers)) : strdup(headers)));
        headers = end ? end + 1 : NULL;
    }
    return table;
}

void ctl_table_cell(struct ctl_table *table, enum ctl_tone tone, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    add(table, tone, need(length < 0 ? NULL : text));
}

void ctl_table_size(struct ctl_table *table, uint64_t bytes)
{
    char text[32];
    swi_size_format(bytes, text, sizeof text);
    ctl_table_cell(table, CTL_PLAIN, "%s", text);
}

static void print_cell(const struct ctl_table *table, size_t i, const size_t *widths, bool colour)
{
    static const char *const tones[] = {"", "\033[32m", "\033[33m", "\033[31m", "\033[2m"};
    const struct cell *cell = &table->cells[i];
    size_t column = i % table->columns;
    int gap = (int)(widths[column] - ctl_text_width(cell->text));
    bool header = i < table->columns;
    const char *begin = !colour ? "" : header ? "\033[1m" : tones[cell->tone];
    const char *end = *begin ? "\033[0m" : "";
    if (table->right[column])
        (void)printf("%*s%s%s%s", gap, "", begin, cell->text, end);
    else if (column + 1 < table->columns)
        (void)printf("%s%s%s%*s", begin, cell->text, end, gap, "");
    else
        (void)printf("%s%s%s", begin, cell->text, end);
    (void)printf("%s", column + 1 < table->columns ? "  " : "\n");
}

void ctl_table_free(struct ctl_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i].text);
    free(table->cells);
    free(table);
}

void ctl_table_print(struct ctl_table *table)
{
    size_t widths[COLUMNS_MAX] = {0};
    for (size_t i = 0; i < table->count; i++) {
        size_t width = ctl_text_width(table->cells[i].text);
        if (width > widths[i % table->columns])
            widths[i % table->columns] = width;
    }
    bool colour = ctl_colour();
    for (size_t i = 0; i < table->count; i++) {
        print_cell(table, i, widths, colour);
    }
    ctl_table_free(table);
}
