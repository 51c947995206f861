/* SPDX-License-Identifier: MIT */
/* Building and checking packets. */
#include "core/wire.h"

#include <string.h>

void swi_wire_begin(struct swi_wire_out *out, void *buffer, size_t capacity,
                    enum swi_wire_type type, uint64_t tag)
{
    *out = (struct swi_wire_out){.bytes = buffer, .capacity = capacity};
    struct swi_wire_head head = {.type = (uint16_t)type, .version = SWI_WIRE_VERSION, .tag = tag};
    swi_wire_put(out, &head, sizeof head);
}

void swi_wire_put(struct swi_wire_out *out, const void *data, size_t size)
{
    if (out->overflow || size > out->capacity - out->size) {
        out->overflow = true;
        return;
    }
    if (size)
        memcpy(out->bytes + out->size, data, size);
    out->size += size;
}

static size_t padded(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

bool swi_wire_put_row(struct swi_wire_out *out, uint64_t bytes, uint32_t chunk, const char *name)
{
    size_t length = strlen(name);
    if (length > SWI_NAME_MAX || out->overflow ||
        sizeof(struct swi_wire_row) + padded(length) > out->capacity - out->size)
        return false;
    struct swi_wire_row row = {.bytes = bytes, .chunk = chunk, .name_length = (uint32_t)length};
    static const uint8_t zeros[8] = {0};
    swi_wire_put(out, &row, sizeof row);
    swi_wire_put(out, name, length);
    swi_wire_put(out, zeros, padded(length) - length);
    return true;
}

size_t swi_wire_end(struct swi_wire_out *out)
{
    if (out->overflow)
        return 0;
    uint32_t size = (uint32_t)(out->size - sizeof(struct swi_wire_head));
    memcpy(out->bytes + offsetof(struct swi_wire_head, size), &size, sizeof size);
    return out->size;
}

/* The body of each type: the size of the fixed part, whether a tail may follow, and the place of a
 * zero-terminated name in it. */
static const struct shape {
    uint32_t fixed;
    bool tail;
    uint32_t name_at, name_size;
} shapes[] = {
    [SWI_WIRE_HELLO] = {sizeof(struct swi_wire_hello), false, offsetof(struct swi_wire_hello, name),
                        SWI_CLIENT_MAX + 1},
    [SWI_WIRE_WELCOME] = {sizeof(struct swi_wire_welcome), false, 0, 0},
    [SWI_WIRE_OPEN] = {sizeof(struct swi_wire_open), false, offsetof(struct swi_wire_open, name),
                       SWI_NAME_MAX + 1},
    [SWI_WIRE_OPENED] = {sizeof(struct swi_wire_opened), false, 0, 0},
    [SWI_WIRE_TABLE] = {sizeof(struct swi_wire_table), false, 0, 0},
    [SWI_WIRE_TABLE_PART] = {sizeof(struct swi_wire_table_part), true, 0, 0},
    [SWI_WIRE_FILE] = {sizeof(struct swi_wire_file), false, offsetof(struct swi_wire_file, path),
                       SWI_NAME_MAX + 1},
    [SWI_WIRE_FILE_IS] = {sizeof(struct swi_wire_file_is), false, 0, 0},
    [SWI_WIRE_LOAD] = {sizeof(struct swi_wire_load), false, 0, 0},
    [SWI_WIRE_DONE] = {sizeof(struct swi_wire_done), true, 0, 0},
    [SWI_WIRE_PREFETCH] = {sizeof(struct swi_wire_prefetch), true, 0, 0},
    [SWI_WIRE_CLOSE] = {sizeof(struct swi_wire_close), false, 0, 0},
    [SWI_WIRE_CONTROL] = {sizeof(struct swi_wire_text), true, 0, 0},
    [SWI_WIRE_CONTROL_PART] = {sizeof(struct swi_wire_text), true, 0, 0},
};

/* Whether the tail has the length that the fixed part announces. */
static bool tail_fits(enum swi_wire_type type, const uint8_t *body, size_t tail)
{
    uint32_t count;
    switch (type) {
    case SWI_WIRE_DONE:
        memcpy(&count, body + offsetof(struct swi_wire_done, text_length), sizeof count);
        return count == tail;
    case SWI_WIRE_CONTROL:
    case SWI_WIRE_CONTROL_PART:
        memcpy(&count, body + offsetof(struct swi_wire_text, text_length), sizeof count);
        return count == tail;
    case SWI_WIRE_PREFETCH:
        memcpy(&count, body + offsetof(struct swi_wire_prefetch, count), sizeof count);
        return count <= SWI_WIRE_PREFETCH_MAX && (size_t)count * sizeof(uint32_t) == tail;
    default:
        return true; /* TABLE_PART: swi_wire_get_row checks each row */
    }
}

int swi_wire_parse(const void *packet, size_t length, struct swi_wire_in *ret,
                   struct swi_error *error)
{
    struct swi_wire_head head;
    if (length < sizeof head)
        return swi_fail(error, SW_EPROTOCOL, "a message of %zu bytes is shorter than its header",
                        length);
    memcpy(&head, packet, sizeof head);
    if (head.version != SWI_WIRE_VERSION)
        return swi_fail(error, SW_EVERSION,
                        "the peer speaks protocol version %u, this side %u; use programs of the "
                        "same release",
                        head.version, SWI_WIRE_VERSION);
    if (head.size != length - sizeof head)
        return swi_fail(error, SW_EPROTOCOL, "a message declares %u bytes but has %zu", head.size,
                        length - sizeof head);
    if (head.type == 0 || head.type >= sizeof shapes / sizeof shapes[0])
        return swi_fail(error, SW_EPROTOCOL, "unknown message type %u", head.type);
    const struct shape *shape = &shapes[head.type];
    const uint8_t *body = (const uint8_t *)packet + sizeof head;
    if (head.size < shape->fixed || (!shape->tail && head.size != shape->fixed))
        return swi_fail(error, SW_EPROTOCOL, "message type %u has a body of %u bytes, not %u",
                        head.type, head.size, shape->fixed);
    if (shape->name_size && !memchr(body + shape->name_at, 0, shape->name_size))
        return swi_fail(error, SW_EPROTOCOL, "message type %u has an unterminated name", head.type);
    if (shape->tail && !tail_fits((enum swi_wire_type)head.type, body, head.size - shape->fixed))
        return swi_fail(error, SW_EPROTOCOL, "message type %u has a tail of the wrong length",
                        head.type);
    *ret = (struct swi_wire_in){
        .type = (enum swi_wire_type)head.type, .tag = head.tag, .body = body, .size = head.size};
    return 0;
}

bool swi_wire_get(struct swi_wire_in *in, void *ret, size_t size)
{
    if (size > in->size - in->position)
        return false;
    memcpy(ret, in->body + in->position, size);
    in->position += size;
    return true;
}

bool swi_wire_get_row(struct swi_wire_in *in, struct swi_wire_row *ret, const char **ret_name)
{
    size_t before = in->position;
    struct swi_wire_row row;
    if (!swi_wire_get(in, &row, sizeof row))
        return false;
    if (row.name_length > SWI_NAME_MAX || padded(row.name_length) > in->size - in->position) {
        in->position = before;
        return false;
    }
    *ret_name = (const char *)in->body + in->position;
    in->position += padded(row.name_length);
    *ret = row;
    return true;
}

const char *swi_wire_rest(const struct swi_wire_in *in, size_t *ret_size)
{
    *ret_size = in->size - in->position;
    return (const char *)in->body + in->position;
}
