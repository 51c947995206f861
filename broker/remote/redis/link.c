/* SPDX-License-Identifier: MIT */
/* The link's life: resolving, connecting, greeting, deadlines, and what follows a failure. */
#include "remote/redis/link.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/offload.h"

#define CONNECT_NS_MIN LOOP_NS_PER_S /* to resolve, connect and be greeted */
#define RETRY_NS       (50 * LOOP_NS_PER_MS)
#define BEHIND_BYTES   (32u << 10) /* if so much waits to be read, the broker was the slow one */

enum state {
    WAITING,
    RESOLVING,
    CONNECTING,
    SECURING, /* TLS only */
    GREETING,
    UP,
};

enum failure {
    CANNOT_CONNECT,
    REFUSED,
    TIMED_OUT,
    CLOSED,
    GARBAGE,
};

struct redis_link {
    struct loop *loop;
    struct redis_address address;
    struct redis_link_options options;
    char name[400];
    enum state state;
    struct loop_source source; /* fd -1: no socket */
    struct loop_timer timer;   /* WAITING: the next try; else: the time that is left */
    struct offload *resolving;
    struct remote_connection_stats stats;
    struct breaker breaker;
    struct resp resp;
    unsigned greetings; /* replies that the greeting still waits for */
    uint64_t since_ns;  /* when the oldest call became the oldest */
    bool excused;       /* its time was up once while the broker was behind */
    uint64_t up_ns;     /* when it was last up, or created */
    unsigned tries;     /* failed ones in a row */
    bool complaining;   /* a failure was logged since it was last up */
    char problem[600];
};

/* ---- failing --------------------------------------------------------------------------------- */

static void close_socket(struct redis_link *link)
{
    if (link->source.fd < 0)
        return;
    redis_tls_destroy(link->resp.tls);
    link->resp.tls = NULL;
    loop_remove(link->loop, &link->source);
    (void)close(link->source.fd);
    link->source.fd = -1;
}

static void count_failure(struct redis_link *link, enum failure kind)
{
    uint64_t *const counters[] = {
        [CANNOT_CONNECT] = &link->stats.connect_failures,
        [REFUSED] = &link->stats.refused,
        [TIMED_OUT] = &link->stats.timeouts,
        [CLOSED] = &link->stats.closed,
        [GARBAGE] = &link->stats.garbage,
    };
    ++*counters[kind];
}

static void schedule(struct redis_link *link, uint64_t now_ns)
{
    uint64_t at_ns = now_ns + RETRY_NS * (link->tries < 20 ? link->tries : 20);
    if (link->breaker.state == BREAKER_OPEN && link->breaker.retry_ns > at_ns)
        at_ns = link->breaker.retry_ns;
    loop_arm(link->loop, &link->timer, at_ns);
}

static void note_problem(struct redis_link *link, const char *text)
{
    (void)snprintf(link->problem, sizeof link->problem, "Redis at %s: %.150s", link->name, text);
}

/* Logs only what is new, not each try to reach a Redis that stays away. */
static void complain(struct redis_link *link, const char *text)
{
    char before[sizeof link->problem];
    memcpy(before, link->problem, sizeof before);
    note_problem(link, text);
    if (strcmp(before, link->problem) == 0 && link->complaining)
        return;
    link->complaining = true;
    log_peer("%s (%s); continuing without it", link->problem, link->options.purpose);
}

/* Ends the connection, if there is one, and its calls. */
static void drop(struct redis_link *link, uint64_t now_ns)
{
    bool was_up = link->state == UP;
    if (was_up)
        link->up_ns = now_ns;
    link->state = WAITING;
    if (link->resolving)
        offload_abandon(link->resolving);
    link->resolving = NULL;
    close_socket(link);
    schedule(link, now_ns);
    resp_close(&link->resp); /* last: the calls' owners look at the link */
    if (was_up && link->options.down)
        link->options.down(link->options.owner);
}

