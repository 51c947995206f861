/* SPDX-License-Identifier: MIT */
/* Leases against a scripted peer: hits, misses, pins, threads. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include <sw/client.h>

#include "client/fixture.h"
#include "support/support.h"

TestSuite(client_lease, .timeout = 30);

Test(client_lease, asks_once_and_then_never_again)
{
    peer_start(&peer, sup_path("peer.sock"), NULL);
    sw_client *client = open_client(2000);
    sw_model *model = open_toy(client);
    for (int i = 0; i < 1000; i++) {
        struct sw_lease lease;
        cr_assert_eq(sw_lease_acquire(model, 1, &lease), 0);
        cr_assert_eq((uintptr_t)lease.data % 4096, 0);
        cr_assert_eq(lease.bytes, peer.bytes[1]);
        expect_toy_bytes(&lease, 1);
        cr_assert_eq(peer_pins(&peer, 1), 1);
        cr_assert_eq(sw_lease_release(&lease), 0);
    }
    cr_expect_eq(peer_pins(&peer, 1), 0);
    cr_expect_eq(atomic_load(&peer.loads), 1);
    struct sw_client_stats stats = stats_of(client);
    cr_expect_eq(stats.misses, 1);
    cr_expect_eq(stats.hits, 999);
    cr_expect_eq(stats.mapped_bytes, PEER_ARENA);
    close_all(model, client);
}

Test(client_lease, a_pinned_chunk_is_not_evicted_and_an_evicted_one_is_loaded_again)
{
    peer_start(&peer, sup_path("peer.sock"), NULL);
    sw_client *client = open_client(2000);
    sw_model *model = open_toy(client);
    struct sw_lease lease;
    cr_expect_eq(sw_lease_try_acquire(model, 0, &lease), -EAGAIN);
    cr_expect_eq(atomic_load(&peer.loads), 0);
    cr_expect_eq(sw_lease_acquire(model, 0, &lease), 0);
    cr_expect_not(peer_evict(&peer, 0));
    cr_expect_eq(sw_lease_release(&lease), 0);
    cr_expect(peer_evict(&peer, 0));
    cr_expect_eq(sw_lease_acquire(model, 0, &lease), 0);
    cr_expect_eq(atomic_load(&peer.loads), 2);
    cr_expect_eq(sw_lease_release(&lease), 0);
    cr_expect_eq(sw_lease_try_acquire(model, 0, &lease), 0);
    cr_expect_eq(sw_lease_release(&lease), 0);
    close_all(model, client);
}

Test(client_lease, is_busy_when_every_slot_is_taken)
{
    peer_start(&peer, sup_path("peer.sock"), NULL);
    sw_client *client = open_client(2000);
    sw_model *model = open_toy(client);
    struct sw_lease leases[SWI_SLOTS], more;
    for (uint32_t i = 0; i < SWI_SLOTS; i++)
        cr_assert_eq(sw_lease_acquire(model, i % PEER_COMPONENTS, &leases[i]), 0);
    cr_expect_eq(sw_lease_acquire(model, 0, &more), SW_EBUSY);
    expect_message(client, SW_EBUSY, "release");
    cr_expect_eq(sw_lease_release(&leases[77]), 0);
    cr_expect_eq(sw_lease_acquire(model, 0, &leases[77]), 0);
    for (uint32_t i = 0; i < SWI_SLOTS; i++)
        cr_assert_eq(sw_lease_release(&leases[i]), 0);
    close_all(model, client);
}

Test(client_lease, a_revoked_lease_says_so_and_the_next_call_begins_a_new_session)
{
    peer_start(&peer, sup_path("peer.sock"), NULL);
    sw_client *client = open_client(2000);
    sw_model *model = open_toy(client);
    struct sw_lease lease;
    cr_assert_eq(sw_lease_acquire(model, 0, &lease), 0);
    peer_revoke(&peer);
    cr_expect_eq(sw_lease_release(&lease), SW_EREVOKED);
    expect_message(client, SW_EREVOKED, "discard");
    cr_expect_eq(sw_lease_acquire(model, 0, &lease), 0);
    expect_toy_bytes(&lease, 0);
    cr_expect_eq(sw_lease_release(&lease), 0);
    struct sw_client_stats stats = stats_of(client);
    cr_expect_eq(stats.revoked, 1);
    cr_expect_eq(stats.reconnects, 1);
    cr_expect_eq(atomic_load(&peer.sessions), 2);
    cr_expect_eq(stats.mapped_bytes, PEER_ARENA, "the old mapping is gone");
    close_all(model, client);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct job {
    sw_model *model;
    uint32_t component;
    int rounds;
    int result;
};

static void *lease_often(void *context)
{
    struct job *job = context;
    for (int i = 0; i < job->rounds && job->result == 0; i++) {
        uint32_t component = (job->component + (uint32_t)i) % PEER_COMPONENTS;
        sw_component *handle;
        job->result = sw_component_acquire(job->model, component, &handle);
        if (job->result < 0)
            break;
        struct sw_tensor tensor = SW_INIT(struct sw_tensor);
        job->result = sw_component_tensor(handle, "a.weight", &tensor);
        const float *elements = tensor.data;
        for (uint32_t e = 0; e < 48 && job->result == 0; e++)
            if (elements[e] != peer_element(component, e))
                job->result = 1;
        int released = sw_component_release(handle);
        if (job->result == 0)
            job->result = released;
    }
    return NULL;
}

Test(client_lease, threads_share_a_session)
{
    peer_start(&peer, sup_path("peer.sock"), NULL);
    sw_client *client = open_client(5000);
    sw_model *model = open_toy(client);
    sw_model_set_cache_size(model, 2); /* views come and go as well */
    pthread_t threads[8];
    struct job jobs[8];
    for (uint32_t i = 0; i < 8; i++) {
        jobs[i] = (struct job){.model = model, .component = i, .rounds = 3000};
        pthread_create(&threads[i], NULL, lease_often, &jobs[i]);
    }
    for (uint32_t i = 0; i < 200; i++)
        (void)peer_evict(&peer, i % PEER_COMPONENTS);
    for (uint32_t i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        cr_expect_eq(jobs[i].result, 0, "thread %u: %d", i, jobs[i].result);
    }
    for (uint32_t i = 0; i < PEER_COMPONENTS; i++)
        cr_expect_eq(peer_pins(&peer, i), 0);
    close_all(model, client);
}

