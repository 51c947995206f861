/* SPDX-License-Identifier: MIT */
/* Reading lines without stdio, whose buffer would hide whether more input is there. */
#include "programs/bert/lines.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES 65536

/* A line of the bytes that are there; the last one may lack its end. */
static bool take_line(struct lines *lines, const char **line, size_t *size)
{
    size_t unscanned = lines->end - lines->scanned;
    char *feed =
        unscanned ? memchr(lines->data + lines->scanned, lines->end_byte, unscanned) : NULL;
    lines->scanned = lines->end;
    if (!feed && !(lines->over && lines->start < lines->end))
        return false;
    *line = lines->data + lines->start;
    *size = feed ? (size_t)(feed - *line) : lines->end - lines->start;
    lines->start += *size + (feed ? 1 : 0);
    lines->scanned = lines->start;
    lines->number++;
    return true;
}

/* Room for READ_BYTES behind what is there. */
static int make_room(struct lines *lines)
{
    if (lines->start > 0) {
        memmove(lines->data, lines->data + lines->start, lines->end - lines->start);
        lines->end -= lines->start;
        lines->scanned -= lines->start;
        lines->start = 0;
    }
    if (lines->end > LINE_BYTES_MAX)
        return -EMSGSIZE;
    if (lines->capacity - lines->end >= READ_BYTES)
        return 0;
    size_t capacity = lines->capacity * 2 + READ_BYTES;
    char *data = realloc(lines->data, capacity);
    if (!data)
        return -ENOMEM;
    lines->data = data;
    lines->capacity = capacity;
    return 0;
}

enum lines_next lines_next(struct lines *lines, bool wait, const char **line, size_t *size)
{
    while (!take_line(lines, line, size)) {
        if (lines->over)
            return LINES_END;
        struct pollfd ready = {.fd = lines->fd, .events = POLLIN};
        if (!wait && poll(&ready, 1, 0) == 0)
            return LINES_PAUSE;
        int result = make_room(lines);
        if (result < 0) {
            errno = -result;
            return LINES_FAILED;
        }
        ssize_t count = read(lines->fd, lines->data + lines->end, lines->capacity - lines->end);
        if (count < 0 && errno == EAGAIN && wait)
            (void)poll(&ready, 1, -1);
        else if (count < 0 && errno == EAGAIN)
            return LINES_PAUSE;
        else if (count < 0 && errno != EINTR)
            return LINES_FAILED;
        else if (count == 0)
            lines->over = true;
        else if (count > 0)
            lines->end += (size_t)count;
    }
    return LINES_LINE;
}

void lines_fini(struct lines *lines)
{
    free(lines->data);
    *lines = (struct lines){0};
}
