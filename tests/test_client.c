/* The client library against a scripted peer: the hit path, leases, components, and what a wrong
 * peer may and may not do to it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sw/client.h>

#include "client_peer.h"
#include "support/support.h"

TestSuite(client, .timeout = 30);

static struct peer peer;

static sw_client *open_client(int timeout_ms)
{
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    char error[512] = "";
    options.socket_path = peer.socket;
    options.timeout_ms = timeout_ms;
    options.error = error;
    options.error_size = sizeof error;
    sw_client *client = NULL;
    cr_assert_eq(sw_client_open(&options, &client), 0, "%s", error);
    return client;
}

/* What opening says to a peer with these faults. */
static int open_against(const struct peer_faults *faults, char *message, size_t size)
{
    peer_start(&peer, sup_path("peer.sock"), faults);
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    options.socket_path = peer.socket;
    options.timeout_ms = 2000;
    options.error = message;
    options.error_size = size;
    sw_client *client = NULL;
    int result = sw_client_open(&options, &client);
    cr_expect((client != NULL) == (result == 0), "an output is untouched on failure");
    sw_client_close(client);
    peer_stop(&peer);
    return result;
}

static sw_model *open_toy(sw_client *client)
{
    sw_model *model = NULL;
    char text[512];
    int result = sw_model_open(client, "toy", &model);
    sw_client_message(client, text, sizeof text);
    cr_assert_eq(result, 0, "%s", text);
    return model;
}

static void expect_message(sw_client *client, int code, const char *part)
{
    char text[512] = "";
    cr_expect_eq(sw_client_message(client, text, sizeof text), code, "%s", text);
    cr_expect_not_null(strstr(text, part), "\"%s\" should name %s", text, part);
}

static void expect_toy_bytes(const struct sw_lease *lease, uint32_t component)
{
    /* the second tensor in the file holds the same elements as the first */
    float last;
    memcpy(&last, (const uint8_t *)lease->data + lease->bytes - sizeof last, sizeof last);
    cr_expect_float_eq(last, peer_element(component, 47), 0);
}

static struct sw_client_stats stats_of(sw_client *client)
{
    struct sw_client_stats stats = SW_INIT(struct sw_client_stats);
    cr_assert_eq(sw_client_get_stats(client, &stats), 0);
    return stats;
}

static void use(sw_model *model, uint32_t component)
{
    sw_component *handle;
    cr_assert_eq(sw_component_acquire(model, component, &handle), 0);
    cr_assert_eq(sw_component_release(handle), 0);
}

/* ---- opening --------------------------------------------------------------------------------- */

Test(client, opens_a_model_and_tells_what_it_holds)
{
    peer_start(&peer, sup_path("peer.sock"), NULL);
    sw_client *client = open_client(2000);
    sw_model *model = open_toy(client);
    cr_expect_eq(sw_model_component_count(model), PEER_COMPONENTS);
    cr_expect_eq(sw_model_find(model, "layer_1"), 2);
    cr_expect_eq(sw_model_find(model, "layer_9"), SW_ENOCOMPONENT);
    struct sw_component_info info = SW_INIT(struct sw_component_info);
    cr_expect_eq(sw_model_component_info(model, 1, &info), 0);
    cr_expect_str_eq(info.name, "layer_0");
    cr_expect_eq(info.bytes, peer.bytes[1]);
    cr_expect_eq(info.resident, 0);
    cr_expect_eq(sw_model_component_info(model, 3, &info), SW_ENOCOMPONENT);
    expect_message(client, SW_ENOCOMPONENT, "toy");
    void *data = NULL;
    size_t size = 0;
    cr_expect_eq(sw_model_file(model, "config.json", &data, &size), 0);
    cr_expect_str_eq((char *)data, "{\"model_type\": \"toy\"}");
    cr_expect_eq(size, strlen(data));
    free(data);
    cr_expect_eq(sw_model_file(model, "none.txt", &data, &size), SW_ENOCOMPONENT);
    sw_model *other = NULL;
    cr_expect_eq(sw_model_open(client, "another", &other), SW_ENOMODEL);
    cr_expect_null(other);
    expect_message(client, SW_ENOMODEL, "another");
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
}

