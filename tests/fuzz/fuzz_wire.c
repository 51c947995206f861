/* SPDX-License-Identifier: MIT */
/* A packet, as either end receives it: whatever is accepted lies inside the packet, and is byte for
 * byte what the writer of such a packet writes. */
#include "core/wire.h"
#include "input.h"

static void check_rows(struct swi_wire_in in)
{
    struct swi_wire_table_part part;
    struct swi_wire_row row;
    const char *name;
    FUZZ_CHECK(swi_wire_get(&in, &part, sizeof part));
    while (swi_wire_get_row(&in, &row, &name)) {
        const uint8_t *start = (const uint8_t *)name;
        FUZZ_CHECK(row.name_length <= SWI_NAME_MAX);
        FUZZ_CHECK(start >= in.body && start + row.name_length <= in.body + in.size);
        FUZZ_CHECK(in.position <= in.size);
    }
}

static void check_text(struct swi_wire_in in)
{
    struct swi_wire_text text;
    size_t size;
    FUZZ_CHECK(sizeof text == sizeof(struct swi_wire_done));
    FUZZ_CHECK(swi_wire_get(&in, &text, sizeof text));
    const char *rest = swi_wire_rest(&in, &size);
    FUZZ_CHECK(size == text.text_length && rest + size == (const char *)in.body + in.size);
}

static void check_prefetch(struct swi_wire_in in)
{
    struct swi_wire_prefetch prefetch;
    uint32_t chunk, count = 0;
    FUZZ_CHECK(swi_wire_get(&in, &prefetch, sizeof prefetch));
    while (swi_wire_get(&in, &chunk, sizeof chunk))
        count++;
    FUZZ_CHECK(count == prefetch.count && count <= SWI_WIRE_PREFETCH_MAX);
}

/* Handlers copy these names into C strings. */
static void check_names(struct swi_wire_in in)
{
    struct swi_wire_hello hello;
    struct swi_wire_open open;
    struct swi_wire_file file;
    if (in.type == SWI_WIRE_HELLO)
        FUZZ_CHECK(swi_wire_get(&in, &hello, sizeof hello) &&
                   memchr(hello.name, 0, sizeof hello.name));
    if (in.type == SWI_WIRE_OPEN)
        FUZZ_CHECK(swi_wire_get(&in, &open, sizeof open) && memchr(open.name, 0, sizeof open.name));
    if (in.type == SWI_WIRE_FILE)
        FUZZ_CHECK(swi_wire_get(&in, &file, sizeof file) && memchr(file.path, 0, sizeof file.path));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct swi_wire_in in;
    struct swi_error error = {0};
    if (swi_wire_parse(data, size, &in, &error) < 0) {
        FUZZ_CHECK(error.text[0] != 0);
        return 0;
    }
    FUZZ_CHECK(in.position == 0 && in.body + in.size == data + size);
    check_names(in);
    if (in.type == SWI_WIRE_TABLE_PART)
        check_rows(in);
    if (in.type == SWI_WIRE_PREFETCH)
        check_prefetch(in);
    if (in.type == SWI_WIRE_DONE || in.type == SWI_WIRE_CONTROL || in.type == SWI_WIRE_CONTROL_PART)
        check_text(in);
    static uint8_t again[SWI_WIRE_MAX];
    struct swi_wire_out out;
    if (size <= sizeof again) {
        swi_wire_begin(&out, again, sizeof again, in.type, in.tag);
        swi_wire_put(&out, in.body, in.size);
        FUZZ_CHECK(swi_wire_end(&out) == size && memcmp(again, data, size) == 0);
    }
    return 0;
}
