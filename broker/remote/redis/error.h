/* SPDX-License-Identifier: MIT */
/* What an error of a Redis is about, and the account of such errors.
 *
 * This is the one place that decides what counts against a server. A key that holds something else,
 * that the user may not read, or that lives on another server says nothing about other keys: if it
 * counted, one such key would stop every load. "ERR" begins every error without a kind and is about
 * the command. Unknown kinds are taken for the server's.
 */
#ifndef SWB_REMOTE_REDIS_ERROR_H
#define SWB_REMOTE_REDIS_ERROR_H

#include <stdint.h>

enum redis_about {
    REDIS_ABOUT_KEY,    /* what was asked for */
    REDIS_ABOUT_RIGHTS, /* what this user may do with that key */
    REDIS_ABOUT_WRITES, /* it accepts no writes now */
    REDIS_ABOUT_SERVER, /* it serves no requests now, or none of this broker */
};

/* text: of the error, which begins with its kind. Pure. */
enum redis_about redis_error_about(const char *text);

/* The errors of one server. Zeroed: none. */
struct redis_errors {
    uint64_t out_of_memory, read_only, other;
};
/* Counts an error and returns what it is about. */
enum redis_about redis_errors_count(struct redis_errors *errors, const char *text);

#endif