Test(client, says_where_it_looked_when_nobody_listens)
{
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    char error[512] = "";
    options.socket_path = sup_path("nobody.sock");
    options.error = error;
    options.error_size = sizeof error;
    sw_client *client = NULL;
    cr_expect_eq(sw_client_open(&options, &client), -ENOENT);
    cr_expect_not_null(strstr(error, options.socket_path));
    cr_expect_null(client);
}

Test(client, refuses_options_of_a_newer_release_that_are_set)
{
    struct {
        struct sw_client_options known;
        int unknown;
    } newer = {.known = {.size = sizeof newer}, .unknown = 1};
    sw_client *client = NULL;
    cr_expect_eq(sw_client_open(&newer.known, &client), SW_EUNSUPPORTED);
    newer.known.size = 0;
    cr_expect_eq(sw_client_open(&newer.known, &client), -EINVAL);
}

Test(client, accepts_option_structs_of_older_and_newer_releases)
{
    peer_start(&peer, sup_path("peer.sock"), NULL);
    struct {
        struct sw_client_options known;
        int unknown;
    } newer = {.known = {.size = sizeof newer, .socket_path = peer.socket}};
    sw_client *client = NULL;
    cr_assert_eq(sw_client_open(&newer.known, &client), 0);
    struct sw_client_stats stats;
    memset(&stats, 0xee, sizeof stats);
    stats.size = offsetof(struct sw_client_stats, prefetches);
    cr_expect_eq(sw_client_get_stats(client, &stats), 0);
    cr_expect_eq(stats.misses, 0);
    cr_expect_eq(stats.prefetches, 0xeeeeeeeeeeeeeeee,
                 "beyond the caller's size nothing is written");
    sw_client_close(client);
    struct sw_client_options older = {.size = offsetof(struct sw_client_options, name),
                                      .socket_path = peer.socket,
                                      .timeout_ms = 1};
    cr_expect_eq(sw_client_open(&older, &client), 0, "the timeout is not part of an older struct");
    sw_client_close(client);
    peer_stop(&peer);
}

/* ---- a peer that errs ------------------------------------------------------------------------ */

Test(client, refuses_a_peer_of_another_version)
{
    char error[512];
    cr_expect_eq(open_against(&(struct peer_faults){.wrong_layout = true}, error, sizeof error),
                 SW_EVERSION);
    cr_expect_not_null(strstr(error, "same release"), "%s", error);
    cr_expect_eq(open_against(&(struct peer_faults){.hello_status = SW_EVERSION,
                                                    .hello_message = "this broker is older"},
                              error, sizeof error),
                 SW_EVERSION);
    cr_expect_not_null(strstr(error, "this broker is older"), "%s", error);
}

Test(client, refuses_objects_of_the_wrong_length)
{
    char error[512];
    cr_expect_eq(open_against(&(struct peer_faults){.arena_less = 4096}, error, sizeof error),
                 SW_EPROTOCOL);
    cr_expect_not_null(strstr(error, "arena"), "%s", error);
    cr_expect_eq(open_against(&(struct peer_faults){.index_less = 4096}, error, sizeof error),
                 SW_EPROTOCOL);
    cr_expect_not_null(strstr(error, "index"), "%s", error);
    cr_expect_eq(open_against(&(struct peer_faults){.page_less = 4096}, error, sizeof error),
                 SW_EPROTOCOL);
    cr_expect_eq(open_against(&(struct peer_faults){.page_less = -4096}, error, sizeof error),
                 SW_EPROTOCOL);
    cr_expect_not_null(strstr(error, "page"), "%s", error);
}

Test(client, refuses_a_welcome_with_the_wrong_descriptors)
{
    char error[512];
    cr_expect_eq(open_against(&(struct peer_faults){.no_descriptors = true}, error, sizeof error),
                 SW_EPROTOCOL);
    cr_expect_eq(open_against(&(struct peer_faults){.extra_descriptor = true}, error, sizeof error),
                 SW_EPROTOCOL);
}

Test(client, passes_on_why_it_was_turned_away)
{
    char error[512];
    cr_expect_eq(open_against(&(struct peer_faults){.hello_status = SW_EQUOTA,
                                                    .hello_message = "64 sessions are open"},
                              error, sizeof error),
                 SW_EQUOTA);
    cr_expect_not_null(strstr(error, "64 sessions are open"), "%s", error);
}

