/* SPDX-License-Identifier: MIT */
/* swctl's talk with the broker: JSON requests, JSON answers, over one connection. */
#ifndef SWB_CTL_LIB_ASK_H
#define SWB_CTL_LIB_ASK_H

#include <jansson.h>
#include <signal.h>

#include "core/error.h"

struct ctl_peer;

/* Set by whoever catches a signal: every wait then ends with -EINTR. */
extern volatile sig_atomic_t ctl_interrupted;

/* timeout_ms: for a broker too busy to accept; 0: as long as it takes. */
int ctl_connect(const char *socket_path, int timeout_ms, struct ctl_peer **ret,
                struct swi_error *error);
/* NULL is allowed. */
void ctl_disconnect(struct ctl_peer *peer);

/* What the broker says before its answer. Borrowed. */
struct ctl_listener {
    void (*progress)(struct ctl_listener *listener, const json_t *progress);
};

/* Asks, and waits for the whole answer: timeout_ms, or as long as it takes (0). With a listener,
 * which may be NULL, the request asks for progress and the listener hears it. Returns 0 with *ret
 * (a new reference; an object with a boolean "ok"), or a negative code: of the connection, which is
 * then of no more use, or what a broker said that turned it away. */
int ctl_ask(struct ctl_peer *peer, json_t *request, int timeout_ms, struct ctl_listener *listener,
            json_t **ret, struct swi_error *error);

/* The same over a connection of its own, without progress. */
int ctl_ask_once(const char *socket_path, json_t *request, int timeout_ms, json_t **ret,
                 struct swi_error *error);

#endif
