/* SPDX-License-Identifier: MIT */
/* Packets on their way to one client: sent at once while the socket takes them, queued in order
 * otherwise.
 *
 * Bounded: beyond SEND_QUEUE_MAX queued bytes the caller gets -ENOBUFS and should close the session.
 * Long texts are cut into packets as the socket takes them and do not count.
 */
#ifndef SWB_SESSION_SEND_QUEUE_H
#define SWB_SESSION_SEND_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define SEND_QUEUE_MAX (1u << 20)
#define SEND_QUEUE_FDS 3u

struct send_queue_item;
struct send_queue {
    TAILQ_HEAD(send_queue_items, send_queue_item) items;
    size_t bytes;
};

void send_queue_init(struct send_queue *send_queue);
void send_queue_fini(struct send_queue *send_queue);
bool send_queue_empty(const struct send_queue *send_queue);

/* The descriptors stay the caller's. Returns 0 (sent or queued) or -errno. */
int send_queue_send(struct send_queue *send_queue, int fd, const void *packet, size_t size,
                    const int *fds, size_t count);
/* Sends a text as CONTROL_PARTs with that tag. Takes the malloc'd text, also on failure. */
int send_queue_send_text(struct send_queue *send_queue, int fd, uint64_t tag, char *text);
/* Sends as much as the socket takes. Returns 0 or -errno. */
int send_queue_flush(struct send_queue *send_queue, int fd);

#endif