Test(client, refuses_tables_that_contradict_themselves)
{
    struct peer_faults faults[] = {{.short_table = true}, {.bad_chunk_id = true}};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        peer_start(&peer, sup_path("peer.sock"), &faults[i]);
        sw_client *client = open_client(2000);
        sw_model *model = NULL;
        cr_expect_eq(sw_model_open(client, "toy", &model), SW_EPROTOCOL);
        expect_message(client, SW_EPROTOCOL, "table");
        sw_client_close(client);
        peer_stop(&peer);
    }
}

Test(client, never_follows_an_index_out_of_the_arena)
{
    peer_start(&peer, sup_path("peer.sock"), &(struct peer_faults){.offset_outside = true});
    sw_client *client = open_client(2000);
    sw_model *model = open_toy(client);
    struct sw_lease lease;
    cr_expect_eq(sw_lease_acquire(model, 0, &lease), SW_EPROTOCOL);
    expect_message(client, SW_EPROTOCOL, "outside");
    cr_expect_eq(peer_pins(&peer, 0), 0, "no pin stays behind");
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
}

Test(client, survives_answers_that_make_no_sense)
{
    struct peer_faults faults[] = {{.wrong_type = true}, {.foreign_tag = true}};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        peer_start(&peer, sup_path("peer.sock"), &faults[i]);
        sw_client *client = open_client(1000);
        sw_model *model = open_toy(client);
        struct sw_lease lease;
        cr_expect_eq(sw_lease_acquire(model, 0, &lease), SW_EPROTOCOL);
        cr_expect_eq(peer_pins(&peer, 0), 0);
        sw_model_close(model);
        sw_client_close(client);
        peer_stop(&peer);
    }
}

Test(client, passes_on_why_a_load_failed)
{
    peer_start(&peer, sup_path("peer.sock"), &(struct peer_faults){.load_status = SW_ELOAD});
    sw_client *client = open_client(2000);
    sw_model *model = open_toy(client);
    struct sw_lease lease;
    cr_expect_eq(sw_lease_acquire(model, 2, &lease), SW_ELOAD);
    expect_message(client, SW_ELOAD, "the disk is on fire");
    expect_message(client, SW_ELOAD, "layer_1");
    cr_expect_eq(peer_pins(&peer, 2), 0);
    sw_component *component = NULL;
    cr_expect_eq(sw_component_acquire(model, 2, &component), SW_ELOAD);
    cr_expect_null(component);
    cr_expect_eq(sw_model_warmup(model, (uint32_t[]){0, 1}, 2), SW_ELOAD);
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
}

Test(client, gives_up_at_the_deadline)
{
    peer_start(&peer, sup_path("peer.sock"), &(struct peer_faults){.mute = true});
    sw_client *client = open_client(100);
    sw_model *model = open_toy(client);
    struct sw_lease lease;
    cr_expect_eq(sw_lease_acquire(model, 0, &lease), -ETIMEDOUT);
    cr_expect_eq(sw_model_warmup(model, (uint32_t[]){0, 1, 2}, 3), -ETIMEDOUT);
    cr_expect_eq(peer_pins(&peer, 0), 0);
    peer.faults.mute = false;
    cr_expect_eq(sw_lease_acquire(model, 0, &lease), 0, "the session is as good as before");
    cr_expect_eq(sw_lease_release(&lease), 0);
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
}

Test(client, calls_a_chunk_that_is_no_safetensors_file_by_its_name)
{
    peer_start(&peer, sup_path("peer.sock"), &(struct peer_faults){.bad_header = true});
    sw_client *client = open_client(2000);
    sw_model *model = open_toy(client);
    sw_component *component = NULL;
    cr_expect_eq(sw_component_acquire(model, 1, &component), SW_EFORMAT);
    expect_message(client, SW_EFORMAT, "layer_0");
    cr_expect_eq(peer_pins(&peer, 1), 0);
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
}

/* ---- leases ---------------------------------------------------------------------------------- */

Test(client, asks_once_and_then_never_again)
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
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
}

