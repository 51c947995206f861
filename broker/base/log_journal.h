/* SPDX-License-Identifier: MIT */
/* Entries for the systemd journal. */
#ifndef SWB_BASE_LOG_JOURNAL_H
#define SWB_BASE_LOG_JOURNAL_H

#include "base/log_line.h"

/* A descriptor, or -errno. */
int log_journal_open(void);
/* Sends one entry without waiting. Returns 0; -EAGAIN if the journal cannot take it now; another
 * -errno if there is no journal. */
int log_journal_send(int fd, enum log_level level, const struct log_about *about, const char *text);

#endif
