/* SPDX-License-Identifier: MIT */
/* One line of the log: its level, and the fields that accompany it. */
#ifndef SWB_BASE_LOG_LINE_H
#define SWB_BASE_LOG_LINE_H

#include <sys/types.h>

#define LOG_LINE_BYTES 1024

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Fields besides the text, with the journal's names in brackets. Borrowed during the call. */
struct log_about {
    const char *message_id; /* NULL: none (MESSAGE_ID) */
    const char *model;      /* NULL: none (SW_MODEL) */
    const char *chunk;      /* (SW_CHUNK) */
    const char *client;     /* its name (SW_CLIENT) */
    pid_t client_pid;       /* with client (SW_CLIENT_PID, SW_CLIENT_UID) */
    uid_t client_uid;
};

/* The level as syslog numbers it. */
static inline int log_priority(enum log_level level)
{
    static const int priorities[] = {3, 4, 6, 7};
    return priorities[level];
}

#endif
