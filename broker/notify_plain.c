/* Telling the service manager how far the broker is, where libsystemd is not there: one datagram of
 * text. */
#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <sw/base.h>

#include "log.h"

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
        log_warning("cannot tell the service manager at %s: %s", path, sw_strerror(-errno));
    if (fd >= 0)
        close(fd);
}

int notify_send_fds(const char *state, const int *fds, unsigned count)
{
    (void)state;
    (void)fds;
    (void)count;
    return -EOPNOTSUPP;
}

int notify_take_fds(char ***ret_names)
{
    *ret_names = NULL;
    const char *count = getenv("LISTEN_FDS");
    if (count && *count && *count != '0')
        log_warning("the service manager passes %s descriptors; this swbrokerd was built without "
                    "libsystemd and takes none",
                    count);
    return 0;
}
