/* SPDX-License-Identifier: MIT */
/* The service manager's fd store: the descriptors that outlive the broker's process.
 *
 * The manager keeps copies of descriptors under names and passes them to the next process of the
 * service (FileDescriptorStoreMax= in systemd.service(5)). The store is active if $NOTIFY_SOCKET
 * and $FDSTORE are set; $FDSTORE is its capacity (set by systemd since version 254, and by the unit
 * file before). An inactive store takes nothing, and drops what an earlier broker has left in it.
 *
 *   name                    descriptors
 *   sw-arena                the arena, read-write
 *   sw-index                the index, read-write
 *   sw-ledger               the broker's own state that a successor needs (ledger.h)
 *   sw-listen               the listening socket, unless the manager created it
 *   sw-session-N-EPOCH      the page and the socket of session N
 *
 * The store moves descriptors and knows nothing about their contents.
 */
#ifndef SWB_HANDOVER_FDSTORE_H
#define SWB_HANDOVER_FDSTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

#define FDSTORE_ARENA   "sw-arena"
#define FDSTORE_INDEX   "sw-index"
#define FDSTORE_LEDGER  "sw-ledger"
#define FDSTORE_LISTEN  "sw-listen"
#define FDSTORE_PREFIX  "sw-"
#define FDSTORE_SHARED  4u /* descriptors that belong to no session: the first four names */
#define FDSTORE_SESSION 2u /* descriptors of a session */
#define FDSTORE_NAME    64u

struct fdstore_item {
    char *name;
    int fd; /* -1: taken */
};

struct fdstore {
    bool active;
    uint32_t capacity;          /* descriptors; 0: inactive */
    struct fdstore_item *items; /* that the manager has passed */
    uint32_t count;
    long passed_to; /* the parent process, which the descriptors were meant for; 0: none were */
};

/* Takes the descriptors that the manager passes. Without a manager, the store is inactive and
 * empty. */
int fdstore_open(struct fdstore *fdstore, struct swi_error *error);
/* Closes the descriptors that were not taken. forget: removes them from the manager's store too. */
void fdstore_close(struct fdstore *fdstore, bool forget);

/* How many sessions can be stored; UINT32_MAX if the store is inactive. */
uint32_t fdstore_sessions(const struct fdstore *fdstore);

/* Takes the first descriptor of that name, which the caller then owns; -1 if there is none. */
int fdstore_take(struct fdstore *fdstore, const char *name);
/* Closes all descriptors of that name and removes them from the manager's store. */
void fdstore_discard(struct fdstore *fdstore, const char *name);
/* The name of a descriptor that was not taken and whose name begins with prefix; NULL if there is
 * none. Valid until it is taken. */
const char *fdstore_find(const struct fdstore *fdstore, const char *prefix);
/* Takes a listening socket that the manager created; -1 if there is none. */
int fdstore_take_activation(struct fdstore *fdstore);

/* Sends copies to the manager's store. Returns 0, or why they could not be sent; the manager
 * does not say whether it had room. */
int fdstore_put(const struct fdstore *fdstore, const char *name, const int *fds, unsigned count);
/* Removes the name from the manager's store, even if an earlier broker put it there. Does nothing
 * without a manager. */
void fdstore_drop(const struct fdstore *fdstore, const char *name);
/* Returns a descriptor that hangs up once the manager has processed all earlier messages; or
 * -errno. */
int fdstore_barrier(const struct fdstore *fdstore);

void fdstore_session_name(char name[static FDSTORE_NAME], uint32_t number, uint64_t epoch);
/* False if it is not such a name. */
bool fdstore_parse_session(const char *name, uint32_t *ret_number, uint64_t *ret_epoch);

#endif
