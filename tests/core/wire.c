/* SPDX-License-Identifier: MIT */
/* The wire codec: what is built can be read, and nothing else can. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/wire.h"

static uint8_t buffer[SWI_WIRE_MAX];

/* A packet of this type with `size` bytes of body, all `fill`. */
static size_t packet_of(enum swi_wire_type type, size_t size, uint8_t fill)
{
    static uint8_t body[SWI_WIRE_MAX];
    memset(body, fill, sizeof body);
    struct swi_wire_out out;
    swi_wire_begin(&out, buffer, sizeof buffer, type, 77);
    swi_wire_put(&out, body, size);
    return swi_wire_end(&out);
}

static int parse(size_t length)
{
    struct swi_wire_in in;
    struct swi_error error = {0};
    int result = swi_wire_parse(buffer, length, &in, &error);
    cr_assert(result == 0 || error.text[0], "a refusal says why");
    return result;
}

static const struct {
    enum swi_wire_type type;
    size_t fixed;
} plain[] = {
    {SWI_WIRE_WELCOME, sizeof(struct swi_wire_welcome)},
    {SWI_WIRE_OPENED, sizeof(struct swi_wire_opened)},
    {SWI_WIRE_TABLE, sizeof(struct swi_wire_table)},
    {SWI_WIRE_FILE_IS, sizeof(struct swi_wire_file_is)},
    {SWI_WIRE_LOAD, sizeof(struct swi_wire_load)},
    {SWI_WIRE_CLOSE, sizeof(struct swi_wire_close)},
    {SWI_WIRE_HELLO, sizeof(struct swi_wire_hello)},
    {SWI_WIRE_OPEN, sizeof(struct swi_wire_open)},
    {SWI_WIRE_FILE, sizeof(struct swi_wire_file)},
};
#define PLAIN (sizeof plain / sizeof plain[0])

Test(wire, bodies_without_a_tail_have_one_length, .timeout = 10)
{
    for (size_t i = 0; i < PLAIN; i++) {
        cr_assert_eq(parse(packet_of(plain[i].type, plain[i].fixed, 0)), 0, "type %d",
                     plain[i].type);
        cr_assert_eq(parse(packet_of(plain[i].type, plain[i].fixed - 1, 0)), SW_EPROTOCOL);
        cr_assert_eq(parse(packet_of(plain[i].type, plain[i].fixed + 1, 0)), SW_EPROTOCOL);
        cr_assert_eq(parse(packet_of(plain[i].type, 0, 0)), SW_EPROTOCOL);
    }
}

Test(wire, values_come_back, .timeout = 10)
{
    struct swi_wire_out out;
    struct swi_wire_load load = {.incarnation = UINT64_MAX - 3, .model = 5, .chunk = 6}, got;
    swi_wire_begin(&out, buffer, sizeof buffer, SWI_WIRE_LOAD, 0x1122334455667788);
    swi_wire_put(&out, &load, sizeof load);
    size_t length = swi_wire_end(&out);
    struct swi_wire_in in;
    cr_assert_eq(swi_wire_parse(buffer, length, &in, NULL), 0);
    cr_assert_eq(in.type, SWI_WIRE_LOAD);
    cr_assert_eq(in.tag, 0x1122334455667788);
    cr_assert(swi_wire_get(&in, &got, sizeof got));
    cr_assert(got.incarnation == load.incarnation && got.model == 5 && got.chunk == 6);
    cr_assert_not(swi_wire_get(&in, &got, 1), "nothing is left");
}

Test(wire, heads_that_lie_are_refused, .timeout = 10)
{
    size_t length = packet_of(SWI_WIRE_CLOSE, sizeof(struct swi_wire_close), 0);
    struct swi_wire_head head;
    memcpy(&head, buffer, sizeof head);
    for (size_t cut = 0; cut < length; cut++)
        cr_assert_eq(parse(cut), SW_EPROTOCOL, "cut to %zu", cut);
    static const uint16_t types[] = {0, SWI_WIRE_CONTROL_PART + 1, 255, UINT16_MAX};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct swi_wire_head bad = head;
        bad.type = types[i];
        memcpy(buffer, &bad, sizeof bad);
        cr_assert_eq(parse(length), SW_EPROTOCOL, "type %u", types[i]);
    }
    struct swi_wire_head bad = head;
    bad.version++;
    memcpy(buffer, &bad, sizeof bad);
    cr_assert_eq(parse(length), SW_EVERSION);
    static const uint32_t sizes[] = {0, 1, UINT32_MAX, UINT32_MAX - sizeof head + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        bad = head;
        bad.size = sizes[i];
        memcpy(buffer, &bad, sizeof bad);
        cr_assert_eq(parse(length), SW_EPROTOCOL, "size %u", sizes[i]);
    }
}

