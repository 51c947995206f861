/* SPDX-License-Identifier: MIT */
/* The lease protocol between two processes that share index, page and arena, and its edges. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/lease.h"

#define CHUNK       17u
#define SESSION     3u
#define INCARNATION 40u
#define BYTES       100u
#define ARENA_BYTES UINT64_C(1048576)

struct shared {
    struct swi_index index;
    struct swi_page page;
};

static void *map_shared(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(memory, MAP_FAILED);
    return memory;
}

static struct shared *create(void)
{
    struct shared *shared = map_shared(sizeof *shared);
    swi_index_init(&shared->index, 1, ARENA_BYTES);
    swi_page_init(&shared->page);
    swi_entry_assign(&shared->index, CHUNK, INCARNATION, BYTES, 5, 6);
    return shared;
}

static void load(struct shared *shared, uint64_t offset)
{
    swi_entry_begin_load(&shared->index, CHUNK, offset);
    swi_entry_publish(&shared->index, CHUNK);
}

/* The broker's eviction. */
static bool evict(struct shared *shared)
{
    swi_entry_begin_evict(&shared->index, CHUNK);
    if (swi_page_pins(&shared->page, CHUNK) > 0) {
        swi_entry_restore_evict(&shared->index, CHUNK);
        return false;
    }
    swi_entry_finish_evict(&shared->index, CHUNK);
    return true;
}

static enum swi_look look(const struct shared *shared, uint64_t epoch, struct swi_sight *ret)
{
    return swi_pin_look(&shared->index, SESSION, epoch, CHUNK, INCARNATION, ret);
}

/* ---- the client process: does what it is told, a letter at a time ---------------------------- */

struct client {
    pid_t pid;
    int commands, answers;
};

static int serve(struct shared *shared, char command, uint64_t *epoch, struct swi_sight *sight,
                 int *slot)
{
    uint32_t hint = 0;
    switch (command) {
    case 'e': /* a new session's epoch */
        *epoch = swi_session_epoch(&shared->index, SESSION);
        return 0;
    case 'p': /* pin and look */
        *slot = swi_pin_claim(&shared->page, CHUNK, &hint);
        return *slot < 0 ? 100 : (int)look(shared, *epoch, sight);
    case 'l': /* look again */
        return (int)look(shared, *epoch, sight);
    case 'v': /* still valid? */
        return swi_pin_valid(&shared->index, SESSION, *epoch, CHUNK, sight->generation);
    case 'd': /* drop */
        swi_pin_drop(&shared->page, (uint32_t)*slot);
        return 0;
    case 'o':
        return (int)(sight->offset / 4096);
    default:
        return 101;
    }
}

static struct client start_client(struct shared *shared)
{
    int commands[2], answers[2];
    cr_assert_eq(pipe(commands), 0);
    cr_assert_eq(pipe(answers), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        (void)close(commands[1]);
        uint64_t epoch = swi_session_epoch(&shared->index, SESSION);
        struct swi_sight sight = {.generation = 0};
        int slot = -1;
        char command;
        while (read(commands[0], &command, 1) == 1) {
            char answer = (char)serve(shared, command, &epoch, &sight, &slot);
            if (write(answers[1], &answer, 1) != 1)
                break;
        }
        _exit(0);
    }
    (void)close(commands[0]);
    (void)close(answers[1]);
    return (struct client){.pid = pid, .commands = commands[1], .answers = answers[0]};
}

static int tell(struct client *client, char command)
{
    char answer;
    cr_assert_eq(write(client->commands, &command, 1), 1);
    cr_assert_eq(read(client->answers, &answer, 1), 1);
    return answer;
}

static void stop_client(struct client *client, int with_signal)
{
    if (with_signal)
        (void)kill(client->pid, with_signal);
    (void)close(client->commands);
    (void)close(client->answers);
    int status;
    cr_assert_eq(waitpid(client->pid, &status, 0), client->pid);
}

Test(lease, a_pin_of_another_process_blocks_eviction_and_a_release_allows_it, .timeout = 20)
{
    struct shared *shared = create();
    struct client client = start_client(shared);
    cr_assert_eq(tell(&client, 'p'), SWI_LOOK_ABSENT);
    cr_assert_eq(tell(&client, 'd'), 0);
    load(shared, 8192);
    cr_assert_eq(tell(&client, 'p'), SWI_LOOK_RESIDENT);
    cr_assert_eq(tell(&client, 'o'), 2);
    cr_assert_not(evict(shared));
    cr_assert_eq(tell(&client, 'v'), 1, "a failed eviction is none of the reader's business");
    cr_assert_eq(tell(&client, 'd'), 0);
    cr_assert(evict(shared));
    cr_assert_eq(tell(&client, 'p'), SWI_LOOK_ABSENT);
    cr_assert_eq(tell(&client, 'd'), 0);
    load(shared, 4096);
    cr_assert_eq(tell(&client, 'p'), SWI_LOOK_RESIDENT);
    cr_assert_eq(tell(&client, 'o'), 1, "the new place");
    stop_client(&client, 0);
}

