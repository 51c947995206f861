/* SPDX-License-Identifier: MIT */
/* A client that speaks the wire protocol by hand. */
#include "raw.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/digest.h"
#include "core/socket.h"
#include "keep.h"

#define ANSWER_TIMEOUT_S 20

struct raw raw_connect(const struct sup_broker *broker)
{
    struct swi_error error = {0};
    struct raw raw = {.fd = swi_socket_connect(broker->socket, -1, &error)};
    cr_assert_geq(raw.fd, 0, "%s", error.text);
    const struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};
    (void)setsockopt(raw.fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    return raw;
}

bool raw_send_bytes(struct raw *raw, const void *packet, size_t size, const int *fds, size_t count)
{
    int result = swi_socket_send(raw->fd, packet, size, fds, count);
    cr_assert(result == 0 || result == -EPIPE || result == -EAGAIN || result == -ECONNRESET,
              "send: %s", sw_strerror(result));
    return result == 0;
}

bool raw_send(struct raw *raw, enum swi_wire_type type, const void *body, size_t size,
              const void *tail, size_t tail_size)
{
    uint8_t *packet = sup_keep(SWI_WIRE_MAX);
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, SWI_WIRE_MAX, type, ++raw->tag);
    swi_wire_put(&out, body, size);
    swi_wire_put(&out, tail, tail_size);
    return raw_send_bytes(raw, packet, swi_wire_end(&out), NULL, 0);
}

struct raw_answer *raw_receive(struct raw *raw)
{
    struct raw_answer *answer = sup_keep(sizeof *answer);
    ssize_t length = swi_socket_receive(raw->fd, answer->packet, sizeof answer->packet, answer->fds,
                                        &answer->fd_count);
    if (length == 0 || length == -ECONNRESET || length == -EPIPE)
        return NULL;
    cr_assert_gt(length, 0, "no answer: %s", sw_strerror((int)length));
    struct swi_error error;
    cr_assert_eq(swi_wire_parse(answer->packet, (size_t)length, &answer->in, &error), 0, "%s",
                 error.text);
    return answer;
}

static const char *text_of(struct raw_answer *answer)
{
    struct swi_wire_done done;
    (void)swi_wire_get(&answer->in, &done, sizeof done);
    size_t size;
    const char *text = swi_wire_rest(&answer->in, &size);
    return sup_format("%.*s", (int)size, text);
}

struct raw_answer *raw_expect(struct raw *raw, enum swi_wire_type type)
{
    struct raw_answer *answer = raw_receive(raw);
    cr_assert_not_null(answer, "the broker hung up instead of answering");
    cr_assert_eq(answer->in.type, type, "message %d instead of %d: %s", answer->in.type, type,
                 answer->in.type == SWI_WIRE_DONE ? text_of(answer) : "");
    cr_assert_eq(answer->in.tag, raw->tag);
    return answer;
}

int raw_done(struct raw *raw, const char **ret_text)
{
    struct raw_answer *answer = raw_receive(raw);
    cr_assert_not_null(answer, "the broker hung up without a word");
    cr_assert_eq(answer->in.type, SWI_WIRE_DONE, "message %d instead of DONE", answer->in.type);
    struct swi_wire_done done;
    memcpy(&done, answer->in.body, sizeof done);
    const char *text = text_of(answer);
    cr_assert((done.status == 0) == (*text == 0), "status %d with the text '%s'", done.status,
              text);
    if (ret_text)
        *ret_text = text;
    return done.status;
}

json_t *raw_control(struct raw *raw, const char *text)
{
    struct swi_wire_text head = {.text_length = (uint32_t)strlen(text)};
    cr_assert(raw_send(raw, SWI_WIRE_CONTROL, &head, sizeof head, text, strlen(text)));
    struct raw_answer *answer = raw_expect(raw, SWI_WIRE_CONTROL_PART);
    (void)swi_wire_get(&answer->in, &head, sizeof head);
    cr_assert_eq(head.more, 0, "a longer answer than this helper reads");
    size_t size;
    const char *reply_text = swi_wire_rest(&answer->in, &size);
    json_t *reply = json_loadb(reply_text, size, 0, NULL);
    cr_assert(json_is_boolean(json_object_get(reply, "ok")), "%.*s", (int)size, reply_text);
    return reply;
}

void raw_expect_hangup(struct raw *raw)
{
    for (;;) {
        struct raw_answer *answer = raw_receive(raw);
        if (!answer)
            return;
        for (size_t i = 0; i < answer->fd_count; i++)
            close(answer->fds[i]);
    }
}

static void *map(int fd, size_t size, int protection)
{
    void *memory = mmap(NULL, size, protection, MAP_SHARED, fd, 0);
    cr_assert_neq(memory, MAP_FAILED, "mmap: %m");
    return memory;
}

