/* SPDX-License-Identifier: MIT */
/* XXH3-128 through libxxhash. */
#include "core/digest.h"

#include <assert.h>
#include <stdio.h>
#include <xxhash.h>

/* swi_hasher is libxxhash's state under another name. */
static XXH3_state_t *state_of(swi_hasher *hasher)
{
    return (XXH3_state_t *)hasher;
}

static struct swi_digest from_xxh(XXH128_hash_t hash)
{
    return (struct swi_digest){.low = hash.low64, .high = hash.high64};
}

swi_hasher *swi_hasher_create(void)
{
    XXH3_state_t *state = XXH3_createState();
    if (state)
        XXH3_128bits_reset(state);
    return (swi_hasher *)state;
}

void swi_hasher_destroy(swi_hasher *hasher)
{
    XXH3_freeState(state_of(hasher));
}

void swi_hasher_reset(swi_hasher *hasher)
{
    XXH3_128bits_reset(state_of(hasher));
}

void swi_hasher_update(swi_hasher *hasher, const void *data, size_t size)
{
    XXH_errorcode result = XXH3_128bits_update(state_of(hasher), data, size);
    assert(result == XXH_OK); /* fails only on NULL */
    (void)result;
}

struct swi_digest swi_hasher_digest(const swi_hasher *hasher)
{
    return from_xxh(XXH3_128bits_digest((const XXH3_state_t *)hasher));
}

struct swi_digest swi_digest_of(const void *data, size_t size)
{
    return from_xxh(XXH3_128bits(data, size));
}

bool swi_digest_equal(struct swi_digest a, struct swi_digest b)
{
    return a.low == b.low && a.high == b.high;
}

void swi_digest_format(struct swi_digest digest, char text[static SWI_DIGEST_HEX])
{
    (void)snprintf(text, SWI_DIGEST_HEX, "%016llx%016llx", (unsigned long long)digest.high,
                   (unsigned long long)digest.low);
}

/* 16 lower-case or upper-case hex digits. */
static bool parse_half(const char *text, uint64_t *ret)
{
    uint64_t value = 0;
    for (int i = 0; i < 16; i++) {
        char c = text[i];
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            digit = (unsigned)(c - 'A') + 10;
        else
            return false;
        value = value << 4 | digit;
    }
    *ret = value;
    return true;
}

bool swi_digest_parse(const char *text, struct swi_digest *ret)
{
    struct swi_digest digest;
    if (!parse_half(text, &digest.high) || !parse_half(text + 16, &digest.low) || text[32] != 0)
        return false;
    *ret = digest;
    return true;
}