Test(wire, names_end_with_a_zero, .timeout = 10)
{
    cr_assert_eq(parse(packet_of(SWI_WIRE_OPEN, sizeof(struct swi_wire_open), 'x')), SW_EPROTOCOL);
    cr_assert_eq(parse(packet_of(SWI_WIRE_FILE, sizeof(struct swi_wire_file), 'x')), SW_EPROTOCOL);
    cr_assert_eq(parse(packet_of(SWI_WIRE_HELLO, sizeof(struct swi_wire_hello), 'x')),
                 SW_EPROTOCOL);
}

Test(wire, tails_are_as_long_as_announced, .timeout = 10)
{
    static const struct {
        enum swi_wire_type type;
        size_t fixed, count_at;
        uint32_t unit;
    } tailed[] = {
        {SWI_WIRE_DONE, sizeof(struct swi_wire_done), offsetof(struct swi_wire_done, text_length),
         1},
        {SWI_WIRE_CONTROL, sizeof(struct swi_wire_text),
         offsetof(struct swi_wire_text, text_length), 1},
        {SWI_WIRE_CONTROL_PART, sizeof(struct swi_wire_text),
         offsetof(struct swi_wire_text, text_length), 1},
        {SWI_WIRE_PREFETCH, sizeof(struct swi_wire_prefetch),
         offsetof(struct swi_wire_prefetch, count), 4},
    };
    for (size_t i = 0; i < sizeof tailed / sizeof tailed[0]; i++)
        for (uint32_t tail = 0; tail < 64; tail++)
            for (uint32_t count = 0; count < 20; count++) {
                size_t length = packet_of(tailed[i].type, tailed[i].fixed + tail, 0);
                memcpy(buffer + sizeof(struct swi_wire_head) + tailed[i].count_at, &count,
                       sizeof count);
                cr_assert_eq(parse(length), count * tailed[i].unit == tail ? 0 : SW_EPROTOCOL,
                             "type %d, tail %u, count %u", tailed[i].type, tail, count);
            }
}

Test(wire, prefetch_counts_neither_wrap_nor_exceed, .timeout = 10)
{
    size_t at = sizeof(struct swi_wire_head) + offsetof(struct swi_wire_prefetch, count);
    size_t length = packet_of(SWI_WIRE_PREFETCH, sizeof(struct swi_wire_prefetch), 0);
    uint32_t count = 0x40000000; /* times four wraps to 0 in 32 bits */
    memcpy(buffer + at, &count, sizeof count);
    cr_assert_eq(parse(length), SW_EPROTOCOL);
    count = SWI_WIRE_PREFETCH_MAX;
    length = packet_of(SWI_WIRE_PREFETCH, sizeof(struct swi_wire_prefetch) + 4 * count, 0);
    memcpy(buffer + at, &count, sizeof count);
    cr_assert_eq(parse(length), 0);
    count++;
    length = packet_of(SWI_WIRE_PREFETCH, sizeof(struct swi_wire_prefetch) + 4 * count, 0);
    memcpy(buffer + at, &count, sizeof count);
    cr_assert_eq(parse(length), SW_EPROTOCOL);
}

Test(wire, rows_of_every_name_length_come_back, .timeout = 10)
{
    char name[SWI_NAME_MAX + 2];
    struct swi_wire_out out;
    swi_wire_begin(&out, buffer, sizeof buffer, SWI_WIRE_TABLE_PART, 1);
    struct swi_wire_table_part part = {.first = 0, .count = SWI_NAME_MAX + 1};
    swi_wire_put(&out, &part, sizeof part);
    for (uint32_t i = 0; i <= SWI_NAME_MAX; i++) {
        memset(name, 'a' + (int)(i % 26), i);
        name[i] = 0;
        cr_assert(swi_wire_put_row(&out, i * 1000ull, i, name));
    }
    memset(name, 'x', SWI_NAME_MAX + 1);
    name[SWI_NAME_MAX + 1] = 0;
    cr_assert_not(swi_wire_put_row(&out, 0, 0, name), "a name too long");
    size_t length = swi_wire_end(&out);
    struct swi_wire_in in;
    cr_assert_eq(swi_wire_parse(buffer, length, &in, NULL), 0);
    cr_assert(swi_wire_get(&in, &part, sizeof part));
    for (uint32_t i = 0; i <= SWI_NAME_MAX; i++) {
        struct swi_wire_row row;
        const char *text;
        cr_assert(swi_wire_get_row(&in, &row, &text), "row %u", i);
        cr_assert(row.bytes == i * 1000ull && row.chunk == i && row.name_length == i);
        for (uint32_t j = 0; j < i; j++)
            cr_assert_eq(text[j], 'a' + (char)(i % 26));
    }
    struct swi_wire_row row;
    const char *text;
    cr_assert_not(swi_wire_get_row(&in, &row, &text));
}

