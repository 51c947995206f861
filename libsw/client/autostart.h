/* SPDX-License-Identifier: MIT */
/* A private broker for processes that find none: where it lives, what it serves, who starts it.
 *
 *   D = $XDG_RUNTIME_DIR, else /run/user/UID, where that is this user's own; then D/swbroker
 *       else /tmp/swbroker-UID; mode 0700
 *   D/HASH.sock       the socket; HASH is of the real path of the directory of models, so that one
 *                     user's processes share a broker exactly when they name the same models
 *   D/HASH.sock.lock  held by whoever starts it (core/start_lock.h)
 *
 * The broker ends a moment after its last client, and removes both files.
 */
#ifndef SWI_CLIENT_AUTOSTART_H
#define SWI_CLIENT_AUTOSTART_H

#include <stdbool.h>
#include <stdint.h>

#include <sw/client.h>

#include "core/error.h"

struct swi_attachment;
struct swi_connection;

/* What a client may start. Strings are owned. */
struct swi_autostart {
    bool enabled;
    char *chunks_dir, *cache_size, *broker; /* NULL: not given */
    char *socket;                           /* NULL until it was needed */
};

/* From the options, and the environment where they say nothing. Errors: -ENOMEM, -EINVAL. */
int swi_autostart_init(struct swi_autostart *autostart, const struct sw_client_options *options,
                       struct swi_error *error);
void swi_autostart_fini(struct swi_autostart *autostart);

/* A session with the private broker, which is started where start is set and none answers. One
 * thread of a client at a time. */
int swi_autostart_reach(struct sw_client *client, bool start, uint64_t deadline,
                        struct swi_connection **ret_connection,
                        struct swi_attachment **ret_attachment, struct swi_error *error);

#endif
