/* SPDX-License-Identifier: MIT */
/* What an error that a Redis answers with is about. Pure.
 *
 * The one place that decides what counts against a server. A key that holds something else, that
 * may not be read or that lives elsewhere says nothing about the others: were it held against the
 * server, one such key would stop every load. "ERR" begins whatever has no kind of its own, and is
 * about the command; kinds that are not known here are taken for the server's.
 */
#ifndef SWB_REMOTE_REDIS_ERROR_H
#define SWB_REMOTE_REDIS_ERROR_H

enum redis_about {
    REDIS_ABOUT_KEY,    /* what was asked for */
    REDIS_ABOUT_RIGHTS, /* what this user may do with that key */
    REDIS_ABOUT_WRITES, /* it takes no writes now */
    REDIS_ABOUT_SERVER, /* it serves nobody now, or not this broker */
};

/* text: of the error, which begins with its kind. */
enum redis_about redis_error_about(const char *text);

#endif
