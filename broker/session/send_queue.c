/* SPDX-License-Identifier: MIT */
/* Packets on their way to one client. */
#include "session/send_queue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/socket.h"
#include "core/wire.h"

struct send_queue_item {
    TAILQ_ENTRY(send_queue_item) link;
    char *text; /* NULL: bytes is one packet */
    size_t text_size, text_sent;
    uint64_t tag;
    size_t count;
    int fds[SEND_QUEUE_FDS];
    size_t size;
    uint8_t bytes[];
};

void send_queue_init(struct send_queue *send_queue)
{
    TAILQ_INIT(&send_queue->items);
    send_queue->bytes = 0;
}

static void drop(struct send_queue *send_queue, struct send_queue_item *item)
{
    TAILQ_REMOVE(&send_queue->items, item, link);
    send_queue->bytes -= item->size;
    for (size_t i = 0; i < item->count; i++)
        close(item->fds[i]);
    free(item->text);
    free(item);
}

void send_queue_fini(struct send_queue *send_queue)
{
    for (struct send_queue_item *item; (item = TAILQ_FIRST(&send_queue->items));)
        drop(send_queue, item);
}

bool send_queue_empty(const struct send_queue *send_queue)
{
    return TAILQ_EMPTY(&send_queue->items);
}

/* Queues a copy of the packet and duplicates of its descriptors. */
static int enqueue(struct send_queue *send_queue, const void *packet, size_t size, const int *fds,
                   size_t count)
{
    if (size > SEND_QUEUE_MAX - send_queue->bytes || count > SEND_QUEUE_FDS)
        return -ENOBUFS;
    struct send_queue_item *item = calloc(1, sizeof *item + size);
    if (!item)
        return -ENOMEM;
    item->size = size;
    memcpy(item->bytes, packet, size);
    TAILQ_INSERT_TAIL(&send_queue->items, item, link);
    send_queue->bytes += size;
    for (; item->count < count; item->count++) {
        item->fds[item->count] = fcntl(fds[item->count], F_DUPFD_CLOEXEC, 0);
        if (item->fds[item->count] < 0) {
            int code = -errno;
            drop(send_queue, item);
            return code;
        }
    }
    return 0;
}

int send_queue_send(struct send_queue *send_queue, int fd, const void *packet, size_t size,
                    const int *fds, size_t count)
{
    if (send_queue_empty(send_queue)) {
        int result = swi_socket_send(fd, packet, size, fds, count);
        if (result != -EAGAIN)
            return result;
    }
    return enqueue(send_queue, packet, size, fds, count);
}

/* Sends the parts of a text that the socket takes. Returns 0 once all are sent, or -errno
 * (-EAGAIN). */
static int send_parts(struct send_queue_item *item, int fd)
{
    static uint8_t packet[SWI_WIRE_MAX]; /* the loop is one thread */
    while (item->text_sent < item->text_size) {
        size_t rest = item->text_size - item->text_sent;
        size_t size = rest < SWI_WIRE_TEXT_MAX ? rest : SWI_WIRE_TEXT_MAX;
        struct swi_wire_text head = {.more = size < rest, .text_length = (uint32_t)size};
        struct swi_wire_out out;
        swi_wire_begin(&out, packet, sizeof packet, SWI_WIRE_CONTROL_PART, item->tag);
        swi_wire_put(&out, &head, sizeof head);
        swi_wire_put(&out, item->text + item->text_sent, size);
        int result = swi_socket_send(fd, packet, swi_wire_end(&out), NULL, 0);
        if (result < 0)
            return result;
        item->text_sent += size;
    }
    return 0;
}

int send_queue_flush(struct send_queue *send_queue, int fd)
{
    for (struct send_queue_item *item; (item = TAILQ_FIRST(&send_queue->items));) {
        int result = item->text
                         ? send_parts(item, fd)
                         : swi_socket_send(fd, item->bytes, item->size, item->fds, item->count);
        if (result < 0)
            return result == -EAGAIN ? 0 : result;
        drop(send_queue, item);
    }
    return 0;
}

int send_queue_send_text(struct send_queue *send_queue, int fd, uint64_t tag, char *text)
{
    struct send_queue_item *item = calloc(1, sizeof *item);
    if (!item) {
        free(text);
        return -ENOMEM;
    }
    item->tag = tag;
    item->text = text;
    item->text_size = strlen(text);
    TAILQ_INSERT_TAIL(&send_queue->items, item, link);
    return send_queue_flush(send_queue, fd);
}
