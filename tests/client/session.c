/* SPDX-License-Identifier: MIT */
/* Sessions that end: a broker that goes away or changes, and forked children. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sw/client.h>

#include "client/fixture.h"
#include "support/support.h"

TestSuite(client_session, .timeout = 30);

Test(client_session, leases_outlive_the_broker_and_the_next_miss_finds_its_successor)
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
    close_all(model, client);
}

Test(client_session, gives_up_on_a_broker_that_does_not_come_back)
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

Test(client_session, another_revision_makes_a_model_stale_until_it_is_opened_again)
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

Test(client_session, a_worker_that_only_hits_moves_to_the_new_broker)
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
    close_all(model, client);
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

Test(client_session, a_forked_child_gets_a_session_of_its_own)
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
    close_all(model, client);
}

Test(client_session, a_child_that_closes_at_once_leaves_the_parent_alone)
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
    close_all(model, client);
}
