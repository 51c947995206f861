/* SPDX-License-Identifier: MIT */
/* Packets and descriptors over Unix sockets. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/socket.h"
#include "support/support.h"

static struct swi_error error;

static void make_pair(int pair[2])
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

static size_t open_descriptors(void)
{
    return sup_count_entries("/proc/self/fd");
}

Test(socket, path_is_given_or_from_the_environment_or_the_default, .timeout = 10)
{
    cr_assert_eq(setenv("SW_SOCKET", "/tmp/from-environment", 1), 0);
    cr_assert_str_eq(swi_socket_path("/tmp/given"), "/tmp/given");
    cr_assert_str_eq(swi_socket_path(NULL), "/tmp/from-environment");
    cr_assert_str_eq(swi_socket_path(""), "/tmp/from-environment");
    cr_assert_eq(unsetenv("SW_SOCKET"), 0);
    cr_assert_str_eq(swi_socket_path(NULL), SWI_DEFAULT_SOCKET);
}

Test(socket, packets_keep_their_borders, .timeout = 10)
{
    int pair[2];
    char packet[16];
    make_pair(pair);
    cr_assert_eq(swi_socket_send(pair[0], "one", 3, NULL, 0), 0);
    cr_assert_eq(swi_socket_send(pair[0], "twelve bytes", 12, NULL, 0), 0);
    cr_assert_eq(swi_socket_receive(pair[1], packet, sizeof packet, NULL, NULL), 3);
    cr_assert_eq(swi_socket_receive(pair[1], packet, sizeof packet, NULL, NULL), 12);
    cr_assert_eq(memcmp(packet, "twelve bytes", 12), 0);
    (void)close(pair[0]);
    cr_assert_eq(swi_socket_receive(pair[1], packet, sizeof packet, NULL, NULL), 0, "has gone");
    cr_assert_eq(swi_socket_send(pair[1], "x", 1, NULL, 0), -EPIPE, "and no SIGPIPE");
    (void)close(pair[1]);
}

Test(socket, descriptors_arrive_and_point_to_the_same_file, .timeout = 10)
{
    int pair[2], fds[SWI_SOCKET_FDS] = {-1, -1, -1, -1};
    char packet[16];
    size_t count = 99;
    make_pair(pair);
    const char *path = sup_path("file");
    sup_write_text(path, "text");
    int file = open(path, O_RDONLY | O_CLOEXEC);
    int sent[2] = {file, file};
    cr_assert_eq(swi_socket_send(pair[0], "x", 1, sent, 2), 0);
    cr_assert_eq(swi_socket_receive(pair[1], packet, sizeof packet, fds, &count), 1);
    cr_assert_eq(count, 2);
    for (size_t i = 0; i < 2; i++) {
        struct stat a, b;
        cr_assert_eq(fstat(file, &a), 0);
        cr_assert_eq(fstat(fds[i], &b), 0);
        cr_assert(a.st_ino == b.st_ino && a.st_dev == b.st_dev);
        cr_assert(fcntl(fds[i], F_GETFD) & FD_CLOEXEC, "not for children");
        (void)close(fds[i]);
    }
    cr_assert_eq(swi_socket_send(pair[0], "x", 1, sent, SWI_SOCKET_FDS + 1), -EINVAL);
}

Test(socket, descriptors_nobody_asked_for_are_counted_and_closed, .timeout = 10)
{
    int pair[2];
    char packet[16];
    size_t count = 0;
    make_pair(pair);
    int sent[] = {0, 1, 2, 0};
    size_t before = open_descriptors();
    cr_assert_eq(swi_socket_send(pair[0], "x", 1, sent, 4), 0);
    cr_assert_eq(swi_socket_receive(pair[1], packet, sizeof packet, NULL, &count), 1);
    cr_assert_eq(count, 4);
    cr_assert_eq(open_descriptors(), before);
    /* with a packet that is too long they go too */
    int fds[SWI_SOCKET_FDS];
    cr_assert_eq(swi_socket_send(pair[0], "a long packet with descriptors", 30, sent, 4), 0);
    cr_assert_eq(swi_socket_receive(pair[1], packet, sizeof packet, fds, &count), SW_EPROTOCOL);
    cr_assert_eq(count, 0);
    cr_assert_eq(open_descriptors(), before);
}

Test(socket, listens_with_the_mode_asked_for_and_replaces_a_stale_file, .timeout = 20)
{
    const char *path = sup_path("socket");
    int listener = swi_socket_listen(path, 0660, &error);
    cr_assert_geq(listener, 0, "%s", error.text);
    struct stat status;
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0660);
    int client = swi_socket_connect(path, -1, &error);
    cr_assert_geq(client, 0, "%s", error.text);
    cr_assert_eq(swi_socket_listen(path, 0660, &error), -EADDRINUSE);
    cr_assert_not_null(strstr(error.text, path));
    (void)close(client);
    (void)close(listener);
    cr_assert(sup_exists(path), "a broker that died leaves its file");
    cr_assert_eq(swi_socket_connect(path, -1, &error), -ECONNREFUSED);
    cr_assert_not_null(strstr(error.text, "start swbrokerd"));
    listener = swi_socket_listen(path, 0600, &error);
    cr_assert_geq(listener, 0, "%s", error.text);
    (void)close(listener);
}

Test(socket, refuses_paths_it_cannot_use, .timeout = 10)
{
    const char *path = sup_path("file");
    sup_write_text(path, "precious");
    cr_assert_eq(swi_socket_listen(path, 0600, &error), -EEXIST);
    cr_assert_str_eq(sup_read(path, NULL), "precious");
    cr_assert_eq(swi_socket_connect(sup_path("nothing"), -1, &error), -ENOENT);
    char longer[300];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    cr_assert_eq(swi_socket_connect(longer, -1, &error), -ENAMETOOLONG);
    cr_assert_eq(swi_socket_listen(longer, 0600, &error), -ENAMETOOLONG);
}

Test(socket, a_full_queue_is_waited_for_no_longer_than_told, .timeout = 20)
{
    const char *path = sup_path("socket");
    int listener = swi_socket_listen(path, 0600, &error);
    cr_assert_geq(listener, 0);
    cr_assert_eq(listen(listener, 0), 0);
    int result = 0, held[8];
    size_t count = 0;
    while (count < 8 && (result = swi_socket_connect(path, 50, &error)) >= 0)
        held[count++] = result;
    cr_assert_eq(result, -ETIMEDOUT, "%s", error.text);
    while (count > 0)
        (void)close(held[--count]);
    (void)close(listener);
}
