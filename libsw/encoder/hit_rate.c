/* SPDX-License-Identifier: MIT */
/* See hit_rate.h. */
#include "encoder/hit_rate.h"

#include <assert.h>

void swi_hit_window_init(struct swi_hit_window *window, uint32_t passes, double below,
                         double recovered)
{
    assert(passes >= 1 && passes <= SWI_HIT_WINDOW_MAX);
    *window = (struct swi_hit_window){.window = passes, .below = below, .recovered = recovered};
}

void swi_hit_window_add(struct swi_hit_window *window, struct swi_hits pass)
{
    struct swi_hits *place = &window->pass[window->passes % window->window];
    window->sum.hits += pass.hits - place->hits;
    window->sum.uses += pass.uses - place->uses;
    *place = pass;
    window->passes++;
}

double swi_hit_rate(struct swi_hits hits)
{
    return hits.uses ? (double)hits.hits / (double)hits.uses : 0;
}

bool swi_hit_window_judge(struct swi_hit_window *window)
{
    if (window->passes < window->window || window->sum.uses == 0)
        return false;
    double rate = swi_hit_rate(window->sum);
    if (window->fired) {
        window->fired = rate < window->recovered;
        return false;
    }
    window->fired = rate < window->below;
    return window->fired;
}
