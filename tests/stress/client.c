/* SPDX-License-Identifier: MIT */
/* Threads lease without pause while their session is revoked, their chunks are evicted, and their
 * broker dies and comes back. This tests how libsw releases an old arena: no thread may read
 * unmapped memory or another chunk's bytes, and in the end only one arena is mapped.
 *
 * A plain program, because Criterion does not run under ThreadSanitizer.
 *   client-stress SECONDS
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sw/client.h>

#include "client/peer.h"

#define THREADS 4u

static _Atomic bool ending;
static _Atomic uint64_t leases, revoked;

static void fail(const char *what, int code)
{
    fprintf(stderr, "client-stress: %s: %s\n", what, sw_strerror(code));
    exit(1);
}

/* Both tensors of a chunk hold the same 48 elements. Only data that a release confirms counts. */
static bool is_right(const struct sw_lease *lease, uint32_t component)
{
    const uint8_t *end = (const uint8_t *)lease->data + lease->bytes;
    for (uint32_t i = 0; i < 48; i++) {
        float element;
        memcpy(&element, end - (48 - i) * sizeof element, sizeof element);
        if (element != peer_element(component, i))
            return false;
    }
    return true;
}

static void lease_two(sw_model *model, uint32_t round)
{
    struct sw_lease held[2];
    uint32_t component[2] = {round % PEER_COMPONENTS, (round / 7) % PEER_COMPONENTS};
    bool right[2];
    for (int k = 0; k < 2; k++) {
        int result = sw_lease_acquire(model, component[k], &held[k]);
        if (result < 0)
            fail("acquire", result);
        right[k] = is_right(&held[k], component[k]);
    }
    for (int k = 0; k < 2; k++) {
        int result = sw_lease_release(&held[k]);
        if (result == SW_EREVOKED)
            atomic_fetch_add_explicit(&revoked, 1, memory_order_relaxed);
        else if (result < 0)
            fail("release", result);
        else if (!right[k])
            fail("a confirmed lease held the wrong bytes", SW_EDIGEST);
    }
}

/* The views must belong to this component, whatever was mapped while they were created. */
static void view_one(sw_model *model, uint32_t round)
{
    uint32_t component = round % PEER_COMPONENTS;
    char number[2] = {(char)('0' + component), 0};
    sw_component *handle;
    int result = sw_component_acquire(model, component, &handle);
    if (result == SW_EREVOKED)
        return;
    if (result < 0)
        fail("component", result);
    struct sw_tensor tensor = SW_INIT(struct sw_tensor);
    const char *says = sw_component_metadata(handle, "component");
    bool right =
        sw_component_tensor(handle, "a.weight", &tensor) == 0 && says && strcmp(says, number) == 0;
    for (uint32_t i = 0; i < 48 && right; i++)
        right = ((const float *)tensor.data)[i] == peer_element(component, i);
    result = sw_component_release(handle);
    if (result < 0 && result != SW_EREVOKED)
        fail("component's release", result);
    if (result == 0 && !right)
        fail("a confirmed component held the wrong tensors", SW_EDIGEST);
}

static void *lease_on(void *context)
{
    sw_model *model = context;
    for (uint32_t i = 0; !atomic_load_explicit(&ending, memory_order_relaxed); i++) {
        lease_two(model, i);
        view_one(model, i);
        atomic_fetch_add_explicit(&leases, 3, memory_order_relaxed);
    }
    return NULL;
}

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

int main(int argc, char **argv)
{
    int seconds = argc > 1 ? atoi(argv[1]) : 2;
    char directory[] = "/tmp/sw-client-stress.XXXXXX";
    if (!mkdtemp(directory))
        fail("mkdtemp", -1);
    char path[64];
    (void)snprintf(path, sizeof path, "%s/sock", directory);
    static struct peer peer;
    peer_start(&peer, path, NULL);
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    options.socket_path = path;
    sw_client *client;
    sw_model *model = NULL;
    int result = sw_client_open(&options, &client);
    if (result == 0)
        result = sw_model_open(client, "toy", &model);
    if (result < 0)
        fail("open", result);
    sw_model_set_cache_size(model, 1); /* so that views are created again and again */
    pthread_t threads[THREADS];
    for (uint32_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, lease_on, model);

    time_t end = time(NULL) + seconds;
    uint64_t deaths = 0;
    for (unsigned round = 0; time(NULL) < end; round++) {
        pause_ms(1);
        if (round % 4 == 1)
            peer_revoke(&peer);
        if (round % 64 == 63) {
            peer_stop(&peer);
            peer_start(&peer, path, NULL);
            deaths++;
        }
        for (uint32_t i = 0; i < PEER_COMPONENTS; i++)
            (void)peer_evict(&peer, i);
    }
    atomic_store_explicit(&ending, true, memory_order_relaxed);
    for (uint32_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    struct sw_lease lease;
    result = sw_lease_acquire(model, 0, &lease);
    if (result < 0 || sw_lease_release(&lease) < 0)
        fail("the last lease", result);
    struct sw_client_stats stats = SW_INIT(struct sw_client_stats);
    sw_client_get_stats(client, &stats);
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
    rmdir(directory);
    printf("%llu leases, %llu revoked, %llu sessions, %llu brokers, %llu bytes mapped at the end\n",
           (unsigned long long)leases, (unsigned long long)revoked,
           (unsigned long long)stats.reconnects + 1, (unsigned long long)deaths + 1,
           (unsigned long long)stats.mapped_bytes);
    if (stats.reconnects < 2 || stats.mapped_bytes != PEER_ARENA)
        fail("old arenas are still mapped, or nothing was on trial", SW_EPROTOCOL);
    return 0;
}
