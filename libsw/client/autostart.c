/* SPDX-License-Identifier: MIT */
/* The socket and the command line of a private broker, and starting it exactly once. */
#include "client/autostart.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/internal.h"
#include "client/spawn.h"
#include "core/private_socket.h"
#include "core/start_lock.h"

#define LINGER_S       "2" /* consecutive short-lived workers share one broker */
#define PAUSE_FIRST_MS 1
#define PAUSE_MAX_MS   20
#define WAIT_MAX_MS    50 /* for another process that is starting it */
#define SAID_MAX       2048
#define SAID_SHOWN     240 /* part of the broker's last line in a message */

/* ---- settings -------------------------------------------------------------------------------- */

static int keep(char **to, const char *given, const char *variable)
{
    const char *value = given ? given : secure_getenv(variable);
    if (!value || !*value)
        return 0;
    *to = strdup(value);
    return *to ? 0 : -ENOMEM;
}

int swi_autostart_init(struct swi_autostart *autostart, const struct sw_client_options *options,
                       struct swi_error *error)
{
    const char *wish = secure_getenv("SW_AUTOSTART");
    if (options->autostart == 0 && wish && *wish && strcmp(wish, "0") != 0 &&
        strcmp(wish, "1") != 0)
        return swi_fail(error, -EINVAL, "SW_AUTOSTART is \"%s\"; it must be 0 or 1", wish);
    autostart->enabled =
        options->autostart > 0 || (options->autostart == 0 && wish && strcmp(wish, "1") == 0);
    if (!autostart->enabled)
        return 0;
    int result = keep(&autostart->chunks_dir, options->chunks_dir, "SW_CHUNKS_DIR");
    if (result == 0)
        result = keep(&autostart->cache_size, options->cache_size, "SW_CACHE_SIZE");
    if (result == 0)
        result = keep(&autostart->broker, options->broker_path, "SW_BROKER");
    return result < 0 ? swi_fail(error, result, "out of memory") : 0;
}

void swi_autostart_fini(struct swi_autostart *autostart)
{
    free(autostart->chunks_dir);
    free(autostart->cache_size);
    free(autostart->broker);
    free(autostart->socket);
}

/* ---- what is started ------------------------------------------------------------------------- */

