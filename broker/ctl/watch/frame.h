/* SPDX-License-Identifier: MIT */
/* What swctl watch shows, as a pure function: from the broker's answers to a screen. */
#ifndef SWB_CTL_WATCH_FRAME_H
#define SWB_CTL_WATCH_FRAME_H

#include <jansson.h>

#include "ctl/watch/screen.h"

/* The answers to stats, ls and clients, cleaned (ctl_json_clean); borrowed. What is missing in them
 * shows as nothing. */
struct ctl_snapshot {
    const json_t *stats, *chunks, *clients;
    double at_s; /* when, for rates */
};

/* Fills the screen. before: an earlier snapshot, for what happens per second; NULL: none. notice: a
 * sentence for the first row (the broker does not answer); NULL: none.
 *
 *   row 0      the broker
 *   1, 2       memory; hits, loads and evictions
 *   4 …        the arena, one cell per so many bytes: a chunk begins with its model's letter and
 *              goes on with '=', '#' while a client pins it, '@' while the operator does, '-' while
 *              it is read (with a small letter); '.' is free, ' ' not reserved
 *   …          which letter is which model, with chunks resident of all
 *   …          clients: rates, pins, and where their pass is
 */
void ctl_frame_draw(struct ctl_screen *screen, const struct ctl_snapshot *now,
                    const struct ctl_snapshot *before, const char *notice);

#endif
