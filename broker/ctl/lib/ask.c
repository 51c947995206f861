/* SPDX-License-Identifier: MIT */
/* Requests to the broker. The peer at the socket is not trusted to be a broker: its answers are
 * bounded in size and time, and checked before use. */
#include "ctl/lib/ask.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/deadline.h"
#include "core/socket.h"
#include "core/wire.h"

#define ANSWER_MAX (256u << 20)

volatile sig_atomic_t ctl_interrupted;

struct ctl_peer {
    int fd;
    uint64_t tag; /* of the last request */
    char *text;   /* of the answer so far */
    size_t size, capacity;
};

static void interrupt(int number)
{
    (void)number;
    ctl_interrupted = 1;
}

void ctl_catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = interrupt};
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

static int64_t now_ms(void)
{
    return (int64_t)(swi_now() / 1000000);
}

int ctl_connect(const char *socket_path, int timeout_ms, struct ctl_peer **ret,
                struct swi_error *error)
{
    int fd = swi_socket_connect(socket_path, timeout_ms > 0 ? timeout_ms : -1, error);
    if (fd < 0)
        return fd;
    struct ctl_peer *peer = calloc(1, sizeof *peer);
    if (!peer) {
        close(fd);
        return swi_fail(error, -ENOMEM, "out of memory");
    }
    peer->fd = fd;
    *ret = peer;
    return 0;
}

void ctl_disconnect(struct ctl_peer *peer)
{
    if (!peer)
        return;
    close(peer->fd);
    free(peer->text);
    free(peer);
}

static int send_request(struct ctl_peer *peer, const json_t *request, struct swi_error *error)
{
    static uint8_t packet[SWI_WIRE_MAX];
    char *text = json_dumps(request, JSON_COMPACT);
    if (!text)
        return swi_fail(error, -ENOMEM, "out of memory");
    size_t size = strlen(text);
    struct swi_wire_text head = {.text_length = (uint32_t)size};
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, sizeof packet, SWI_WIRE_CONTROL, ++peer->tag);
    swi_wire_put(&out, &head, sizeof head);
    swi_wire_put(&out, text, size);
    size_t length = swi_wire_end(&out);
    free(text);
    if (!length)
        return swi_fail(error, -E2BIG, "the request is too long");
    int result = swi_socket_send(peer->fd, packet, length, NULL, 0);
    if (result == -EPIPE)
        return swi_fail(error, SW_EDISCONNECTED, "the broker closed the connection");
    if (result < 0)
        return swi_fail(error, result, "cannot send to the broker: %s", sw_strerror(result));
    return 0;
}

/* Waits until there is something to read. end_ms 0: without limit. */
static int wait_for(const struct ctl_peer *peer, int64_t end_ms, struct swi_error *error)
{
    for (;;) {
        int64_t rest = end_ms ? end_ms - now_ms() : 1000;
        if (ctl_interrupted)
            return swi_fail(error, -EINTR, "interrupted");
        if (rest <= 0)
            return swi_fail(error, -ETIMEDOUT,
                            "the broker accepted the request but did not answer in time; it hangs "
                            "or is very busy (--timeout SECONDS waits longer)");
        struct pollfd wait = {.fd = peer->fd, .events = POLLIN};
        /* in short steps: a signal between the check and the wait does not interrupt the wait */
        int count = poll(&wait, 1, rest > 200 ? 200 : (int)rest);
        if (count > 0)
            return 0;
        if (count < 0 && errno != EINTR)
            return swi_fail(error, -errno, "cannot wait for the broker: %s", sw_strerror(-errno));
    }
}