Test(client, a_pinned_chunk_is_not_evicted_and_an_evicted_one_is_loaded_again)
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
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
}

Test(client, is_busy_when_every_slot_is_taken)
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
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
}

Test(client, a_revoked_lease_says_so_and_the_next_call_begins_a_new_session)
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
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
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

Test(client, threads_share_a_session)
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
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
}

Test(client, answers_in_any_order_reach_who_asked)
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
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
}

/* ---- a broker that goes away ----------------------------------------------------------------- */

Test(client, leases_outlive_the_broker_and_the_next_miss_finds_its_successor)
{
    const char *path = sup_path("peer.sock");
    peer_start(&peer, path, NULL);
    sw_client *client = open_client(5000);
    sw_model *model = open_toy(client);
    struct sw_lease held, lease;
    cr_assert_eq(sw_lease_acquire(model, 0, &held), 0);
    use(model, 1);
    peer_stop(&peer);
    expect_toy_bytes(&held, 0);
    cr_expect_eq(sw_lease_acquire(model, 1, &lease), 0, "what is mapped still serves hits");
    cr_expect_eq(sw_lease_release(&lease), 0);

    peer_start(&peer, path, NULL);
    cr_expect_eq(sw_lease_acquire(model, 2, &lease), 0, "a miss connects again");
    expect_toy_bytes(&lease, 2);
    expect_toy_bytes(&held, 0);
    struct sw_client_stats stats = stats_of(client);
    cr_expect_eq(stats.reconnects, 1);
    cr_expect_eq(stats.mapped_bytes, 2 * PEER_ARENA, "a held lease keeps its arena");
    cr_expect_eq(sw_lease_release(&held), 0);
    cr_expect_eq(stats_of(client).mapped_bytes, PEER_ARENA, "and its release lets it go");
    cr_expect_eq(sw_lease_release(&lease), 0);

    struct sw_cache_info info = SW_INIT(struct sw_cache_info);
    sw_component *component;
    cr_expect_eq(sw_component_acquire(model, 1, &component), 0);
    cr_expect_eq(sw_model_get_cache_info(model, &info), 0);
    cr_expect_eq(info.hits, 1, "the same digest is the same view");
    cr_expect_eq(sw_component_release(component), 0);
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
}

Test(client, gives_up_on_a_broker_that_does_not_come_back)
{
    peer_start(&peer, sup_path("peer.sock"), NULL);
    sw_client *client = open_client(200);
    sw_model *model = open_toy(client);
    peer_stop(&peer);
    struct sw_lease lease;
    cr_expect_eq(sw_lease_acquire(model, 0, &lease), SW_EDISCONNECTED);
    expect_message(client, SW_EDISCONNECTED, peer.socket);
    void *data;
    size_t size;
    cr_expect_eq(sw_model_file(model, "config.json", &data, &size), SW_EDISCONNECTED);
    cr_expect_eq(sw_model_prefetch(model, (uint32_t[]){0}, 1), 0, "a hint");
    sw_model_close(model);
    sw_client_close(client);
}

Test(client, another_revision_makes_a_model_stale_until_it_is_opened_again)
{
    const char *path = sup_path("peer.sock");
    peer_start(&peer, path, NULL);
    sw_client *client = open_client(5000);
    sw_model *model = open_toy(client);
    peer_stop(&peer);
    peer_start(&peer, path, &(struct peer_faults){.other_revision = true});
    struct sw_lease lease;
    cr_expect_eq(sw_lease_acquire(model, 0, &lease), SW_ESTALE);
    expect_message(client, SW_ESTALE, "open it again");
    cr_expect_eq(sw_lease_acquire(model, 0, &lease), SW_ESTALE);
    sw_model *again = open_toy(client);
    cr_expect_eq(sw_lease_acquire(again, 0, &lease), 0);
    cr_expect_eq(sw_lease_release(&lease), 0);
    sw_model_close(model);
    sw_model_close(again);
    sw_client_close(client);
    peer_stop(&peer);
}

/* A worker that only ever hits must notice too, or it would hold on to a dead arena for ever. */
static bool moved(void *context)
{
    sw_model *model = context;
    sw_component *component;
    cr_assert_eq(sw_component_acquire(model, 0, &component), 0);
    cr_assert_eq(sw_component_release(component), 0);
    return atomic_load(&peer.loads) > 0;
}

