/* SPDX-License-Identifier: MIT */
/* A private broker for processes that find no other: its files and how it is started.
 *
 *   D                 the directory, mode 0700: swbroker in $XDG_RUNTIME_DIR or /run/user/UID,
 *                     whichever first belongs only to this user; else /tmp/swbroker-UID
 *   D/HASH.sock       the socket; HASH is of the real path of the directory of models, so that a
 *                     user's processes share a broker exactly if they name the same models
 *   D/HASH.sock.lock  held by the process that starts the broker (core/start_lock.h)
 *
 * The broker exits shortly after its last client has gone, and removes both files.
 */
#ifndef SWI_CLIENT_AUTOSTART_H
#define SWI_CLIENT_AUTOSTART_H

#include <stdbool.h>
#include <stdint.h>

#include <sw/client.h>

#include "core/error.h"

struct swi_attachment;
struct swi_connection;

/* The private broker of a client. Strings are owned. */
struct swi_autostart {
    bool enabled;
    char *chunks_dir, *cache_size, *broker; /* NULL: not given */
    char *socket;                           /* NULL until it is needed */
};

/* From the options, and from the environment for those not given. Errors: -ENOMEM, -EINVAL. */
int swi_autostart_init(struct swi_autostart *autostart, const struct sw_client_options *options,
                       struct swi_error *error);
void swi_autostart_fini(struct swi_autostart *autostart);

/* Opens a session with the private broker, and with start set starts it if none answers. One thread
 * of a client at a time. */
int swi_autostart_reach(struct sw_client *client, bool start, uint64_t deadline,
                        struct swi_connection **ret_connection,
                        struct swi_attachment **ret_attachment, struct swi_error *error);

#endif
