/* SPDX-License-Identifier: MIT */
/* Packets on their way to one client: sent at once while its socket takes them, kept in order
 * otherwise.
 *
 * Bounded: who lets more than OUTBOX_MAX bytes pile up gets -ENOBUFS and is to be closed. Long
 * texts are cut into packets as the socket takes them and do not count.
 */
#ifndef SWB_SESSION_SEND_QUEUE_H
#define SWB_SESSION_SEND_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define OUTBOX_MAX (1u << 20)
#define OUTBOX_FDS 3u

struct outbox_item;
struct outbox {
    TAILQ_HEAD(outbox_items, outbox_item) items;
    size_t bytes;
};

void outbox_init(struct outbox *outbox);
void outbox_fini(struct outbox *outbox);
bool outbox_empty(const struct outbox *outbox);

/* Descriptors stay the caller's. Returns 0 (sent or kept) or -errno. */
int outbox_send(struct outbox *outbox, int fd, const void *packet, size_t size, const int *fds,
                size_t count);
/* Sends text as CONTROL_PARTs with that tag. text is malloc'd and the outbox's from here on, also
 * on failure. */
int outbox_send_text(struct outbox *outbox, int fd, uint64_t tag, char *text);
/* Sends what the socket takes. Returns 0 or -errno. */
int outbox_flush(struct outbox *outbox, int fd);

#endif