Test(wire, a_row_that_reaches_past_the_packet_is_not_taken, .timeout = 10)
{
    static const uint32_t lengths[] = {9, 255, 256, 0x7fffffff, UINT32_MAX, UINT32_MAX - 6};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct swi_wire_out out;
        swi_wire_begin(&out, buffer, sizeof buffer, SWI_WIRE_TABLE_PART, 1);
        struct swi_wire_table_part part = {.count = 1};
        struct swi_wire_row row = {.name_length = lengths[i]};
        uint64_t name = 0;
        swi_wire_put(&out, &part, sizeof part);
        swi_wire_put(&out, &row, sizeof row);
        swi_wire_put(&out, &name, sizeof name);
        struct swi_wire_in in;
        cr_assert_eq(swi_wire_parse(buffer, swi_wire_end(&out), &in, NULL), 0);
        cr_assert(swi_wire_get(&in, &part, sizeof part));
        const char *text = NULL;
        cr_assert_not(swi_wire_get_row(&in, &row, &text), "length %u", lengths[i]);
        cr_assert_null(text);
    }
}

Test(wire, what_does_not_fit_is_never_sent, .timeout = 10)
{
    uint8_t small[64];
    struct swi_wire_out out;
    swi_wire_begin(&out, small, sizeof small, SWI_WIRE_DONE, 1);
    swi_wire_put(&out, buffer, sizeof small);
    cr_assert(out.overflow);
    swi_wire_put(&out, buffer, 1);
    cr_assert_eq(swi_wire_end(&out), 0, "also when a later piece would have fitted");
    swi_wire_begin(&out, small, 3, SWI_WIRE_DONE, 1);
    cr_assert_eq(swi_wire_end(&out), 0);
    swi_wire_begin(&out, small, sizeof small, SWI_WIRE_TABLE_PART, 1);
    cr_assert(swi_wire_put_row(&out, 1, 1, "0123456789012345"));
    cr_assert_not(swi_wire_put_row(&out, 1, 1, "0123456789"), "the row would cross the end");
    cr_assert_eq(swi_wire_end(&out),
                 sizeof(struct swi_wire_head) + sizeof(struct swi_wire_row) + 16,
                 "and is not there in part");
}

/* Any bytes at all: no read outside them (the sanitizers watch), no wrong acceptance. */
Test(wire, random_packets_do_no_harm, .timeout = 60)
{
    uint64_t state = 7;
    static uint8_t exact[512];
    for (int round = 0; round < 300000; round++) {
        size_t length = 0;
        for (size_t i = 0; i < sizeof exact; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            exact[i] = (uint8_t)(state >> 56);
            if (i == 0)
                length = (size_t)(state >> 33) % sizeof exact;
        }
        struct swi_wire_head head = {.type = exact[0] % 16,
                                     .version = SWI_WIRE_VERSION,
                                     .size = (uint32_t)(length - sizeof head)};
        if (length >= sizeof head && exact[1] < 200)
            memcpy(exact, &head, sizeof head);
        uint8_t *tight = length ? malloc(length) : NULL;
        if (tight)
            memcpy(tight, exact, length);
        struct swi_wire_in in;
        if (tight && swi_wire_parse(tight, length, &in, NULL) == 0) {
            struct swi_wire_row row;
            const char *text;
            size_t left;
            while (in.type == SWI_WIRE_TABLE_PART && swi_wire_get_row(&in, &row, &text))
                cr_assert(text >= (const char *)tight &&
                          text + row.name_length <= (const char *)tight + length);
            text = swi_wire_rest(&in, &left);
            cr_assert(text + left == (const char *)tight + length);
        }
        free(tight);
    }
}