/* Appends one CONTROL_PART. Returns 1 if more follow, 0 if it was the last. */
static int take_part(struct ctl_peer *peer, struct swi_wire_in *in, struct swi_error *error)
{
    struct swi_wire_text head;
    (void)swi_wire_get(in, &head, sizeof head);
    size_t size;
    const char *text = swi_wire_rest(in, &size);
    if (size > ANSWER_MAX - peer->size)
        return swi_fail(error, SW_EPROTOCOL, "the broker's answer is too long");
    if (peer->size + size > peer->capacity) {
        size_t capacity = (peer->size + size) * 2;
        char *larger = realloc(peer->text, capacity);
        if (!larger)
            return swi_fail(error, -ENOMEM, "out of memory");
        peer->text = larger;
        peer->capacity = capacity;
    }
    if (size)
        memcpy(peer->text + peer->size, text, size);
    peer->size += size;
    return head.more != 0;
}

/* A broker that refuses the connection gives the reason. */
static int take_refusal(struct swi_wire_in *in, struct swi_error *error)
{
    struct swi_wire_done done;
    (void)swi_wire_get(in, &done, sizeof done);
    size_t size;
    const char *text = swi_wire_rest(in, &size);
    return swi_fail(error, done.status < 0 ? done.status : SW_EPROTOCOL, "%.*s", (int)size,
                    size ? text : "");
}

static int take_packet(struct ctl_peer *peer, struct swi_error *error)
{
    static uint8_t packet[SWI_WIRE_MAX];
    ssize_t length = swi_socket_receive(peer->fd, packet, sizeof packet, NULL, NULL);
    if (length == 0)
        return swi_fail(error, SW_EDISCONNECTED, "the broker closed the connection");
    if (length < 0)
        return swi_fail(error, (int)length, "cannot receive from the broker: %s",
                        sw_strerror((int)length));
    struct swi_wire_in in;
    int result = swi_wire_parse(packet, (size_t)length, &in, error);
    if (result < 0)
        return swi_fail_within(error, result, "the peer at this socket is not a broker: ");
    if (in.type == SWI_WIRE_DONE)
        return take_refusal(&in, error);
    if (in.type != SWI_WIRE_CONTROL_PART || in.tag != peer->tag)
        return swi_fail(error, SW_EPROTOCOL, "the broker sent a message that is not an answer");
    return take_part(peer, &in, error);
}

/* One JSON object. */
static int take_object(struct ctl_peer *peer, int64_t end_ms, json_t **ret, struct swi_error *error)
{
    int result;
    peer->size = 0;
    do {
        result = wait_for(peer, end_ms, error);
        if (result == 0)
            result = take_packet(peer, error);
    } while (result > 0);
    if (result < 0)
        return result;
    json_t *object = json_loadb(peer->text ? peer->text : "", peer->size, 0, NULL);
    if (!json_is_object(object)) {
        json_decref(object);
        return swi_fail(error, SW_EPROTOCOL,
                        "the broker's answer is not in a form that this program knows");
    }
    *ret = object;
    return 0;
}

int ctl_ask(struct ctl_peer *peer, json_t *request, int timeout_ms, struct ctl_listener *listener,
            json_t **ret, struct swi_error *error)
{
    int64_t end_ms = timeout_ms > 0 ? now_ms() + timeout_ms : 0;
    if (listener && json_object_set_new(request, "progress", json_true()) < 0)
        return swi_fail(error, -ENOMEM, "out of memory");
    int result = send_request(peer, request, error);
    while (result == 0) {
        json_t *object = NULL;
        result = take_object(peer, end_ms, &object, error);
        if (result < 0)
            break;
        if (json_is_boolean(json_object_get(object, "ok"))) {
            *ret = object;
            return 0;
        }
        json_t *progress = json_object_get(object, "progress");
        if (listener && json_is_object(progress))
            listener->progress(listener, progress);
        else
            result = swi_fail(error, SW_EPROTOCOL,
                              "the broker's answer is not in a form that this program knows");
        json_decref(object);
    }
    return result;
}

int ctl_ask_once(const char *socket_path, json_t *request, int timeout_ms, json_t **ret,
                 struct swi_error *error)
{
    struct ctl_peer *peer = NULL;
    int result = ctl_connect(socket_path, timeout_ms, &peer, error);
    if (result < 0)
        return result;
    result = ctl_ask(peer, request, timeout_ms, NULL, ret, error);
    ctl_disconnect(peer);
    return result;
}
