/* SPDX-License-Identifier: MIT */
/* XXH3-128 of chunk files, which detects accidents, not attacks. */
#ifndef SWI_CORE_DIGEST_H
#define SWI_CORE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct swi_digest {
    uint64_t low, high;
};
#define SWI_DIGEST_HEX 33 /* 32 hex digits (high then low, XXH128's canonical form) and a zero */

typedef struct swi_hasher swi_hasher;
swi_hasher *swi_hasher_create(void); /* NULL: out of memory */
void swi_hasher_destroy(swi_hasher *hasher);
void swi_hasher_reset(swi_hasher *hasher);
void swi_hasher_update(swi_hasher *hasher, const void *data, size_t size);
struct swi_digest swi_hasher_digest(const swi_hasher *hasher);

struct swi_digest swi_digest_of(const void *data, size_t size);
bool swi_digest_equal(struct swi_digest a, struct swi_digest b);
void swi_digest_format(struct swi_digest digest, char text[static SWI_DIGEST_HEX]);
bool swi_digest_parse(const char *text, struct swi_digest *ret);

#endif
