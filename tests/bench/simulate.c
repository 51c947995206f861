/* SPDX-License-Identifier: MIT */
/* The simulator: small traces by hand, the policies against the bound, and the reader of traces. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/bound.h"
#include "replay/simulate.h"

#define MIB        (UINT64_C(1) << 20)
#define STEP_NS    UINT64_C(20000000) /* over a tick of the broker, so that every use has its own */
#define EVENTS_MAX 4096

TestSuite(simulate, .timeout = 60);
TestSuite(trace_file, .timeout = 30);

static struct trace_chunk chunks[64];
static struct trace_event events[EVENTS_MAX];
static struct trace_log trace = {.chunks = chunks, .events = events, .budget = 1};
static char name[] = "model/component";

/* A model of count chunks of these sizes; the trace is empty. */
static void model_of(uint32_t count, const uint64_t *bytes)
{
    for (uint32_t i = 0; i < count; i++)
        chunks[i] = (struct trace_chunk){
            .name = name, .incarnation = 9, .bytes = bytes[i], .ordinal = i, .model_size = count};
    trace.chunk_count = count;
    trace.event_count = 0;
}

static struct trace_event *add(enum trace_event_kind kind)
{
    cr_assert_lt(trace.event_count, EVENTS_MAX);
    struct trace_event *event = &events[trace.event_count++];
    *event = (struct trace_event){.kind = kind, .time_ns = trace.event_count * STEP_NS};
    return event;
}

static void use(uint32_t chunk)
{
    add(TRACE_HIT)->chunk = chunk;
}

static void cursor(uint32_t component, uint64_t pass)
{
    struct trace_event *event = add(TRACE_CURSOR);
    event->incarnation = 9;
    event->component = component;
    event->pass = pass;
    event->step_ns = 2 * STEP_NS;
}

static struct simulated run(enum policy_kind policy, uint64_t budget, size_t from)
{
    struct simulated result;
    struct swi_error error = {0};
    const struct simulate_options options = {.policy = policy, .budget = budget, .from = from};
    cr_assert_eq(simulate(&trace, &options, &result, &error), 0, "%s", error.text);
    return result;
}

static const uint64_t equal[] = {MIB, MIB, MIB, MIB, MIB, MIB, MIB, MIB};

Test(simulate, lru_by_hand)
{
    model_of(3, equal);
    const uint32_t order[] = {0, 1, 0, 2, 0, 1};
    for (size_t i = 0; i < 6; i++)
        use(order[i]);
    struct simulated result = run(POLICY_LRU, 2 * MIB, 0);
    cr_assert_eq(result.uses, 6);
    cr_assert_eq(result.hits, 2); /* both later uses of 0 */
    cr_assert_eq(result.bytes, 6 * MIB);
    cr_assert_eq(result.hit_bytes, 2 * MIB);
    cr_assert_eq(result.loads, 4);
    cr_assert_eq(result.load_bytes, 4 * MIB);
    cr_assert_eq(result.evictions, 2);
    cr_assert_eq(run(POLICY_LRU, 3 * MIB, 0).hits, 3);
    cr_assert_eq(run(POLICY_LRU, 3 * MIB, 3).hits, 2);
    cr_assert_eq(run(POLICY_LRU, 3 * MIB, 3).uses, 3);
}

Test(simulate, a_chunk_beyond_the_budget_is_never_there)
{
    const uint64_t sizes[] = {MIB, 3 * MIB};
    model_of(2, sizes);
    for (size_t i = 0; i < 6; i++)
        use((uint32_t)i % 2);
    struct simulated result = run(POLICY_LRU, 2 * MIB, 0);
    cr_assert_eq(result.hits, 2);
    cr_assert_eq(result.too_large, 3);
    cr_assert_eq(result.loads, 1);
}

static void passes(unsigned count, uint32_t components)
{
    for (unsigned pass = 1; pass <= count; pass++) {
        for (uint32_t i = 0; i < components; i++) {
            cursor(i, pass);
            use(i);
        }
    }
}