Test(lease, a_pin_taken_while_the_chunk_is_loading_sees_it_arrive, .timeout = 20)
{
    struct shared *shared = create();
    struct client client = start_client(shared);
    swi_entry_begin_load(&shared->index, CHUNK, 0);
    cr_assert_eq(tell(&client, 'p'), SWI_LOOK_ABSENT);
    swi_entry_publish(&shared->index, CHUNK);
    cr_assert_eq(tell(&client, 'l'), SWI_LOOK_RESIDENT);
    cr_assert_not(evict(shared), "the slot was kept all the time");
    stop_client(&client, 0);
}

Test(lease, a_revoked_reader_learns_it_from_the_epoch, .timeout = 20)
{
    struct shared *shared = create();
    struct client client = start_client(shared);
    load(shared, 0);
    cr_assert_eq(tell(&client, 'p'), SWI_LOOK_RESIDENT);
    (void)swi_session_revoke(&shared->index, SESSION);
    cr_assert_eq(tell(&client, 'v'), 0);
    cr_assert_eq(tell(&client, 'l'), SWI_LOOK_REVOKED);
    cr_assert_eq(tell(&client, 'e'), 0); /* attached anew */
    cr_assert_eq(tell(&client, 'l'), SWI_LOOK_RESIDENT);
    stop_client(&client, 0);
}

Test(lease, a_reader_whose_chunk_was_reloaded_learns_it_from_the_generation, .timeout = 20)
{
    struct shared *shared = create();
    struct client client = start_client(shared);
    load(shared, 0);
    cr_assert_eq(tell(&client, 'p'), SWI_LOOK_RESIDENT);
    /* the broker ignores this page's pins, as it does once the session is revoked */
    swi_entry_begin_evict(&shared->index, CHUNK);
    swi_entry_finish_evict(&shared->index, CHUNK);
    cr_assert_eq(tell(&client, 'v'), 1, "nothing was overwritten yet");
    swi_entry_begin_load(&shared->index, CHUNK, 0);
    cr_assert_eq(tell(&client, 'v'), 0, "before the first new byte");
    swi_entry_publish(&shared->index, CHUNK);
    cr_assert_eq(tell(&client, 'v'), 0);
    cr_assert_eq(tell(&client, 'l'), SWI_LOOK_RESIDENT);
    cr_assert_eq(tell(&client, 'v'), 1);
    stop_client(&client, 0);
}

Test(lease, a_killed_process_leaves_its_pin_for_the_broker_to_ignore, .timeout = 20)
{
    struct shared *shared = create();
    struct client client = start_client(shared);
    load(shared, 0);
    cr_assert_eq(tell(&client, 'p'), SWI_LOOK_RESIDENT);
    stop_client(&client, SIGKILL);
    cr_assert_eq(swi_page_pins(&shared->page, CHUNK), 1);
    cr_assert_not(evict(shared));
}

/* ---- edges ----------------------------------------------------------------------------------- */

Test(lease, slots_run_out_and_come_back, .timeout = 20)
{
    struct shared *shared = create();
    uint32_t hint = 100;
    bool taken[SWI_SLOTS] = {false};
    for (uint32_t i = 0; i < SWI_SLOTS; i++) {
        int slot = swi_pin_claim(&shared->page, i % 3, &hint);
        cr_assert(slot >= 0 && !taken[slot]);
        taken[slot] = true;
    }
    cr_assert_eq(swi_pin_claim(&shared->page, CHUNK, &hint), SW_EBUSY);
    cr_assert_eq(swi_page_pins(&shared->page, 0), 43);
    uint32_t ids[SWI_SLOTS], bad;
    cr_assert_eq(swi_page_list_pins(&shared->page, ids, &bad), SWI_SLOTS);
    cr_assert_eq(bad, 0);
    swi_pin_drop(&shared->page, 77);
    cr_assert_eq(swi_pin_claim(&shared->page, CHUNK, &hint), 77);
    cr_assert_eq(hint, 77);
}

Test(lease, a_look_refuses_what_does_not_belong_or_does_not_fit, .timeout = 20)
{
    struct shared *shared = create();
    struct swi_sight sight = {.offset = 99};
    load(shared, ARENA_BYTES - 4096);
    cr_assert_eq(look(shared, 0, &sight), SWI_LOOK_RESIDENT);
    cr_assert_eq(sight.offset, ARENA_BYTES - 4096);
    cr_assert_eq(sight.bytes, BYTES);
    cr_assert_eq(swi_pin_look(&shared->index, SESSION, 0, CHUNK, INCARNATION + 1, &sight),
                 SWI_LOOK_STALE);
    cr_assert(evict(shared));
    load(shared, ARENA_BYTES);
    sight = (struct swi_sight){.offset = 99};
    cr_assert_eq(look(shared, 0, &sight), SWI_LOOK_BROKEN, "beyond the arena");
    cr_assert(evict(shared));
    load(shared, UINT64_MAX - 4095);
    cr_assert_eq(look(shared, 0, &sight), SWI_LOOK_BROKEN, "offset + bytes wraps around");
    cr_assert(evict(shared));
    load(shared, 100);
    cr_assert_eq(look(shared, 0, &sight), SWI_LOOK_BROKEN, "not aligned");
    cr_assert_eq(sight.offset, 99, "the output is untouched");
}