__attribute__((format(printf, 3, 4))) static void fail(struct redis_link *link, enum failure kind,
                                                       const char *format, ...)
{
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    uint64_t now_ns = loop_now();
    /* servers close idle connections, which is no failure */
    bool idle = kind == CLOSED && link->state == UP && STAILQ_EMPTY(&link->resp.calls);
    count_failure(link, kind);
    link->tries++;
    if (idle) {
        note_problem(link, text);
    } else {
        breaker_failure(&link->breaker, now_ns);
        complain(link, text);
    }
    drop(link, now_ns);
}

/* ---- input and output ------------------------------------------------------------------------ */

/* With TLS 1.3 a server refuses a client without a certificate after the handshake, often by a reset
 * that overtakes its reason. */
static const char *hint(const struct redis_link *link)
{
    return link->resp.tls && link->state == GREETING
               ? "; if the server requires a certificate, set --redis-cert"
               : "";
}

static void end_by(struct redis_link *link, enum resp_end end, const char *why)
{
    if (end == RESP_CLOSED)
        fail(link, CLOSED, "%s%s", why, hint(link));
    else if (end == RESP_GARBAGE)
        fail(link, GARBAGE, "%s", why);
}

static void send_queued(struct redis_link *link)
{
    char why[RESP_WHY];
    enum resp_end end = resp_send(&link->resp, why);
    if (end != RESP_GOES_ON)
        end_by(link, end, why);
    else if (!resp_has_queued(&link->resp))
        loop_watch(link->loop, &link->source, EPOLLIN);
}

/* Arms the timer for the oldest call. A link that is up while its breaker is open is about to be
 * closed. */
static void arm(struct redis_link *link)
{
    if (link->state != UP)
        return; /* connecting as a whole has its own deadline */
    if (link->breaker.state == BREAKER_OPEN)
        loop_arm(link->loop, &link->timer, loop_now());
    else if (STAILQ_EMPTY(&link->resp.calls))
        loop_disarm(link->loop, &link->timer);
    else
        loop_arm(link->loop, &link->timer, link->since_ns + link->options.timeout_ns);
}

/* Returns how many bytes came. */
static size_t receive(struct redis_link *link)
{
    char why[RESP_WHY];
    size_t count;
    enum resp_end end = resp_receive(&link->resp, &count, why);
    if (end == RESP_GOES_ON)
        arm(link);
    else
        end_by(link, end, why);
    return count;
}

static void replied(struct resp *resp, const struct redis_reply *reply)
{
    struct redis_link *link = LOOP_OWNER(resp, struct redis_link, resp);
    if (link->state == UP && reply->type != REDIS_ERROR)
        breaker_answer(&link->breaker);
    link->since_ns = loop_now();
    link->excused = false;
}

static struct redis_call *queue(struct redis_link *link, const struct redis_command *command)
{
    bool first = STAILQ_EMPTY(&link->resp.calls);
    struct redis_call *call = resp_queue(&link->resp, command, link->state == GREETING);
    if (!call)
        return NULL;
    if (first) {
        link->since_ns = loop_now();
        link->excused = false;
        arm(link);
    }
    loop_watch(link->loop, &link->source, EPOLLIN | EPOLLOUT);
    return call;
}

struct redis_call *redis_link_call(struct redis_link *link, const struct redis_command *command)
{
    return link->state == UP ? queue(link, command) : NULL;
}

/* ---- greeting -------------------------------------------------------------------------------- */

/* How much of a refusal may be logged: its first word, because it may repeat the password in some
 * form; or all of a known sentence. */
static int quotable(const struct redis_link *link, const char *text)
{
    static const char *const known[] = {"ERR max number of clients reached",
                                        "ERR DB index is out of range"};
    if (!link->address.password[0])
        return (int)strlen(text);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strncmp(text, known[i], strlen(known[i])) == 0)
            return (int)strlen(known[i]);
    return (int)strcspn(text, " \r\n");
}

