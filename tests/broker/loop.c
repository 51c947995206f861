/* SPDX-License-Identifier: MIT */
/* The event loop, the send queue and the watch over peers, without a broker. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/loop.h"
#include "core/socket.h"
#include "core/wire.h"
#include "session/peer.h"
#include "session/send_queue.h"
#include "support/support.h"

static struct loop *make_loop(void)
{
    struct loop *loop;
    struct swi_error error;
    cr_assert_eq(loop_create(&loop, &error), 0, "%s", error.text);
    return loop;
}

static char order[16];

struct mark {
    struct loop_timer timer;
    char letter;
};

static void note(struct loop_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    struct mark *mark = LOOP_OWNER(timer, struct mark, timer);
    order[strlen(order)] = mark->letter;
}

Test(loop, fires_timers_in_order_of_their_time, .timeout = 20)
{
    struct loop *loop = make_loop();
    struct mark marks[5];
    static const uint64_t due_ms[] = {8, 2, 5, 2, 3};
    uint64_t now_ns = loop_now();
    for (int i = 0; i < 5; i++) {
        marks[i] = (struct mark){.timer = {.fire = note}, .letter = (char)('a' + i)};
        loop_arm(loop, &marks[i].timer, now_ns + due_ms[i] * LOOP_NS_PER_MS);
    }
    loop_disarm(loop, &marks[4].timer);
    loop_arm(loop, &marks[0].timer, now_ns + LOOP_NS_PER_MS); /* earlier now */
    while (marks[2].timer.armed)
        loop_turn(loop, -1);
    cr_assert_str_eq(order, "abdc");
    loop_destroy(loop);
}

struct link_source {
    struct loop_source source;
    struct loop *loop;
    struct link_source *other;
    int calls;
};

static void remove_other(struct loop_source *source, uint32_t events)
{
    (void)events;
    struct link_source *own = LOOP_OWNER(source, struct link_source, source);
    own->calls++;
    loop_remove(own->loop, &own->other->source);
}

/* Both are ready in one turn, and the one that is called first removes the other. */
Test(loop, does_not_call_what_was_removed_in_the_same_turn, .timeout = 20)
{
    struct loop *loop = make_loop();
    struct link_source sources[2];
    int pipes[2][2];
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(pipe2(pipes[i], O_CLOEXEC), 0);
        cr_assert_eq(write(pipes[i][1], "x", 1), 1);
        sources[i] = (struct link_source){.source = {.ready = remove_other, .fd = pipes[i][0]},
                                          .loop = loop,
                                          .other = &sources[1 - i]};
        cr_assert_eq(loop_add(loop, &sources[i].source, EPOLLIN), 0);
    }
    loop_turn(loop, 0);
    cr_assert_eq(sources[0].calls + sources[1].calls, 1);
    for (int i = 0; i < 2; i++) {
        loop_remove(loop, &sources[i].source);
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    loop_destroy(loop);
}

/* ---- send_queue ------------------------------------------------------------------------------ */

static void make_pair(int fds[2])
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

Test(send_queue, keeps_order_and_descriptors_while_the_socket_is_full, .timeout = 20)
{
    int fds[2];
    make_pair(fds);
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct send_queue send_queue;
    send_queue_init(&send_queue);
    uint32_t sent = 0;
    uint8_t packet[8192] = {0};
    while (send_queue.bytes < 100000) {
        memcpy(packet, &sent, sizeof sent);
        cr_assert_eq(send_queue_send(&send_queue, fds[0], packet, sizeof packet, &file, 1), 0);
        sent++;
    }
    close(file); /* the queue has a copy */
    for (uint32_t i = 0; i < sent; i++) {
        int got[SWI_SOCKET_FDS];
        size_t count;
        cr_assert_eq(swi_socket_receive(fds[1], packet, sizeof packet, got, &count),
                     (ssize_t)sizeof packet);
        uint32_t number;
        memcpy(&number, packet, sizeof number);
        cr_assert_eq(number, i);
        cr_assert_eq(count, 1);
        cr_assert_geq(fcntl(got[0], F_GETFD), 0);
        close(got[0]);
        cr_assert_eq(send_queue_flush(&send_queue, fds[0]), 0);
    }
    cr_assert(send_queue_empty(&send_queue));
    cr_assert_eq(send_queue.bytes, 0);
    close(fds[0]);
    close(fds[1]);
}

Test(send_queue, is_bounded, .timeout = 20)
{
    int fds[2];
    make_pair(fds);
    struct send_queue send_queue;
    send_queue_init(&send_queue);
    uint8_t packet[8192] = {0};
    int result = 0;
    uint32_t sent = 0;
    for (; result == 0; sent++) {
        result = send_queue_send(&send_queue, fds[0], packet, sizeof packet, NULL, 0);
        cr_assert_lt(sent, 10000);
    }
    cr_assert_eq(result, -ENOBUFS);
    cr_assert_leq(send_queue.bytes, SEND_QUEUE_MAX);
    send_queue_fini(&send_queue);
    close(fds[0]);
    close(fds[1]);
}

