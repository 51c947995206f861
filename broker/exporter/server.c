/* SPDX-License-Identifier: MIT */
/* The broker's metrics over HTTP. */
#include "exporter/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ctl/lib/ask.h"
#include "ctl/lib/text.h"
#include "stats/metrics.h"

#define CONNECTIONS      16u /* more wait in the socket's queue */
#define IDLE_S           10u /* until a silent connection is closed */
#define BUFFER_BYTES     (32u << 10)
#define BROKER_ANSWER_MS 5000

static const char home[] =
    "<!doctype html>\n<title>swbroker</title>\n<h1>swbroker</h1>\n"
    "<p>Metrics of the weights broker: <a href=\"/metrics\">/metrics</a></p>\n";

/* ---- where ----------------------------------------------------------------------------------- */

union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

/* "HOST:PORT" with a numeric host. False: it is something else. */
static bool parse_address(const char *text, union address *ret)
{
    const char *colon = strrchr(text, ':');
    if (!colon || !colon[1] || colon[strspn(colon + 1, "0123456789") + 1])
        return false;
    char host[64];
    size_t length = (size_t)(colon - text);
    bool bracketed = length >= 2 && text[0] == '[' && colon[-1] == ']';
    if (bracketed) {
        text++;
        length -= 2;
    } else if (memchr(text, ':', length)) {
        return false; /* an IPv6 address without brackets: where does its port begin? */
    }
    if (length == 0 || length >= sizeof host)
        return false;
    memcpy(host, text, length);
    host[length] = 0;
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                   .ai_family = bracketed ? AF_INET6 : AF_INET,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    if (strtoul(colon + 1, NULL, 10) > UINT16_MAX ||
        getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return false;
    bool fits = found->ai_addrlen <= sizeof *ret;
    if (fits)
        memcpy(ret, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return fits;
}

static bool is_loopback(const union address *address)
{
    if (address->any.sa_family == AF_INET)
        return ntohl(address->four.sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&address->six.sin6_addr);
}

/* ---- answering ------------------------------------------------------------------------------- */

/* memory: whether text must be copied. */
static enum MHD_Result reply(struct MHD_Connection *connection, unsigned status, const char *type,
                             const char *text, enum MHD_ResponseMemoryMode memory)
{
    /* libmicrohttpd takes a pointer to non-const and does not write */
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, memory);
    if (!response)
        return MHD_NO;
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

/* A broker that does not answer is a figure too (swbroker_up 0), not a failed scrape. The reason is
 * printed once, until the broker answers again. NULL: it does not answer. */
static json_t *ask_stats(const char *socket_path)
{
    static bool silent;
    struct swi_error error = {0};
    json_t *request = json_pack("{s:s}", "verb", "stats");
    json_t *stats = NULL;
    if (request && ctl_ask_once(socket_path, request, BROKER_ANSWER_MS, &stats, &error) == 0 &&
        !json_is_true(json_object_get(stats, "ok"))) {
        (void)swi_fail(&error, SW_EPROTOCOL, "the broker refuses the verb stats");
        json_decref(stats);
        stats = NULL;
    }
    json_decref(request);
    ctl_text_clean(error.text); /* a peer that refuses the connection chooses the words */
    if (!stats && !silent)
        (void)fprintf(stderr, "sw-exporter: %s\n", error.text);
    else if (stats && silent)
        (void)fprintf(stderr, "sw-exporter: the broker answers again\n");
    silent = !stats;
    return stats;
}

static enum MHD_Result reply_metrics(struct MHD_Connection *connection, const char *socket_path)
{
    json_t *stats = ask_stats(socket_path);
    char *text = metrics_format(stats);
    json_decref(stats);
    if (!text)
        return reply(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "text/plain", "out of memory\n",
                     MHD_RESPMEM_PERSISTENT);
    enum MHD_Result result =
        reply(connection, MHD_HTTP_OK, METRICS_CONTENT_TYPE, text, MHD_RESPMEM_MUST_COPY);
    free(text);
    return result;
}

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    (void)version;
    (void)upload;
    static int seen;
    if (!*state) { /* only the head has arrived; the answer waits for the whole request */
        *state = &seen;
        return MHD_YES;
    }
    if (*upload_size) { /* discarded */
        *upload_size = 0;
        return MHD_YES;
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return reply(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", "GET only\n",
                     MHD_RESPMEM_PERSISTENT);
    if (strcmp(path, "/metrics") == 0)
        return reply_metrics(connection, context);
    if (strcmp(path, "/") == 0)
        return reply(connection, MHD_HTTP_OK, "text/html; charset=utf-8", home,
                     MHD_RESPMEM_PERSISTENT);
    return reply(connection, MHD_HTTP_NOT_FOUND, "text/plain", "see /metrics\n",
                 MHD_RESPMEM_PERSISTENT);
}

/* Malformed requests are not worth a log line. */
static void keep_quiet(void *context, const char *format, va_list arguments)
{
    (void)context;
    (void)format;
    (void)arguments;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void print_url(struct MHD_Daemon *daemon, const char *address)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
    const char *colon = strrchr(address, ':');
    (void)printf("http://%.*s:%u/metrics\n", (int)(colon - address), address,
                 info ? (unsigned)info->port : 0);
    (void)fflush(stdout);
}

int exporter_serve(const char *socket_path, const char *text, bool allow_remote)
{
    union address address;
    if (!parse_address(text, &address)) {
        (void)fprintf(stderr,
                      "sw-exporter: --listen takes an address and a port, such as " EXPORTER_LISTEN
                      " or [::1]:9119, not \"%.100s\"\n",
                      text);
        return EXPORTER_USAGE;
    }
    if (!is_loopback(&address) && !allow_remote) {
        (void)fprintf(stderr,
                      "sw-exporter: other machines can reach %.100s, and metrics have no password; "
                      "add --allow-remote if this is intended\n",
                      text);
        return EXPORTER_USAGE;
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL); /* before the server's thread starts */
    (void)signal(SIGPIPE, SIG_IGN);
    union {
        const char *given;
        void *wanted;
    } context = {.given = socket_path};
    errno = 0;
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ERROR_LOG |
            (address.any.sa_family == AF_INET6 ? MHD_USE_IPv6 : 0u),
        0, NULL, NULL, answer, context.wanted, MHD_OPTION_EXTERNAL_LOGGER, keep_quiet, NULL,
        MHD_OPTION_SOCK_ADDR, &address.any, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
        MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)BUFFER_BYTES, MHD_OPTION_END);
    if (!daemon) {
        (void)fprintf(stderr, "sw-exporter: cannot listen on %.100s: %s\n", text,
                      errno ? sw_strerror(-errno) : "the address is in use or not this machine's");
        return EXPORTER_FAILED;
    }
    print_url(daemon, text);
    int signal_number;
    (void)sigwait(&signals, &signal_number);
    MHD_stop_daemon(daemon);
    return EXPORTER_DONE;
}