/* The scan that lru is helpless against. Keeping k of n in a cycle hits (k-1)/(n-1) of the uses. */
Test(simulate, next_use_survives_a_cyclic_scan)
{
    model_of(8, equal);
    passes(30, 8);
    size_t warm = 10 * 8, uses = 20 * 8;
    cr_assert_eq(run(POLICY_LRU, 5 * MIB, warm).hits, 0);
    struct simulated result = run(POLICY_NEXT_USE, 5 * MIB, warm);
    cr_assert_eq(result.uses, uses);
    double optimum = (double)uses * 4 / 7;
    cr_assert_geq((double)result.hits, 0.9 * optimum);
    cr_assert_leq((double)result.hits, optimum + 1);
}

Test(simulate, an_ended_session_leads_nowhere)
{
    model_of(4, equal);
    passes(3, 4);
    add(TRACE_GONE);
    use(0);
    cr_assert_eq(run(POLICY_NEXT_USE, 4 * MIB, 0).hits, 9);
}

Test(simulate, two_chunks_for_one_component_are_refused)
{
    model_of(2, equal);
    chunks[1].ordinal = 0;
    use(0);
    struct simulated result;
    struct swi_error error = {0};
    const struct simulate_options options = {.policy = POLICY_LRU, .budget = MIB};
    cr_assert_eq(simulate(&trace, &options, &result, &error), SW_EFORMAT);
    cr_assert_neq(error.text[0], 0);
}

static uint64_t bound_now(uint64_t budget, size_t from)
{
    static uint32_t uses[EVENTS_MAX];
    static uint64_t bytes[64];
    struct bound_problem problem = {.uses = uses,
                                    .bytes = bytes,
                                    .chunks = trace.chunk_count,
                                    .budget = budget,
                                    .unit = 4096,
                                    .from = from};
    for (uint32_t i = 0; i < trace.chunk_count; i++)
        bytes[i] = chunks[i].bytes;
    for (size_t i = 0; i < trace.event_count; i++)
        if (events[i].kind == TRACE_HIT)
            uses[problem.count++] = events[i].chunk;
    uint64_t result = 0;
    cr_assert_eq(bound_hit_bytes(&problem, &result), 0);
    return result;
}

Test(simulate, no_policy_exceeds_the_bound)
{
    srand(3);
    uint64_t sizes[24];
    for (unsigned round = 0; round < 30; round++) {
        uint64_t all = 0;
        for (unsigned i = 0; i < 24; i++)
            all += sizes[i] = 1 + (uint64_t)rand() % (3 * MIB);
        model_of(24, sizes);
        uint32_t at = 0;
        for (unsigned i = 0; i < 600; i++) {
            at = rand() % 4 == 0 ? (uint32_t)rand() % 24 : (at + 1) % 24;
            cursor(at, 1 + i / 24);
            use(at);
        }
        for (unsigned share = 1; share <= 4; share++) {
            uint64_t budget = all / 5 * share;
            size_t from = (size_t)rand() % 300;
            uint64_t bound = bound_now(budget, from);
            cr_assert_leq(run(POLICY_LRU, budget, from).hit_bytes, bound);
            cr_assert_leq(run(POLICY_NEXT_USE, budget, from).hit_bytes, bound);
        }
    }
}

/* ---- the reader ------------------------------------------------------------------------------ */

static int read_text(const char *text, struct trace_log *ret, struct swi_error *error)
{
    FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    cr_assert(file);
    int result = trace_log_read(file, ret, error);
    (void)fclose(file);
    return result;
}

#define HEAD "surfing-weights-trace 1\nbudget 1 4096\n"
#define TWO  HEAD "chunk 7 5 0 2 100 my model/embeddings\nchunk 8 5 1 2 200 my model/layer 0\n"

