/* SPDX-License-Identifier: MIT */
/* Opening a client and a model, and what a peer may get wrong about it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sw/client.h>

#include "client/fixture.h"
#include "support/support.h"

TestSuite(client_open, .timeout = 30);

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

Test(client_open, opens_a_model_and_tells_what_it_holds)
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
    expect_message(client, SW_ENOMODEL, "no such model");
    close_all(model, client);
}

Test(client_open, says_where_it_looked_when_nobody_listens)
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

Test(client_open, refuses_options_of_a_newer_release_that_are_set)
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

Test(client_open, accepts_option_structs_of_older_and_newer_releases)
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

Test(client_open, refuses_a_peer_of_another_version)
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

Test(client_open, refuses_objects_of_the_wrong_length)
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

Test(client_open, refuses_a_welcome_with_the_wrong_descriptors)
{
    char error[512];
    cr_expect_eq(open_against(&(struct peer_faults){.no_descriptors = true}, error, sizeof error),
                 SW_EPROTOCOL);
    cr_expect_eq(open_against(&(struct peer_faults){.extra_descriptor = true}, error, sizeof error),
                 SW_EPROTOCOL);
}

Test(client_open, passes_on_why_it_was_turned_away)
{
    char error[512];
    cr_expect_eq(open_against(&(struct peer_faults){.hello_status = SW_EQUOTA,
                                                    .hello_message = "64 sessions are open"},
                              error, sizeof error),
                 SW_EQUOTA);
    cr_expect_not_null(strstr(error, "64 sessions are open"), "%s", error);
}

Test(client_open, refuses_tables_that_contradict_themselves)
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

Test(client_open, never_follows_an_index_out_of_the_arena)
{
    peer_start(&peer, sup_path("peer.sock"), &(struct peer_faults){.offset_outside = true});
    sw_client *client = open_client(2000);
    sw_model *model = open_toy(client);
    struct sw_lease lease;
    cr_expect_eq(sw_lease_acquire(model, 0, &lease), SW_EPROTOCOL);
    expect_message(client, SW_EPROTOCOL, "outside");
    cr_expect_eq(peer_pins(&peer, 0), 0, "no pin stays behind");
    close_all(model, client);
}

Test(client_open, survives_answers_that_make_no_sense)
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

Test(client_open, passes_on_why_a_load_failed)
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
    close_all(model, client);
}

Test(client_open, gives_up_at_the_deadline)
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
    close_all(model, client);
}

Test(client_open, calls_a_chunk_that_is_no_safetensors_file_by_its_name)
{
    peer_start(&peer, sup_path("peer.sock"), &(struct peer_faults){.bad_header = true});
    sw_client *client = open_client(2000);
    sw_model *model = open_toy(client);
    sw_component *component = NULL;
    cr_expect_eq(sw_component_acquire(model, 1, &component), SW_EFORMAT);
    expect_message(client, SW_EFORMAT, "layer_0");
    cr_expect_eq(peer_pins(&peer, 1), 0);
    close_all(model, client);
}
