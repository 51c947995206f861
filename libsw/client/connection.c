/* SPDX-License-Identifier: MIT */
/* Leader and followers on one socket. */
#include "client/connection.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct swi_connection {
    pthread_mutex_t *lock;
    int fd;
    uint32_t references;
    uint64_t next_tag;
    bool reading;            /* a thread is the leader; only the leader touches packet */
    struct swi_error broken; /* code 0: usable */
    TAILQ_HEAD(, swi_call) calls;
    uint8_t packet[SWI_WIRE_MAX];
};

int swi_connection_create(int fd, pthread_mutex_t *lock, struct swi_connection **ret)
{
    struct swi_connection *connection = malloc(sizeof *connection);
    int flags = fcntl(fd, F_GETFL);
    if (!connection || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        int code = connection ? -errno : -ENOMEM;
        free(connection);
        close(fd);
        return code;
    }
    connection->lock = lock;
    connection->fd = fd;
    connection->references = 1;
    connection->next_tag = 1;
    connection->reading = false;
    connection->broken.code = 0;
    TAILQ_INIT(&connection->calls);
    *ret = connection;
    return 0;
}

void swi_connection_ref(struct swi_connection *connection)
{
    connection->references++;
}

void swi_connection_unref(struct swi_connection *connection)
{
    if (!connection || --connection->references > 0)
        return;
    if (connection->fd >= 0)
        close(connection->fd);
    free(connection);
}

bool swi_connection_usable(const struct swi_connection *connection)
{
    return connection->broken.code == 0;
}

void swi_connection_break(struct swi_connection *connection, int code, const char *reason)
{
    if (connection->broken.code)
        return;
    (void)swi_fail(&connection->broken, code, "%s", reason);
    (void)shutdown(connection->fd, SHUT_RDWR); /* wakes the leader, which may be in poll */
    struct swi_call *call;
    TAILQ_FOREACH(call, &connection->calls, link)
    pthread_cond_signal(&call->wake);
}

void swi_connection_look(struct swi_connection *connection)
{
    struct pollfd poller = {.fd = connection->fd, .events = POLLRDHUP};
    if (poll(&poller, 1, 0) > 0 && (poller.revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL)))
        swi_connection_break(connection, SW_EDISCONNECTED, "the broker went away");
}

void swi_connection_disown(struct swi_connection *connection)
{
    close(connection->fd); /* the parent's descriptor and session live on */
    connection->fd = -1;
    connection->references =
        1; /* the client's; the threads of the other holders do not exist here */
    connection->reading = false;
    TAILQ_INIT(&connection->calls); /* on the stacks of threads that do not exist here */
    (void)swi_fail(&connection->broken, SW_EFORK, "the session belongs to the parent process");
}

/* ---- requests -------------------------------------------------------------------------------- */

void swi_call_begin(struct swi_connection *connection, struct swi_call *call,
                    struct swi_wire_out *out, void *buffer, size_t capacity,
                    enum swi_wire_type type)
{
    pthread_mutex_lock(connection->lock);
    uint64_t tag = connection->next_tag++;
    pthread_mutex_unlock(connection->lock);
    *call = (struct swi_call){.tag = tag};
    swi_wire_begin(out, buffer, capacity, type, tag);
}

/* Waits until the socket can take another packet. Lock not held. */
static int wait_writable(int fd, uint64_t deadline)
{
    struct pollfd poller = {.fd = fd, .events = POLLOUT};
    int count = poll(&poller, 1, swi_deadline_ms(deadline));
    if (count < 0 && errno != EINTR)
        return -errno;
    return count == 0 && swi_over(deadline) ? -ETIMEDOUT : 0;
}

static int send_packet(struct swi_connection *connection, const void *packet, size_t size,
                       uint64_t deadline, struct swi_error *error)
{
    for (;;) {
        int result = swi_socket_send(connection->fd, packet, size, NULL, 0);
        if (result == 0)
            return 0;
        if (result != -EAGAIN) {
            pthread_mutex_lock(connection->lock);
            swi_connection_break(connection, SW_EDISCONNECTED, "the broker went away");
            pthread_mutex_unlock(connection->lock);
            return swi_fail(error, SW_EDISCONNECTED, "cannot send to the broker: %s",
                            sw_strerror(result));
        }
        if (deadline == 0)
            return -EAGAIN;
        result = wait_writable(connection->fd, deadline);
        if (result < 0)
            return swi_fail(error, result,
                            "the broker does not accept requests: %s; it is overloaded or stopped",
                            sw_strerror(result));
    }
}

