/* SPDX-License-Identifier: MIT */
/* A trace, as swbench policy reads it: whatever is accepted is in order and refers to what it has
 * introduced, and can be replayed and bounded. */
#include <errno.h>

#include "core/layout.h"
#include "input.h"
#include "replay/bound.h"
#include "replay/simulate.h"

#define REPLAYED_EVENTS 512u /* so that one input takes milliseconds */
#define REPLAYED_CHUNKS 64u
#define REPLAYED_BYTES  (256u << 20)

static void check(const struct trace_log *log)
{
    FUZZ_CHECK(log->chunk_count <= SWI_CHUNKS);
    for (uint32_t i = 0; i < log->chunk_count; i++) {
        const struct trace_chunk *chunk = &log->chunks[i];
        FUZZ_CHECK(chunk->bytes > 0 && chunk->incarnation > 0 && chunk->name[0]);
        FUZZ_CHECK(chunk->ordinal < chunk->model_size && chunk->model_size <= SWI_CHUNKS);
    }
    for (size_t i = 0; i < log->event_count; i++) {
        const struct trace_event *event = &log->events[i];
        FUZZ_CHECK(event->session < SWI_SESSIONS);
        FUZZ_CHECK(i == 0 || event[-1].time_ns <= event->time_ns);
        if (event->kind == TRACE_HIT || event->kind == TRACE_MISS)
            FUZZ_CHECK(event->chunk < log->chunk_count);
        if (event->kind == TRACE_CURSOR)
            FUZZ_CHECK(event->lane < SW_CURSOR_LANES && event->component < SWI_CHUNKS);
    }
}

/* What no policy can beat. */
static uint64_t bound(const struct trace_log *log, uint64_t budget)
{
    uint32_t uses[REPLAYED_EVENTS];
    uint64_t bytes[REPLAYED_CHUNKS], most = 0;
    size_t count = 0;
    for (uint32_t i = 0; i < log->chunk_count; i++)
        bytes[i] = log->chunks[i].bytes;
    for (size_t i = 0; i < log->event_count; i++)
        if (log->events[i].kind == TRACE_HIT || log->events[i].kind == TRACE_MISS)
            uses[count++] = log->events[i].chunk;
    const struct bound_problem problem = {.uses = uses,
                                          .bytes = bytes,
                                          .count = count,
                                          .chunks = log->chunk_count,
                                          .budget = budget,
                                          .unit = SWI_PAGE_BYTES};
    FUZZ_CHECK(bound_hit_bytes(&problem, &most) == 0);
    return most;
}

/* By one policy and with one budget, which the input chooses: making a policy takes most of the
 * time. */
static void replay(const struct trace_log *log, uint8_t choice)
{
    const struct simulate_options options = {.policy = choice & 1 ? POLICY_NEXT_USE : POLICY_LRU,
                                             .budget = choice & 2 ? log->budget
                                                                  : trace_log_bytes(log) / 2};
    struct simulated result;
    struct swi_error error = {0};
    if (options.budget == 0 || options.budget > REPLAYED_BYTES)
        return;
    if (simulate(log, &options, &result, &error) < 0) {
        FUZZ_CHECK(error.text[0] != 0);
        return;
    }
    FUZZ_CHECK(result.hits <= result.uses && result.hit_bytes <= result.bytes);
    FUZZ_CHECK(result.hit_bytes <= bound(log, options.budget));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FILE *file = fmemopen((void *)(uintptr_t)data, size, "r");
    if (!file)
        return 0; /* an empty one */
    struct trace_log log;
    struct swi_error error = {0};
    int result = trace_log_read(file, &log, &error);
    (void)fclose(file);
    if (result < 0) {
        FUZZ_CHECK(error.text[0] != 0);
        return 0;
    }
    check(&log);
    if (log.event_count <= REPLAYED_EVENTS && log.chunk_count <= REPLAYED_CHUNKS)
        replay(&log, data[size - 2]); /* its last digit; the first line alone has over 20 bytes */
    trace_log_fini(&log);
    return 0;
}
