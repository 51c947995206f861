/* SPDX-License-Identifier: MIT */
/* A screen in memory: rows and columns of characters, each with a tone, to print or compare. */
#ifndef SWB_CTL_WATCH_SCREEN_H
#define SWB_CTL_WATCH_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CTL_SCREEN_ROWS    200u
#define CTL_SCREEN_COLUMNS 400u

/* A tone is a colour by number (0: none; 1 to 6: colours of models) and flags. */
enum { CTL_TONE_BOLD = 0x10, CTL_TONE_FAINT = 0x20, CTL_TONE_REVERSE = 0x40, CTL_TONE_BAD = 0x80 };

struct ctl_screen;

/* Sizes are clamped to 1x1 and the limits above. NULL: out of memory. */
struct ctl_screen *ctl_screen_create(unsigned rows, unsigned columns);
void ctl_screen_destroy(struct ctl_screen *screen);
unsigned ctl_screen_rows(const struct ctl_screen *screen);
unsigned ctl_screen_columns(const struct ctl_screen *screen);

/* Writes UTF-8 text at a place, cut at the right edge; outside the screen it does nothing. Returns
 * the column after the text. */
unsigned ctl_screen_put(struct ctl_screen *screen, unsigned row, unsigned column, unsigned tone,
                        const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The whole screen as text, to be freed, without trailing blanks. For a terminal each row is
 * followed by "erase to the end of the line", and with colour tones are SGR sequences. NULL: out of
 * memory. */
char *ctl_screen_text(const struct ctl_screen *screen, bool terminal, bool colour);

#endif
