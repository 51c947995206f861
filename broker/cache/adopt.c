/* SPDX-License-Identifier: MIT */
/* Takes over the arena of a process that has ended.
 *
 * Clients continue to lease through the same index all the while. Chunks that leave are therefore
 * marked EVICTING before pins are counted, as in every eviction.
 *
 * A read that the death cut off may still write into its range: the device does not know that the
 * process is gone. Exactly the ranges whose entries say LOADING are affected, since a range is
 * reused only after its read was reaped. Freeing a whole 2 MiB block removes it from the device's
 * reach (the device then writes into unused pages); freeing less would leave a huge page, and its
 * late bytes, in place. So each block that such a range touches is renewed as a whole, and the
 * chunks that share it are dropped. If a client holds a lease in the block, that is impossible: the
 * range's part of the block is then quarantined and recorded in the ledger until the next boot.
 *
 *     block     0          1          2          3
 *           |AAAAAAA ll|llllllllll|lllll   BB|BBBB CC ..|     l: the cut-off read
 *            A is held: renew      drop B,    keep
 *            quarantine            renew
 *
 * A LOADING entry that overlaps a chunk belongs to a process that died between the two stores of
 * swi_entry_begin_load: its offset is that of an earlier load, and no read was begun.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/create.h"
#include "cache/evict.h"
#include "memory/cgroup.h"

#define TICKS_PAST 4096u /* as many as the policy knows */

struct span {
    uint64_t from, to; /* whole pages */
    uint32_t id;
    bool gone; /* dropped since */
};

/* The entries of the index, by offset. */
struct survey {
    struct span *kept, *loading; /* [SWI_CHUNKS] each */
    uint32_t kept_count, loading_count;
};

static int by_offset(const void *left, const void *right)
{
    const struct span *a = left, *b = right;
    return a->from < b->from ? -1 : a->from > b->from;
}

static void survey_fini(struct survey *survey)
{
    free(survey->kept);
    free(survey->loading);
    survey->kept = survey->loading = NULL;
}

static int survey_init(struct survey *survey, const struct cache *cache, struct swi_error *error)
{
    *survey = (struct survey){.kept = calloc(SWI_CHUNKS, sizeof *survey->kept),
                              .loading = calloc(SWI_CHUNKS, sizeof *survey->loading)};
    if (!survey->kept || !survey->loading) {
        survey_fini(survey);
        return swi_fail(error, -ENOMEM, "out of memory");
    }
    uint64_t most = cache->segment.max_bytes;
    for (uint32_t id = 0; id < SWI_CHUNKS; id++) {
        struct swi_entry_value entry = swi_entry_get(cache->index.index, id);
        if (entry.state == SWI_ABSENT)
            continue;
        struct span span = {.from = entry.offset, .id = id};
        if (entry.bytes == 0 || entry.bytes > most || entry.offset % SWI_PAGE_BYTES != 0 ||
            entry.offset > most - entry.bytes || entry.incarnation == 0) {
            survey_fini(survey);
            return swi_fail(error, SW_EVERSION, "chunk %u lies outside the stored arena", id);
        }
        span.to = span.from + arena_range_bytes(entry.bytes);
        if (entry.state == SWI_LOADING)
            survey->loading[survey->loading_count++] = span;
        else
            survey->kept[survey->kept_count++] = span;
    }
    qsort(survey->kept, survey->kept_count, sizeof *survey->kept, by_offset);
    return 0;
}

static bool overlap(uint64_t from, uint64_t to, uint64_t other_from, uint64_t other_to)
{
    return from < other_to && other_from < to;
}

/* Checks that chunks overlap neither each other nor the quarantine, and that memory backs them. */
static int check_survey(const struct survey *survey, const struct cache *cache,
                        struct swi_error *error)
{
    const struct ledger *ledger = cache->ledger;
    for (uint32_t i = 0; i < survey->kept_count; i++) {
        const struct span *span = &survey->kept[i];
        if (span->to > cache->segment.reserved_bytes ||
            (i > 0 && survey->kept[i - 1].to > span->from))
            return swi_fail(error, SW_EVERSION, "chunk %u of the stored index overlaps another",
                            span->id);
    }
    for (uint32_t r = 0; r < ledger->header.ranges; r++) {
        const struct ledger_range *range = &ledger->range[r];
        bool wrong = range->from % SWI_PAGE_BYTES != 0 || range->bytes % SWI_PAGE_BYTES != 0 ||
                     range->from > cache->segment.max_bytes ||
                     range->bytes > cache->segment.max_bytes - range->from;
        for (uint32_t i = 0; i < survey->kept_count && !wrong; i++)
            wrong = overlap(survey->kept[i].from, survey->kept[i].to, range->from,
                            range->from + range->bytes);
        if (wrong)
            return swi_fail(error, SW_EVERSION, "the quarantine in the stored ledger is invalid");
    }
    return 0;
}

