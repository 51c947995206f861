/* SPDX-License-Identifier: MIT */
/* The link's commands and replies. hiredis's reader is given functions of our own in place of those
 * that build replies on the heap: a value goes from its buffer straight to where the call wants it,
 * and an array of a billion elements costs nothing. */
#include <assert.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "remote/redis/link_internal.h"

/* ---- commands ------------------------------------------------------------------------------- */

void redis_command_add(struct redis_command *command, const void *word, size_t length)
{
    assert((size_t)command->count < sizeof command->words / sizeof command->words[0]);
    command->words[command->count] = word;
    command->lengths[command->count++] = length;
}

void redis_command_text(struct redis_command *command, const char *word)
{
    redis_command_add(command, word, strlen(word));
}

static struct outgoing *format(const struct redis_command *command)
{
    struct outgoing *outgoing = calloc(1, sizeof *outgoing);
    if (!outgoing)
        return NULL;
    const char *words[sizeof command->words / sizeof command->words[0]]; /* not const for hiredis */
    memcpy(words, command->words, sizeof words);
    int size = redisFormatCommandArgv(&outgoing->data, command->count, words, command->lengths);
    if (size < 0) {
        free(outgoing);
        return NULL;
    }
    outgoing->size = (size_t)size;
    return outgoing;
}

struct redis_call *redis_link_queue(struct redis_link *link, const struct redis_command *command)
{
    if (link->call_count >= LINK_CALLS_MAX)
        return NULL;
    struct redis_call *call = calloc(1, sizeof *call);
    struct outgoing *outgoing = call ? format(command) : NULL;
    if (!outgoing) {
        free(call);
        return NULL;
    }
    if (STAILQ_EMPTY(&link->calls)) {
        link->since_ns = loop_now();
        link->excused = false;
        STAILQ_INSERT_TAIL(&link->calls, call, link);
        redis_link_arm(link);
    } else {
        STAILQ_INSERT_TAIL(&link->calls, call, link);
    }
    link->call_count++;
    outgoing->secret = link->state == LINK_GREETING;
    STAILQ_INSERT_TAIL(&link->out, outgoing, link);
    loop_watch(link->loop, &link->source, EPOLLIN | EPOLLOUT);
    return call;
}

struct redis_call *redis_link_call(struct redis_link *link, const struct redis_command *command)
{
    return link->state == LINK_UP ? redis_link_queue(link, command) : NULL;
}

void redis_call_forget(struct redis_call *call)
{
    call->done = NULL;
    call->into = NULL;
    call->into_bytes = 0;
}

static void outgoing_free(struct outgoing *outgoing)
{
    if (outgoing->secret)
        explicit_bzero(outgoing->data, outgoing->size);
    redisFreeCommand(outgoing->data);
    free(outgoing);
}

/* The socket took so many bytes. */
static void advance(struct redis_link *link, size_t count)
{
    while (count > 0) {
        struct outgoing *first = STAILQ_FIRST(&link->out);
        size_t part = first->size - first->sent < count ? first->size - first->sent : count;
        first->sent += part;
        count -= part;
        if (first->sent < first->size)
            return;
        STAILQ_REMOVE_HEAD(&link->out, link);
        outgoing_free(first);
    }
}

