/* SPDX-License-Identifier: MIT */
/* The trace ring of a client page: what a client leaves there, and what a broker believes of it. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/lease.h"

static struct swi_index *index_of;
static struct swi_page *page;
static struct swi_trace_value values[SWI_TRACE_RECORDS];

static void make(void)
{
    index_of = calloc(1, sizeof *index_of);
    page = calloc(1, sizeof *page);
    cr_assert(index_of && page);
    swi_index_init(index_of, 1, SWI_PAGE_BYTES);
    swi_page_init(page);
}

static void drop(void)
{
    free(index_of);
    free(page);
}

TestSuite(trace_ring, .init = make, .fini = drop, .timeout = 60);

static uint32_t take(uint64_t *place, uint64_t *lost)
{
    return swi_page_take_trace(page, place, values, SWI_TRACE_RECORDS, lost);
}

Test(trace_ring, nothing_is_written_while_off)
{
    uint64_t place = 0, lost = 0;
    swi_page_note_hit(page, index_of, 3, 7);
    swi_page_note_use(page, index_of, 8);
    cr_assert_eq(take(&place, &lost), 0);
    cr_assert_eq(place, 0);
    cr_assert_eq(page->trace_head, 0);
    cr_assert_eq(swi_page_uses(page, 7), 1);
    cr_assert_eq(swi_page_uses(page, 8), 1);
}

static bool is_on(void)
{
    return (index_of->header.tick & SWI_TICK_TRACING) != 0;
}

Test(trace_ring, switch_leaves_tick_and_stamps_alone)
{
    uint32_t before = swi_tick(index_of);
    swi_trace_switch(index_of, true);
    cr_assert(is_on());
    cr_assert_eq(swi_tick(index_of), before);
    swi_tick_advance(index_of);
    cr_assert(is_on());
    swi_page_note_use(page, index_of, 5);
    cr_assert_eq(swi_page_last_use(page, 5), before + 1);
    cr_assert_eq(swi_page_uses(page, 5), 1);
    swi_trace_switch(index_of, false);
    cr_assert_not(is_on());
    cr_assert_eq(swi_tick(index_of), before + 1);
}

Test(trace_ring, records_come_in_order_with_what_they_say)
{
    swi_trace_switch(index_of, true);
    struct swi_cursor_value cursor = {
        .incarnation = UINT64_MAX, .pass = 12, .step_ns = 345, .component = 65535};
    swi_page_note_use(page, index_of, 65535);
    swi_page_note_hit(page, index_of, 1, 0);
    swi_cursor_put(page, index_of, 15, &cursor);
    uint64_t place = 0, lost = 0;
    cr_assert_eq(take(&place, &lost), 3);
    cr_assert_eq(lost, 0);
    cr_assert_eq(values[0].kind, SWI_TRACE_MISS);
    cr_assert_eq(values[0].number, 65535);
    cr_assert_eq(values[1].kind, SWI_TRACE_HIT);
    cr_assert_eq(values[1].number, 0);
    cr_assert_geq(values[1].time_ns, values[0].time_ns);
    cr_assert_gt(values[0].time_ns, 0);
    cr_assert_eq(values[2].kind, SWI_TRACE_CURSOR);
    cr_assert_eq(values[2].number, 65535);
    cr_assert_eq(values[2].lane, 15);
    cr_assert_eq(values[2].incarnation, UINT64_MAX);
    cr_assert_eq(values[2].pass, 12);
    cr_assert_eq(values[2].step_ns, 345);
    cr_assert_eq(take(&place, &lost), 0);
    swi_page_note_hit(page, index_of, 1, 9);
    cr_assert_eq(take(&place, &lost), 1);
    cr_assert_eq(values[0].number, 9);
}

Test(trace_ring, overflow_is_counted_and_the_newest_are_kept)
{
    swi_trace_switch(index_of, true);
    const uint32_t more = 100;
    for (uint32_t i = 0; i < SWI_TRACE_RECORDS + more; i++)
        swi_page_note_hit(page, index_of, 0, i);
    uint64_t place = 0, lost = 0;
    cr_assert_eq(take(&place, &lost), SWI_TRACE_RECORDS);
    cr_assert_eq(lost, more);
    for (uint32_t i = 0; i < SWI_TRACE_RECORDS; i++)
        cr_assert_eq(values[i].number, more + i);
}

Test(trace_ring, a_small_buffer_takes_the_rest_later)
{
    swi_trace_switch(index_of, true);
    for (uint32_t i = 0; i < 10; i++)
        swi_page_note_hit(page, index_of, 0, i);
    uint64_t place = 0, lost = 0;
    cr_assert_eq(swi_page_take_trace(page, &place, values, 7, &lost), 7);
    cr_assert_eq(swi_page_take_trace(page, &place, values, 7, &lost), 3);
    cr_assert_eq(values[0].number, 7);
    cr_assert_eq(lost, 0);
}

/* A client may write anything into its page. */
Test(trace_ring, a_forged_head_costs_bounded_work_and_is_survived)
{
    swi_trace_switch(index_of, true);
    swi_page_note_hit(page, index_of, 0, 1);
    uint64_t place = 0, lost = 0;
    cr_assert_eq(take(&place, &lost), 1);
    page->trace_head = UINT64_MAX;
    cr_assert_eq(take(&place, &lost), 0);
    cr_assert_eq(lost, UINT32_MAX);
    page->trace_head = 0; /* went back */
    cr_assert_eq(take(&place, &lost), 0);
    cr_assert_eq(place, 0);
    page->trace_head = 5; /* announces records that are not there: the first one is */
    uint64_t before = lost;
    cr_assert_eq(take(&place, &lost), 1);
    cr_assert_eq(take(&place, &lost), 0);
    cr_assert_eq(lost, before);
}

static void *hammer(void *context)
{
    for (uint32_t i = 0; i < 200000; i++)
        swi_page_note_hit(page, index_of, *(uint32_t *)context, i & 0xffff);
    return NULL;
}

/* Every record is taken or counted as lost, however threads and reader meet. */
Test(trace_ring, threads_and_reader_account_for_every_record)
{
    swi_trace_switch(index_of, true);
    pthread_t threads[2];
    uint32_t slots[2] = {0, 1};
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, hammer, &slots[i]), 0);
    uint64_t place = 0, lost = 0, taken = 0;
    while (taken + lost < 300000)
        taken += take(&place, &lost);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    for (uint32_t more; (more = take(&place, &lost)) > 0;)
        taken += more;
    cr_assert_eq(taken + lost, 400000);
    cr_assert_eq(place, 400000);
    cr_assert_gt(taken, 0);
}