static void greeted(struct redis_call *call, const struct redis_reply *reply)
{
    struct redis_link *link = call->context;
    if (!reply)
        return;
    if (reply->type == REDIS_ERROR) {
        fail(link, REFUSED, "it refuses the broker: %.*s", quotable(link, reply->text),
             reply->text);
        return;
    }
    if (reply->type != REDIS_STATUS) {
        fail(link, GARBAGE, "its answer to a greeting is invalid");
        return;
    }
    if (--link->greetings > 0)
        return;
    if (link->complaining)
        log_info("Redis at %s: reconnected (%s)", link->name, link->options.purpose);
    link->complaining = false;
    link->state = UP;
    link->tries = 0;
    link->stats.connects++;
    link->options.up(link->options.owner);
}

static bool greet_with(struct redis_link *link, const struct redis_command *command)
{
    struct redis_call *call = queue(link, command);
    if (!call)
        return false;
    call->done = greeted;
    call->context = link;
    link->greetings++;
    return true;
}

static void greet(struct redis_link *link)
{
    const struct redis_address *address = &link->address;
    bool good = true;
    link->state = GREETING;
    link->greetings = 0;
    if (address->password[0]) {
        struct redis_command auth = {.count = 0};
        redis_command_text(&auth, "AUTH");
        if (address->user[0])
            redis_command_text(&auth, address->user);
        redis_command_text(&auth, address->password);
        good = greet_with(link, &auth);
    }
    if (address->database > 0) {
        char database[16];
        (void)snprintf(database, sizeof database, "%u", address->database);
        struct redis_command select = {.count = 0};
        redis_command_text(&select, "SELECT");
        redis_command_text(&select, database);
        good = good && greet_with(link, &select);
    }
    struct redis_command ping = {.count = 0};
    redis_command_text(&ping, "PING");
    good = good && greet_with(link, &ping);
    if (!good)
        fail(link, CANNOT_CONNECT, "out of memory");
    else
        send_queued(link);
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void shake_hands(struct redis_link *link)
{
    switch (redis_tls_shake_hands(link->resp.tls)) {
    case REDIS_TLS_DONE:
        greet(link);
        return;
    case REDIS_TLS_READS:
        loop_watch(link->loop, &link->source, EPOLLIN);
        return;
    case REDIS_TLS_WRITES:
        loop_watch(link->loop, &link->source, EPOLLOUT);
        return;
    case REDIS_TLS_FAILED:
        fail(link, CANNOT_CONNECT, "cannot connect: %s", redis_tls_problem(link->resp.tls));
    }
}

static void connected(struct redis_link *link)
{
    if (!link->options.tls) {
        greet(link);
        return;
    }
    link->state = SECURING;
    if (redis_tls_create(link->options.tls, link->source.fd, link->address.host, &link->resp.tls) <
        0)
        fail(link, CANNOT_CONNECT, "out of memory for TLS");
    else
        shake_hands(link);
}

static void socket_ready(struct loop_source *source, uint32_t events)
{
    struct redis_link *link = LOOP_OWNER(source, struct redis_link, source);
    if (link->state == CONNECTING) {
        int code = 0;
        socklen_t size = sizeof code;
        if (getsockopt(source->fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0)
            code = errno;
        if (code != 0)
            fail(link, CANNOT_CONNECT, "cannot connect: %s", strerror(code));
        else
            connected(link);
        return;
    }
    if (link->state == SECURING) {
        shake_hands(link);
        return;
    }
    int fd = source->fd;
    if (events & EPOLLOUT)
        send_queued(link);
    if (link->source.fd == fd && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        receive(link);
    if (link->resp.tls && link->source.fd == fd) /* TLS may have to read before it can write */
        send_queued(link);
}

static void connect_to(struct redis_link *link, const struct sockaddr *address, socklen_t size)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        fail(link, CANNOT_CONNECT, "cannot create a socket: %s", strerror(errno));
        return;
    }
    if (address->sa_family != AF_UNIX) {
        const int yes = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    }
    int result = connect(fd, address, size) < 0 ? -errno : 0;
    if (result < 0 && result != -EINPROGRESS) {
        (void)close(fd);
        fail(link, CANNOT_CONNECT, "cannot connect: %s", strerror(-result));
        return;
    }
    link->source = (struct loop_source){.ready = socket_ready, .fd = fd};
    link->state = CONNECTING;
    int added = loop_add(link->loop, &link->source, EPOLLOUT);
    link->resp.fd = fd;
    if (added < 0 || resp_open(&link->resp) < 0)
        fail(link, CANNOT_CONNECT, "out of memory or descriptors");
}

/* ---- resolving ------------------------------------------------------------------------------- */

struct lookup {
    char host[256];
    char port[8];
    int flags;
    int code; /* getaddrinfo's */
    struct addrinfo *found;
};

static void look_up(void *data)
{
    struct lookup *lookup = data;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICSERV | lookup->flags};
    lookup->code = getaddrinfo(lookup->host, lookup->port, &hints, &lookup->found);
}

