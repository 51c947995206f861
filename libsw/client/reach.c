/* SPDX-License-Identifier: MIT */
/* One attempt to reach a broker: connect, check the server's user, HELLO, map the descriptors. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/internal.h"

/* The rule in client.h. On a socket made by systemd, the peer is root. */
static int check_server_uid(const struct sw_client *client, const char *path, int fd,
                            struct swi_error *error)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return swi_fail(error, -errno, "cannot check the server at %s: %s", path,
                        sw_strerror(-errno));
    if (client->any_server_uid || peer.uid == 0 || peer.uid == geteuid())
        return 0;
    char directory[4096];
    (void)snprintf(directory, sizeof directory, "%s", path);
    char *slash = strrchr(directory, '/');
    if (slash == directory)
        slash[1] = 0;
    else if (slash)
        *slash = 0;
    struct stat status;
    if (stat(slash ? directory : ".", &status) == 0 && status.st_uid == peer.uid)
        return 0;
    return swi_fail(
        error, SW_EUNTRUSTED,
        "the server at %s runs as uid %u, which is neither root, nor this process's, nor "
        "the owner of the socket's directory; set any_server_uid if you trust it",
        path, (unsigned)peer.uid);
}

static int say_hello(struct sw_client *client, struct swi_connection *connection, uint64_t deadline,
                     struct swi_attachment **ret, struct swi_error *error)
{
    struct swi_wire_hello hello = {.layout_version = SWI_LAYOUT_VERSION,
                                   .layout_hash = SWI_LAYOUT_HASH};
    memcpy(hello.name, client->name, sizeof hello.name);
    uint8_t packet[sizeof(struct swi_wire_head) + sizeof hello];
    struct swi_wire_out out;
    struct swi_call call;
    swi_call_begin(connection, &call, &out, packet, sizeof packet, SWI_WIRE_HELLO);
    swi_wire_put(&out, &hello, sizeof hello);
    int result = swi_call_exchange(connection, &call, &out, SWI_WIRE_WELCOME, deadline, error);
    if (result < 0)
        return result;
    struct swi_wire_welcome welcome;
    if (!swi_wire_get(&call.in, &welcome, sizeof welcome) || call.fd_count != SWI_WELCOME_FDS)
        result = swi_fail(error, SW_EPROTOCOL, "the broker's welcome has %zu descriptors, not %d",
                          call.fd_count, SWI_WELCOME_FDS);
    if (result == 0)
        result = swi_attachment_create(call.fds, &welcome, ret, error);
    swi_call_end(connection, &call);
    return result;
}

int swi_broker_reach(struct sw_client *client, const char *path, uint64_t deadline,
                     struct swi_connection **ret_connection, struct swi_attachment **ret_attachment,
                     struct swi_error *error)
{
    int fd = swi_socket_connect(path, swi_deadline_ms(deadline), error);
    if (fd < 0)
        return fd;
    int result = check_server_uid(client, path, fd, error);
    if (result < 0) {
        close(fd);
        return result;
    }
    struct swi_connection *connection;
    result = swi_connection_create(fd, &client->lock.mutex, &connection);
    if (result < 0)
        return swi_fail(error, result, "cannot set up a connection: %s", sw_strerror(result));
    result = say_hello(client, connection, deadline, ret_attachment, error);
    if (result < 0) {
        swi_client_drop(client, connection);
        return swi_fail_within(error, result, "%s: ", path);
    }
    *ret_connection = connection;
    return 0;
}
