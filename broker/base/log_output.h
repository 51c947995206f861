/* SPDX-License-Identifier: MIT */
/* Where lines of the log go. */
#ifndef SWB_BASE_LOG_OUTPUT_H
#define SWB_BASE_LOG_OUTPUT_H

#include <stddef.h>

#include "base/log.h"

#define LOG_LINE_BYTES 1024

enum log_kind {
    LOG_TO_FILE,
    LOG_TO_TERMINAL,
    LOG_TO_MANAGER, /* which reads levels from "<N>" */
    LOG_TO_JOURNAL, /* with LOG_TO_MANAGER in reserve */
};

struct log_output {
    enum log_kind kind;
    bool colour;
    bool is_socket; /* stderr is one */
    int fd;         /* of stderr, or of our own open file on the same pipe or terminal */
    int journal_fd; /* -1: none */
};

/* What stderr is. Takes descriptors that stay open for the rest of the process. */
void log_output_open(struct log_output *ret);
/* Writes size bytes without waiting. False: they were dropped. */
bool log_output_write(const struct log_output *output, const char *text, size_t size);
/* syslog's number for a level */
int log_priority(enum log_level level);

/* One entry for the journal. 0; -EAGAIN: it does not take it now; another -errno: it is not there.
 */
int log_journal_send(int fd, enum log_level level, const struct log_about *about, const char *text);
/* A descriptor, or -errno. */
int log_journal_open(void);

#endif