Test(send_queue, cuts_long_texts_into_parts, .timeout = 20)
{
    int fds[2];
    make_pair(fds);
    struct send_queue send_queue;
    send_queue_init(&send_queue);
    size_t size = 1000000;
    char *text = malloc(size + 1), *copy = malloc(size + 1);
    cr_assert(text && copy);
    for (size_t i = 0; i < size; i++)
        text[i] = (char)('a' + i % 23);
    text[size] = 0;
    memcpy(copy, text, size + 1);
    cr_assert_eq(send_queue_send_text(&send_queue, fds[0], 5, text), 0);
    cr_assert_not(send_queue_empty(&send_queue), "the socket took a megabyte: this shows nothing");
    static uint8_t packet[SWI_WIRE_MAX];
    size_t got = 0;
    for (bool more = true; more;) {
        ssize_t length = swi_socket_receive(fds[1], packet, sizeof packet, NULL, NULL);
        cr_assert_gt(length, 0);
        struct swi_wire_in in;
        struct swi_error error;
        cr_assert_eq(swi_wire_parse(packet, (size_t)length, &in, &error), 0, "%s", error.text);
        cr_assert(in.type == SWI_WIRE_CONTROL_PART && in.tag == 5);
        struct swi_wire_text head;
        (void)swi_wire_get(&in, &head, sizeof head);
        size_t part;
        const char *bytes = swi_wire_rest(&in, &part);
        cr_assert_eq(memcmp(copy + got, bytes, part), 0);
        got += part;
        more = head.more;
        cr_assert_eq(send_queue_flush(&send_queue, fds[0]), 0);
    }
    cr_assert_eq(got, size);
    cr_assert(send_queue_empty(&send_queue));
    free(copy);
    close(fds[0]);
    close(fds[1]);
}

/* ---- peers ----------------------------------------------------------------------------------- */

static bool readable(int fd, int timeout_ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    return poll(&wait, 1, timeout_ms) == 1;
}

/* A child that connects, and a socket to it. */
static pid_t connected_child(int *ret_fd)
{
    struct swi_error error;
    const char *path = sup_path("peer.sock");
    int listening = swi_socket_listen(path, 0600, &error);
    cr_assert_geq(listening, 0, "%s", error.text);
    pid_t pid = fork();
    if (pid == 0) {
        (void)swi_socket_connect(path, -1, NULL);
        for (;;)
            pause();
    }
    cr_assert(readable(listening, 10000));
    *ret_fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(*ret_fd, 0);
    close(listening);
    return pid;
}

Test(peer, death_is_seen_by_descriptor_and_by_number, .timeout = 20)
{
    int fd;
    pid_t pid = connected_child(&fd);
    struct peer peer;
    cr_assert_eq(peer_get(fd, &peer), 0);
    cr_assert_eq(peer.pid, pid);
    cr_assert_eq(peer.uid, geteuid());
    const int watches[] = {peer_watch(fd, &peer), peer_watch_by_number(&peer)};
    for (int i = 0; i < 2; i++) {
        cr_assert_geq(watches[i], 0);
        cr_assert_not(readable(watches[i], 0));
    }
    cr_assert_eq(kill(pid, SIGKILL), 0);
    for (int i = 0; i < 2; i++) {
        cr_assert(readable(watches[i], 10000));
        close(watches[i]);
    }
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    cr_assert_eq(peer_watch_by_number(&peer), -ESRCH);
    close(fd);
}

Test(peer, a_reused_process_id_is_not_taken_for_the_peer, .timeout = 20)
{
    if (geteuid() != 0)
        cr_skip_test("needs root to become another user\n");
    pid_t pid = fork();
    if (pid == 0) {
        if (setuid(65534))
            _exit(1);
        for (;;)
            pause();
    }
    struct peer was = {.pid = pid, .uid = 12345};
    int watch = 0;
    for (int i = 0; i < 500 && watch != -ESRCH; i++) { /* until it has changed its user */
        watch = peer_watch_by_number(&was);
        if (watch >= 0)
            close(watch);
        sup_sleep_ms(5);
    }
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    cr_assert_eq(watch, -ESRCH);
}

Test(peer, a_peer_of_another_pid_namespace_cannot_be_watched, .timeout = 20)
{
    struct peer peer = {.pid = 0};
    int result = peer_watch(-1, &peer);
    cr_assert(result < 0 && result != -ESRCH);
}
