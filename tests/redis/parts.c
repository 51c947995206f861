/* SPDX-License-Identifier: MIT */
/* The pure parts of the Redis tier: URLs, keys and stripes, the circuit breaker. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "catalog/revision_remote.h"
#include "remote/breaker.h"
#include "remote/redis/error.h"
#include "remote/redis/keys.h"
#include "remote/redis/url.h"

TestSuite(redis_parts, .timeout = 30);

/* ---- URLs ------------------------------------------------------------------------------------ */

static struct redis_address parsed(const char *url)
{
    struct redis_address address;
    struct swi_error error = {0};
    cr_assert_eq(redis_url_parse(url, &address, &error), 0, "%s: %s", url, error.text);
    return address;
}

Test(redis_parts, a_url_names_host_port_and_database)
{
    struct redis_address plain = parsed("redis://cache.example");
    cr_assert_str_eq(plain.host, "cache.example");
    cr_assert_eq(plain.port, 6379);
    cr_assert_eq(plain.database, 0);
    cr_assert_eq(plain.transport, REDIS_TCP);
    struct redis_address full = parsed("redis://[::1]:7000/12");
    cr_assert_str_eq(full.host, "::1");
    cr_assert_eq(full.port, 7000);
    cr_assert_eq(full.database, 12);
    cr_assert_str_eq(parsed("redis://[fe80::1]").host, "fe80::1");
    cr_assert_eq(parsed("redis://h/").database, 0);
    cr_assert_eq(parsed("rediss://h").transport, REDIS_TLS);
}

Test(redis_parts, a_url_holds_user_and_password)
{
    struct redis_address both = parsed("redis://me:p%40ss%3a@h:1/2");
    cr_assert_str_eq(both.user, "me");
    cr_assert_str_eq(both.password, "p@ss:");
    cr_assert_str_eq(both.host, "h");
    struct redis_address only = parsed("redis://:se@cret@h");
    cr_assert_str_eq(only.user, "");
    cr_assert_str_eq(only.password, "se@cret");
    struct redis_address local = parsed("unix://:secret@/run/redis@home.sock?db=3");
    cr_assert_str_eq(local.password, "secret");
    cr_assert_str_eq(local.path, "/run/redis@home.sock");
    cr_assert_eq(local.database, 3);
    cr_assert_eq(local.transport, REDIS_UNIX);
}