Test(client, a_worker_that_only_hits_moves_to_the_new_broker)
{
    const char *path = sup_path("peer.sock");
    peer_start(&peer, path, NULL);
    sw_client *client = open_client(5000);
    sw_model *model = open_toy(client);
    cr_assert(moved(model));
    peer_stop(&peer);
    peer_start(&peer, path, NULL);
    cr_expect(sup_until(moved, model, 10000));
    struct sw_client_stats stats = stats_of(client);
    cr_expect_eq(stats.reconnects, 1);
    cr_expect_eq(stats.mapped_bytes, PEER_ARENA);
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
}

/* ---- fork ------------------------------------------------------------------------------------ */

/* Runs in a child; its exit code says which check failed. */
static int child_checks(sw_client *client, sw_model *model, struct sw_lease *inherited,
                        sw_component *component)
{
    float before;
    memcpy(&before, (const uint8_t *)inherited->data + inherited->bytes - sizeof before,
           sizeof before);
    if (before != peer_element(0, 47))
        return 1;
    if (sw_lease_release(inherited) != SW_EFORK)
        return 2;
    if (sw_component_release(component) != SW_EFORK)
        return 3;
    struct sw_lease own;
    if (sw_lease_acquire(model, 0, &own) != 0)
        return 4;
    memcpy(&before, (const uint8_t *)own.data + own.bytes - sizeof before, sizeof before);
    if (before != peer_element(0, 47))
        return 5;
    struct sw_client_stats stats = SW_INIT(struct sw_client_stats);
    if (sw_client_get_stats(client, &stats) != 0 || stats.reconnects != 0 || stats.hits != 1)
        return 6;
    if (sw_lease_release(&own) != 0)
        return 7;
    sw_model_close(model);
    sw_client_close(client);
    return 0;
}

Test(client, a_forked_child_gets_a_session_of_its_own)
{
    peer_start(&peer, sup_path("peer.sock"), NULL);
    sw_client *client = open_client(5000);
    sw_model *model = open_toy(client);
    struct sw_lease lease;
    sw_component *component;
    cr_assert_eq(sw_lease_acquire(model, 0, &lease), 0);
    cr_assert_eq(sw_component_acquire(model, 1, &component), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(child_checks(client, model, &lease, component));
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status), "signal %d", WTERMSIG(status));
    cr_expect_eq(WEXITSTATUS(status), 0, "check %d", WEXITSTATUS(status));
    cr_expect_eq(atomic_load(&peer.sessions), 2);
    cr_expect_eq(peer_pins(&peer, 0), 1, "the child left the parent's pins alone");
    cr_expect_eq(sw_lease_release(&lease), 0);
    cr_expect_eq(sw_component_release(component), 0);
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
}

