/* The broker's log: lines on stderr, for a terminal or for the journal (with its level prefix
 * there).
 *
 * Control characters are written as '?', so that no peer's text can forge a line. One thread's, the
 * loop's. */
#ifndef SWB_LOG_H
#define SWB_LOG_H

#include <stdbool.h>

void log_start(bool verbose);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Only with --verbose. */
void log_detail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A warning that a client can cause: at most ten a second; what is left out is counted and said
 * later. */
void log_peer(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
