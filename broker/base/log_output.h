/* SPDX-License-Identifier: MIT */
/* Where the lines of the log go. */
#ifndef SWB_BASE_LOG_OUTPUT_H
#define SWB_BASE_LOG_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

enum log_kind {
    LOG_TO_FILE,
    LOG_TO_TERMINAL,
    LOG_TO_MANAGER, /* levels as "<N>" */
    LOG_TO_JOURNAL, /* as LOG_TO_MANAGER if that fails */
};

struct log_output {
    enum log_kind kind;
    bool colour;
    bool is_socket; /* stderr is one */
    int fd;         /* stderr, or a second open file on the same pipe or terminal */
    int journal_fd; /* -1: none */
};

/* Inspects stderr. Opens descriptors that stay open for the rest of the process. */
void log_output_open(struct log_output *ret);
/* Writes size bytes without waiting; false if they were dropped. */
bool log_output_write(const struct log_output *output, const char *text, size_t size);

#endif
