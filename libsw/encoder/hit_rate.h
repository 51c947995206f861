/* SPDX-License-Identifier: MIT */
/* Hits over a window of passes, and when they have become too few.
 *
 *              rate < below, window full
 *     ARMED ──────────────────────────────▶ FIRED        judge answers true on this edge only
 *       ▲                                     │
 *       └─────────────────────────────────────┘
 *                 rate >= recovered
 *
 * Pure: no clock, no lock, no memory of its own.
 */
#ifndef SWI_ENCODER_HIT_RATE_H
#define SWI_ENCODER_HIT_RATE_H

#include <stdbool.h>
#include <stdint.h>

enum { SWI_HIT_WINDOW_MAX = 1024 };

struct swi_hits {
    uint64_t hits, uses;
};

struct swi_hit_window {
    uint32_t window; /* passes, 1 … SWI_HIT_WINDOW_MAX */
    double below, recovered;
    bool fired;
    uint64_t passes;                          /* seen */
    struct swi_hits sum;                      /* over the latest `window` of them */
    struct swi_hits pass[SWI_HIT_WINDOW_MAX]; /* p at p % window */
};

void swi_hit_window_init(struct swi_hit_window *window, uint32_t passes, double below,
                         double recovered);
/* One more pass; the oldest leaves a full window. */
void swi_hit_window_add(struct swi_hit_window *window, struct swi_hits pass);
/* Whether somebody is to be told, now. A window without a use has no rate. */
bool swi_hit_window_judge(struct swi_hit_window *window);
double swi_hit_rate(struct swi_hits hits); /* 0 without a use */

#endif
