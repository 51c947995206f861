/* SPDX-License-Identifier: MIT */
/* Reloading: settings that change while the broker runs, and the catalog. */
#ifndef SWB_DAEMON_RELOAD_H
#define SWB_DAEMON_RELOAD_H

#include "daemon/broker.h"

/* Reads every source of settings again, applies what can be applied, and scans the catalog. What
 * changed, what waits for a restart and what was refused is logged, and returned in ret->settings
 * (new reference; NULL: out of memory):
 *
 *   {"file":"/etc/…" or null, "applied":["cache-size"], "at_restart":["policy"],
 *    "refused":[{"name":"cache-size","error":"…"}]}
 *
 * A source with a mistake in it changes nothing: -EINVAL, and the message says where it is.
 * The operator's reload function: context is the struct broker. */
int reload(void *context, struct control_reloaded *ret, struct swi_error *error);

/* Only the catalog; sets ret->catalog and ret->pins_ended. */
int reload_catalog(struct broker *broker, struct control_reloaded *ret, struct swi_error *error);

#endif
