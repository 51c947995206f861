/* SPDX-License-Identifier: MIT */
/* A client that speaks the wire protocol by hand, so that tests can break it: no retry, no check,
 * no courtesy.
 *
 * Every function fails the test when the broker does not do its part within seconds, unless it says
 * otherwise.
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

/* Connects, says nothing. */
struct raw raw_connect(const struct sup_broker *broker);
/* HELLO, and maps what WELCOME brings. */
struct raw raw_attach(const struct sup_broker *broker, const char *name);
void raw_close(struct raw *raw);

/* Sends a request with a fresh tag; body may be followed by a tail. False when the socket does not
 * take it. */
bool raw_send(struct raw *raw, enum swi_wire_type type, const void *body, size_t size,
              const void *tail, size_t tail_size);
/* Sends bytes as they are, with descriptors. */
bool raw_send_bytes(struct raw *raw, const void *packet, size_t size, const int *fds, size_t count);

/* The next message; lives until the test ends. NULL: the broker hung up. */
struct raw_answer *raw_receive(struct raw *raw);
/* The same, and it must answer the last request with that type. */
struct raw_answer *raw_expect(struct raw *raw, enum swi_wire_type type);
/* The next message must be DONE; its status. Its text, when wanted, is zero-terminated. */
int raw_done(struct raw *raw, const char **ret_text);
/* Reads until the broker hangs up. */
void raw_expect_hangup(struct raw *raw);

/* CONTROL with this text; the answer, a new reference. */
json_t *raw_control(struct raw *raw, const char *text);

struct raw_model {
    struct swi_wire_opened opened;
    uint32_t ids[64];
    uint64_t bytes[64];
    char names[64][64];
};
/* OPEN and TABLE. */
struct raw_model raw_open(struct raw *raw, const char *name);
/* OPEN's failure. */
int raw_open_status(struct raw *raw, const char *name);
uint32_t raw_find(const struct raw_model *model, const char *component);

/* LOAD; returns the status. */
int raw_load(struct raw *raw, const struct raw_model *model, uint32_t ordinal,
             const char **ret_text);
/* LOAD until it is resident under a pin, and returns the slot; the bytes are checked against the
 * index's digest. */
uint32_t raw_pin(struct raw *raw, const struct raw_model *model, uint32_t ordinal);

#endif
