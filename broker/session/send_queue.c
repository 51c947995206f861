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

struct outbox_item {
    TAILQ_ENTRY(outbox_item) link;
    char *text; /* NULL: bytes is one packet */
    size_t text_size, text_sent;
    uint64_t tag;
    size_t count;
    int fds[OUTBOX_FDS];
    size_t size;
    uint8_t bytes[];
};

void outbox_init(struct outbox *outbox)
{
    TAILQ_INIT(&outbox->items);
    outbox->bytes = 0;
}

static void drop(struct outbox *outbox, struct outbox_item *item)
{
    TAILQ_REMOVE(&outbox->items, item, link);
    outbox->bytes -= item->size;
    for (size_t i = 0; i < item->count; i++)
        close(item->fds[i]);
    free(item->text);
    free(item);
}

void outbox_fini(struct outbox *outbox)
{
    for (struct outbox_item *item; (item = TAILQ_FIRST(&outbox->items));)
        drop(outbox, item);
}

bool outbox_empty(const struct outbox *outbox)
{
    return TAILQ_EMPTY(&outbox->items);
}

/* Keeps a packet with descriptors of its own. */
static int keep(struct outbox *outbox, const void *packet, size_t size, const int *fds,
                size_t count)
{
    if (size > OUTBOX_MAX - outbox->bytes || count > OUTBOX_FDS)
        return -ENOBUFS;
    struct outbox_item *item = calloc(1, sizeof *item + size);
    if (!item)
        return -ENOMEM;
    item->size = size;
    memcpy(item->bytes, packet, size);
    TAILQ_INSERT_TAIL(&outbox->items, item, link);
    outbox->bytes += size;
    for (; item->count < count; item->count++) {
        item->fds[item->count] = fcntl(fds[item->count], F_DUPFD_CLOEXEC, 0);
        if (item->fds[item->count] < 0) {
            int code = -errno;
            drop(outbox, item);
            return code;
        }
    }
    return 0;
}

int outbox_send(struct outbox *outbox, int fd, const void *packet, size_t size, const int *fds,
                size_t count)
{
    if (outbox_empty(outbox)) {
        int result = swi_socket_send(fd, packet, size, fds, count);
        if (result != -EAGAIN)
            return result;
    }
    return keep(outbox, packet, size, fds, count);
}

/* Sends the parts of a text that the socket takes. Returns 0 when all are gone, or -errno
 * (-EAGAIN). */
static int send_parts(struct outbox_item *item, int fd)
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

int outbox_flush(struct outbox *outbox, int fd)
{
    for (struct outbox_item *item; (item = TAILQ_FIRST(&outbox->items));) {
        int result = item->text
                         ? send_parts(item, fd)
                         : swi_socket_send(fd, item->bytes, item->size, item->fds, item->count);
        if (result < 0)
            return result == -EAGAIN ? 0 : result;
        drop(outbox, item);
    }
    return 0;
}

int outbox_send_text(struct outbox *outbox, int fd, uint64_t tag, char *text)
{
    struct outbox_item *item = calloc(1, sizeof *item);
    if (!item) {
        free(text);
        return -ENOMEM;
    }
    item->tag = tag;
    item->text = text;
    item->text_size = strlen(text);
    TAILQ_INSERT_TAIL(&outbox->items, item, link);
    return outbox_flush(outbox, fd);
}