static bool in_quarantine(const struct cache *cache, uint64_t from, uint64_t to)
{
    for (uint32_t r = 0; r < cache->ledger->header.ranges; r++) {
        const struct ledger_range *range = &cache->ledger->range[r];
        if (range->from <= from && to <= range->from + range->bytes)
            return true;
    }
    return false;
}

/* Quarantines a block without memory. False: a chunk lies there, or the ledger has no room. */
static bool set_aside(struct cache *cache, const struct survey *survey, uint64_t block)
{
    uint64_t from = block * SWI_BLOCK_BYTES, to = from + SWI_BLOCK_BYTES;
    for (uint32_t i = 0; i < survey->kept_count; i++)
        if (!survey->kept[i].gone && overlap(survey->kept[i].from, survey->kept[i].to, from, to))
            return false;
    return in_quarantine(cache, from, to) || ledger_add_range(cache->ledger, from, SWI_BLOCK_BYTES);
}

/* Fills the blocks that were being renewed at the death; their chunks had left before. A chunk that
 * still lies in such a block has lost its bytes, and then nothing in the arena can be trusted. */
static int fill_holes(struct cache *cache, const struct survey *survey, struct swi_error *error)
{
    uint64_t reserved = cache->segment.reserved_bytes;
    if (!segment_has_holes(&cache->segment))
        return 0;
    for (uint64_t block = 0; block * SWI_BLOCK_BYTES < reserved; block++) {
        if (in_quarantine(cache, block * SWI_BLOCK_BYTES, (block + 1) * SWI_BLOCK_BYTES))
            continue;
        int result = segment_back(&cache->segment, block, error);
        if (result < 0 && !set_aside(cache, survey, block))
            return swi_fail_within(error, SW_EVERSION,
                                   "block %llu of the stored arena: ", (unsigned long long)block);
    }
    return 0;
}

static int check_header(const struct cache *cache, struct swi_error *error)
{
    const struct swi_index *index = cache->index.index;
    const struct ledger_header *header = &cache->ledger->header;
    if (!swi_index_compatible(index))
        return swi_fail(error, SW_EVERSION, "the stored index has another version");
    if (index->header.instance != header->instance ||
        index->header.arena_bytes != header->arena_bytes)
        return swi_fail(error, SW_EVERSION, "the stored index and ledger do not match");
    return 0;
}

/* Memory that is reserved already may stay, whatever the limit is, but it cannot grow. */
static int fit_budget(struct cache *cache, struct swi_error *error)
{
    if (cache->budget > cache->segment.max_bytes)
        cache->budget = cache->segment.max_bytes;
    uint64_t reserved = cache->segment.reserved_bytes;
    if (cache->budget <= reserved || cgroup_check_memory(cache->budget, &cache->limited) == 0)
        return 0;
    if (reserved < SWI_PAGE_BYTES)
        return swi_fail(error, cache->limited.code, "%s", cache->limited.text);
    cache->budget = reserved;
    return 0;
}

int cache_adopt(const struct cache_options *options, int arena_fd, int index_fd, struct cache **ret,
                struct swi_error *error)
{
    assert(options->ledger);
    struct cache *cache;
    struct survey survey = {.kept_count = 0};
    int result = cache_prepare(options, &cache, error);
    if (result < 0)
        return result;
    result = index_segment_adopt(&cache->index, index_fd, error);
    if (result == 0)
        result = check_header(cache, error);
    if (result == 0)
        result = segment_adopt(&cache->segment, arena_fd, cache->index.index->header.arena_bytes,
                               cache->ledger->huge, &cache->ledger->header.reserved_bytes, error);
    if (result == 0)
        result = survey_init(&survey, cache, error);
    if (result == 0)
        result = check_survey(&survey, cache, error);
    if (result == 0)
        result = fill_holes(cache, &survey, error);
    survey_fini(&survey);
    if (result == 0)
        result = fit_budget(cache, error);
    if (result == 0)
        result = loader_create(options->engine, &cache->loader, error);
    if (result < 0) {
        cache->index.fd = cache->segment.fd = -1; /* the caller keeps them */
        cache_destroy(cache);
        return result;
    }
    cache_set_session_bytes(cache, cache->session_bytes); /* half of the budget may be less now */
    *ret = cache;
    return 0;
}