Test(client_lease, answers_in_any_order_reach_who_asked)
{
    peer_start(&peer, sup_path("peer.sock"), &(struct peer_faults){.backwards = true});
    sw_client *client = open_client(5000);
    sw_model *model = open_toy(client);
    struct job jobs[2] = {{.model = model, .component = 0, .rounds = 1},
                          {.model = model, .component = 1, .rounds = 1}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, lease_often, &jobs[i]);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        cr_expect_eq(jobs[i].result, 0, "%d", jobs[i].result);
    }
    close_all(model, client);
}

/* ---- waits of one call ----------------------------------------------------------------------- */

struct caller_off {
    int32_t *word;
    int after_ms;
};

static void *call_off(void *argument)
{
    const struct caller_off *caller = argument;
    sup_sleep_ms(caller->after_ms);
    __atomic_store_n(caller->word, 1, __ATOMIC_RELAXED);
    return NULL;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    cr_assert_eq(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The peer is gone, the client would try for a minute. */
Test(client_lease, a_call_waits_as_long_as_it_says_and_can_be_called_off)
{
    peer_start(&peer, sup_path("peer.sock"), NULL);
    sw_client *client = open_client(60000);
    sw_model *model = open_toy(client);
    struct sw_wait wait = SW_INIT(struct sw_wait);
    struct sw_lease lease;
    sw_component *component = NULL;
    int32_t word = 0;
    wait.cancelled = &word;
    cr_assert_eq(sw_lease_acquire_within(model, 0, &wait, &lease), 0);
    cr_assert_eq(sw_lease_release(&lease), 0);
    cr_assert_eq(sw_component_acquire_within(model, 0, NULL, &component), 0);
    cr_assert_eq(sw_component_release(component), 0);
    peer_stop(&peer);
    wait.timeout_ms = 100;
    uint64_t start = now_ms();
    cr_expect_eq(sw_lease_acquire_within(model, 1, &wait, &lease), SW_EDISCONNECTED);
    cr_expect_geq(now_ms() - start, 100);
    cr_expect_leq(now_ms() - start, 20000);
    wait.timeout_ms = 0;
    struct caller_off caller = {.word = &word, .after_ms = 200};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, call_off, &caller), 0);
    start = now_ms();
    cr_expect_eq(sw_component_acquire_within(model, 1, &wait, &component), -ECANCELED);
    cr_expect_leq(now_ms() - start, 30000);
    expect_message(client, -ECANCELED, "cancelled");
    (void)pthread_join(thread, NULL);
    cr_expect_eq(sw_lease_acquire_within(model, 1, &wait, &lease), -ECANCELED, "it is set already");
    wait.size = 0;
    cr_expect_eq(sw_lease_acquire_within(model, 0, &wait, &lease), -EINVAL);
    sw_model_close(model);
    sw_client_close(client);
}