Test(lease, an_entry_tells_what_it_was_given, .timeout = 20)
{
    struct shared *shared = create();
    struct swi_entry_value entry = swi_entry_get(&shared->index, CHUNK);
    cr_assert_eq(entry.state, SWI_ABSENT);
    cr_assert_eq(entry.generation, 0);
    load(shared, 12288);
    entry = swi_entry_get(&shared->index, CHUNK);
    cr_assert_eq(entry.state, SWI_RESIDENT);
    cr_assert_eq(entry.generation, 1);
    cr_assert_eq(entry.offset, 12288);
    cr_assert_eq(entry.bytes, BYTES);
    cr_assert_eq(entry.incarnation, INCARNATION);
    cr_assert_eq(entry.digest_low, 5);
    cr_assert_eq(entry.digest_high, 6);
    cr_assert(evict(shared));
    swi_entry_begin_load(&shared->index, CHUNK, 0);
    swi_entry_fail_load(&shared->index, CHUNK);
    entry = swi_entry_get(&shared->index, CHUNK);
    cr_assert_eq(entry.state, SWI_ABSENT);
    cr_assert_eq(entry.generation, 2, "also a load that failed has overwritten the range");
}

Test(lease, uses_hits_and_cursors_come_through, .timeout = 20)
{
    struct shared *shared = create();
    uint32_t now = swi_tick(&shared->index);
    cr_assert_eq(swi_page_last_use(&shared->page, CHUNK), 0);
    swi_page_note_use(&shared->page, &shared->index, CHUNK);
    cr_assert_eq(swi_page_last_use(&shared->page, CHUNK), now);
    cr_assert_eq(swi_page_hits(&shared->page), 0);
    swi_tick_advance(&shared->index);
    for (uint32_t slot = 0; slot < 5; slot++)
        swi_page_note_hit(&shared->page, &shared->index, slot, CHUNK);
    cr_assert_eq(swi_page_hits(&shared->page), 5);
    cr_assert_eq(swi_page_uses(&shared->page, CHUNK), 6);
    cr_assert_eq(swi_page_last_use(&shared->page, CHUNK), now + 1);
    const struct swi_cursor_value value = {
        .incarnation = 9, .pass = 8, .step_ns = 7, .component = 6};
    swi_cursor_put(&shared->page, &shared->index, 15, &value);
    struct swi_cursor_value seen = swi_cursor_get(&shared->page, 15);
    cr_assert(seen.incarnation == 9 && seen.pass == 8 && seen.step_ns == 7 && seen.component == 6);
    cr_assert_eq(seen.tick, now + 1);
    cr_assert_eq(swi_cursor_get(&shared->page, 14).incarnation, 0);
}

Test(lease, garbage_in_a_page_is_counted_and_left_out, .timeout = 20)
{
    struct shared *shared = create();
    memset(&shared->page, 0xff, sizeof shared->page);
    uint32_t ids[SWI_SLOTS], bad = 0;
    cr_assert_eq(swi_page_list_pins(&shared->page, ids, &bad), 0);
    cr_assert_eq(bad, SWI_SLOTS);
    cr_assert_eq(swi_page_pins(&shared->page, CHUNK), 0);
    cr_assert_not(swi_page_compatible(&shared->page));
}

Test(lease, another_layout_is_refused, .timeout = 20)
{
    struct shared *shared = create();
    cr_assert(swi_index_compatible(&shared->index));
    cr_assert(swi_page_compatible(&shared->page));
    shared->index.header.layout_hash ^= 1;
    cr_assert_not(swi_index_compatible(&shared->index));
    shared->page.header.version++;
    cr_assert_not(swi_page_compatible(&shared->page));
}

/* ---- moves that no broker may make ----------------------------------------------------------- */

Test(lease, publishing_what_was_not_loading_aborts, .timeout = 20, .signal = SIGABRT)
{
    swi_entry_publish(&create()->index, CHUNK);
}

Test(lease, loading_over_a_resident_chunk_aborts, .timeout = 20, .signal = SIGABRT)
{
    struct shared *shared = create();
    load(shared, 0);
    swi_entry_begin_load(&shared->index, CHUNK, 0);
}

Test(lease, finishing_an_eviction_that_was_not_begun_aborts, .timeout = 20, .signal = SIGABRT)
{
    struct shared *shared = create();
    load(shared, 0);
    swi_entry_finish_evict(&shared->index, CHUNK);
}

Test(lease, giving_a_resident_chunk_to_another_model_aborts, .timeout = 20, .signal = SIGABRT)
{
    struct shared *shared = create();
    load(shared, 0);
    swi_entry_assign(&shared->index, CHUNK, INCARNATION + 1, BYTES, 0, 0);
}
