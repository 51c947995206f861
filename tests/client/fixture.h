/* SPDX-License-Identifier: MIT */
/* What the client's tests against a scripted peer share. One peer a test. */
#ifndef SWT_CLIENT_FIXTURE_H
#define SWT_CLIENT_FIXTURE_H

#include <sw/client.h>

#include "client/peer.h"

extern struct peer peer;

/* These fail the test where something is not as it should be. */
sw_client *open_client(int timeout_ms);
sw_model *open_toy(sw_client *client);
void close_all(sw_model *model, sw_client *client); /* and stops the peer */
void expect_message(sw_client *client, int code, const char *part);
void expect_toy_bytes(const struct sw_lease *lease, uint32_t component);
struct sw_client_stats stats_of(sw_client *client);
void use(sw_model *model, uint32_t component); /* acquires and releases it */

#endif
