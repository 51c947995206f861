/* SPDX-License-Identifier: MIT */
/* Redis's protocol. */
#include "remote/redis/resp.h"

#include <assert.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define REPLY_BYTES  (1u << 20)
#define UNFINISHED   (REPLY_BYTES + 4096u) /* bytes of one reply, with everything around it */
#define RECEIVE_MAX  (1u << 20)            /* about so much in one receive */
#define RECEIPTS_MAX 128u /* and in so many pieces, which TLS hands out byte by byte */

struct outgoing {
    char *data; /* hiredis's */
    size_t size, sent;
    bool secret;
    STAILQ_ENTRY(outgoing) link;
};

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

struct redis_call *resp_queue(struct resp *resp, const struct redis_command *command, bool secret)
{
    if (resp->call_count >= RESP_CALLS_MAX)
        return NULL;
    struct redis_call *call = calloc(1, sizeof *call);
    struct outgoing *outgoing = call ? format(command) : NULL;
    if (!outgoing) {
        free(call);
        return NULL;
    }
    outgoing->secret = secret;
    STAILQ_INSERT_TAIL(&resp->calls, call, link);
    resp->call_count++;
    STAILQ_INSERT_TAIL(&resp->out, outgoing, link);
    return call;
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
static void advance(struct resp *resp, size_t count)
{
    while (count > 0) {
        struct outgoing *first = STAILQ_FIRST(&resp->out);
        size_t part = first->size - first->sent < count ? first->size - first->sent : count;
        first->sent += part;
        count -= part;
        if (first->sent < first->size)
            return;
        STAILQ_REMOVE_HEAD(&resp->out, link);
        outgoing_free(first);
    }
}

static ssize_t send_some(const struct resp *resp)
{
    struct outgoing *outgoing = STAILQ_FIRST(&resp->out);
    if (resp->tls)
        return redis_tls_send(resp->tls, outgoing->data + outgoing->sent,
                              outgoing->size - outgoing->sent);
    struct iovec parts[16];
    size_t count = 0;
    STAILQ_FOREACH(outgoing, &resp->out, link)
    {
        parts[count++] = (struct iovec){.iov_base = outgoing->data + outgoing->sent,
                                        .iov_len = outgoing->size - outgoing->sent};
        if (count == sizeof parts / sizeof parts[0])
            break;
    }
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t sent = sendmsg(resp->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 ? -errno : sent;
}

static const char *problem_of(const struct resp *resp, ssize_t code)
{
    if (code == 0)
        return "it was closed";
    return resp->tls && code == -EPROTO ? redis_tls_problem(resp->tls) : strerror((int)-code);
}

bool resp_has_queued(const struct resp *resp)
{
    return !STAILQ_EMPTY(&resp->out);
}

enum resp_end resp_send(struct resp *resp, char why[static RESP_WHY])
{
    while (!STAILQ_EMPTY(&resp->out)) {
        ssize_t sent = send_some(resp);
        if (sent == -EINTR)
            continue;
        if (sent == -EAGAIN)
            return RESP_GOES_ON;
        if (sent <= 0) {
            (void)snprintf(why, RESP_WHY, "cannot send: %s", problem_of(resp, sent));
            return RESP_CLOSED;
        }
        advance(resp, (size_t)sent);
    }
    return RESP_GOES_ON;
}

/* ---- replies -------------------------------------------------------------------------------- */

/* An element of an array: no command here asks for one. */
static bool is_inner(const redisReadTask *task)
{
    return task->parent != NULL;
}

/* A server must not make the log repeat a password: of a text that has it, only the first word
 * remains. */
static size_t presentable(const struct resp *resp, const char *text, size_t length)
{
    const char *password = resp->password;
    if (!password[0] || !memmem(text, length, password, strlen(password)))
        return length;
    size_t word = 0;
    while (word < length && text[word] > ' ')
        word++;
    return memmem(text, word, password, strlen(password)) ? 0 : word;
}

static void *take_string(const redisReadTask *task, char *text, size_t length)
{
    struct resp *resp = task->privdata;
    struct redis_reply *reply = &resp->reply;
    if (is_inner(task))
        return reply;
    const struct redis_call *call = STAILQ_FIRST(&resp->calls);
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
        length = presentable(resp, text, length);
    memcpy(reply->text, text, length < sizeof reply->text ? length : sizeof reply->text - 1);
    return reply;
}

static void *take_array(const redisReadTask *task, int elements)
{
    struct resp *resp = task->privdata;
    (void)elements;
    if (!is_inner(task))
        resp->reply = (struct redis_reply){.type = REDIS_ARRAY};
    return &resp->reply;
}

static void *take_integer(const redisReadTask *task, long long value)
{
    struct resp *resp = task->privdata;
    if (!is_inner(task))
        resp->reply = (struct redis_reply){.type = REDIS_INTEGER, .integer = value};
    return &resp->reply;
}

static void *take_nil(const redisReadTask *task)
{
    struct resp *resp = task->privdata;
    if (!is_inner(task))
        resp->reply = (struct redis_reply){.type = REDIS_NIL};
    return &resp->reply;
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

void resp_init(struct resp *resp)
{
    STAILQ_INIT(&resp->calls);
    STAILQ_INIT(&resp->out);
}

int resp_open(struct resp *resp)
{
    resp->reader = redisReaderCreateWithFunctions(&functions);
    if (!resp->reader)
        return -ENOMEM;
    resp->received = resp->answered = 0;
    resp->reader->privdata = resp; /* hiredis has a macro for it that clang refuses */
    resp->reader->maxbuf = 0;      /* keeps its buffer between values */
    return 0;
}

static void end_call(struct resp *resp, const struct redis_reply *reply)
{
    struct redis_call *call = STAILQ_FIRST(&resp->calls);
    STAILQ_REMOVE_HEAD(&resp->calls, link);
    resp->call_count--;
    if (call->done)
        call->done(call, reply);
    free(call);
}

void resp_close(struct resp *resp)
{
    redisReaderFree(resp->reader);
    resp->reader = NULL;
    struct outgoing *outgoing;
    while ((outgoing = STAILQ_FIRST(&resp->out))) {
        STAILQ_REMOVE_HEAD(&resp->out, link);
        outgoing_free(outgoing);
    }
    while (!STAILQ_EMPTY(&resp->calls))
        end_call(resp, NULL);
}

/* Bytes that the reader was given and has parsed, also those of elements of an unfinished array. */
static uint64_t parsed(const struct resp *resp)
{
    return resp->received - (resp->reader->len - resp->reader->pos);
}

/* Hands out whole replies. */
static enum resp_end take_replies(struct resp *resp, char why[static RESP_WHY])
{
    for (;;) {
        redisReader *reader = resp->reader;
        void *object = NULL;
        if (redisReaderGetReply(reader, &object) != REDIS_OK) {
            (void)snprintf(why, RESP_WHY, "its answer violates the Redis protocol: %.100s",
                           reader->errstr);
            return RESP_GARBAGE;
        }
        if (!object && resp->received - resp->answered <= UNFINISHED)
            return RESP_GOES_ON;
        if (!object) {
            (void)snprintf(why, RESP_WHY, "an answer is larger than %u bytes", REPLY_BYTES);
            return RESP_GARBAGE;
        }
        if (STAILQ_EMPTY(&resp->calls)) {
            (void)snprintf(why, RESP_WHY, "it sent an unexpected answer");
            return RESP_GARBAGE;
        }
        const struct redis_reply reply = resp->reply;
        resp->answered = parsed(resp);
        resp->replied(resp, &reply);
        end_call(resp, &reply);
        if (resp->reader != reader)
            return RESP_STOPPED;
    }
}

static ssize_t receive_some(const struct resp *resp, void *buffer, size_t size)
{
    if (resp->tls)
        return redis_tls_receive(resp->tls, buffer, size);
    ssize_t got = recv(resp->fd, buffer, size, MSG_DONTWAIT);
    return got < 0 ? -errno : got;
}

enum resp_end resp_receive(struct resp *resp, size_t *ret_bytes, char why[static RESP_WHY])
{
    static char buffer[65536]; /* the loop is one thread */
    *ret_bytes = 0;
    for (unsigned count = 0; count < RECEIPTS_MAX && *ret_bytes < RECEIVE_MAX; count++) {
        ssize_t got = receive_some(resp, buffer, sizeof buffer);
        if (got == -EINTR)
            continue;
        if (got == -EAGAIN)
            break;
        if (got <= 0) {
            (void)snprintf(why, RESP_WHY, "the connection was lost: %s", problem_of(resp, got));
            return RESP_CLOSED;
        }
        *ret_bytes += (size_t)got;
        resp->received += (uint64_t)got;
        if (redisReaderFeed(resp->reader, buffer, (size_t)got) != REDIS_OK) {
            (void)snprintf(why, RESP_WHY, "its answer cannot be buffered: %.100s",
                           resp->reader->errstr);
            return RESP_GARBAGE;
        }
        enum resp_end end = take_replies(resp, why);
        if (end != RESP_GOES_ON)
            return end;
    }
    return RESP_GOES_ON;
}
