/* SPDX-License-Identifier: MIT */
/* Requests to the broker: JSON requests and JSON answers over one connection. */
#ifndef SWB_CTL_LIB_ASK_H
#define SWB_CTL_LIB_ASK_H

#include <jansson.h>
#include <signal.h>

#include "core/error.h"

struct ctl_peer;

/* A signal handler sets it: every wait then ends with -EINTR. */
extern volatile sig_atomic_t ctl_interrupted;
/* From now on SIGINT and SIGTERM set it. */
void ctl_catch_interrupts(void);

/* timeout_ms: how long a busy broker may take to accept; 0: without limit. */
int ctl_connect(const char *socket_path, int timeout_ms, struct ctl_peer **ret,
                struct swi_error *error);
/* NULL is allowed. */
void ctl_disconnect(struct ctl_peer *peer);

/* Receives what the broker reports before its answer, borrowed. */
struct ctl_listener {
    void (*progress)(struct ctl_listener *listener, const json_t *progress);
};

/* Sends a request and waits for the whole answer, timeout_ms at most (0: without limit). With a
 * listener, which may be NULL, the request asks for progress. Returns 0 with *ret (a new reference;
 * an object with a boolean "ok"), or a negative code: of the connection, which must then be closed,
 * or the code with which the broker refused it. */
int ctl_ask(struct ctl_peer *peer, json_t *request, int timeout_ms, struct ctl_listener *listener,
            json_t **ret, struct swi_error *error);

/* The same over a new connection, without progress. */
int ctl_ask_once(const char *socket_path, json_t *request, int timeout_ms, json_t **ret,
                 struct swi_error *error);

#endif
