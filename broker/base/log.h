/* SPDX-License-Identifier: MIT */
/* The broker's log: what happened, how urgent it is, and what it is about.
 *
 * Where lines go is found out once, from what stderr is:
 *
 *   the journal's stream            datagrams to the journal, with fields (log_journal.c)
 *   a pipe or socket of a manager   "<4>text", as systemd reads levels
 *   a terminal                      "swbrokerd: warning: text", the level in colour unless NO_COLOR
 *   anything else                   the same without colour
 *
 * Writing never waits: a line that does not fit right now, because nobody reads the pipe or because
 * the journal is stuck, is dropped and counted, and the next one that fits says how many were lost.
 * Control characters are written as '?', so that no peer's text can forge a line or a field.
 * One thread's, the loop's.
 */
#ifndef SWB_BASE_LOG_H
#define SWB_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/log_line.h"

/* Kinds of events that somebody may want to find or act on, as the journal's MESSAGE_ID. */
#define LOG_ID_SERVING "264faa70441a4448bc886d1d6ff130b5"
#define LOG_ID_LOAD                                                                                \
    "c135b9ec395a46178a276309102302e3" /* a chunk cannot be read or does not match */
#define LOG_ID_REFUSED "ec2fffbdb6ca429d9e482cf89b9e1541" /* a client broke a rule */
#define LOG_ID_RELOAD  "17196512950b4db49352ba11f250d6af"

/* Before the first line; looks at stderr. */
void log_start(enum log_level level);
/* What is less urgent is left out from now on. */
void log_set_level(enum log_level level);

void log_line(enum log_level level, const struct log_about *about, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define log_error(...)   log_line(LOG_LEVEL_ERROR, NULL, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, NULL, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, NULL, __VA_ARGS__)
#define log_detail(...)  log_line(LOG_LEVEL_DEBUG, NULL, __VA_ARGS__)

/* ---- what a client can cause again and again ---------------------------------------------------
 */

/* One for each cause, static and zeroed. */
struct log_limit {
    SLIST_ENTRY(log_limit) link;
    bool known;
    int64_t second;
    uint32_t lines, left_out;
    char last[80]; /* how the last line that was left out began */
};

/* A warning: at most five a second of one cause. What is left out is counted, and said when the
 * second is over. */
void log_limited(struct log_limit *limit, const struct log_about *about, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The place where it stands is the cause. */
#define log_peer(...) log_peer_about(NULL, __VA_ARGS__)
#define log_peer_about(about, ...)                                                                 \
    do {                                                                                           \
        static struct log_limit log_peer_limit;                                                    \
        log_limited(&log_peer_limit, about, __VA_ARGS__);                                          \
    } while (0)
/* Says what was left out of causes that have gone quiet. To be called now and then. */
void log_tell_left_out(void);

struct log_counts {
    uint64_t dropped;  /* lines that found no room where they were to go */
    uint64_t left_out; /* lines over a limit */
};
struct log_counts log_get_counts(void);

#endif
