/* SPDX-License-Identifier: MIT */
/* Pinning against eviction, by threads that share one mapping. A plain program, because Criterion
 * aborts under ThreadSanitizer.
 *
 *   lease-stress [EVICTIONS]     how many evictions must succeed (default 50000)
 *
 * Readers pin a chunk, read all its bytes, check that they belong to one generation, check the
 * lease again, and release. The broker evicts chunks, overwrites their range, and publishes them
 * elsewhere. A reader with a valid lease must never see a byte of another generation. All data
 * accesses are plain, so that ThreadSanitizer reports a missing release or acquire in core/lease as
 * a data race. A missing full fence rarely shows here; the model lease.pml finds that.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/lease.h"

#define READERS     3u
#define CHUNKS      4u
#define PLACES      6u /* ranges between which chunks move */
#define RANGE_BYTES SWI_PAGE_BYTES
#define WORDS       (512 / sizeof(uint64_t)) /* written and checked in each range */
#define INCARNATION 7u

struct reader {
    pthread_t thread;
    struct swi_page *page;
    uint32_t number;
    uint64_t reads, absent;
};

static struct swi_index *stress_index;
static uint64_t *arena; /* [PLACES][RANGE_BYTES / 8] */
static atomic_bool stopping;
static atomic_uint failures;

static uint64_t pattern(uint32_t chunk, uint64_t generation, size_t word)
{
    return (uint64_t)chunk << 56 ^ generation * 0x9e3779b97f4a7c15u ^ word;
}

static void complain(const char *what)
{
    (void)fprintf(stderr, "lease-stress: %s\n", what);
    atomic_fetch_add(&failures, 1);
    atomic_store(&stopping, true);
}

static void check_range(const struct swi_sight *sight, uint32_t chunk)
{
    const uint64_t *data = arena + sight->offset / sizeof *arena;
    for (size_t word = 0; word < WORDS; word++)
        if (data[word] != pattern(chunk, sight->generation, word)) {
            complain("a reader with a lease saw another generation's bytes");
            return;
        }
}

static void *read_for_ever(void *argument)
{
    struct reader *reader = argument;
    uint32_t hint = reader->number * 17;
    uint64_t random = reader->number + 1;
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint32_t chunk = (uint32_t)(random >> 60) % CHUNKS;
        int slot = swi_pin_claim(reader->page, chunk, &hint);
        if (slot < 0) {
            complain("no slot is free though the reader holds none");
            break;
        }
        struct swi_sight sight;
        enum swi_look seen =
            swi_pin_look(stress_index, reader->number, 0, chunk, INCARNATION, &sight);
        if (seen == SWI_LOOK_RESIDENT) {
            check_range(&sight, chunk);
            if (!swi_pin_valid(stress_index, reader->number, 0, chunk, sight.generation))
                complain("a lease became invalid though nothing was revoked");
            reader->reads++;
        } else if (seen == SWI_LOOK_ABSENT) {
            reader->absent++;
        } else {
            complain("a look saw neither a resident nor an absent chunk");
        }
        swi_pin_drop(reader->page, (uint32_t)slot);
    }
    return NULL;
}

/* ---- the broker ------------------------------------------------------------------------------ */

struct broker {
    struct reader *readers;
    uint32_t place[CHUNKS]; /* of each resident chunk */
    bool used[PLACES];
    uint64_t random;
};

static void load(struct broker *broker, uint32_t chunk)
{
    uint32_t place;
    do {
        broker->random = broker->random * 6364136223846793005u + 1442695040888963407u;
        place = (uint32_t)(broker->random >> 60) % PLACES;
    } while (broker->used[place]);
    broker->used[place] = true;
    broker->place[chunk] = place;
    swi_entry_begin_load(stress_index, chunk, (uint64_t)place * RANGE_BYTES);
    uint64_t generation = swi_entry_get(stress_index, chunk).generation;
    uint64_t *data = arena + place * (RANGE_BYTES / sizeof *arena);
    for (size_t word = 0; word < WORDS; word++)
        data[word] = pattern(chunk, generation, word);
    swi_entry_publish(stress_index, chunk);
}

static bool evict(struct broker *broker, uint32_t chunk)
{
    swi_entry_begin_evict(stress_index, chunk);
    uint32_t pins = 0;
    for (uint32_t i = 0; i < READERS; i++)
        pins += swi_page_pins(broker->readers[i].page, chunk);
    if (pins > 0) {
        swi_entry_restore_evict(stress_index, chunk);
        return false;
    }
    swi_entry_finish_evict(stress_index, chunk);
    broker->used[broker->place[chunk]] = false;
    return true;
}

static void *map_zeroed(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("lease-stress: mmap");
        exit(2);
    }
    return memory;
}

int main(int argc, char **argv)
{
    uint64_t wanted = argc > 1 ? strtoull(argv[1], NULL, 10) : 50000;
    static struct reader readers[READERS];
    struct broker broker = {.readers = readers, .random = 5};
    stress_index = map_zeroed(sizeof *stress_index);
    arena = map_zeroed(PLACES * RANGE_BYTES);
    swi_index_init(stress_index, 1, PLACES * RANGE_BYTES);
    for (uint32_t chunk = 0; chunk < CHUNKS; chunk++) {
        swi_entry_assign(stress_index, chunk, INCARNATION, RANGE_BYTES, 0, 0);
        load(&broker, chunk);
    }
    for (uint32_t i = 0; i < READERS; i++) {
        readers[i].number = i;
        readers[i].page = map_zeroed(sizeof *readers[i].page);
        swi_page_init(readers[i].page);
        if (pthread_create(&readers[i].thread, NULL, read_for_ever, &readers[i]) != 0) {
            (void)fprintf(stderr, "lease-stress: cannot start a thread\n");
            return 2;
        }
    }
    uint64_t evictions = 0, refused = 0;
    for (uint64_t turn = 0; evictions < wanted && !atomic_load(&stopping); turn++) {
        uint32_t chunk = (uint32_t)(turn % CHUNKS);
        if (evict(&broker, chunk)) {
            evictions++;
            load(&broker, chunk);
        } else {
            refused++;
        }
    }
    atomic_store(&stopping, true);
    uint64_t reads = 0, absent = 0;
    for (uint32_t i = 0; i < READERS; i++) {
        (void)pthread_join(readers[i].thread, NULL);
        reads += readers[i].reads;
        absent += readers[i].absent;
    }
    (void)printf("%llu evictions, %llu refused because of pins, %llu reads, %llu absent\n",
                 (unsigned long long)evictions, (unsigned long long)refused,
                 (unsigned long long)reads, (unsigned long long)absent);
    return atomic_load(&failures) == 0 && reads > 0 ? 0 : 1;
}