static ssize_t send_some(const struct redis_link *link)
{
    struct outgoing *outgoing = STAILQ_FIRST(&link->out);
    if (link->tls)
        return redis_tls_send(link->tls, outgoing->data + outgoing->sent,
                              outgoing->size - outgoing->sent);
    struct iovec parts[16];
    size_t count = 0;
    STAILQ_FOREACH(outgoing, &link->out, link)
    {
        parts[count++] = (struct iovec){.iov_base = outgoing->data + outgoing->sent,
                                        .iov_len = outgoing->size - outgoing->sent};
        if (count == sizeof parts / sizeof parts[0])
            break;
    }
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t sent = sendmsg(link->source.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 ? -errno : sent;
}

static const char *problem_of(const struct redis_link *link, ssize_t code)
{
    return link->tls && code == -EPROTO ? redis_tls_problem(link->tls) : strerror((int)-code);
}

/* With TLS 1.3 a server refuses a client without a certificate after the handshake, and often by a
 * reset that overtakes its reason. */
static const char *hint(const struct redis_link *link)
{
    return link->tls && link->state == LINK_GREETING
               ? "; where it asks for a certificate, --redis-cert names it"
               : "";
}

void redis_link_send(struct redis_link *link)
{
    while (!STAILQ_EMPTY(&link->out)) {
        ssize_t sent = send_some(link);
        if (sent == -EINTR)
            continue;
        if (sent == -EAGAIN)
            return;
        if (sent <= 0) {
            redis_link_fail(link, LINK_CLOSED, "cannot send: %s%s",
                            sent < 0 ? problem_of(link, sent) : "it was closed", hint(link));
            return;
        }
        advance(link, (size_t)sent);
    }
    loop_watch(link->loop, &link->source, EPOLLIN);
}

void redis_link_flush(struct redis_link *link)
{
    if (link->state == LINK_UP)
        redis_link_send(link);
}

/* ---- replies -------------------------------------------------------------------------------- */

/* What stands inside of an array: nothing here asks for one. */
static bool is_inner(const redisReadTask *task)
{
    return task->parent != NULL;
}

/* No server is to make the log repeat a password: of a text with it the first word is left. */
static size_t presentable(const struct redis_link *link, const char *text, size_t length)
{
    const char *password = link->address.password;
    if (!password[0] || !memmem(text, length, password, strlen(password)))
        return length;
    size_t word = 0;
    while (word < length && text[word] > ' ')
        word++;
    return memmem(text, word, password, strlen(password)) ? 0 : word;
}

static void *take_string(const redisReadTask *task, char *text, size_t length)
{
    struct redis_link *link = task->privdata;
    struct redis_reply *reply = &link->reply;
    if (is_inner(task))
        return reply;
    const struct redis_call *call = STAILQ_FIRST(&link->calls);
    *reply = (struct redis_reply){
        .type = task->type == REDIS_REPLY_ERROR    ? REDIS_ERROR
                : task->type == REDIS_REPLY_STATUS ? REDIS_STATUS
                                                   : REDIS_VALUE,
        .length = length,
    };
    if (reply->type == REDIS_VALUE && call && call->into && length == call->into_bytes) {
        memcpy(call->into, text, length);
        reply->placed = true;
        return reply;
    }
    if (reply->type == REDIS_ERROR)
        length = presentable(link, text, length);
    memcpy(reply->text, text, length < sizeof reply->text ? length : sizeof reply->text - 1);
    return reply;
}

static void *take_array(const redisReadTask *task, int elements)
{
    struct redis_link *link = task->privdata;
    (void)elements;
    if (!is_inner(task))
        link->reply = (struct redis_reply){.type = REDIS_ARRAY};
    return &link->reply;
}

static void *take_integer(const redisReadTask *task, long long value)
{
    struct redis_link *link = task->privdata;
    if (!is_inner(task))
        link->reply = (struct redis_reply){.type = REDIS_INTEGER, .integer = value};
    return &link->reply;
}

static void *take_nil(const redisReadTask *task)
{
    struct redis_link *link = task->privdata;
    if (!is_inner(task))
        link->reply = (struct redis_reply){.type = REDIS_NIL};
    return &link->reply;
}

static void free_nothing(void *object)
{
    (void)object;
}

static redisReplyObjectFunctions functions = {
    .createString = take_string,
    .createArray = take_array,
    .createInteger = take_integer,
    .createNil = take_nil,
    .freeObject = free_nothing,
};

int redis_link_open_wire(struct redis_link *link)
{
    link->reader = redisReaderCreateWithFunctions(&functions);
    if (!link->reader)
        return -ENOMEM;
    link->received = link->answered = 0;
    link->reader->privdata = link; /* hiredis has a macro for it that clang refuses */
    link->reader->maxbuf = 0;      /* keeps its buffer between values */
    return 0;
}

static void end_call(struct redis_link *link, const struct redis_reply *reply)
{
    struct redis_call *call = STAILQ_FIRST(&link->calls);
    STAILQ_REMOVE_HEAD(&link->calls, link);
    link->call_count--;
    if (call->done)
        call->done(call, reply);
    free(call);
}

void redis_link_close_wire(struct redis_link *link)
{
    redisReaderFree(link->reader);
    link->reader = NULL;
    struct outgoing *outgoing;
    while ((outgoing = STAILQ_FIRST(&link->out))) {
        STAILQ_REMOVE_HEAD(&link->out, link);
        outgoing_free(outgoing);
    }
    while (!STAILQ_EMPTY(&link->calls))
        end_call(link, NULL);
}

/* Bytes that the reader was given and has taken apart: also those of elements of an array that goes
 * on. */
static uint64_t taken(const struct redis_link *link)
{
    return link->received - (link->reader->len - link->reader->pos);
}

/* Hands out whole replies. Returns false when the connection was ended. */
static bool take_replies(struct redis_link *link)
{
    for (;;) {
        redisReader *reader = link->reader;
        void *object = NULL;
        if (redisReaderGetReply(reader, &object) != REDIS_OK) {
            char why[sizeof reader->errstr];
            memcpy(why, reader->errstr, sizeof why);
            redis_link_fail(link, LINK_GARBAGE, "its answer is not Redis's protocol: %.100s", why);
            return false;
        }
        if (!object) {
            if (link->received - link->answered <= LINK_UNFINISHED)
                return true;
            redis_link_fail(link, LINK_GARBAGE, "an answer is over %u bytes", LINK_REPLY_BYTES);
            return false;
        }
        if (STAILQ_EMPTY(&link->calls)) {
            redis_link_fail(link, LINK_GARBAGE, "it answers what it was not asked");
            return false;
        }
        const struct redis_reply reply = link->reply;
        link->answered = taken(link);
        if (link->state == LINK_UP && reply.type != REDIS_ERROR)
            breaker_answer(&link->breaker);
        link->since_ns = loop_now();
        link->excused = false;
        end_call(link, &reply);
        if (link->reader != reader) /* what it said ended the connection */
            return false;
    }
}

static ssize_t receive_some(const struct redis_link *link, void *buffer, size_t size)
{
    if (link->tls)
        return redis_tls_receive(link->tls, buffer, size);
    ssize_t got = recv(link->source.fd, buffer, size, MSG_DONTWAIT);
    return got < 0 ? -errno : got;
}

size_t redis_link_receive(struct redis_link *link)
{
    static char buffer[65536]; /* the loop is one thread */
    size_t total = 0;
    for (unsigned count = 0; count < LINK_RECEIPTS_MAX && total < LINK_RECEIVE_MAX; count++) {
        ssize_t got = receive_some(link, buffer, sizeof buffer);
        if (got == -EINTR)
            continue;
        if (got == -EAGAIN)
            break;
        if (got <= 0) {
            redis_link_fail(link, LINK_CLOSED, "the connection was lost: %s%s",
                            got < 0 ? problem_of(link, got) : "it was closed", hint(link));
            return total;
        }
        total += (size_t)got;
        link->received += (uint64_t)got;
        if (redisReaderFeed(link->reader, buffer, (size_t)got) != REDIS_OK) {
            redis_link_fail(link, LINK_GARBAGE, "its answer cannot be taken in: %.100s",
                            link->reader->errstr);
            return total;
        }
        if (!take_replies(link))
            return total;
    }
    redis_link_arm(link);
    return total;
}
