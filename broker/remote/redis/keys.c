/* SPDX-License-Identifier: MIT */
/* Keys in a Redis, and pieces of chunks. */
#include "remote/redis/keys.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool redis_prefix_ok(const char *prefix)
{
    size_t length = strlen(prefix);
    for (size_t i = 0; i < length; i++)
        if (prefix[i] <= ' ' || prefix[i] > '~')
            return false;
    return length > 0 && length <= REDIS_PREFIX_MAX;
}

__attribute__((format(printf, 1, 2))) static struct redis_key make(const char *format, ...)
{
    struct redis_key key;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(key.text, sizeof key.text, format, arguments);
    va_end(arguments);
    assert(length > 0 && (size_t)length < sizeof key.text && "prefix and name were checked");
    key.length = (size_t)length;
    return key;
}

struct redis_key redis_key_stripe(const char *prefix, struct swi_digest digest, uint32_t stripe)
{
    char hex[SWI_DIGEST_HEX];
    swi_digest_format(digest, hex);
    return make("%s:chunk:%s:%u", prefix, hex, stripe);
}

struct redis_key redis_key_model(const char *prefix, const char *name)
{
    return make("%s:model:%s", prefix, name);
}

struct redis_key redis_key_revision(const char *prefix, const char *name, struct swi_digest digest)
{
    char hex[SWI_DIGEST_HEX];
    swi_digest_format(digest, hex);
    return make("%s:model:%s:%s", prefix, name, hex);
}

uint32_t redis_stripe_count(uint64_t bytes)
{
    uint64_t count = (bytes + REDIS_STRIPE_BYTES - 1) / REDIS_STRIPE_BYTES;
    assert(count <= UINT32_MAX);
    return (uint32_t)count;
}

uint32_t redis_stripe_length(uint64_t bytes, uint32_t stripe)
{
    uint64_t before = (uint64_t)stripe * REDIS_STRIPE_BYTES;
    assert(before < bytes);
    return bytes - before < REDIS_STRIPE_BYTES ? (uint32_t)(bytes - before) : REDIS_STRIPE_BYTES;
}

void redis_current_format(const struct redis_current *current, char text[static REDIS_CURRENT_TEXT])
{
    char hex[SWI_DIGEST_HEX];
    swi_digest_format(current->revision, hex);
    (void)snprintf(text, REDIS_CURRENT_TEXT, "%s %llu", hex, (unsigned long long)current->bytes);
}

bool redis_current_parse(const char *text, size_t length, struct redis_current *ret)
{
    size_t hex_length = SWI_DIGEST_HEX - 1;
    if (length < hex_length + 2 || length > hex_length + 1 + 10 || text[hex_length] != ' ' ||
        text[hex_length + 1] == '0')
        return false;
    char hex[SWI_DIGEST_HEX];
    memcpy(hex, text, hex_length);
    hex[hex_length] = 0;
    struct redis_current current = {.bytes = 0};
    if (strlen(hex) != hex_length || !swi_digest_parse(hex, &current.revision))
        return false;
    for (size_t i = hex_length + 1; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        current.bytes = current.bytes * 10 + (uint64_t)(text[i] - '0');
    }
    if (current.bytes == 0 || current.bytes > REMOTE_BUNDLE_MAX)
        return false;
    *ret = current;
    return true;
}
