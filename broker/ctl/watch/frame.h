/* SPDX-License-Identifier: MIT */
/* A frame of swctl watch: a pure function from the broker's answers to a screen. */
#ifndef SWB_CTL_WATCH_FRAME_H
#define SWB_CTL_WATCH_FRAME_H

#include <jansson.h>

#include "ctl/watch/screen.h"

/* The answers to stats, ls and clients, cleaned (ctl_json_clean); borrowed. Missing fields leave
 * their places empty. */
struct ctl_snapshot {
    const json_t *stats, *chunks, *clients;
    double at_s; /* when it was taken, for rates */
};

/* Fills the screen. before: an earlier snapshot, for rates; NULL: none. notice: a message for the
 * first row, when the broker does not answer; NULL: none.
 *
 *   row 0      the broker
 *   1, 2       memory; hits, loads and evictions
 *   4 ...      the arena, cells of equal size: a chunk starts with its model's letter and continues
 *              with '='; '#' while a client pins it; '@' while the operator pins it; '-' and a
 *              small letter while it is read. '.' is free, ' ' is not reserved
 *   ...        the letters' models, with resident and all chunks
 *   ...        clients: rates, pins, and where their pass is
 */
void ctl_frame_draw(struct ctl_screen *screen, const struct ctl_snapshot *now,
                    const struct ctl_snapshot *before, const char *notice);

#endif