Test(trace_file, is_read_and_sorted_by_time)
{
    struct trace_log log;
    struct swi_error error = {0};
    int result = read_text(TWO "miss 30 1 7\nhit 40 1 8\nhit 20 2 8\ncursor 20 2 3 5 1 9 77\n"
                               "lost 40 1 12\nbudget 41 8192\ngone 50 2\nend 60\n",
                           &log, &error);
    cr_assert_eq(result, 0, "%s", error.text);
    cr_assert_eq(log.chunk_count, 2);
    cr_assert_str_eq(log.chunks[1].name, "my model/layer 0");
    cr_assert_eq(log.chunks[1].bytes, 200);
    cr_assert_eq(trace_log_bytes(&log), 300);
    cr_assert_eq(log.budget, 8192);
    cr_assert_eq(log.lost, 12);
    cr_assert(log.complete);
    cr_assert_eq(log.event_count, 5);
    cr_assert_eq(log.events[0].kind, TRACE_HIT);
    cr_assert_eq(log.events[0].chunk, 1);
    cr_assert_eq(log.events[1].kind, TRACE_CURSOR);
    cr_assert_eq(log.events[1].lane, 3);
    cr_assert_eq(log.events[1].component, 1);
    cr_assert_eq(log.events[1].pass, 9);
    cr_assert_eq(log.events[1].step_ns, 77);
    cr_assert_eq(log.events[2].kind, TRACE_MISS);
    cr_assert_eq(log.events[2].time_ns, 30);
    cr_assert_eq(log.events[4].kind, TRACE_GONE);
    trace_log_fini(&log);
}

Test(trace_file, an_id_stands_for_its_latest_chunk)
{
    struct trace_log log;
    struct swi_error error = {0};
    cr_assert_eq(
        read_text(TWO "hit 1 0 7\nchunk 7 6 0 1 50 other/x\nhit 2 0 7\nend 3\n", &log, &error), 0,
        "%s", error.text);
    cr_assert_eq(log.events[0].chunk, 0);
    cr_assert_eq(log.events[1].chunk, 2);
    trace_log_fini(&log);
}

Test(trace_file, one_that_was_cut_short_is_read_as_far_as_it_goes)
{
    struct trace_log log;
    struct swi_error error = {0};
    cr_assert_eq(read_text(TWO "hit 1 0 7\nhit 2 0", &log, &error), 0, "%s", error.text);
    cr_assert_eq(log.event_count, 1);
    cr_assert_not(log.complete);
    trace_log_fini(&log);
}

Test(trace_file, what_is_no_trace_is_refused_with_its_line)
{
    static const struct {
        const char *text, *part;
        int code;
    } bad[] = {
        {"nonsense", "line 1", SW_EFORMAT},
        {"nonsense\n", "line 1", SW_EFORMAT},
        {"surfing-weights-trace 2\n", "version 2", SW_EVERSION},
        {TWO "hit 1 0 9\n", "line 5", SW_EFORMAT},
        {TWO "hit 1 1024 7\n", "line 5", SW_EFORMAT},
        {TWO "hit 1 0\n", "line 5", SW_EFORMAT},
        {TWO "hit 1 0 7 7\n", "line 5", SW_EFORMAT},
        {TWO "hit -1 0 7\n", "line 5", SW_EFORMAT},
        {TWO "hit 99999999999999999999999 0 7\n", "line 5", SW_EFORMAT},
        {TWO "hit  1 0 7\n", "line 5", SW_EFORMAT},
        {TWO "cursor 1 0 16 5 0 0 0\n", "line 5", SW_EFORMAT},
        {TWO "cursor 1 0 0 5 65536 0 0\n", "line 5", SW_EFORMAT},
        {TWO "chunk 1 5 2 2 10 a/b\n", "line 5", SW_EFORMAT},
        {TWO "chunk 1 5 0 2 0 a/b\n", "line 5", SW_EFORMAT},
        {TWO "chunk 1 5 0 2 10 \n", "line 5", SW_EFORMAT},
        {TWO "chunk 65536 5 0 2 10 a/b\n", "line 5", SW_EFORMAT},
        {TWO "\n", "line 5", SW_EFORMAT},
        {TWO "jump 1 2\n", "line 5", SW_EFORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct trace_log log;
        struct swi_error error = {0};
        cr_expect_eq(read_text(bad[i].text, &log, &error), bad[i].code, "case %zu: %s", i,
                     error.text);
        cr_expect(strstr(error.text, bad[i].part), "case %zu says: %s", i, error.text);
    }
}
