/* SPDX-License-Identifier: MIT */
/* sd_notify.h without libsystemd: datagrams of text, and the descriptors that the process of a
 * service starts with. */
#include "handover/sd_notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <sw/base.h>

#include "base/log.h"

#define PASSED_MAX 65536u

void notify_manager(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = path ? strlen(path) : 0;
    if (length == 0 || length >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@')
        address.sun_path[0] = 0; /* the abstract namespace */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address,
                         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
        log_warning("cannot notify the service manager at %s: %s", path, sw_strerror(-errno));
    if (fd >= 0)
        close(fd);
}

bool notify_can_send_fds(void)
{
    return false;
}

int notify_send_fds(const char *state, const int *fds, unsigned count)
{
    (void)state;
    (void)fds;
    (void)count;
    return -EOPNOTSUPP;
}

/* ---- descriptors that are passed ------------------------------------------------------------- */

static bool parse(const char *text, unsigned long *ret)
{
    char *end;
    errno = 0;
    unsigned long value = text ? strtoul(text, &end, 10) : 0;
    if (!text || text[0] < '0' || text[0] > '9' || *end || errno)
        return false;
    *ret = value;
    return true;
}

/* The next of the colon-separated names; "unknown" if there is none. */
static char *take_name(const char **names)
{
    if (!*names || !**names)
        return strdup("unknown");
    size_t length = strcspn(*names, ":");
    char *name = strndup(*names, length);
    *names += length + ((*names)[length] == ':');
    return name;
}

static void free_names(char **names, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

static int take_fds(unsigned long count, const char *listed, char ***ret_names)
{
    char **names = calloc(count + 1, sizeof *names);
    if (!names)
        return -ENOMEM;
    for (unsigned long i = 0; i < count; i++) {
        int fd = NOTIFY_FIRST_FD + (int)i;
        int flags = fcntl(fd, F_GETFD);
        int result = flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0 ? -errno : 0;
        if (result == 0 && !(names[i] = take_name(&listed)))
            result = -ENOMEM;
        if (result < 0) {
            free_names(names, i);
            return result;
        }
    }
    *ret_names = names;
    return (int)count;
}

int notify_take_fds(char ***ret_names)
{
    unsigned long count, pid;
    int result = 0;
    *ret_names = NULL;
    if (parse(getenv("LISTEN_FDS"), &count) && count > 0 && count <= PASSED_MAX &&
        parse(getenv("LISTEN_PID"), &pid) && pid == (unsigned long)getpid())
        result = take_fds(count, getenv("LISTEN_FDNAMES"), ret_names);
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDNAMES");
    return result;
}
