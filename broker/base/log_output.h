/* SPDX-License-Identifier: MIT */
/* Where lines of the log go. */
#ifndef SWB_BASE_LOG_OUTPUT_H
#define SWB_BASE_LOG_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

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

#endif
