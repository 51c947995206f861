/* SPDX-License-Identifier: MIT */
/* Where a chunk is read from, and what is recorded about a failure. */
#ifndef SWB_CACHE_ORIGIN_H
#define SWB_CACHE_ORIGIN_H

#include "cache/state.h"

enum origin {
    ORIGIN_FILE,
    ORIGIN_REMOTE,
    ORIGIN_LATER,  /* from the remote, once it is reachable; *why says what is wrong with it */
    ORIGIN_NOWHERE /* both have failed; the attempt's problems say why */
};
/* Chooses where to try next. For a file, *ret_fd is open and checked, and attempt->identity is
 * set. */
enum origin cache_choose_origin(struct cache *cache, struct attempt *attempt, int *ret_fd,
                                struct swi_error *why);
/* Records that opening or reading the file failed. identity: NULL if the file was never seen. */
void cache_file_failed(struct cache *cache, struct attempt *attempt, const struct swi_error *error,
                       const struct load_identity *identity);
void cache_remote_failed(struct attempt *attempt, const struct swi_error *error);
/* Writes both problems in one sentence. */
void cache_describe_failure(const struct attempt *attempt, struct swi_error *ret);

#endif
