/* SPDX-License-Identifier: MIT */
/* The operator's pins. */
#include "operator/pins.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "core/size.h"
#include "memory/arena.h"

#define FAILED_AGAIN_NS                                                                            \
    (10 *                                                                                          \
     LOOP_NS_PER_S) /* a chunk that cannot be read is tried again after                       \
                          */

struct pinned {
    TAILQ_ENTRY(pinned) link;
    struct revision *revision; /* with the broker as its user */
    bool whole;                /* was pinned as a whole */
    uint32_t count;
    uint64_t tried_ns;
    bool kept[]; /* by ordinal */
};

uint64_t pins_limit(uint64_t cache_bytes)
{
    return cache_bytes / 2;
}

int pins_check_size(const struct broker *broker, uint64_t cache_bytes, struct swi_error *error)
{
    char pinned[32];
    if (cache_bytes >= cache_budget(broker->cache) ||
        broker->pinned_bytes <= pins_limit(cache_bytes))
        return 0;
    swi_size_format(broker->pinned_bytes, pinned, sizeof pinned);
    return swi_fail(error, SW_EQUOTA,
                    "the operator's pins hold %s, and may hold half of the cache; swctl unpin some "
                    "of them first",
                    pinned);
}

static struct pinned *find(struct broker *broker, const char *model)
{
    struct pinned *pinned;
    TAILQ_FOREACH(pinned, &broker->pins, link)
    {
        if (strcmp(pinned->revision->name, model) == 0)
            return pinned;
    }
    return NULL;
}

/* Makes the broker a user of the revision. NULL: out of memory, or of ids. */
static struct pinned *create(struct broker *broker, struct revision *revision)
{
    struct pinned *pinned = calloc(1, sizeof *pinned + revision->manifest.count);
    struct swi_error error;
    if (!pinned || revision_acquire(revision, &error) < 0) {
        free(pinned);
        return NULL;
    }
    pinned->revision = revision;
    TAILQ_INSERT_TAIL(&broker->pins, pinned, link);
    return pinned;
}

static uint64_t range_of(const struct revision *revision, uint32_t ordinal)
{
    return arena_range_bytes(revision->manifest.chunks[ordinal].bytes);
}

static void keep(struct broker *broker, struct pinned *pinned, uint32_t ordinal)
{
    pinned->kept[ordinal] = true;
    pinned->count++;
    broker->pinned_chunks++;
    broker->pinned_bytes += range_of(pinned->revision, ordinal);
    cache_hold(broker->cache, pinned->revision->ids[ordinal], true);
}

static void let_go(struct broker *broker, struct pinned *pinned, uint32_t ordinal)
{
    pinned->kept[ordinal] = false;
    pinned->count--;
    broker->pinned_chunks--;
    broker->pinned_bytes -= range_of(pinned->revision, ordinal);
    cache_hold(broker->cache, pinned->revision->ids[ordinal], false);
}

/* Of a pinned model with nothing pinned any more. */
static void release(struct broker *broker, struct pinned *pinned)
{
    TAILQ_REMOVE(&broker->pins, pinned, link);
    catalog_release(broker->catalog, pinned->revision);
    free(pinned);
}

int pins_add(struct broker *broker, struct revision *revision, int ordinal, bool *fresh,
             struct swi_error *error)
{
    /* those of a revision that was superseded meanwhile have other ordinals */
    (void)pins_follow(broker);
    struct pinned *pinned = find(broker, revision->name);
    uint32_t first = ordinal < 0 ? 0 : (uint32_t)ordinal;
    uint32_t end = ordinal < 0 ? (uint32_t)revision->manifest.count : first + 1;
    uint64_t more = 0, limit = pins_limit(cache_budget(broker->cache));
    for (uint32_t i = first; i < end; i++)
        more += pinned && pinned->kept[i] ? 0 : range_of(revision, i);
    if (more > 0 && broker->pinned_bytes + more > limit) {
        char texts[3][32];
        swi_size_format(more, texts[0], sizeof texts[0]);
        swi_size_format(broker->pinned_bytes, texts[1], sizeof texts[1]);
        swi_size_format(limit, texts[2], sizeof texts[2]);
        return swi_fail(error, SW_EQUOTA,
                        "cannot pin %s more: %s are pinned, and pins may take %s, half of the "
                        "cache; swctl unpin something, or enlarge the cache (swctl resize)",
                        texts[0], texts[1], texts[2]);
    }
    if (!pinned)
        pinned = create(broker, revision);
    if (!pinned)
        return swi_fail(error, -ENOMEM, "out of memory for the pin");
    pinned->whole = pinned->whole || ordinal < 0;
    for (uint32_t i = first; i < end; i++) {
        fresh[i] = !pinned->kept[i];
        if (fresh[i])
            keep(broker, pinned, i);
    }
    return 0;
}

