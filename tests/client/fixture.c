/* SPDX-License-Identifier: MIT */
/* The client's tests: opening, closing, looking. */
#include "client/fixture.h"

#include <criterion/criterion.h>
#include <string.h>

struct peer peer;

sw_client *open_client(int timeout_ms)
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

sw_model *open_toy(sw_client *client)
{
    sw_model *model = NULL;
    char text[512];
    int result = sw_model_open(client, "toy", &model);
    sw_client_message(client, text, sizeof text);
    cr_assert_eq(result, 0, "%s", text);
    return model;
}

void expect_message(sw_client *client, int code, const char *part)
{
    char text[512] = "";
    cr_expect_eq(sw_client_message(client, text, sizeof text), code, "%s", text);
    cr_expect_not_null(strstr(text, part), "\"%s\" should name %s", text, part);
}

void expect_toy_bytes(const struct sw_lease *lease, uint32_t component)
{
    /* the second tensor in the file holds the same elements as the first */
    float last;
    memcpy(&last, (const uint8_t *)lease->data + lease->bytes - sizeof last, sizeof last);
    cr_expect_float_eq(last, peer_element(component, 47), 0);
}

struct sw_client_stats stats_of(sw_client *client)
{
    struct sw_client_stats stats = SW_INIT(struct sw_client_stats);
    cr_assert_eq(sw_client_get_stats(client, &stats), 0);
    return stats;
}

void close_all(sw_model *model, sw_client *client)
{
    sw_model_close(model);
    sw_client_close(client);
    peer_stop(&peer);
}

void use(sw_model *model, uint32_t component)
{
    sw_component *handle;
    cr_assert_eq(sw_component_acquire(model, component, &handle), 0);
    cr_assert_eq(sw_component_release(handle), 0);
}
