/* SPDX-License-Identifier: MIT */
/* A client that speaks the wire protocol by hand, so that tests can break it. It neither retries
 * nor checks anything.
 *
 * Unless noted otherwise, a function fails the test if the broker does not answer within seconds.
 */
#ifndef SWT_SUPPORT_RAW_H
#define SWT_SUPPORT_RAW_H

#include "core/lease.h"
#include "core/wire.h"
#include "support.h"

struct raw {
    int fd;
    uint64_t tag; /* of the last request */
    /* after raw_attach */
    struct swi_wire_welcome welcome;
    int fds[3]; /* arena, index, page */
    const uint8_t *arena;
    const struct swi_index *index;
    struct swi_page *page;
    uint32_t hint;
};

struct raw_answer {
    struct swi_wire_in in;
    int fds[4];
    size_t fd_count;
    uint8_t packet[SWI_WIRE_MAX];
};

/* Connects and sends nothing. */
struct raw raw_connect(const struct sup_broker *broker);
/* Sends HELLO and maps the arena that WELCOME passes. */
struct raw raw_attach(const struct sup_broker *broker, const char *name);
void raw_close(struct raw *raw);

/* Sends a request with a new tag; a tail may follow the body. Returns false if the socket refuses
 * it. */
bool raw_send(struct raw *raw, enum swi_wire_type type, const void *body, size_t size,
              const void *tail, size_t tail_size);
/* Sends raw bytes and descriptors. */
bool raw_send_bytes(struct raw *raw, const void *packet, size_t size, const int *fds, size_t count);

/* Returns the next message, which lives until the test ends; NULL if the broker hung up. */
struct raw_answer *raw_receive(struct raw *raw);
/* The same; the message must have this type and answer the last request. */
struct raw_answer *raw_expect(struct raw *raw, enum swi_wire_type type);
/* Returns the status of the next message, which must be DONE. *ret_text, unless NULL, is
 * zero-terminated. */
int raw_done(struct raw *raw, const char **ret_text);
/* Reads until the broker hangs up. */
void raw_expect_hangup(struct raw *raw);

/* Sends CONTROL with this text; returns the answer, a new reference. */
json_t *raw_control(struct raw *raw, const char *text);

struct raw_model {
    struct swi_wire_opened opened;
    uint32_t ids[64];
    uint64_t bytes[64];
    char names[64][64];
};
/* Sends OPEN, then TABLE. */
struct raw_model raw_open(struct raw *raw, const char *name);
/* Sends OPEN, which must fail; returns the status. */
int raw_open_status(struct raw *raw, const char *name);
uint32_t raw_find(const struct raw_model *model, const char *component);

/* Sends LOAD; returns the status. */
int raw_load(struct raw *raw, const struct raw_model *model, uint32_t ordinal,
             const char **ret_text);
/* Repeats LOAD until the chunk is resident and pinned, checks its bytes against the index's digest,
 * and returns the slot. */
uint32_t raw_pin(struct raw *raw, const struct raw_model *model, uint32_t ordinal);

#endif
