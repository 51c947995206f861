/* SPDX-License-Identifier: MIT */
/* The broker's log: lines of text with a level, and fields for the journal.
 *
 * The kind of stderr decides once where lines go:
 *
 *   the journal's stream            datagrams to the journal, with fields (log_journal.c)
 *   a pipe or socket of a manager   "<4>text", with levels as systemd reads them
 *   a terminal                      "swbrokerd: warning: text", the level in colour unless NO_COLOR
 *   anything else                   the same without colour
 *
 * Writing never blocks: a line that does not fit now, because the pipe is full or the journal is
 * stuck, is dropped and counted, and the next line that fits says how many were lost. Control
 * characters are written as '?', so that text from a peer cannot forge a line or a field. Use it on
 * the loop's thread only.
 */
#ifndef SWB_BASE_LOG_H
#define SWB_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/log_line.h"

/* Kinds of events to search for in the journal, as its MESSAGE_ID. */
#define LOG_ID_SERVING "264faa70441a4448bc886d1d6ff130b5"
#define LOG_ID_LOAD                                                                                \
    "c135b9ec395a46178a276309102302e3" /* a chunk cannot be read or does not match */
#define LOG_ID_REFUSED "ec2fffbdb6ca429d9e482cf89b9e1541" /* a client broke a rule */
#define LOG_ID_RELOAD  "17196512950b4db49352ba11f250d6af"

/* Inspects stderr. Call it before the first line. */
void log_start(enum log_level level);
/* Suppresses less urgent lines from now on. */
void log_set_level(enum log_level level);

void log_line(enum log_level level, const struct log_about *about, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define log_error(...)   log_line(LOG_LEVEL_ERROR, NULL, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, NULL, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, NULL, __VA_ARGS__)
#define log_detail(...)  log_line(LOG_LEVEL_DEBUG, NULL, __VA_ARGS__)

/* ---- limits on what clients can cause -------------------------------------------------------- */

#define LOG_LINES_A_SECOND 5u

/* One for each cause: static and zeroed. */
struct log_limit {
    SLIST_ENTRY(log_limit) link;
    bool known;
    int64_t second;
    uint32_t lines, left_out;
    char last[80]; /* the beginning of the last suppressed line */
};

/* Writes a warning, at most LOG_LINES_A_SECOND per cause. Suppressed lines are counted and reported
 * when the second is over. */
void log_limited(struct log_limit *limit, const struct log_about *about, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Each place in the source is one cause. */
#define log_peer(...) log_peer_about(NULL, __VA_ARGS__)
#define log_peer_about(about, ...)                                                                 \
    do {                                                                                           \
        static struct log_limit log_peer_limit;                                                    \
        log_limited(&log_peer_limit, about, __VA_ARGS__);                                          \
    } while (0)
/* Reports the suppressed lines of causes that have gone quiet. Call it now and then. */
void log_tell_left_out(void);

struct log_counts {
    uint64_t dropped;  /* lines that could not be written without waiting */
    uint64_t left_out; /* lines over a limit */
};
struct log_counts log_get_counts(void);

#endif
