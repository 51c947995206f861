/* SPDX-License-Identifier: MIT */
/* The operator's pins. */
#include "operator/pins.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "core/size.h"
#include "memory/arena.h"

/* A chunk that could not be read is tried again after this time. */
#define FAILED_AGAIN_NS (10 * LOOP_NS_PER_S)

struct pinned {
    TAILQ_ENTRY(pinned) link;
    struct revision *revision; /* acquired */
    bool whole;                /* pinned as a whole model */
    uint32_t count;
    uint64_t tried_ns;
    bool kept[]; /* by ordinal */
};

uint64_t pins_limit(uint64_t cache_bytes)
{
    return cache_bytes / 2;
}

int pins_check_size(const struct control *control, uint64_t cache_bytes, struct swi_error *error)
{
    char pinned[32];
    if (cache_bytes >= cache_budget(control->cache) ||
        control->pinned_bytes <= pins_limit(cache_bytes))
        return 0;
    swi_size_format(control->pinned_bytes, pinned, sizeof pinned);
    return swi_fail(
        error, SW_EQUOTA,
        "the operator has pinned %s, more than half of a cache of that size; swctl unpin "
        "some of it first",
        pinned);
}

static struct pinned *find(struct control *control, const char *model)
{
    struct pinned *pinned;
    TAILQ_FOREACH(pinned, &control->pins, link)
    {
        if (strcmp(pinned->revision->name, model) == 0)
            return pinned;
    }
    return NULL;
}

/* Makes the operator a user of the revision. NULL: out of memory, or of ids. */
static struct pinned *create(struct control *control, struct revision *revision)
{
    struct pinned *pinned = calloc(1, sizeof *pinned + revision->manifest.count);
    struct swi_error error;
    if (!pinned || revision_acquire(revision, &error) < 0) {
        free(pinned);
        return NULL;
    }
    pinned->revision = revision;
    TAILQ_INSERT_TAIL(&control->pins, pinned, link);
    return pinned;
}

static uint64_t range_of(const struct revision *revision, uint32_t ordinal)
{
    return arena_range_bytes(revision->manifest.chunks[ordinal].bytes);
}

static void keep(struct control *control, struct pinned *pinned, uint32_t ordinal)
{
    pinned->kept[ordinal] = true;
    pinned->count++;
    control->pinned_chunks++;
    control->pinned_bytes += range_of(pinned->revision, ordinal);
    cache_hold(control->cache, pinned->revision->ids[ordinal], true);
}

static void let_go(struct control *control, struct pinned *pinned, uint32_t ordinal)
{
    pinned->kept[ordinal] = false;
    pinned->count--;
    control->pinned_chunks--;
    control->pinned_bytes -= range_of(pinned->revision, ordinal);
    cache_hold(control->cache, pinned->revision->ids[ordinal], false);
}

/* Nothing of the model is pinned any more. */
static void release(struct control *control, struct pinned *pinned)
{
    TAILQ_REMOVE(&control->pins, pinned, link);
    catalog_release(control->catalog, pinned->revision);
    free(pinned);
}

int pins_add(struct control *control, struct revision *revision, int ordinal, bool *fresh,
             struct swi_error *error)
{
    /* pins of a superseded revision have other ordinals */
    (void)pins_follow(control);
    struct pinned *pinned = find(control, revision->name);
    uint32_t first = ordinal < 0 ? 0 : (uint32_t)ordinal;
    uint32_t end = ordinal < 0 ? (uint32_t)revision->manifest.count : first + 1;
    uint64_t more = 0, limit = pins_limit(cache_budget(control->cache));
    for (uint32_t i = first; i < end; i++)
        more += pinned && pinned->kept[i] ? 0 : range_of(revision, i);
    if (more > 0 && control->pinned_bytes + more > limit) {
        char texts[3][32];
        swi_size_format(more, texts[0], sizeof texts[0]);
        swi_size_format(control->pinned_bytes, texts[1], sizeof texts[1]);
        swi_size_format(limit, texts[2], sizeof texts[2]);
        return swi_fail(
            error, SW_EQUOTA,
            "cannot pin %s more: %s are pinned, and the limit is %s, half of the cache; "
            "swctl unpin something, or enlarge the cache (swctl resize)",
            texts[0], texts[1], texts[2]);
    }
    if (!pinned)
        pinned = create(control, revision);
    if (!pinned)
        return swi_fail(error, -ENOMEM, "out of memory for the pin");
    pinned->whole = pinned->whole || ordinal < 0;
    for (uint32_t i = first; i < end; i++) {
        fresh[i] = !pinned->kept[i];
        if (fresh[i])
            keep(control, pinned, i);
    }
    return 0;
}