struct raw raw_attach(const struct sup_broker *broker, const char *name)
{
    struct raw raw = raw_connect(broker);
    struct swi_wire_hello hello = {.layout_version = SWI_LAYOUT_VERSION,
                                   .layout_hash = SWI_LAYOUT_HASH};
    strncpy(hello.name, name, sizeof hello.name - 1);
    cr_assert(raw_send(&raw, SWI_WIRE_HELLO, &hello, sizeof hello, NULL, 0));
    struct raw_answer *answer = raw_expect(&raw, SWI_WIRE_WELCOME);
    (void)swi_wire_get(&answer->in, &raw.welcome, sizeof raw.welcome);
    cr_assert_eq(answer->fd_count, 3);
    memcpy(raw.fds, answer->fds, sizeof raw.fds);
    raw.arena = map(raw.fds[0], raw.welcome.arena_bytes, PROT_READ);
    raw.index = map(raw.fds[1], sizeof(struct swi_index), PROT_READ);
    raw.page = map(raw.fds[2], sizeof(struct swi_page), PROT_READ | PROT_WRITE);
    cr_assert(swi_index_compatible(raw.index));
    cr_assert(swi_page_compatible(raw.page));
    cr_assert_eq(swi_session_epoch(raw.index, raw.welcome.session), raw.welcome.epoch);
    return raw;
}

void raw_close(struct raw *raw)
{
    close(raw->fd);
    if (!raw->page)
        return;
    (void)munmap(raw->page, sizeof *raw->page);
    union {
        const void *given;
        void *wanted;
    } arena = {.given = raw->arena}, index = {.given = raw->index};
    (void)munmap(arena.wanted, raw->welcome.arena_bytes);
    (void)munmap(index.wanted, sizeof(struct swi_index));
    for (int i = 0; i < 3; i++)
        close(raw->fds[i]);
    raw->page = NULL;
}

/* ---- models ---------------------------------------------------------------------------------- */

static void ask_open(struct raw *raw, const char *name)
{
    struct swi_wire_open open = {0};
    strncpy(open.name, name, sizeof open.name - 1);
    cr_assert(raw_send(raw, SWI_WIRE_OPEN, &open, sizeof open, NULL, 0));
}

int raw_open_status(struct raw *raw, const char *name)
{
    ask_open(raw, name);
    return raw_done(raw, NULL);
}

struct raw_model raw_open(struct raw *raw, const char *name)
{
    struct raw_model model;
    ask_open(raw, name);
    struct raw_answer *answer = raw_expect(raw, SWI_WIRE_OPENED);
    (void)swi_wire_get(&answer->in, &model.opened, sizeof model.opened);
    cr_assert_leq(model.opened.chunks, 64);
    struct swi_wire_table table = {.model = model.opened.model};
    cr_assert(raw_send(raw, SWI_WIRE_TABLE, &table, sizeof table, NULL, 0));
    answer = raw_expect(raw, SWI_WIRE_TABLE_PART);
    struct swi_wire_table_part part;
    (void)swi_wire_get(&answer->in, &part, sizeof part);
    cr_assert_eq(part.first, 0);
    cr_assert_eq(part.count, model.opened.chunks);
    for (uint32_t i = 0; i < part.count; i++) {
        struct swi_wire_row row;
        const char *text;
        cr_assert(swi_wire_get_row(&answer->in, &row, &text));
        model.ids[i] = row.chunk;
        model.bytes[i] = row.bytes;
        cr_assert_lt(row.name_length, 64);
        memcpy(model.names[i], text, row.name_length);
        model.names[i][row.name_length] = 0;
    }
    return model;
}

uint32_t raw_find(const struct raw_model *model, const char *component)
{
    uint32_t i = 0;
    while (i < model->opened.chunks && strcmp(model->names[i], component) != 0)
        i++;
    cr_assert_lt(i, model->opened.chunks, "no component %s", component);
    return i;
}

int raw_load(struct raw *raw, const struct raw_model *model, uint32_t ordinal,
             const char **ret_text)
{
    const struct swi_wire_load load = {.incarnation = model->opened.incarnation,
                                       .model = model->opened.model,
                                       .chunk = model->ids[ordinal]};
    cr_assert(raw_send(raw, SWI_WIRE_LOAD, &load, sizeof load, NULL, 0));
    return raw_done(raw, ret_text);
}

uint32_t raw_pin(struct raw *raw, const struct raw_model *model, uint32_t ordinal)
{
    uint32_t chunk = model->ids[ordinal];
    int slot = swi_pin_claim(raw->page, chunk, &raw->hint);
    cr_assert_geq(slot, 0);
    struct swi_sight sight;
    for (int tries = 0; tries < 100; tries++) {
        enum swi_look look = swi_pin_look(raw->index, raw->welcome.session, raw->welcome.epoch,
                                          chunk, model->opened.incarnation, &sight);
        if (look == SWI_LOOK_RESIDENT) {
            struct swi_entry_value entry = swi_entry_get(raw->index, chunk);
            struct swi_digest digest = swi_digest_of(raw->arena + sight.offset, sight.bytes);
            cr_assert(digest.low == entry.digest_low && digest.high == entry.digest_high,
                      "%s: wrong bytes in the arena", model->names[ordinal]);
            return (uint32_t)slot;
        }
        cr_assert_eq(look, SWI_LOOK_ABSENT, "look: %d", (int)look);
        const char *text;
        int status = raw_load(raw, model, ordinal, &text);
        cr_assert_eq(status, 0, "%s: %s", model->names[ordinal], text);
    }
    cr_assert_fail("%s never becomes resident", model->names[ordinal]);
    return SWI_SLOTS;
}
