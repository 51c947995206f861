/* SPDX-License-Identifier: MIT */
/* The service manager's descriptor store: what of the broker outlives its process.
 *
 * The manager keeps copies of descriptors under names and passes them to the next process of the
 * service (FileDescriptorStoreMax= in systemd.service(5)). It does so when $NOTIFY_SOCKET and
 * $FDSTORE are set; $FDSTORE is how many it keeps (systemd sets it from version 254 on, the unit
 * file before). Anywhere else the store is inactive: nothing is put there, and what an earlier
 * broker has left there is dropped.
 *
 *   name                    descriptors
 *   sw-arena                the arena, read-write
 *   sw-index                the index, read-write
 *   sw-ledger               what of the broker's own state a successor needs (ledger.h)
 *   sw-listen               the listening socket, unless the manager made it
 *   sw-session-N-EPOCH      the page and the socket of session N
 *
 * It moves descriptors and knows nothing of what is in them.
 */
#ifndef SWB_HANDOVER_FDSTORE_H
#define SWB_HANDOVER_FDSTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

#define FDSTORE_ARENA  "sw-arena"
#define FDSTORE_INDEX  "sw-index"
#define FDSTORE_LEDGER "sw-ledger"
#define FDSTORE_LISTEN "sw-listen"
#define FDSTORE_PREFIX "sw-"
#define FDSTORE_SHARED                                                                             \
    4u /* descriptors that belong to no session: those with the first four names \
                          */
#define FDSTORE_SESSION 2u /* descriptors of a session */
#define FDSTORE_NAME    64u

struct fdstore_item {
    char *name;
    int fd; /* -1: taken */
};

struct fdstore {
    bool active;
    uint32_t capacity;          /* descriptors; 0: inactive */
    struct fdstore_item *items; /* what the manager has passed */
    uint32_t count;
    long passed_to; /* the parent process, which the descriptors were meant for; 0: none were */
};

/* Takes what the manager passes. Without a manager the store is inactive and empty. */
int fdstore_open(struct fdstore *fdstore, struct swi_error *error);
/* Closes what nobody has taken. forget: for good, so it goes out of the manager's store as well. */
void fdstore_close(struct fdstore *fdstore, bool forget);

/* How many sessions can be stored; UINT32_MAX when the store is inactive. */
uint32_t fdstore_sessions(const struct fdstore *fdstore);

/* The descriptor of that name, the caller's from here on; -1: there is none. When there are several
 * the others stay. */
int fdstore_take(struct fdstore *fdstore, const char *name);
/* Closes all of that name, and takes it out of the manager's store. */
void fdstore_discard(struct fdstore *fdstore, const char *name);
/* The name of something that nobody has taken and that begins so; NULL: nothing. Valid until it is
 * taken. */
const char *fdstore_find(const struct fdstore *fdstore, const char *prefix);
/* A listening socket that is not the broker's own, but the manager's; -1: none. */
int fdstore_take_activation(struct fdstore *fdstore);

/* Copies into the manager's store. 0, or why it could not be sent: the manager does not say whether
 * it had room. */
int fdstore_put(const struct fdstore *fdstore, const char *name, const int *fds, unsigned count);
/* Out of the manager's store, whoever has put it there. Nothing is sent without a manager. */
void fdstore_drop(const struct fdstore *fdstore, const char *name);
/* A descriptor that hangs up once the manager has done all that it was told before; or -errno. */
int fdstore_barrier(const struct fdstore *fdstore);

void fdstore_session_name(char name[static FDSTORE_NAME], uint32_t number, uint64_t epoch);
/* False when it is no such name. */
bool fdstore_parse_session(const char *name, uint32_t *ret_number, uint64_t *ret_epoch);

#endif
