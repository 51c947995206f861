/* SPDX-License-Identifier: MIT */
/* Settings that change while the broker runs. */
#ifndef SWB_DAEMON_RELOAD_H
#define SWB_DAEMON_RELOAD_H

#include <jansson.h>

#include "daemon/broker.h"

/* Reads every source of settings again and applies what can be applied. What changed, what has to
 * wait for a restart and what was refused is logged and told in *ret (new reference; NULL: out of
 * memory):
 *
 *   {"file":"/etc/…" or null, "applied":["cache-size"], "at_restart":["policy"],
 *    "refused":[{"name":"cache-size","error":"…"}]}
 *
 * A source with a mistake in it changes nothing: -EINVAL, with its place. */
int reload_settings(struct broker *broker, json_t **ret, struct swi_error *error);

/* For the table of settings: how each is applied. */
/* The value is looked up whenever it is needed. */
int reload_value(struct broker *broker, const struct broker_options *wanted,
                 struct swi_error *error);
int reload_cache_size(struct broker *broker, const struct broker_options *wanted,
                      struct swi_error *error);
int reload_policy(struct broker *broker, const struct broker_options *wanted,
                  struct swi_error *error);
int reload_max_pinned(struct broker *broker, const struct broker_options *wanted,
                      struct swi_error *error);
int reload_socket(struct broker *broker, const struct broker_options *wanted,
                  struct swi_error *error);
int reload_log_level(struct broker *broker, const struct broker_options *wanted,
                     struct swi_error *error);

#endif