int swi_call_send(struct swi_connection *connection, struct swi_call *call,
                  struct swi_wire_out *out, uint64_t deadline, struct swi_error *error)
{
    size_t size = swi_wire_end(out);
    assert(size > 0 && "requests are sized to fit");
    int result = swi_condition_init(&call->wake);
    if (result < 0)
        return swi_fail(error, result, "cannot create a condition variable: %s",
                        sw_strerror(result));
    pthread_mutex_lock(connection->lock);
    if (connection->broken.code)
        result = swi_fail(error, connection->broken.code, "%s", connection->broken.text);
    else
        TAILQ_INSERT_TAIL(&connection->calls, call, link);
    pthread_mutex_unlock(connection->lock);
    if (result < 0) {
        pthread_cond_destroy(&call->wake);
        return result;
    }
    call->listed = true;
    result = send_packet(connection, out->bytes, size, deadline, error);
    if (result < 0)
        swi_call_end(connection, call);
    return result;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* Delivers a checked packet to its call. With the lock held. Drops an answer whose caller has given
 * up at its deadline. */
static void deliver(struct swi_connection *connection, const struct swi_wire_in *in, size_t length,
                    const int *fds, size_t fd_count)
{
    struct swi_call *call;
    TAILQ_FOREACH(call, &connection->calls, link)
    if (call->tag == in->tag)
        break;
    if (!call || call->answered) {
        close_all(fds, fd_count);
        if (in->tag >= connection->next_tag)
            swi_connection_break(connection, SW_EPROTOCOL,
                                 "the broker answered a request that was never made");
        return;
    }
    call->packet = malloc(length);
    if (!call->packet) {
        close_all(fds, fd_count);
        swi_connection_break(connection, -ENOMEM, "out of memory for the broker's answer");
        return;
    }
    memcpy(call->packet, connection->packet, length);
    call->in = *in;
    call->in.body = call->packet + (in->body - connection->packet);
    memcpy(call->fds, fds, fd_count * sizeof *fds);
    call->fd_count = fd_count;
    call->answered = true;
    pthread_cond_signal(&call->wake);
}

static bool is_answer(enum swi_wire_type type)
{
    return type == SWI_WIRE_WELCOME || type == SWI_WIRE_OPENED || type == SWI_WIRE_TABLE_PART ||
           type == SWI_WIRE_FILE_IS || type == SWI_WIRE_DONE;
}

/* Reads one packet as the leader. Called and returns with the lock held; releases it while waiting.
 */
static void lead(struct swi_connection *connection, uint64_t deadline)
{
    connection->reading = true;
    pthread_mutex_unlock(connection->lock);
    struct pollfd poller = {.fd = connection->fd, .events = POLLIN};
    int ready = poll(&poller, 1, swi_deadline_ms(deadline));
    int fds[SWI_SOCKET_FDS];
    size_t fd_count = 0;
    ssize_t length = -EAGAIN;
    if (ready > 0)
        length = swi_socket_receive(connection->fd, connection->packet, sizeof connection->packet,
                                    fds, &fd_count);
    struct swi_wire_in in = {0};
    struct swi_error error = {0};
    int parsed = length > 0 ? swi_wire_parse(connection->packet, (size_t)length, &in, &error) : 0;
    if (parsed == 0 && length > 0 && !is_answer(in.type))
        parsed =
            swi_fail(&error, SW_EPROTOCOL, "the broker sent a message of type %d", (int)in.type);
    if (fd_count > SWI_SOCKET_FDS) /* the surplus is closed already */
        fd_count = SWI_SOCKET_FDS;

    pthread_mutex_lock(connection->lock);
    connection->reading = false;
    if (length == -EAGAIN)
        return;
    if (length == 0 || length == -ECONNRESET) {
        swi_connection_break(connection, SW_EDISCONNECTED, "the broker went away");
    } else if (length < 0) {
        swi_connection_break(connection, length == SW_EPROTOCOL ? SW_EPROTOCOL : SW_EDISCONNECTED,
                             "cannot receive from the broker");
    } else if (parsed < 0) {
        close_all(fds, fd_count);
        swi_connection_break(connection, parsed, error.text);
    } else {
        deliver(connection, &in, (size_t)length, fds, fd_count);
    }
}

/* Wakes another thread to read the socket when the leader leaves. With the lock held. */
static void pass_lead(struct swi_connection *connection)
{
    struct swi_call *call;
    TAILQ_FOREACH(call, &connection->calls, link)
    {
        if (call->waiting && !call->answered) {
            pthread_cond_signal(&call->wake);
            return;
        }
    }
}

static int await(struct swi_connection *connection, struct swi_call *call, uint64_t deadline,
                 struct swi_error *error)
{
    int result = 0;
    call->waiting = true;
    while (!call->answered && result == 0) {
        if (connection->broken.code)
            result = swi_fail(error, connection->broken.code, "%s", connection->broken.text);
        else if (swi_over(deadline))
            result = swi_fail(error, -ETIMEDOUT, "the broker did not answer in time");
        else if (!connection->reading)
            lead(connection, deadline);
        else {
            struct timespec until = swi_deadline_time(deadline);
            (void)pthread_cond_timedwait(&call->wake, connection->lock, &until);
        }
    }
    call->waiting = false;
    if (!connection->reading)
        pass_lead(connection);
    return result;
}

/* The status and message of a DONE. */
static int done_status(struct swi_call *call, struct swi_error *error)
{
    struct swi_wire_done done;
    if (!swi_wire_get(&call->in, &done, sizeof done))
        return swi_fail(error, SW_EPROTOCOL, "the broker sent a short answer");
    if (done.status > 0)
        return swi_fail(error, SW_EPROTOCOL, "the broker sent the invalid status %d", done.status);
    if (done.status == 0)
        return 0;
    size_t size;
    const char *text = swi_wire_rest(&call->in, &size);
    if (size == 0)
        return swi_fail(error, done.status, "%s", sw_strerror(done.status));
    return swi_fail(error, done.status, "%.*s", size > SWI_ERROR_TEXT ? SWI_ERROR_TEXT : (int)size,
                    text);
}

int swi_call_wait(struct swi_connection *connection, struct swi_call *call,
                  enum swi_wire_type expected, uint64_t deadline, struct swi_error *error)
{
    pthread_mutex_lock(connection->lock);
    int result = await(connection, call, deadline, error);
    pthread_mutex_unlock(connection->lock);
    if (result == 0 && call->in.type == SWI_WIRE_DONE)
        result = done_status(call, error);
    if (result == 0 && call->in.type != expected)
        result = swi_fail(error, SW_EPROTOCOL, "the broker sent an answer of type %d instead of %d",
                          (int)call->in.type, (int)expected);
    return result;
}

void swi_call_end(struct swi_connection *connection, struct swi_call *call)
{
    if (!call->listed)
        return;
    pthread_mutex_lock(connection->lock);
    TAILQ_REMOVE(&connection->calls, call, link);
    pthread_mutex_unlock(connection->lock);
    call->listed = false;
    pthread_cond_destroy(&call->wake);
    close_all(call->fds, call->fd_count);
    call->fd_count = 0;
    free(call->packet);
    call->packet = NULL;
}

int swi_call_exchange(struct swi_connection *connection, struct swi_call *call,
                      struct swi_wire_out *out, enum swi_wire_type expected, uint64_t deadline,
                      struct swi_error *error)
{
    int result = swi_call_send(connection, call, out, deadline, error);
    if (result == 0)
        result = swi_call_wait(connection, call, expected, deadline, error);
    if (result < 0)
        swi_call_end(connection, call);
    return result;
}

int swi_connection_post(struct swi_connection *connection, struct swi_wire_out *out,
                        uint64_t deadline, struct swi_error *error)
{
    size_t size = swi_wire_end(out);
    assert(size > 0 && "requests are sized to fit");
    return send_packet(connection, out->bytes, size, deadline, error);
}
