/* SPDX-License-Identifier: MIT */
/* A screen in memory. */
#include "ctl/watch/screen.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/text.h"

#define CELL_BYTES 4u /* of one UTF-8 character */

struct cell {
    char text[CELL_BYTES]; /* text[0] == 0: blank, or the second half of a wide character */
    uint8_t size;
    uint8_t tone;
    bool covered; /* by the wide character on its left */
};

struct ctl_screen {
    unsigned rows, columns;
    struct cell cells[];
};

static unsigned within(unsigned value, unsigned most)
{
    return value < 1 ? 1 : value > most ? most : value;
}

struct ctl_screen *ctl_screen_create(unsigned rows, unsigned columns)
{
    rows = within(rows, CTL_SCREEN_ROWS);
    columns = within(columns, CTL_SCREEN_COLUMNS);
    struct ctl_screen *screen =
        calloc(1, sizeof *screen + (size_t)rows * columns * sizeof screen->cells[0]);
    if (screen) {
        screen->rows = rows;
        screen->columns = columns;
    }
    return screen;
}

void ctl_screen_destroy(struct ctl_screen *screen)
{
    free(screen);
}

unsigned ctl_screen_rows(const struct ctl_screen *screen)
{
    return screen->rows;
}

unsigned ctl_screen_columns(const struct ctl_screen *screen)
{
    return screen->columns;
}

/* Bytes of the next character with its combining characters. */
static size_t character(const char *text, size_t *ret_width)
{
    size_t size = ctl_text_fit(text, 1, ret_width);
    if (*ret_width == 0) /* a wide character, or only combining ones */
        size = ctl_text_fit(text, 2, ret_width);
    return size;
}

unsigned ctl_screen_put(struct ctl_screen *screen, unsigned row, unsigned column, unsigned tone,
                        const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0 || row >= screen->rows)
        return column;
    ctl_text_clean(text); /* the end of the buffer may have cut a character in two */
    const char *from = text;
    while (*from && column < screen->columns) {
        size_t width;
        size_t size = character(from, &width);
        if (size == 0 || column + width > screen->columns)
            break;
        struct cell *cell = &screen->cells[row * screen->columns + column];
        if (width > 0 && size <= CELL_BYTES) {
            *cell = (struct cell){.size = (uint8_t)size, .tone = (uint8_t)tone};
            memcpy(cell->text, from, size);
        } else if (width > 0) { /* too many combining characters */
            *cell = (struct cell){.text = "?", .size = 1, .tone = (uint8_t)tone};
        }
        if (width == 2 && cell->size)
            cell[1] = (struct cell){.covered = true, .tone = (uint8_t)tone};
        column += (unsigned)width;
        from += size;
    }
    return column;
}

static void set_tone(FILE *out, unsigned tone)
{
    static const char *const colours[] = {"", ";36", ";33", ";35", ";32", ";34", ";37"};
    (void)fprintf(out, "\033[0%s%s%s%s%s", tone & CTL_TONE_BOLD ? ";1" : "",
                  tone & CTL_TONE_FAINT ? ";2" : "", tone & CTL_TONE_REVERSE ? ";7" : "",
                  tone & CTL_TONE_BAD ? ";31" : "", colours[(tone & 0xf) % 7]);
    (void)fputc('m', out);
}

static void print_row(FILE *out, const struct ctl_screen *screen, unsigned row, bool colour)
{
    const struct cell *cells = &screen->cells[row * screen->columns];
    unsigned end = screen->columns;
    while (end > 0 && !cells[end - 1].covered &&
           (cells[end - 1].size == 0 ||
            (cells[end - 1].text[0] == ' ' && !(cells[end - 1].tone & CTL_TONE_REVERSE))))
        end--;
    unsigned tone = 0;
    for (unsigned i = 0; i < end; i++) {
        if (cells[i].covered)
            continue;
        if (colour && cells[i].tone != tone)
            set_tone(out, cells[i].tone);
        tone = cells[i].tone;
        if (cells[i].size)
            (void)fwrite(cells[i].text, 1, cells[i].size, out);
        else
            (void)fputc(' ', out);
    }
    if (colour && tone)
        set_tone(out, 0);
}

char *ctl_screen_text(const struct ctl_screen *screen, bool terminal, bool colour)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    for (unsigned row = 0; row < screen->rows; row++) {
        print_row(out, screen, row, terminal && colour);
        if (terminal)
            (void)fputs("\033[K", out);
        /* not after the last row: the terminal would scroll */
        if (!terminal || row + 1 < screen->rows)
            (void)fputs(terminal ? "\r\n" : "\n", out);
    }
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