struct pins_removed pins_remove(struct control *control, const char *model, const char *component)
{
    struct pins_removed removed = {.chunks = 0};
    struct pinned *pinned = find(control, model);
    if (!pinned)
        return removed;
    for (uint32_t i = 0; i < pinned->revision->manifest.count; i++) {
        const struct swi_manifest_chunk *chunk = &pinned->revision->manifest.chunks[i];
        if (!pinned->kept[i] || (component && strcmp(chunk->name, component) != 0))
            continue;
        removed.chunks++;
        removed.bytes += chunk->bytes;
        let_go(control, pinned, i);
    }
    pinned->whole = pinned->whole && removed.chunks == 0;
    if (pinned->count == 0)
        release(control, pinned);
    return removed;
}

/* ---- keeping --------------------------------------------------------------------------------- */

static void keep_loaded(struct control *control, struct pinned *pinned, uint64_t now_ns)
{
    bool patient = now_ns - pinned->tried_ns < FAILED_AGAIN_NS;
    for (uint32_t i = 0; i < pinned->revision->manifest.count; i++) {
        struct cache_chunk_view view;
        uint32_t id = pinned->revision->ids[i];
        if (!pinned->kept[i] || !cache_view(control->cache, id, &view) ||
            view.entry.state != SWI_ABSENT || view.queued || (view.last_error && patient))
            continue;
        if (view.last_error)
            pinned->tried_ns = now_ns;
        cache_request(control->cache, id, CACHE_WARM, NULL, now_ns);
    }
}

static void load_missing(struct control *control)
{
    uint64_t now_ns = loop_now();
    struct pinned *pinned;
    TAILQ_FOREACH(pinned, &control->pins, link)
    keep_loaded(control, pinned, now_ns);
}

/* ---- reload ---------------------------------------------------------------------------------- */

static bool is_wanted(const struct pinned *old, const struct revision *revision, uint32_t ordinal)
{
    if (old->whole)
        return true;
    int before = revision_find(old->revision, revision->manifest.chunks[ordinal].name);
    return before >= 0 && old->kept[before];
}

/* Moves pins to the revision that superseded theirs, as far as the limit allows. `wanted` has a flag
 * for each component of the new revision. Returns how many of its chunks are pinned. */
static uint32_t move(struct control *control, struct pinned *old, struct revision *revision,
                     bool *wanted)
{
    for (uint32_t i = 0; i < revision->manifest.count; i++)
        wanted[i] = is_wanted(old, revision, i);
    bool whole = old->whole;
    for (uint32_t i = 0; i < old->revision->manifest.count; i++)
        if (old->kept[i])
            let_go(control, old, i);
    release(control, old);
    struct pinned *pinned = create(control, revision);
    if (!pinned)
        return 0;
    uint64_t limit = pins_limit(cache_budget(control->cache));
    for (uint32_t i = 0; i < revision->manifest.count; i++)
        if (wanted[i] && control->pinned_bytes + range_of(revision, i) <= limit)
            keep(control, pinned, i);
    uint32_t count = pinned->count;
    pinned->whole = whole && count == revision->manifest.count;
    if (count == 0)
        release(control, pinned);
    return count;
}

static uint32_t follow(struct control *control, struct pinned *pinned, struct revision *revision)
{
    const uint32_t before = pinned->count;
    const char *name = revision ? revision->name : pinned->revision->name;
    bool *wanted = revision ? calloc(revision->manifest.count, sizeof *wanted) : NULL;
    uint32_t after = 0;
    if (wanted) {
        after = move(control, pinned, revision, wanted);
    } else {
        log_warning("model %s was removed from the catalog; its %u pins ended", name, before);
        (void)pins_remove(control, name, NULL);
        return before;
    }
    free(wanted);
    if (after < before)
        log_warning("model %s was replaced: moved %u of %u pins to its new revision", name, after,
                    before);
    return after < before ? before - after : 0;
}

uint32_t pins_follow(struct control *control)
{
    uint32_t ended = 0;
    struct pinned *next;
    /* moved pins go to the end of the list, where they are found up to date */
    for (struct pinned *pinned = TAILQ_FIRST(&control->pins); pinned; pinned = next) {
        next = TAILQ_NEXT(pinned, link);
        const struct catalog_model *model = catalog_find(control->catalog, pinned->revision->name);
        struct revision *current = model ? model->current : NULL;
        if (current != pinned->revision)
            ended += follow(control, pinned, current);
    }
    load_missing(control);
    return ended;
}

void pins_end(struct control *control)
{
    for (struct pinned *pinned; (pinned = TAILQ_FIRST(&control->pins));)
        (void)pins_remove(control, pinned->revision->name, NULL);
}
