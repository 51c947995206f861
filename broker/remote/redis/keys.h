/* SPDX-License-Identifier: MIT */
/* Keys in a Redis, and the pieces that chunks are cut into. Pure.
 *
 *   PREFIX:chunk:XXH3:STRIPE      bytes STRIPE × 1 MiB … of the chunk file that hashes to XXH3
 *   PREFIX:model:NAME             "REVISION BYTES": the model's current revision, and its length
 *   PREFIX:model:NAME:REVISION    its bundle: manifest and small files; REVISION is its XXH3
 *
 * XXH3 and REVISION are 32 hex digits. Chunks and bundles are named by digest, so nothing is ever
 * invalidated: a changed file has another name. Only PREFIX:model:NAME is overwritten, and a push
 * writes it last. Length and digest of whatever comes back are checked.
 */
#ifndef SWB_REMOTE_REDIS_KEYS_H
#define SWB_REMOTE_REDIS_KEYS_H

#include "core/digest.h"
#include "core/wire.h" /* SWI_NAME_MAX */
#include "remote/remote.h"

#define REDIS_STRIPE_BYTES (1u << 20)
#define REDIS_PREFIX_MAX   63u

struct redis_key {
    char text[REDIS_PREFIX_MAX + SWI_NAME_MAX + SWI_DIGEST_HEX + 32];
    size_t length;
};

/* 1 … 63 printable characters without spaces. */
bool redis_prefix_ok(const char *prefix);

struct redis_key redis_key_stripe(const char *prefix, struct swi_digest digest, uint32_t stripe);
struct redis_key redis_key_model(const char *prefix, const char *name);
struct redis_key redis_key_revision(const char *prefix, const char *name, struct swi_digest digest);

uint32_t redis_stripe_count(uint64_t bytes);
/* The length of a stripe of a chunk of so many bytes; stripe < redis_stripe_count(bytes). */
uint32_t redis_stripe_length(uint64_t bytes, uint32_t stripe);

/* The value of PREFIX:model:NAME. */
struct redis_current {
    struct swi_digest revision;
    uint64_t bytes;
};
#define REDIS_CURRENT_TEXT 64u
void redis_current_format(const struct redis_current *current,
                          char text[static REDIS_CURRENT_TEXT]);
/* False for anything that redis_current_format does not write, or over REMOTE_BUNDLE_MAX bytes. */
bool redis_current_parse(const char *text, size_t length, struct redis_current *ret);

#endif
