/* SPDX-License-Identifier: MIT */
/* The callback on a falling hit rate: who calls it and when. What is low enough is hit_rate.c's.
 *
 * A pass adds its counts to the window under the notes; when the window says so, its thread marks
 * the handle as telling, lets go of the notes, and calls. Nobody else tells meanwhile, and whoever
 * takes the watch away waits until the telling is over, unless it is the callback itself.
 */
#include <errno.h>
#include <stdlib.h>

#include "core/sized.h"
#include "encoder/handle.h"

/* The component cache's counts since they were last looked at. */
static struct swi_hits since(struct swi_watch *watch, const struct sw_cache_info *cache)
{
    uint64_t hits = cache->hits - watch->hits, misses = cache->misses - watch->misses;
    watch->hits = cache->hits;
    watch->misses = cache->misses;
    return (struct swi_hits){.hits = hits, .uses = hits + misses};
}

/* With the notes held. */
static bool is_wanted(const sw_encoder *encoder, enum sw_hits hits)
{
    return encoder->watch && encoder->watch->asked.hits == hits;
}

void swi_encoder_watch(sw_encoder *encoder, struct swi_hits turns)
{
    struct sw_cache_info cache = SW_INIT(struct sw_cache_info);
    swi_encoder_note(encoder);
    bool about_cache = is_wanted(encoder, SW_HITS_CACHE);
    swi_encoder_noted(encoder);
    if (about_cache && sw_model_get_cache_info(encoder->model, &cache) < 0)
        return;
    swi_encoder_note(encoder);
    struct swi_watch *watch = encoder->watch;
    if (is_wanted(encoder, SW_HITS_ARENA))
        swi_hit_window_add(&watch->window, turns);
    else if (about_cache && is_wanted(encoder, SW_HITS_CACHE) &&
             cache.hits + cache.misses >= watch->hits + watch->misses)
        swi_hit_window_add(&watch->window, since(watch, &cache));
    if (!watch || encoder->telling || !swi_hit_window_judge(&watch->window)) {
        swi_encoder_noted(encoder);
        return;
    }
    struct sw_hit_rate_watch asked = watch->asked;
    struct sw_hit_rate rate = {.size = sizeof rate,
                               .encoder = encoder,
                               .rate = swi_hit_rate(watch->window.sum),
                               .hits = watch->window.sum.hits,
                               .uses = watch->window.sum.uses,
                               .passes = watch->window.window};
    encoder->telling = true;
    encoder->teller = pthread_self();
    swi_encoder_noted(encoder);
    asked.fell(asked.context, &rate);
    swi_encoder_note(encoder);
    encoder->telling = false;
    pthread_cond_broadcast(&encoder->told);
    swi_encoder_noted(encoder);
}

static int check(const struct sw_hit_rate_watch *watch, struct swi_error *error)
{
    if ((unsigned)watch->hits > SW_HITS_ARENA)
        return swi_fail(error, -EINVAL, "%d is not a kind of hits", (int)watch->hits);
    if (watch->window > SWI_HIT_WINDOW_MAX)
        return swi_fail(error, -EINVAL, "a window of %u passes; at most %d are possible",
                        watch->window, SWI_HIT_WINDOW_MAX);
    if (!(watch->below >= 0 && watch->below <= 1 && watch->recovered <= 1))
        return swi_fail(error, -EINVAL, "a hit rate is from 0 to 1");
    return 0;
}

static int make(sw_encoder *encoder, const struct sw_hit_rate_watch *asked, struct swi_watch **ret)
{
    struct sw_cache_info cache = SW_INIT(struct sw_cache_info);
    struct swi_error error = {0};
    int r = check(asked, &error);
    if (r < 0)
        return swi_encoder_fail(encoder, &error);
    struct swi_watch *watch = malloc(sizeof *watch);
    if (!watch) {
        (void)swi_fail(&error, -ENOMEM, "out of memory");
        return swi_encoder_fail(encoder, &error);
    }
    (void)sw_model_get_cache_info(encoder->model, &cache);
    watch->asked = *asked;
    watch->hits = cache.hits;
    watch->misses = cache.misses;
    swi_hit_window_init(&watch->window, asked->window ? asked->window : 16, asked->below,
                        asked->recovered > asked->below ? asked->recovered : asked->below);
    *ret = watch;
    return 0;
}

int sw_encoder_watch_hit_rate(sw_encoder *encoder, const struct sw_hit_rate_watch *watch)
{
    struct sw_hit_rate_watch known = {0};
    struct swi_error error = {0};
    struct swi_watch *made = NULL;
    int r = swi_sized_in(&known, sizeof known, watch, watch ? watch->size : 0, &error);
    if (r < 0)
        return swi_encoder_fail(encoder, &error);
    if (known.fell && (r = make(encoder, &known, &made)) < 0)
        return r;
    r = swi_encoder_adopt(encoder);
    if (r < 0) {
        free(made);
        return r;
    }
    swi_encoder_note(encoder);
    free(encoder->watch);
    encoder->watch = made;
    while (encoder->telling && !pthread_equal(encoder->teller, pthread_self()))
        pthread_cond_wait(&encoder->told, &encoder->notes.mutex);
    swi_encoder_noted(encoder);
    return 0;
}

void swi_encoder_watch_fini(sw_encoder *encoder)
{
    free(encoder->watch);
    encoder->watch = NULL;
}
