/* SPDX-License-Identifier: MIT */
/* The part of Redis's protocol (RESP2) that stores and fetches one value. */
#include "lib/redis.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void send_all(int fd, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            bench_die("cannot send to redis-server: %s", strerror(errno));
        bytes += sent;
        size -= (size_t)sent;
    }
}

/* Reads exactly size bytes. */
static void receive_all(int fd, void *data, size_t size)
{
    uint8_t *bytes = data;
    while (size > 0) {
        ssize_t got = recv(fd, bytes, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            bench_die("cannot receive from redis-server: %s",
                      got < 0 ? strerror(errno) : "it closed the connection");
        bytes += got;
        size -= (size_t)got;
    }
}

/* Reads a line up to its CR LF, byte by byte: lines here are a dozen bytes long. */
static void receive_line(int fd, char *line, size_t size)
{
    for (size_t at = 0; at < size; at++) {
        receive_all(fd, line + at, 1);
        if (line[at] == '\n') {
            line[at > 0 ? at - 1 : 0] = 0;
            return;
        }
    }
    bench_die("redis-server sent a line that is too long");
}

static int try_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

bool redis_start(struct redis *redis, const char *directory, const void *value, uint64_t bytes)
{
    if (!bench_installed("redis-server"))
        return false;
    char path[96], log[96];
    (void)snprintf(path, sizeof path, "%s/redis.sock", directory);
    (void)snprintf(log, sizeof log, "%s/redis.log", directory);
    const char *const argv[] = {"redis-server", "--port", "0",       "--unixsocket",
                                path,           "--save", "",        "--appendonly",
                                "no",           "--dir",  directory, NULL};
    *redis = (struct redis){.server = bench_spawn(argv, log), .fd = -1, .bytes = bytes};
    for (int tries = 0; tries < 2000 && redis->fd < 0; tries++) {
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        redis->fd = try_connect(path);
    }
    if (redis->fd < 0)
        bench_die("redis-server does not answer; see %s", log);
    redis->buffer = malloc(bytes + 2);
    if (!redis->buffer)
        bench_die("out of memory");
    char head[96];
    int length = snprintf(head, sizeof head, "*3\r\n$3\r\nSET\r\n$5\r\nchunk\r\n$%llu\r\n",
                          (unsigned long long)bytes);
    send_all(redis->fd, head, (size_t)length);
    send_all(redis->fd, value, bytes);
    send_all(redis->fd, "\r\n", 2);
    char line[128];
    receive_line(redis->fd, line, sizeof line);
    if (strcmp(line, "+OK") != 0)
        bench_die("redis-server refused the value: %s", line);
    return true;
}

double redis_get_ns(struct redis *redis)
{
    static const char get[] = "*2\r\n$3\r\nGET\r\n$5\r\nchunk\r\n";
    uint64_t start = bench_now_ns();
    send_all(redis->fd, get, sizeof get - 1);
    char line[128];
    receive_line(redis->fd, line, sizeof line);
    if (line[0] != '$' || strtoull(line + 1, NULL, 10) != redis->bytes)
        bench_die("redis-server answered GET with %s", line);
    receive_all(redis->fd, redis->buffer, redis->bytes + 2);
    return (double)(bench_now_ns() - start);
}

void redis_stop(struct redis *redis)
{
    close(redis->fd);
    bench_stop(redis->server);
    free(redis->buffer);
}
