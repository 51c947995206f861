/* SPDX-License-Identifier: MIT */
/* Puts the parts of the daemon together, runs the loop, takes them apart. */
#ifndef SWB_DAEMON_RUN_H
#define SWB_DAEMON_RUN_H

#include "daemon/broker.h"

/* Whether the Redis settings fit together, and the files that they name are usable. Starts
 * nothing. */
int broker_check(const struct broker_options *options, struct swi_error *error);

/* An empty broker, before anything is started. It must not move afterwards. */
void broker_init(struct broker *broker, struct settings *settings);
/* Once loop, cache, catalog and ledger exist: lets sessions and operators use them. */
void broker_connect(struct broker *broker);

/* Runs until SIGTERM or SIGINT. Returns 0, or why it could not start. */
int broker_run(struct settings *settings, struct swi_error *error);

#endif