static bool is_program(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

/* Searches $PATH, absolute directories only. */
static bool in_path(char program[static PATH_MAX])
{
    const char *list = secure_getenv("PATH");
    while (list && *list) {
        size_t length = strcspn(list, ":");
        int size = snprintf(program, PATH_MAX, "%.*s/swbrokerd", (int)length, list);
        if (list[0] == '/' && size < PATH_MAX && is_program(program))
            return true;
        list += length + (list[length] == ':');
    }
    return false;
}

/* Looks where a build or an unpacked installation has it: beside the calling program, or in the
 * sbin beside its bin. A program with more rights than its user asks for an explicit path. */
static bool near_caller(char program[static PATH_MAX])
{
    static const char *const places[] = {"swbrokerd", "../sbin/swbrokerd"};
    char caller[PATH_MAX];
    ssize_t length = getauxval(AT_SECURE) ? -1 : readlink("/proc/self/exe", caller, sizeof caller);
    if (length < 0 || length == sizeof caller)
        return false;
    caller[length] = 0;
    char *slash = strrchr(caller, '/');
    if (!slash)
        return false;
    slash[1] = 0;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (snprintf(program, PATH_MAX, "%s%s", caller, places[i]) < PATH_MAX &&
            is_program(program))
            return true;
    return false;
}

/* $PATH of a user often lacks the directories for daemons. */
static bool in_sbin(char program[static PATH_MAX])
{
    static const char *const places[] = {"/usr/local/sbin", "/usr/sbin", "/sbin"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (snprintf(program, PATH_MAX, "%s/swbrokerd", places[i]) < PATH_MAX &&
            is_program(program))
            return true;
    return false;
}

static int find_program(const struct swi_autostart *autostart, char program[static PATH_MAX],
                        struct swi_error *error)
{
    const char *given = autostart->broker;
    if (given && given[0] != '/')
        return swi_fail(error, -EINVAL,
                        "SW_BROKER (or broker_path) is %s; it must be an absolute path", given);
    if (snprintf(program, PATH_MAX, "%s", given ? given : SWI_BROKER_PROGRAM) >= PATH_MAX)
        return swi_fail(error, -ENAMETOOLONG, "SW_BROKER (or broker_path) is too long");
    if (is_program(program) ||
        (!given && (in_path(program) || near_caller(program) || in_sbin(program))))
        return 0;
    if (given)
        return swi_fail(error, -ENOENT, "%s is not a program; correct SW_BROKER (or broker_path)",
                        given);
    return swi_fail(error, -ENOENT,
                    "swbrokerd is neither at " SWI_BROKER_PROGRAM ", nor in $PATH, nor beside this "
                    "program; install it, or set SW_BROKER (or broker_path)");
}

/* Variables about the service manager of the host, which must not reach the broker. */
static bool is_of_the_host(const char *variable)
{
    static const char *const names[] = {
        "NOTIFY_SOCKET=",  "LISTEN_",        "FDSTORE=",   "WATCHDOG_",    "MAINPID=",
        "JOURNAL_STREAM=", "INVOCATION_ID=", "SW_SOCKET=", "SW_AUTOSTART="};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

/* A malloc'd array of borrowed strings; NULL: out of memory. */
static char **broker_environment(void)
{
    size_t count = 0, kept = 0;
    while (environ && environ[count])
        count++;
    char **environment = malloc((count + 1) * sizeof *environment);
    if (!environment)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (!is_of_the_host(environ[i]))
            environment[kept++] = environ[i];
    environment[kept] = NULL;
    return environment;
}

static int spawn_broker(const struct swi_autostart *autostart, const char *chunks,
                        int *ret_messages, struct swi_error *error)
{
    char program[PATH_MAX];
    int result = find_program(autostart, program, error);
    if (result < 0)
        return result;
    /* /etc/swbroker/swbrokerd.conf is for the machine's broker, and may not be readable */
    const char *argv[] = {program,
                          "--config",
                          "/dev/null",
                          "--chunks-dir",
                          chunks,
                          "--socket",
                          autostart->socket,
                          "--socket-mode",
                          "0600",
                          "--exit-when-idle",
                          LINGER_S,
                          autostart->cache_size ? "--cache-size" : NULL,
                          autostart->cache_size,
                          NULL};
    char **environment = broker_environment();
    result = environment ? swi_spawn_detached(program, argv, environment, ret_messages) : -ENOMEM;
    free(environment);
    return result < 0 ? swi_fail(error, result, "cannot run %s: %s", program, sw_strerror(result))
                      : 0;
}

/* ---- what it says ---------------------------------------------------------------------------- */

struct starting {
    int messages; /* its stderr */
    bool ended;
    size_t size;
    char said[SAID_MAX]; /* its latest output */
};

static void listen_for(struct starting *starting, int timeout_ms)
{
    struct pollfd poller = {.fd = starting->messages, .events = POLLIN};
    if (poll(&poller, 1, timeout_ms) <= 0)
        return;
    for (;;) {
        if (starting->size == SAID_MAX) {
            memmove(starting->said, starting->said + SAID_MAX / 2, SAID_MAX / 2);
            starting->size = SAID_MAX / 2;
        }
        ssize_t length =
            read(starting->messages, starting->said + starting->size, SAID_MAX - starting->size);
        if (length > 0)
            starting->size += (size_t)length;
        else if (length == 0 || errno != EINTR) {
            starting->ended = length == 0;
            return;
        }
    }
}

/* The last non-empty line, truncated for a message. */
static void last_line(const struct starting *starting, char line[static SAID_SHOWN + 1])
{
    size_t end = starting->size;
    while (end > 0 && starting->said[end - 1] == '\n')
        end--;
    size_t start = end;
    while (start > 0 && starting->said[start - 1] != '\n')
        start--;
    size_t length = end - start < SAID_SHOWN ? end - start : SAID_SHOWN;
    memcpy(line, starting->said + start, length);
    line[length] = 0;
    if (length == 0)
        (void)snprintf(line, SAID_SHOWN + 1, "nothing");
}

static int explain(const struct starting *starting, int code, const char *what,
                   struct swi_error *error)
{
    char line[SAID_SHOWN + 1];
    last_line(starting, line);
    return swi_fail(error, code,
                    "%s; its last line: %s; check SW_CHUNKS_DIR and SW_CACHE_SIZE, or start a "
                    "broker yourself",
                    what, line);
}

/* ---- starting -------------------------------------------------------------------------------- */

/* No broker serves there: no file, no listener, or a broker that was about to exit. */
static bool is_gone(int code)
{
    return code == -ENOENT || code == -ECONNREFUSED || code == -ECONNRESET || code == -EPIPE ||
           code == SW_EDISCONNECTED;
}

/* Waits for the new broker's welcome, which shows that it is ready. */
static int await_broker(struct sw_client *client, struct starting *starting, uint64_t deadline,
                        struct swi_connection **ret_connection,
                        struct swi_attachment **ret_attachment, struct swi_error *error)
{
    for (int pause_ms = PAUSE_FIRST_MS;;) {
        listen_for(starting, pause_ms);
        bool ended = starting->ended;
        int result = swi_broker_reach(client, client->autostart.socket, deadline, ret_connection,
                                      ret_attachment, error);
        if (!is_gone(result))
            return result;
        if (ended)
            return explain(starting, -ECONNREFUSED, "swbrokerd exited", error);
        if (swi_over(deadline))
            return explain(starting, -ETIMEDOUT, "swbrokerd was not ready in time", error);
        pause_ms = pause_ms * 2 < PAUSE_MAX_MS ? pause_ms * 2 : PAUSE_MAX_MS;
    }
}

/* With the start lock held. */
static int start_and_reach(struct sw_client *client, const char *chunks, uint64_t deadline,
                           struct swi_connection **ret_connection,
                           struct swi_attachment **ret_attachment, struct swi_error *error)
{
    /* another process may have been faster */
    int result = swi_broker_reach(client, client->autostart.socket, deadline, ret_connection,
                                  ret_attachment, error);
    if (!is_gone(result))
        return result;
    struct starting starting = {.messages = -1};
    result = spawn_broker(&client->autostart, chunks, &starting.messages, error);
    if (result < 0)
        return result;
    result = await_broker(client, &starting, deadline, ret_connection, ret_attachment, error);
    close(starting.messages);
    return result;
}

static void pause_ms(int ms, uint64_t deadline)
{
    int left_ms = swi_deadline_ms(deadline);
    (void)poll(NULL, 0, left_ms >= 0 && left_ms < ms ? left_ms : ms);
}

/* The process that gets the lock starts the broker; the others keep trying to connect. */
static int reach_or_start(struct sw_client *client, const char *chunks, uint64_t deadline,
                          struct swi_connection **ret_connection,
                          struct swi_attachment **ret_attachment, struct swi_error *error)
{
    const char *socket = client->autostart.socket;
    for (int wait_ms = PAUSE_FIRST_MS;;) {
        int result =
            swi_broker_reach(client, socket, deadline, ret_connection, ret_attachment, error);
        if (!is_gone(result))
            return result;
        int lock = swi_start_lock_take(socket);
        if (lock >= 0) {
            result =
                start_and_reach(client, chunks, deadline, ret_connection, ret_attachment, error);
            if (result < 0)
                swi_start_lock_remove(socket, lock);
            else
                swi_start_lock_release(lock);
            return result;
        }
        if (lock != -EWOULDBLOCK)
            return swi_fail(error, lock, "cannot lock %s.lock: %s", socket, sw_strerror(lock));
        if (swi_over(deadline))
            return swi_fail(error, -ETIMEDOUT,
                            "another process is starting it at %s, and did not finish in time",
                            socket);
        pause_ms(wait_ms, deadline);
        wait_ms = wait_ms * 2 < WAIT_MAX_MS ? wait_ms * 2 : WAIT_MAX_MS;
    }
}

int swi_autostart_reach(struct sw_client *client, bool start, uint64_t deadline,
                        struct swi_connection **ret_connection,
                        struct swi_attachment **ret_attachment, struct swi_error *error)
{
    struct swi_autostart *autostart = &client->autostart;
    int result = 0;
    char *chunks = NULL;
    if (!autostart->chunks_dir)
        result = swi_fail(error, -EINVAL,
                          "no directory of models is given; set SW_CHUNKS_DIR (or chunks_dir) to a "
                          "directory that swchunk wrote, or a folder of them");
    else if (!(chunks = realpath(autostart->chunks_dir, NULL)))
        result = swi_fail(error, -errno,
                          "the directory of models %s: %s; correct SW_CHUNKS_DIR (or "
                          "chunks_dir)",
                          autostart->chunks_dir, sw_strerror(-errno));
    else if (!autostart->socket)
        result = swi_private_socket_name(chunks, &autostart->socket, error);
    if (result == 0)
        result =
            start ? reach_or_start(client, chunks, deadline, ret_connection, ret_attachment, error)
                  : swi_broker_reach(client, autostart->socket, deadline, ret_connection,
                                     ret_attachment, error);
    free(chunks);
    if (result < 0)
        return swi_fail_within(
            error, result,
            "no broker answers at %s, and a private one cannot be used: ", client->socket_path);
    return 0;
}
