/* The broker's log: lines on stderr, for a terminal or for the journal (with its level prefix
 * there).
 *
 * Control characters are written as '?', so that no peer's text can forge a line. One thread's, the
 * loop's. */
#ifndef SWB_LOG_H
#define SWB_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_start(enum log_level level);
/* What is less urgent is left out from now on. */
void log_set_level(enum log_level level);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Only at level debug. */
void log_detail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A warning that a client can cause: at most ten a second; what is left out is counted and said
 * later. */
void log_peer(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
