/* SPDX-License-Identifier: MIT */
/* Lines of standard input, with the difference between "none left" and "none yet" that a batching
 * filter needs: it takes what is there, and works on that when the input pauses.
 */
#ifndef SWI_PROGRAMS_BERT_LINES_H
#define SWI_PROGRAMS_BERT_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINE_BYTES_MAX ((size_t)64 << 20)

struct lines {
    int fd;
    char end_byte; /* what ends a line: '\n', or 0 */
    char *data;    /* bytes read and not yet handed out lie at start … end */
    size_t start, end, capacity, scanned;
    uint64_t number; /* of the line handed out last, from 1 */
    bool over;       /* the input has ended */
};

enum lines_next {
    LINES_LINE,  /* *line and *size are set, without its end; valid until the next call */
    LINES_PAUSE, /* only with wait false: reading on would block */
    LINES_END,
    LINES_FAILED /* errno says why; EMSGSIZE: a line is longer than LINE_BYTES_MAX */
};

enum lines_next lines_next(struct lines *lines, bool wait, const char **line, size_t *size);
void lines_fini(struct lines *lines);

#endif
