/* swctl's talk with the broker: one JSON request, one JSON answer. */
#ifndef SWB_CTL_ASK_H
#define SWB_CTL_ASK_H

#include <jansson.h>

#include "core/error.h"

/* timeout_ms: for each part of the answer; 0: none. Returns 0 with *ret (a new reference; an object
 * with a boolean "ok"), or a negative code: of the connection, or what a broker said that turned it
 * away. */
int ctl_ask(const char *socket_path, const json_t *request, int timeout_ms, json_t **ret,
            struct swi_error *error);

#endif
