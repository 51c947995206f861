/* SPDX-License-Identifier: MIT */
/* What comes from a Redis: its answers, byte by byte, and the values in them. The first byte of an
 * input chooses: 0 a model's bundle, 1 the text of a current revision, 2 a URL, else answers. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "catalog/bundle.h"
#include "fuzz.h"
#include "remote/redis/keys.h"
#include "remote/redis/resp.h"
#include "remote/redis/url.h"

/* Whether a part of the path leads upwards. "a..json" is a name as any other. */
static bool climbs(const char *name)
{
    for (const char *part = name; part; part = strchr(part, '/'), part = part ? part + 1 : NULL)
        if (strncmp(part, "..", 2) == 0 && (part[2] == 0 || part[2] == '/'))
            return true;
    return false;
}

static void fuzz_bundle(const uint8_t *data, size_t size)
{
    struct bundle bundle, again;
    struct swi_error error = {0};
    if (bundle_parse(data, size, &bundle, &error) < 0) {
        FUZZ_CHECK(error.text[0] != 0);
        return;
    }
    uint8_t *rendered;
    size_t rendered_size;
    FUZZ_CHECK(bundle_find(&bundle, "chunk_info.json"));
    FUZZ_CHECK(bundle_render(&bundle, &rendered, &rendered_size, &error) == 0);
    FUZZ_CHECK(rendered_size == size && memcmp(rendered, data, size) == 0);
    FUZZ_CHECK(bundle_parse(rendered, rendered_size, &again, &error) == 0);
    for (uint32_t i = 0; i < bundle.count; i++) {
        FUZZ_CHECK(bundle_name_ok(bundle.files[i].name) && !climbs(bundle.files[i].name));
        FUZZ_CHECK(bundle.files[i].bytes >= data &&
                   bundle.files[i].bytes + bundle.files[i].size <= data + size);
    }
    bundle_fini(&again);
    bundle_fini(&bundle);
    free(rendered);
}

static void fuzz_current(const uint8_t *data, size_t size)
{
    struct redis_current current, again;
    char text[REDIS_CURRENT_TEXT];
    if (!redis_current_parse((const char *)data, size, &current))
        return;
    FUZZ_CHECK(current.bytes > 0 && current.bytes <= REMOTE_BUNDLE_MAX);
    redis_current_format(&current, text);
    FUZZ_CHECK(redis_current_parse(text, strlen(text), &again));
    FUZZ_CHECK(again.bytes == current.bytes && swi_digest_equal(again.revision, current.revision));
}

static void fuzz_url(const uint8_t *data, size_t size)
{
    char *url = strndup((const char *)data, size);
    struct redis_address address;
    struct swi_error error = {0};
    char text[400];
    if (redis_url_parse(url, &address, &error) == 0) {
        redis_url_describe(&address, text, sizeof text);
        FUZZ_CHECK(strlen(text) > 6);
        FUZZ_CHECK((address.transport == REDIS_UNIX) == (address.path[0] == '/'));
        FUZZ_CHECK(address.transport == REDIS_UNIX || address.host[0]);
    } else {
        FUZZ_CHECK(error.text[0] != 0);
    }
    free(url);
}

/* ---- answers ----------------------------------------------------------------------------------
 */

#define CALLS 4
#define ROOM  64u

static struct {
    uint8_t into[ROOM + 8];
    unsigned ends;
} slots[CALLS];

static void done(struct redis_call *call, const struct redis_reply *reply)
{
    FUZZ_CHECK(call->offset < CALLS);
    slots[call->offset].ends++;
    if (reply)
        FUZZ_CHECK(!reply->placed || reply->length == ROOM);
}

static void replied(struct resp *resp, const struct redis_reply *reply)
{
    (void)resp;
    FUZZ_CHECK(reply->text[sizeof reply->text - 1] == 0);
}

static void fuzz_answers(const uint8_t *data, size_t size)
{
    char why[RESP_WHY];
    int ends[2];
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    struct resp resp = {.fd = ends[0], .password = "hush", .replied = replied};
    resp_init(&resp);
    FUZZ_CHECK(resp_open(&resp) == 0);
    memset(slots, 0xa5, sizeof slots);
    for (unsigned i = 0; i < CALLS; i++) {
        slots[i].ends = 0;
        struct redis_command get = {.count = 0};
        redis_command_text(&get, "GET");
        struct redis_call *call = resp_queue(&resp, &get, false);
        FUZZ_CHECK(call);
        call->done = done;
        call->offset = i;
        call->into = slots[i].into;
        call->into_bytes = ROOM;
    }
    /* in two pieces: an answer may be cut anywhere */
    size_t first = size > 0 ? data[0] % (size + 1) : 0;
    enum resp_end end = RESP_GOES_ON;
    for (unsigned part = 0; part < 2 && end == RESP_GOES_ON; part++) {
        const uint8_t *bytes = part == 0 ? data : data + first;
        size_t count = part == 0 ? first : size - first, received;
        if (count > 0 && write(ends[1], bytes, count) > 0)
            end = resp_receive(&resp, &received, why);
    }
    FUZZ_CHECK(end == RESP_GOES_ON || end == RESP_GARBAGE);
    resp_close(&resp);
    close(ends[0]);
    close(ends[1]);
    for (unsigned i = 0; i < CALLS; i++) {
        FUZZ_CHECK(slots[i].ends == 1);
        for (unsigned at = ROOM; at < sizeof slots[i].into; at++)
            FUZZ_CHECK(slots[i].into[at] == 0xa5);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    switch (data[0]) {
    case 0:
        fuzz_bundle(data + 1, size - 1);
        break;
    case 1:
        fuzz_current(data + 1, size - 1);
        break;
    case 2:
        fuzz_url(data + 1, size - 1);
        break;
    default:
        fuzz_answers(data + 1, size - 1);
        break;
    }
    return 0;
}