static void dispose(void *data)
{
    struct lookup *lookup = data;
    if (lookup->found)
        freeaddrinfo(lookup->found);
    free(lookup);
}

static void looked_up(void *owner, void *data)
{
    struct redis_link *link = owner;
    struct lookup *lookup = data;
    link->resolving = NULL;
    if (lookup->code != 0) {
        fail(link, CANNOT_CONNECT, "cannot resolve its host name: %s", gai_strerror(lookup->code));
    } else { /* one address per try, in turn */
        const struct addrinfo *at = lookup->found;
        for (unsigned skip = link->tries; skip > 0; skip--)
            at = at->ai_next ? at->ai_next : lookup->found;
        connect_to(link, at->ai_addr, at->ai_addrlen);
    }
    dispose(lookup);
}

static void resolve(struct redis_link *link)
{
    struct lookup *lookup = calloc(1, sizeof *lookup);
    if (!lookup) {
        fail(link, CANNOT_CONNECT, "out of memory");
        return;
    }
    (void)snprintf(lookup->host, sizeof lookup->host, "%s", link->address.host);
    (void)snprintf(lookup->port, sizeof lookup->port, "%u", link->address.port);
    lookup->flags = AI_NUMERICHOST;
    link->state = RESOLVING;
    look_up(lookup); /* numeric: does not block */
    if (lookup->code == 0) {
        looked_up(link, lookup);
        return;
    }
    lookup->flags = 0;
    const struct offload_task task = {
        .work = look_up, .over = looked_up, .dispose = dispose, .owner = link, .data = lookup};
    int result = offload_start(link->loop, &task, &link->resolving);
    if (result < 0) {
        dispose(lookup);
        fail(link, CANNOT_CONNECT, "cannot start a thread to resolve its host name: %s",
             strerror(-result));
    }
}

static void start_connecting(struct redis_link *link, uint64_t now_ns)
{
    uint64_t most_ns =
        link->options.timeout_ns > CONNECT_NS_MIN ? link->options.timeout_ns : CONNECT_NS_MIN;
    (void)breaker_state(&link->breaker, now_ns);
    loop_arm(link->loop, &link->timer, now_ns + most_ns);
    if (link->address.transport != REDIS_UNIX) {
        resolve(link);
        return;
    }
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, link->address.path, strlen(link->address.path));
    connect_to(link, (const struct sockaddr *)&address, sizeof address);
}

/* ---- deadlines ------------------------------------------------------------------------------------ */