int cache_restore(struct cache *cache, uint32_t id, const struct cache_chunk *chunk)
{
    assert(id < SWI_CHUNKS && !cache->chunk[id]);
    return cache_add_chunk(cache, id, chunk);
}

/* ---- cut-off reads --------------------------------------------------------------------------- */

static bool touches_kept(const struct survey *survey, const struct span *span)
{
    for (uint32_t i = 0; i < survey->kept_count; i++)
        if (!survey->kept[i].gone &&
            overlap(span->from, span->to, survey->kept[i].from, survey->kept[i].to))
            return true;
    return false;
}

static bool is_held(const struct cache *cache, const struct survey *survey, uint64_t from,
                    uint64_t to)
{
    for (uint32_t i = 0; i < survey->kept_count; i++) {
        const struct span *span = &survey->kept[i];
        if (!span->gone && overlap(from, to, span->from, span->to) &&
            cache_pins(cache, span->id) > 0)
            return true;
    }
    return false;
}

static void drop_chunks(struct cache *cache, struct survey *survey, uint64_t from, uint64_t to,
                        struct cache_adopted *ret)
{
    for (uint32_t i = 0; i < survey->kept_count; i++) {
        struct span *span = &survey->kept[i];
        if (span->gone || !overlap(from, to, span->from, span->to))
            continue;
        if (cache_pins(cache, span->id) > 0)
            swi_entry_drop(cache->index.index, span->id);
        else
            swi_entry_finish_evict(cache->index.index, span->id);
        span->gone = true;
        ret->dropped++;
    }
}

/* Handles one block that a cut-off read touches. */
static int clear_block(struct cache *cache, struct survey *survey, const struct span *load,
                       uint64_t block, struct cache_adopted *ret, struct swi_error *error)
{
    uint64_t from = block * SWI_BLOCK_BYTES;
    uint64_t to = from + SWI_BLOCK_BYTES;
    if (is_held(cache, survey, from, to)) {
        uint64_t part = load->from > from ? load->from : from;
        uint64_t end = load->to < to ? load->to : to;
        if (in_quarantine(cache, part, end) || ledger_add_range(cache->ledger, part, end - part)) {
            ret->quarantined++;
            return 0;
        }
        /* no room in the ledger: the leases are revoked */
    }
    drop_chunks(cache, survey, from, to, ret);
    int result = segment_renew(&cache->segment, block, error);
    if (result == 0 || !set_aside(cache, survey, block))
        return result;
    ret->quarantined++;
    return 0;
}

static int clear_loads(struct cache *cache, struct survey *survey, struct cache_adopted *ret,
                       struct swi_error *error)
{
    for (uint32_t i = 0; i < survey->loading_count; i++) {
        const struct span *load = &survey->loading[i];
        int result = 0;
        ret->cut_off++;
        if (!touches_kept(survey, load)) {
            uint64_t last = (load->to - 1) / SWI_BLOCK_BYTES;
            for (uint64_t block = load->from / SWI_BLOCK_BYTES; block <= last && result == 0;
                 block++)
                result = clear_block(cache, survey, load, block, ret, error);
        }
        if (result < 0)
            return result;
        /* only now, so that a successor of a process that dies before this starts over */
        swi_entry_fail_load(cache->index.index, load->id);
    }
    return 0;
}

/* ---- chunks that stay ------------------------------------------------------------------------ */

