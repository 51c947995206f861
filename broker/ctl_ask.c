/* swctl's talk with the broker. */
#include "ctl_ask.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/socket.h"
#include "core/wire.h"

#define TAG        1u
#define ANSWER_MAX (256u << 20)

struct answer {
    char *text;
    size_t size;
};

static int send_request(int fd, const json_t *request, struct swi_error *error)
{
    static uint8_t packet[SWI_WIRE_MAX];
    char *text = json_dumps(request, JSON_COMPACT);
    if (!text)
        return swi_fail(error, -ENOMEM, "out of memory");
    size_t size = strlen(text);
    struct swi_wire_text head = {.text_length = (uint32_t)size};
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, sizeof packet, SWI_WIRE_CONTROL, TAG);
    swi_wire_put(&out, &head, sizeof head);
    swi_wire_put(&out, text, size);
    size_t length = swi_wire_end(&out);
    free(text);
    if (!length)
        return swi_fail(error, -E2BIG, "the request is too long");
    int result = swi_socket_send(fd, packet, length, NULL, 0);
    if (result < 0)
        return swi_fail(error, result, "cannot send to the broker: %s", sw_strerror(result));
    return 0;
}

/* Appends one CONTROL_PART. Returns 1 when more follow, 0 when it was the last. */
static int take_part(struct answer *answer, struct swi_wire_in *in, struct swi_error *error)
{
    struct swi_wire_text head;
    (void)swi_wire_get(in, &head, sizeof head);
    size_t size;
    const char *text = swi_wire_rest(in, &size);
    if (size > ANSWER_MAX - answer->size)
        return swi_fail(error, SW_EPROTOCOL, "the broker's answer does not end");
    char *larger = realloc(answer->text, answer->size + size + 1);
    if (!larger)
        return swi_fail(error, -ENOMEM, "out of memory");
    memcpy(larger + answer->size, text, size);
    answer->text = larger;
    answer->size += size;
    return head.more != 0;
}

/* A broker that turns the connection away says why. */
static int take_refusal(struct swi_wire_in *in, struct swi_error *error)
{
    struct swi_wire_done done;
    (void)swi_wire_get(in, &done, sizeof done);
    size_t size;
    const char *text = swi_wire_rest(in, &size);
    return swi_fail(error, done.status < 0 ? done.status : SW_EPROTOCOL, "%.*s", (int)size, text);
}

static int take_packet(int fd, struct answer *answer, struct swi_error *error)
{
    static uint8_t packet[SWI_WIRE_MAX];
    ssize_t length = swi_socket_receive(fd, packet, sizeof packet, NULL, NULL);
    if (length == -EAGAIN)
        return swi_fail(error, -ETIMEDOUT, "the broker takes the request but does not answer");
    if (length == 0)
        return swi_fail(error, SW_EDISCONNECTED, "the broker closed the connection");
    if (length < 0)
        return swi_fail(error, (int)length, "cannot receive from the broker: %s",
                        sw_strerror((int)length));
    struct swi_wire_in in;
    int result = swi_wire_parse(packet, (size_t)length, &in, error);
    if (result < 0)
        return result;
    if (in.type == SWI_WIRE_DONE)
        return take_refusal(&in, error);
    if (in.type != SWI_WIRE_CONTROL_PART || in.tag != TAG)
        return swi_fail(error, SW_EPROTOCOL, "the broker sent something that is no answer");
    return take_part(answer, &in, error);
}

static int talk(int fd, const json_t *request, struct answer *answer, struct swi_error *error)
{
    int result = send_request(fd, request, error);
    if (result < 0)
        return result;
    do
        result = take_packet(fd, answer, error);
    while (result > 0);
    return result;
}

int ctl_ask(const char *socket_path, const json_t *request, int timeout_ms, json_t **ret,
            struct swi_error *error)
{
    int fd = swi_socket_connect(socket_path, error);
    if (fd < 0)
        return fd;
    const struct timeval timeout = {.tv_sec = timeout_ms / 1000,
                                    .tv_usec = timeout_ms % 1000 * 1000};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    struct answer answer = {0};
    int result = talk(fd, request, &answer, error);
    close(fd);
    json_t *reply = result == 0 ? json_loadb(answer.text, answer.size, 0, NULL) : NULL;
    free(answer.text);
    if (result == 0 && !json_is_boolean(json_object_get(reply, "ok"))) {
        json_decref(reply);
        return swi_fail(error, SW_EPROTOCOL,
                        "the broker's answer is not what this swctl understands");
    }
    if (result == 0)
        *ret = reply;
    return result;
}