static void time_is_up(struct loop_timer *timer, uint64_t now_ns)
{
    struct redis_link *link = LOOP_OWNER(timer, struct redis_link, timer);
    if (link->state == WAITING) {
        start_connecting(link, now_ns);
        return;
    }
    if (link->state != UP) {
        fail(link, CANNOT_CONNECT, "no connection in time");
        return;
    }
    if (link->breaker.state == BREAKER_OPEN) { /* the next connection is the probe's */
        drop(link, now_ns);
        return;
    }
    unsigned ms = (unsigned)(link->options.timeout_ns / LOOP_NS_PER_MS);
    /* An answer that has arrived meanwhile counts. If much of it was waiting to be read, the broker
     * was the slow one, which excuses each answer once: else an endless one would never time out. */
    uint64_t since_ns = link->since_ns;
    size_t waited = receive(link);
    if (link->state != UP || STAILQ_EMPTY(&link->resp.calls) || link->since_ns != since_ns)
        return;
    if (waited >= BEHIND_BYTES && !link->excused) {
        link->excused = true;
        link->since_ns = loop_now();
        arm(link);
        return;
    }
    fail(link, TIMED_OUT, "no answer within %u ms (--redis-timeout)", ms);
}

/* ---- life ------------------------------------------------------------------------------------ */

int redis_link_create(struct loop *loop, const struct redis_link_options *options,
                      struct redis_link **ret, struct swi_error *error)
{
    struct redis_link *link = calloc(1, sizeof *link);
    if (!link)
        return swi_fail(error, -ENOMEM, "out of memory");
    link->loop = loop;
    link->address = *options->address;
    link->options = *options;
    link->options.address = &link->address;
    link->source.fd = -1;
    link->timer.fire = time_is_up;
    resp_init(&link->resp);
    link->resp.password = link->address.password;
    link->resp.replied = replied;
    redis_url_describe(&link->address, link->name, sizeof link->name);
    (void)snprintf(link->problem, sizeof link->problem, "Redis at %s: not connected yet",
                   link->name);
    link->up_ns = loop_now();
    loop_arm(loop, &link->timer, link->up_ns); /* in the first turn */
    *ret = link;
    return 0;
}

void redis_link_destroy(struct redis_link *link)
{
    if (!link)
        return;
    loop_disarm(link->loop, &link->timer);
    if (link->resolving)
        offload_abandon(link->resolving);
    close_socket(link);
    link->state = WAITING;
    resp_close(&link->resp);
    explicit_bzero(&link->address, sizeof link->address);
    free(link);
}

/* ---- operations ------------------------------------------------------------------------------ */

bool redis_link_is_up(const struct redis_link *link)
{
    return link->state == UP;
}

bool redis_link_usable(struct redis_link *link)
{
    return link->state == UP && breaker_would_admit(&link->breaker, loop_now());
}

bool redis_link_admit(struct redis_link *link)
{
    return link->state == UP && breaker_admit(&link->breaker, loop_now());
}

void redis_link_succeeded(struct redis_link *link)
{
    breaker_success(&link->breaker);
}

void redis_link_disappointed(struct redis_link *link, const char *why)
{
    breaker_failure(&link->breaker, loop_now());
    complain(link, why);
    arm(link);
}

void redis_link_abandoned(struct redis_link *link)
{
    breaker_abandon(&link->breaker);
}

/* ---- state --------------------------------------------------------------------------- */

uint64_t redis_link_down_ns(const struct redis_link *link, uint64_t now_ns)
{
    return link->state == UP || now_ns < link->up_ns ? 0 : now_ns - link->up_ns;
}

const char *redis_link_problem(const struct redis_link *link)
{
    return link->problem;
}

const char *redis_link_name(const struct redis_link *link)
{
    return link->name;
}

struct remote_connection_stats redis_link_stats(const struct redis_link *link)
{
    struct remote_connection_stats stats = link->stats;
    stats.used = true;
    stats.up = link->state == UP;
    stats.breaker = breaker_state_name(link->breaker.state);
    stats.breaker_opened = link->breaker.opened;
    return stats;
}