struct pins_removed pins_remove(struct broker *broker, const char *model, const char *component)
{
    struct pins_removed removed = {.chunks = 0};
    struct pinned *pinned = find(broker, model);
    if (!pinned)
        return removed;
    for (uint32_t i = 0; i < pinned->revision->manifest.count; i++) {
        const struct swi_manifest_chunk *chunk = &pinned->revision->manifest.chunks[i];
        if (!pinned->kept[i] || (component && strcmp(chunk->name, component) != 0))
            continue;
        removed.chunks++;
        removed.bytes += chunk->bytes;
        let_go(broker, pinned, i);
    }
    pinned->whole = pinned->whole && removed.chunks == 0;
    if (pinned->count == 0)
        release(broker, pinned);
    return removed;
}

/* ---- keeping --------------------------------------------------------------------------------- */

static void keep_loaded(struct broker *broker, struct pinned *pinned, uint64_t now_ns)
{
    bool patient = now_ns - pinned->tried_ns < FAILED_AGAIN_NS;
    for (uint32_t i = 0; i < pinned->revision->manifest.count; i++) {
        struct cache_chunk_view view;
        uint32_t id = pinned->revision->ids[i];
        if (!pinned->kept[i] || !cache_view(broker->cache, id, &view) ||
            view.entry.state != SWI_ABSENT || view.queued || (view.last_error && patient))
            continue;
        if (view.last_error)
            pinned->tried_ns = now_ns;
        cache_request(broker->cache, id, CACHE_WARM, NULL, now_ns);
    }
}

static void load_missing(struct broker *broker)
{
    uint64_t now_ns = loop_now();
    struct pinned *pinned;
    TAILQ_FOREACH(pinned, &broker->pins, link)
    keep_loaded(broker, pinned, now_ns);
}

/* ---- reload ---------------------------------------------------------------------------------- */

static bool is_wanted(const struct pinned *old, const struct revision *revision, uint32_t ordinal)
{
    if (old->whole)
        return true;
    int before = revision_find(old->revision, revision->manifest.chunks[ordinal].name);
    return before >= 0 && old->kept[before];
}

/* Moves what was pinned to the revision that took its place, as far as the limit allows. `wanted`
 * has a flag for each component of the new one. Returns how many chunks of it are pinned. */
static uint32_t move(struct broker *broker, struct pinned *old, struct revision *revision,
                     bool *wanted)
{
    for (uint32_t i = 0; i < revision->manifest.count; i++)
        wanted[i] = is_wanted(old, revision, i);
    bool whole = old->whole;
    for (uint32_t i = 0; i < old->revision->manifest.count; i++)
        if (old->kept[i])
            let_go(broker, old, i);
    release(broker, old);
    struct pinned *pinned = create(broker, revision);
    if (!pinned)
        return 0;
    uint64_t limit = pins_limit(cache_budget(broker->cache));
    for (uint32_t i = 0; i < revision->manifest.count; i++)
        if (wanted[i] && broker->pinned_bytes + range_of(revision, i) <= limit)
            keep(broker, pinned, i);
    uint32_t count = pinned->count;
    pinned->whole = whole && count == revision->manifest.count;
    if (count == 0)
        release(broker, pinned);
    return count;
}

static uint32_t follow(struct broker *broker, struct pinned *pinned, struct revision *revision)
{
    const uint32_t before = pinned->count;
    const char *name = revision ? revision->name : pinned->revision->name;
    bool *wanted = revision ? calloc(revision->manifest.count, sizeof *wanted) : NULL;
    uint32_t after = 0;
    if (wanted) {
        after = move(broker, pinned, revision, wanted);
    } else {
        log_warning("model %s has left the catalog, and its %u pins with it", name, before);
        (void)pins_remove(broker, name, NULL);
        return before;
    }
    free(wanted);
    if (after < before)
        log_warning("model %s was replaced: %u of %u pins have moved to its new revision", name,
                    after, before);
    return after < before ? before - after : 0;
}

uint32_t pins_follow(struct broker *broker)
{
    uint32_t ended = 0;
    struct pinned *next;
    /* moved ones go to the end of the list, where they are found in order */
    for (struct pinned *pinned = TAILQ_FIRST(&broker->pins); pinned; pinned = next) {
        next = TAILQ_NEXT(pinned, link);
        const struct catalog_model *model = catalog_find(broker->catalog, pinned->revision->name);
        struct revision *current = model ? model->current : NULL;
        if (current != pinned->revision)
            ended += follow(broker, pinned, current);
    }
    load_missing(broker);
    return ended;
}

void pins_end(struct broker *broker)
{
    for (struct pinned *pinned; (pinned = TAILQ_FIRST(&broker->pins));)
        (void)pins_remove(broker, pinned->revision->name, NULL);
}