/* Reserves a quarantined range in the arena, or those pages of it that are free. */
static void claim(struct cache *cache, const struct ledger_range *range)
{
    uint64_t offset;
    uint64_t to = range->from + range->bytes;
    if (range->bytes == 0 ||
        arena_place_within(cache->arena, range->from, to, range->bytes, QUARANTINE, &offset))
        return;
    for (uint64_t page = range->from; page < to; page += SWI_PAGE_BYTES)
        (void)arena_place_within(cache->arena, page, page + SWI_PAGE_BYTES, SWI_PAGE_BYTES,
                                 QUARANTINE, &offset);
}

/* Adds a chunk whose model is not known any more. It stays while a client holds it. The policy
 * sees it as a model with one chunk. */
static int add_gone(struct cache *cache, uint32_t id)
{
    const struct cache_chunk info = {
        .model = "?",
        .name = "?",
        .model_size = 1,
        .incarnation = UINT64_MAX - id,
        .bytes = swi_entry_get(cache->index.index, id).bytes,
        .digest = {.low = swi_entry_get(cache->index.index, id).digest_low,
                   .high = swi_entry_get(cache->index.index, id).digest_high},
    };
    int result = cache_add_chunk(cache, id, &info);
    if (result == 0) {
        cache->chunk[id]->gone = true;
        cache->gone_count++;
    }
    return result;
}

static int keep(struct cache *cache, const struct span *span, struct cache_adopted *ret,
                struct swi_error *error)
{
    int result = cache->chunk[span->id] ? 0 : add_gone(cache, span->id);
    if (result < 0)
        return swi_fail(error, result, "cannot take over chunk %u: %s", span->id,
                        sw_strerror(result));
    struct chunk *chunk = cache->chunk[span->id];
    bool placed = arena_place_within(cache->arena, span->from, span->to, span->to - span->from,
                                     span->id, &chunk->offset);
    assert(placed && chunk->offset == span->from && "cache_adopt has checked it");
    (void)placed;
    bool withheld = cache_state(cache, span->id) == SWI_EVICTING;
    chunk->trust = withheld ? TRUST_WITHHELD : TRUST_UNVERIFIED;
    cache->stats.unverified++;
    cache->rehash.withheld += withheld;
    cache_add_resident(cache, chunk);
    ret->resident++;
    ret->withheld += withheld;
    return 0;
}

/* Collects the unused ids. */
static void collect_free_ids(struct cache *cache)
{
    cache->free_first = cache->free_count = 0;
    for (uint32_t id = 0; id < SWI_CHUNKS; id++) {
        if (cache->chunk[id])
            continue;
        if (swi_entry_get(cache->index.index, id).incarnation != 0)
            swi_entry_assign(cache->index.index, id, 0, 0, 0, 0);
        cache->free_ids[cache->free_count++] = id;
    }
}

/* The times of past ticks are unknown: all of them count as now, so that no chunk looks long
 * unused. */
static void note_ticks(struct cache *cache)
{
    uint32_t now = cache_now_tick(cache);
    for (uint32_t ago = TICKS_PAST; ago > 0; ago--)
        policy_note_tick(cache->policy, now - ago + 1, cache->now_ns);
}

int cache_settle(struct cache *cache, bool clean, uint64_t now_ns, struct cache_adopted *ret,
                 struct swi_error *error)
{
    struct survey survey;
    *ret = (struct cache_adopted){.resident = 0};
    cache->now_ns = now_ns;
    int result = survey_init(&survey, cache, error);
    if (result < 0)
        return result;
    clean = clean && survey.loading_count == 0;
    for (uint32_t i = 0; i < survey.kept_count && !clean; i++)
        if (cache_state(cache, survey.kept[i].id) == SWI_RESIDENT)
            swi_entry_begin_evict(cache->index.index, survey.kept[i].id);
    cache_scan_pins(cache);
    result = clear_loads(cache, &survey, ret, error);
    note_ticks(cache);
    arena_set_limit(cache->arena, cache->segment.reserved_bytes);
    for (uint32_t i = 0; i < survey.kept_count && result == 0; i++)
        if (!survey.kept[i].gone)
            result = keep(cache, &survey.kept[i], ret, error);
    survey_fini(&survey);
    if (result < 0)
        return result;
    for (uint32_t i = 0; i < cache->ledger->header.ranges; i++)
        claim(cache, &cache->ledger->range[i]);
    collect_free_ids(cache);
    cache_apply_limit(cache);
    cache->pump_wanted = true;
    return 0;
}