Test(client, a_child_that_closes_at_once_leaves_the_parent_alone)
{
    peer_start(&peer, sup_path("peer.sock"), NULL);
    sw_client *client = open_client(5000);
    sw_model *model = open_toy(client);
    pid_t child = fork();
    if (child == 0) {
        sw_model_close(model);
        sw_client_close(client);
        _exit(0);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
    struct sw_lease lease;
    cr_expect_eq(sw_lease_acquire(model, 0, &lease), 0);
    cr_expect_eq(sw_lease_release(&lease), 0);
    cr_expect_eq(stats_of(client).reconnects, 0);
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
}

/* ---- components ------------------------------------------------------------------------------ */

Test(client, tensors_are_views_into_the_arena)
{
    peer_start(&peer, sup_path("peer.sock"), NULL);
    sw_client *client = open_client(2000);
    sw_model *model = open_toy(client);
    sw_component *component;
    cr_assert_eq(sw_component_acquire(model, 2, &component), 0);
    cr_expect_eq(sw_component_tensor_count(component), 2);
    struct sw_tensor tensor = SW_INIT(struct sw_tensor);
    cr_assert_eq(sw_component_tensor(component, "b.weight", &tensor), 0);
    cr_expect_eq(tensor.layout, SW_LAYOUT_PANEL);
    cr_expect_eq(tensor.dtype, SW_DTYPE_F32);
    cr_expect_eq(tensor.rank, 3);
    cr_expect_eq(tensor.shape[0], 3);
    cr_expect_eq(tensor.strides[0], 16);
    cr_expect_eq(tensor.strides[2], 1);
    cr_expect_eq(tensor.bytes, 48 * 4);
    cr_expect_eq((uintptr_t)tensor.data % 64, 0);
    cr_assert_eq(sw_component_tensor(component, "a.weight", &tensor), 0);
    cr_expect_eq(tensor.layout, SW_LAYOUT_ROWS);
    cr_expect_float_eq(((const float *)tensor.data)[5], peer_element(2, 5), 0);
    cr_expect_eq(sw_component_tensor(component, "c.weight", &tensor), SW_ENOCOMPONENT);
    expect_message(client, SW_ENOCOMPONENT, "c.weight");
    cr_expect_eq(sw_component_tensor_at(component, 2, &tensor), SW_ENOCOMPONENT);
    cr_expect_str_eq(sw_component_metadata(component, "component"), "2");
    cr_expect_null(sw_component_metadata(component, "colour"));
    cr_expect_eq(sw_component_release(component), 0);
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
}

Test(client, keeps_components_by_recent_use)
{
    peer_start(&peer, sup_path("peer.sock"), NULL);
    sw_client *client = open_client(2000);
    sw_model *model = open_toy(client);
    struct sw_cache_info info = SW_INIT(struct sw_cache_info);
    cr_expect_eq(sw_model_get_cache_info(model, &info), 0);
    cr_expect_eq(info.capacity, PEER_COMPONENTS, "all of the model by default");
    cr_expect_eq(sw_model_set_cache_size(model, 2), 0);
    use(model, 0);
    use(model, 1);
    use(model, 0);
    use(model, 2); /* 1 leaves */
    const char *names[4] = {NULL};
    cr_expect_eq(sw_model_cached_names(model, names, 4), 2);
    cr_expect_str_eq(names[0], "layer_1");
    cr_expect_str_eq(names[1], "embeddings");
    cr_expect_eq(sw_model_get_cache_info(model, &info), 0);
    cr_expect_eq(info.count, 2);
    cr_expect_eq(info.hits, 1);
    cr_expect_eq(info.misses, 3);
    cr_expect_eq(info.mapped_bytes, peer.bytes[0] + peer.bytes[2]);
    cr_expect_gt(info.private_bytes, 0);
    cr_expect_eq(sw_model_set_cache_size(model, 1), 0);
    cr_expect_eq(sw_model_cached_names(model, names, 4), 1, "shrinking evicts at once");
    cr_expect_str_eq(names[0], "layer_1");
    sw_model_clear_cache(model);
    cr_expect_eq(sw_model_get_cache_info(model, &info), 0);
    cr_expect_eq(info.count, 0);
    cr_expect_eq(info.private_bytes, 0);
    cr_expect_eq(info.mapped_bytes, 0);
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
}

Test(client, names_live_as_long_as_the_model)
{
    peer_start(&peer, sup_path("peer.sock"), NULL);
    sw_client *client = open_client(2000);
    sw_model *model = open_toy(client);
    sw_component *component;
    struct sw_tensor tensor = SW_INIT(struct sw_tensor);
    cr_assert_eq(sw_component_acquire(model, 0, &component), 0);
    cr_assert_eq(sw_component_tensor(component, "a.weight", &tensor), 0);
    const char *value = sw_component_metadata(component, "layout");
    sw_model_set_cache_size(model, 0);
    cr_expect_str_eq(tensor.name, "a.weight", "in use while its view was given up");
    cr_assert_eq(sw_component_release(component), 0);
    const char *name = tensor.name;
    use(model, 0);
    cr_expect_str_eq(name, "a.weight");
    cr_expect_str_eq(value, "panel");
    cr_assert_eq(sw_component_acquire(model, 0, &component), 0);
    cr_assert_eq(sw_component_tensor(component, "a.weight", &tensor), 0);
    cr_expect_eq(tensor.name, name, "parsing again makes no second copy");
    cr_assert_eq(sw_component_release(component), 0);
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
}