Test(redis_parts, a_description_contains_no_secret)
{
    static const struct {
        const char *url, *text;
    } cases[] = {{"redis://me:secret@h:1/2", "redis://h:1/2"},
                 {"rediss://:secret@[::1]", "rediss://[::1]:6379/0"},
                 {"unix://:secret@/a/b", "unix:///a/b"},
                 {"unix:///a/b?db=7", "unix:///a/b?db=7"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct redis_address address = parsed(cases[i].url);
        char text[400];
        redis_url_describe(&address, text, sizeof text);
        cr_assert_str_eq(text, cases[i].text);
    }
}

Test(redis_parts, a_broken_url_is_refused_without_repeating_it)
{
    static char long_host[700] = "redis://secret";
    memset(long_host + 14, 'h', sizeof long_host - 15);
    const char *const urls[] = {
        "",
        "secret",
        "http://secret",
        "redis:/secret",
        "redis://",
        "redis:///1",
        "redis://:secret@",
        "redis://h:0/secret",
        "redis://h:70000",
        "redis://h:12x",
        "redis://h:-1",
        "redis://h/x",
        "redis://h/1/2",
        "redis://h/99999999999999999999",
        "redis://[::1",
        "redis://[::1]x:1",
        "redis://[]:1",
        "redis://secret:@h",
        "redis://a:%zz@h",
        "redis://a:%4@h",
        "redis://a:%00@h",
        "redis://a b",
        "unix://",
        "unix:///",
        "unix://host/path",
        "unix:///p?x=1",
        "unix:///p?db=",
        "unix:///p?db=x",
        "unix:relative",
        long_host,
        "unix:///0123456789012345678901234567890123456789012345678901234567890123456789012345678901"
        "2345678901234567890123456789"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct redis_address address = {.port = 77};
        struct swi_error error = {0};
        cr_assert_eq(redis_url_parse(urls[i], &address, &error), -EINVAL, "\"%s\"", urls[i]);
        cr_assert_eq(address.port, 77, "\"%s\"", urls[i]);
        cr_assert_null(strstr(error.text, "secret"), "%s", error.text);
        cr_assert_not_null(strstr(error.text, "redis://"), "%s", error.text);
    }
}

/* ---- keys ------------------------------------------------------------------------------------ */

static const struct swi_digest digest = {.low = 0x0123456789abcdef, .high = 0xfedcba9876543210};
#define HEX "fedcba98765432100123456789abcdef"

Test(redis_parts, keys_are_named_by_content)
{
    struct redis_key key = redis_key_stripe("sw", digest, 17);
    cr_assert_str_eq(key.text, "sw:chunk:" HEX ":17");
    cr_assert_eq(key.length, strlen(key.text));
    cr_assert_str_eq(redis_key_model("a-b", "bert").text, "a-b:model:bert");
    cr_assert_str_eq(redis_key_revision("sw", "bert", digest).text, "sw:model:bert:" HEX);
}

Test(redis_parts, the_longest_names_fit_a_key)
{
    char prefix[REDIS_PREFIX_MAX + 1], name[SWI_NAME_MAX + 1];
    memset(prefix, 'p', sizeof prefix - 1);
    memset(name, 'n', sizeof name - 1);
    prefix[sizeof prefix - 1] = name[sizeof name - 1] = 0;
    cr_assert(redis_prefix_ok(prefix));
    struct redis_key key = redis_key_revision(prefix, name, digest);
    cr_assert_eq(key.length, REDIS_PREFIX_MAX + 7 + SWI_NAME_MAX + 1 + 32);
    (void)redis_key_stripe(prefix, digest, UINT32_MAX);
}

Test(redis_parts, a_prefix_has_no_spaces_and_a_bounded_length)
{
    char longer[REDIS_PREFIX_MAX + 2];
    memset(longer, 'p', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    cr_assert(redis_prefix_ok("team/weights:1"));
    cr_assert_not(redis_prefix_ok(""));
    cr_assert_not(redis_prefix_ok("a b"));
    cr_assert_not(redis_prefix_ok("a\n"));
    cr_assert_not(redis_prefix_ok("\xc3\xa4"));
    cr_assert_not(redis_prefix_ok(longer));
}

Test(redis_parts, stripes_cover_a_chunk)
{
    static const uint64_t sizes[] = {1, REDIS_STRIPE_BYTES - 1, REDIS_STRIPE_BYTES,
                                     REDIS_STRIPE_BYTES + 1, 5ull * REDIS_STRIPE_BYTES + 77};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t sum = 0;
        uint32_t count = redis_stripe_count(sizes[i]);
        for (uint32_t stripe = 0; stripe < count; stripe++) {
            uint32_t length = redis_stripe_length(sizes[i], stripe);
            cr_assert(length > 0 && length <= REDIS_STRIPE_BYTES);
            cr_assert(length == REDIS_STRIPE_BYTES || stripe == count - 1);
            sum += length;
        }
        cr_assert_eq(sum, sizes[i]);
    }
}

Test(redis_parts, a_current_revision_survives_its_text)
{
    const struct redis_current current = {.revision = digest, .bytes = 123456};
    char text[REDIS_CURRENT_TEXT];
    redis_current_format(&current, text);
    cr_assert_str_eq(text, HEX " 123456");
    struct redis_current again;
    cr_assert(redis_current_parse(text, strlen(text), &again));
    cr_assert(swi_digest_equal(again.revision, digest));
    cr_assert_eq(again.bytes, 123456);
}

Test(redis_parts, an_invalid_current_revision_is_refused)
{
    static const char *const texts[] = {"",
                                        HEX,
                                        HEX " ",
                                        HEX " 0",
                                        HEX " 01",
                                        HEX " -1",
                                        HEX " 1x",
                                        HEX "  1",
                                        HEX " 99999999999",
                                        HEX " 4294967296",
                                        "fedcba98765432100123456789abcdeg 5",
                                        "x" HEX " 1"};
    struct redis_current current;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        cr_assert_not(redis_current_parse(texts[i], strlen(texts[i]), &current), "%s", texts[i]);
    cr_assert_not(redis_current_parse(HEX "\0"
                                          "1",
                                      34, &current));
}

/* ---- errors ---------------------------------------------------------------------------------- */

Test(redis_parts, errors_about_keys_do_not_count_against_the_server)
{
    static const struct {
        const char *text;
        enum redis_about about;
    } cases[] = {
        {"WRONGTYPE Operation against a key holding the wrong kind of value", REDIS_ABOUT_KEY},
        {"WRONGTYPE", REDIS_ABOUT_KEY},
        {"ERR string exceeds maximum allowed size", REDIS_ABOUT_KEY},
        {"ERR\r\n", REDIS_ABOUT_KEY},
        {"MOVED 3999 127.0.0.1:6381", REDIS_ABOUT_KEY},
        {"NOPERM No permissions to access a key", REDIS_ABOUT_RIGHTS},
        {"OOM command not allowed when used memory > 'maxmemory'.", REDIS_ABOUT_WRITES},
        {"READONLY You can't write against a read only replica.", REDIS_ABOUT_WRITES},
        {"MISCONF Redis is configured to save RDB snapshots", REDIS_ABOUT_WRITES},
        {"NOREPLICAS Not enough good replicas to write.", REDIS_ABOUT_WRITES},
        {"LOADING Redis is loading the dataset in memory", REDIS_ABOUT_SERVER},
        {"NOAUTH Authentication required.", REDIS_ABOUT_SERVER},
        {"BUSY Redis is busy running a script.", REDIS_ABOUT_SERVER},
        {"MASTERDOWN Link with MASTER is down", REDIS_ABOUT_SERVER},
        {"CLUSTERDOWN The cluster is down", REDIS_ABOUT_SERVER},
        {"ERRONEOUS", REDIS_ABOUT_SERVER},
        {"wrongtype", REDIS_ABOUT_SERVER},
        {"", REDIS_ABOUT_SERVER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_assert_eq(redis_error_about(cases[i].text), cases[i].about, "%s", cases[i].text);
}

/* ---- small files ----------------------------------------------------------------------------- */

Test(redis_parts, small_files_are_bounded_in_number_and_bytes)
{
    static const struct {
        struct remote_usage now, more;
        const char *text; /* NULL: fits */
    } cases[] = {
        {{0, 0}, {50, 1000}, NULL},
        {{0, 0}, {51, 1000}, "descriptor"},
        {{49, 0}, {1, 1000}, NULL},
        {{49, 0}, {2, 1000}, "49 of at most 50"},
        {{1, REVISION_REMOTE_BYTES_MAX - 9}, {1, 9}, NULL},
        {{1, REVISION_REMOTE_BYTES_MAX - 9}, {1, 10}, "of at most 1.0 GiB"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct swi_error error = {0};
        int result = revision_remote_check(&cases[i].now, &cases[i].more, 100, &error);
        cr_assert_eq(result, cases[i].text ? SW_EQUOTA : 0, "%zu: %s", i, error.text);
        if (cases[i].text)
            cr_assert_not_null(strstr(error.text, cases[i].text), "%s", error.text);
    }
}

/* ---- breaker --------------------------------------------------------------------------------- */

#define MS UINT64_C(1000000)

static void fail_until_open(struct breaker *breaker, uint64_t now_ns)
{
    for (unsigned i = 0; i < BREAKER_FAILURES; i++)
        breaker_failure(breaker, now_ns);
    cr_assert_eq(breaker->state, BREAKER_OPEN);
}

Test(redis_parts, a_breaker_opens_after_failures_in_a_row_only)
{
    struct breaker breaker = {0};
    for (unsigned i = 0; i < 20; i++) {
        cr_assert(breaker_admit(&breaker, i));
        breaker_failure(&breaker, i);
        breaker_failure(&breaker, i);
        cr_assert_eq(breaker_state(&breaker, i), BREAKER_CLOSED);
        breaker_success(&breaker);
    }
    fail_until_open(&breaker, 100);
    cr_assert_not(breaker_admit(&breaker, 100));
    cr_assert_eq(breaker.opened, 1);
}

Test(redis_parts, a_half_open_breaker_admits_one_probe_at_a_time)
{
    struct breaker breaker = {0};
    fail_until_open(&breaker, 0);
    cr_assert_not(breaker_admit(&breaker, BREAKER_HOLD_MIN_NS - 1));
    cr_assert(breaker_would_admit(&breaker, BREAKER_HOLD_MIN_NS));
    cr_assert(breaker_admit(&breaker, BREAKER_HOLD_MIN_NS));
    cr_assert_eq(breaker_state(&breaker, BREAKER_HOLD_MIN_NS), BREAKER_HALF_OPEN);
    cr_assert_not(breaker_would_admit(&breaker, BREAKER_HOLD_MIN_NS));
    cr_assert_not(breaker_admit(&breaker, 10 * BREAKER_HOLD_MIN_NS));
    breaker_abandon(&breaker);
    cr_assert(breaker_admit(&breaker, BREAKER_HOLD_MIN_NS));
    breaker_success(&breaker);
    cr_assert_eq(breaker_state(&breaker, BREAKER_HOLD_MIN_NS), BREAKER_CLOSED);
    breaker_failure(&breaker, BREAKER_HOLD_MIN_NS);
    cr_assert_eq(breaker_state(&breaker, BREAKER_HOLD_MIN_NS), BREAKER_CLOSED);
}

Test(redis_parts, a_breaker_holds_longer_with_each_failed_probe_up_to_a_bound)
{
    struct breaker breaker = {0};
    fail_until_open(&breaker, 0);
    uint64_t now_ns = 0, hold_ns = BREAKER_HOLD_MIN_NS;
    for (unsigned i = 0; i < 12; i++) {
        cr_assert_eq(breaker.retry_ns, now_ns + hold_ns);
        now_ns = breaker.retry_ns;
        cr_assert(breaker_admit(&breaker, now_ns));
        breaker_failure(&breaker, now_ns);
        cr_assert_eq(breaker.state, BREAKER_OPEN);
        hold_ns = hold_ns * 2 < BREAKER_HOLD_MAX_NS ? hold_ns * 2 : BREAKER_HOLD_MAX_NS;
    }
    cr_assert(breaker_admit(&breaker, breaker.retry_ns));
    breaker_success(&breaker);
    fail_until_open(&breaker, now_ns); /* after a success it begins anew */
    cr_assert_eq(breaker.hold_ns, BREAKER_HOLD_MIN_NS);
}

Test(redis_parts, the_first_answer_closes_a_half_open_breaker_on_trial)
{
    struct breaker breaker = {0};
    fail_until_open(&breaker, 0);
    breaker_answer(&breaker); /* late */
    cr_assert_eq(breaker.state, BREAKER_OPEN);
    uint64_t now_ns = BREAKER_HOLD_MIN_NS;
    cr_assert(breaker_admit(&breaker, now_ns));
    breaker_answer(&breaker);
    cr_assert_eq(breaker_state(&breaker, now_ns), BREAKER_CLOSED);
    cr_assert(breaker_admit(&breaker, now_ns));
    breaker_failure(&breaker, now_ns); /* one is enough */
    cr_assert_eq(breaker_state(&breaker, now_ns), BREAKER_OPEN);
    cr_assert_eq(breaker.hold_ns, 2 * BREAKER_HOLD_MIN_NS);
    now_ns = breaker.retry_ns;
    cr_assert(breaker_admit(&breaker, now_ns));
    breaker_answer(&breaker);
    breaker_success(&breaker);
    breaker_failure(&breaker, now_ns); /* now it takes as many as ever */
    cr_assert_eq(breaker_state(&breaker, now_ns), BREAKER_CLOSED);
}

Test(redis_parts, a_late_answer_does_not_close_an_open_breaker)
{
    struct breaker breaker = {0};
    fail_until_open(&breaker, 5 * MS);
    breaker_success(&breaker);
    breaker_failure(&breaker, 6 * MS);
    cr_assert_eq(breaker_state(&breaker, 6 * MS), BREAKER_OPEN);
    cr_assert_eq(breaker.retry_ns, 5 * MS + BREAKER_HOLD_MIN_NS);
}
