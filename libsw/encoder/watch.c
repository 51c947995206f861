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
static bool is_wanted(const sw_bert *bert, enum sw_hits hits)
{
    return bert->watch && bert->watch->asked.hits == hits;
}

void swi_bert_watch(sw_bert *bert, struct swi_hits turns)
{
    struct sw_cache_info cache = SW_INIT(struct sw_cache_info);
    swi_bert_note(bert);
    bool about_cache = is_wanted(bert, SW_HITS_CACHE);
    swi_bert_noted(bert);
    if (about_cache && sw_model_get_cache_info(bert->model, &cache) < 0)
        return;
    swi_bert_note(bert);
    struct swi_watch *watch = bert->watch;
    if (is_wanted(bert, SW_HITS_ARENA))
        swi_hit_window_add(&watch->window, turns);
    else if (about_cache && is_wanted(bert, SW_HITS_CACHE) &&
             cache.hits + cache.misses >= watch->hits + watch->misses)
        swi_hit_window_add(&watch->window, since(watch, &cache));
    if (!watch || bert->telling || !swi_hit_window_judge(&watch->window)) {
        swi_bert_noted(bert);
        return;
    }
    struct sw_hit_rate_watch asked = watch->asked;
    struct sw_hit_rate rate = {.size = sizeof rate,
                               .bert = bert,
                               .rate = swi_hit_rate(watch->window.sum),
                               .hits = watch->window.sum.hits,
                               .uses = watch->window.sum.uses,
                               .passes = watch->window.window};
    bert->telling = true;
    bert->teller = pthread_self();
    swi_bert_noted(bert);
    asked.fell(asked.context, &rate);
    swi_bert_note(bert);
    bert->telling = false;
    pthread_cond_broadcast(&bert->told);
    swi_bert_noted(bert);
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

static int make(sw_bert *bert, const struct sw_hit_rate_watch *asked, struct swi_watch **ret)
{
    struct sw_cache_info cache = SW_INIT(struct sw_cache_info);
    struct swi_error error = {0};
    int r = check(asked, &error);
    if (r < 0)
        return swi_bert_fail(bert, &error);
    struct swi_watch *watch = malloc(sizeof *watch);
    if (!watch) {
        (void)swi_fail(&error, -ENOMEM, "out of memory");
        return swi_bert_fail(bert, &error);
    }
    (void)sw_model_get_cache_info(bert->model, &cache);
    watch->asked = *asked;
    watch->hits = cache.hits;
    watch->misses = cache.misses;
    swi_hit_window_init(&watch->window, asked->window ? asked->window : 16, asked->below,
                        asked->recovered > asked->below ? asked->recovered : asked->below);
    *ret = watch;
    return 0;
}

int sw_bert_watch_hit_rate(sw_bert *bert, const struct sw_hit_rate_watch *watch)
{
    struct sw_hit_rate_watch known = {0};
    struct swi_error error = {0};
    struct swi_watch *made = NULL;
    int r = swi_sized_in(&known, sizeof known, watch, watch ? watch->size : 0, &error);
    if (r < 0)
        return swi_bert_fail(bert, &error);
    if (known.fell && (r = make(bert, &known, &made)) < 0)
        return r;
    r = swi_bert_adopt(bert);
    if (r < 0) {
        free(made);
        return r;
    }
    swi_bert_note(bert);
    free(bert->watch);
    bert->watch = made;
    while (bert->telling && !pthread_equal(bert->teller, pthread_self()))
        pthread_cond_wait(&bert->told, &bert->notes.mutex);
    swi_bert_noted(bert);
    return 0;
}

void swi_bert_watch_fini(sw_bert *bert)
{
    free(bert->watch);
    bert->watch = NULL;
}
