/* SPDX-License-Identifier: MIT */
/* What clients send to the broker and write into their pages, against its sessions, requests,
 * control verbs, cache and recorder. An input is a list of deeds of four connections:
 *
 *   deed (low 4 bits: which; the rest: whose, and a flag), and what it needs
 *
 * The broker may refuse and close whatever it wants. It must not crash or hang, must answer in the
 * protocol's words alone, record nothing that is no trace, and have nothing left when all have
 * gone.
 */
#include <errno.h>
#include <jansson.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker_world.h"
#include "core/socket.h"
#include "core/wire.h"
#include "input.h"
#include "session/quota.h"

#define CLIENTS   4u
#define DEEDS_MAX 200

enum deed {
    GREET,
    RAW,
    OPEN,
    TABLE,
    ASK_FILE,
    LOAD,
    PREFETCH,
    CLOSE,
    CONTROL,
    POKE,
    POKE_RAW,
    CHECK,
    DRAIN,
    TYPED,
    HANG_UP,
    WAIT,
};

struct client {
    int fd; /* -1: not connected */
    struct swi_page *page;
    uint64_t incarnation; /* of the last model that was opened */
    char *text;           /* parts of an answer */
    size_t text_size;
};

static struct client clients[CLIENTS];

/* ---- what the broker says -------------------------------------------------------------------- */

static void take_welcome(struct client *client, const int *fds, size_t count)
{
    struct stat status;
    FUZZ_CHECK(count == 3 && !client->page);
    FUZZ_CHECK(fstat(fds[2], &status) == 0 && status.st_size == (off_t)sizeof(struct swi_page));
    void *page = mmap(NULL, sizeof(struct swi_page), PROT_READ | PROT_WRITE, MAP_SHARED, fds[2], 0);
    FUZZ_CHECK(page != MAP_FAILED);
    client->page = page;
    FUZZ_CHECK(swi_page_compatible(client->page));
    FUZZ_CHECK(ftruncate(fds[2], 4096) < 0 && errno == EPERM);
    FUZZ_CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fds[1], 0) == MAP_FAILED);
}

static void take_part(struct client *client, struct swi_wire_in *in)
{
    struct swi_wire_text head;
    size_t size;
    FUZZ_CHECK(swi_wire_get(in, &head, sizeof head));
    const char *part = swi_wire_rest(in, &size);
    client->text = realloc(client->text, client->text_size + size + 1);
    FUZZ_CHECK(client->text != NULL);
    memcpy(client->text + client->text_size, part, size);
    client->text_size += size;
    if (head.more)
        return;
    json_t *reply = json_loadb(client->text, client->text_size, JSON_REJECT_DUPLICATES, NULL);
    FUZZ_CHECK(json_is_boolean(json_object_get(reply, "ok")) ||
               json_is_object(json_object_get(reply, "progress")));
    json_decref(reply);
    client->text_size = 0;
}

static void take_packet(struct client *client, const uint8_t *packet, size_t length, const int *fds,
                        size_t count)
{
    struct swi_wire_in in;
    struct swi_error error;
    struct swi_wire_done done;
    struct swi_wire_opened opened;
    FUZZ_CHECK(swi_wire_parse(packet, length, &in, &error) == 0);
    FUZZ_CHECK(count == (in.type == SWI_WIRE_WELCOME ? 3u : in.type == SWI_WIRE_FILE_IS ? 1u : 0u));
    switch (in.type) {
    case SWI_WIRE_WELCOME:
        take_welcome(client, fds, count);
        break;
    case SWI_WIRE_OPENED:
        FUZZ_CHECK(swi_wire_get(&in, &opened, sizeof opened) && opened.chunks == WORLD_CHUNKS);
        client->incarnation = opened.incarnation;
        break;
    case SWI_WIRE_DONE:
        FUZZ_CHECK(swi_wire_get(&in, &done, sizeof done) && done.status <= 0);
        FUZZ_CHECK(done.status == 0 || done.text_length > 0);
        break;
    case SWI_WIRE_CONTROL_PART:
        take_part(client, &in);
        break;
    default:
        FUZZ_CHECK(in.type == SWI_WIRE_TABLE_PART || in.type == SWI_WIRE_FILE_IS);
    }
}

static void hang_up(struct client *client)
{
    if (client->fd >= 0)
        (void)close(client->fd);
    if (client->page)
        (void)munmap(client->page, sizeof(struct swi_page));
    free(client->text);
    *client = (struct client){.fd = -1};
}

static void listen_to(struct client *client)
{
    static uint8_t packet[SWI_WIRE_MAX];
    while (client->fd >= 0) {
        int fds[SWI_SOCKET_FDS];
        size_t count = 0;
        ssize_t length = swi_socket_receive(client->fd, packet, sizeof packet, fds, &count);
        if (length == -EAGAIN)
            return;
        if (length <= 0) {
            FUZZ_CHECK(length == 0 || length == -ECONNRESET);
            hang_up(client);
            return;
        }
        take_packet(client, packet, (size_t)length, fds, count);
        for (size_t i = 0; i < count; i++)
            (void)close(fds[i]);
    }
}

/* ---- what clients do ------------------------------------------------------------------------- */

static void say(struct client *client, const void *packet, size_t size, bool with_descriptor)
{
    if (client->fd < 0)
        client->fd = world_connect();
    if (client->fd >= 0)
        (void)swi_socket_send(client->fd, packet, size, &client->fd, with_descriptor);
    (void)world_turn(0);
    listen_to(client);
}

/* A whole message: fixed part, tail. */
static void tell(struct client *client, enum swi_wire_type type, uint64_t tag, const void *body,
                 size_t size, const void *tail, size_t tail_size)
{
    static uint8_t packet[SWI_WIRE_MAX];
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, sizeof packet, type, tag);
    swi_wire_put(&out, body, size);
    swi_wire_put(&out, tail, tail_size);
    say(client, packet, swi_wire_end(&out), false);
}

static void greet(struct client *client, struct fuzz_input *input, bool wrong)
{
    struct swi_wire_hello hello = {.layout_version = SWI_LAYOUT_VERSION,
                                   .layout_hash = SWI_LAYOUT_HASH + wrong};
    size_t size;
    const uint8_t *name = fuzz_bytes(input, fuzz_byte(input) % sizeof hello.name, &size);
    memcpy(hello.name, name, size);
    tell(client, SWI_WIRE_HELLO, 1, &hello, sizeof hello, NULL, 0);
}

static void ask_open(struct client *client, struct fuzz_input *input)
{
    struct swi_wire_open open = {0};
    uint8_t which = fuzz_byte(input);
    size_t size;
    if (which < 2) {
        (void)snprintf(open.name, sizeof open.name, "%s", world_models[which]);
    } else {
        const uint8_t *name = fuzz_bytes(input, which - 2u, &size);
        memcpy(open.name, name, size);
    }
    tell(client, SWI_WIRE_OPEN, 2, &open, sizeof open, NULL, 0);
}

static void ask_file(struct client *client, struct fuzz_input *input)
{
    struct swi_wire_file file = {.model = fuzz_byte(input)};
    size_t size;
    const uint8_t *path = fuzz_bytes(input, fuzz_byte(input), &size);
    memcpy(file.path, path, size);
    tell(client, SWI_WIRE_FILE, 3, &file, sizeof file, NULL, 0);
}

static void ask_load(struct client *client, struct fuzz_input *input, bool wrong)
{
    struct swi_wire_load load = {.model = fuzz_byte(input),
                                 .chunk = (uint32_t)fuzz_number(input, 2)};
    load.incarnation = client->incarnation + wrong;
    tell(client, SWI_WIRE_LOAD, 4, &load, sizeof load, NULL, 0);
}

static void ask_prefetch(struct client *client, struct fuzz_input *input, bool wrong)
{
    static uint32_t chunks[SWI_WIRE_PREFETCH_MAX];
    struct swi_wire_prefetch prefetch = {.model = fuzz_byte(input), .count = fuzz_byte(input)};
    prefetch.incarnation = client->incarnation + wrong;
    for (uint32_t i = 0; i < prefetch.count; i++)
        chunks[i] = (uint32_t)fuzz_number(input, 2);
    tell(client, SWI_WIRE_PREFETCH, 0, &prefetch, sizeof prefetch, chunks,
         prefetch.count * sizeof chunks[0]);
}

static void ask_control(struct client *client, struct fuzz_input *input)
{
    size_t size;
    const uint8_t *text = fuzz_bytes(input, (size_t)fuzz_number(input, 2), &size);
    struct swi_wire_text head = {.text_length = (uint32_t)size};
    tell(client, SWI_WIRE_CONTROL, 5, &head, sizeof head, text, size);
}

/* A head that is right, and any body. */
static void tell_typed(struct client *client, struct fuzz_input *input)
{
    uint8_t type = fuzz_byte(input);
    size_t size;
    const uint8_t *body = fuzz_bytes(input, (size_t)fuzz_number(input, 2), &size);
    tell(client, (enum swi_wire_type)type, 6, body, size, NULL, 0);
}

static void say_raw(struct client *client, struct fuzz_input *input, bool with_descriptor)
{
    size_t size;
    const uint8_t *packet = fuzz_bytes(input, (size_t)fuzz_number(input, 2), &size);
    say(client, packet, size, with_descriptor);
}

/* Writes what a client writes, with any value. */
static void poke(struct client *client, struct fuzz_input *input)
{
    uint8_t what = fuzz_byte(input);
    uint32_t place = (uint32_t)fuzz_number(input, 2);
    uint64_t value = fuzz_number(input, 8);
    if (!client->page)
        return;
    struct swi_page *page = client->page;
    const struct swi_cursor_value cursor = {.incarnation = what & 8 ? client->incarnation : value,
                                            .pass = value >> 40,
                                            .step_ns = value & 0xffffff,
                                            .component = place};
    uint32_t hint = place;
    switch (what & 7) {
    case 0:
        (void)swi_pin_claim(page, (uint32_t)(what & 8 ? value % (2 * WORLD_CHUNKS) : value), &hint);
        break;
    case 1:
        swi_pin_drop(page, place % SWI_SLOTS);
        break;
    case 2:
        swi_cursor_put(page, cache_index(world_broker()->cache), place, &cursor);
        break;
    case 3:
        swi_page_note_hit(page, cache_index(world_broker()->cache), place % SWI_SLOTS,
                          (uint32_t)value % SWI_CHUNKS);
        break;
    case 4:
        swi_page_note_use(page, cache_index(world_broker()->cache), (uint32_t)value % SWI_CHUNKS);
        break;
    case 5:
        memcpy((uint8_t *)page + offsetof(struct swi_page, trace_head), &value, sizeof value);
        break;
    case 6:
        memcpy((uint8_t *)page + offsetof(struct swi_page, use) + place * sizeof value, &value,
               sizeof value);
        break;
    default:
        memcpy((uint8_t *)page + offsetof(struct swi_page, trace) +
                   place % (SWI_TRACE_RECORDS * 8) * sizeof value,
               &value, sizeof value);
    }
}

static void poke_raw(struct client *client, struct fuzz_input *input)
{
    size_t place = (size_t)fuzz_number(input, 3) % sizeof(struct swi_page), size;
    const uint8_t *bytes = fuzz_bytes(input, fuzz_byte(input), &size);
    if (client->page && size <= sizeof(struct swi_page) - place && size)
        memcpy((uint8_t *)client->page + place, bytes, size);
}

static void drain(void)
{
    struct sessions *sessions = &world_broker()->sessions;
    world_trace_start();
    for (uint32_t i = 0; sessions->trace && i < sessions->options->max_sessions; i++)
        if (sessions->by_number[i])
            trace_drain(sessions->trace, i, sessions->by_number[i]->page, loop_now());
}

static void wait_a_little(void)
{
    for (int i = 0; i < 16 && world_busy(); i++)
        (void)world_turn(1);
    for (uint32_t i = 0; i < CLIENTS; i++)
        listen_to(&clients[i]);
}

static void act(struct fuzz_input *input)
{
    uint8_t byte = fuzz_byte(input);
    struct client *client = &clients[byte >> 4 & 3];
    bool flag = byte & 0x80;
    struct swi_wire_table table;
    struct swi_wire_close close_it;
    switch ((enum deed)(byte & 15)) {
    case GREET:
        greet(client, input, flag);
        break;
    case RAW:
        say_raw(client, input, flag);
        break;
    case OPEN:
        ask_open(client, input);
        break;
    case TABLE:
        table = (struct swi_wire_table){.model = fuzz_byte(input),
                                        .first = (uint32_t)fuzz_number(input, flag ? 4 : 1)};
        tell(client, SWI_WIRE_TABLE, 7, &table, sizeof table, NULL, 0);
        break;
    case ASK_FILE:
        ask_file(client, input);
        break;
    case LOAD:
        ask_load(client, input, flag);
        break;
    case PREFETCH:
        ask_prefetch(client, input, flag);
        break;
    case CLOSE:
        close_it = (struct swi_wire_close){.model = fuzz_byte(input)};
        tell(client, SWI_WIRE_CLOSE, 0, &close_it, sizeof close_it, NULL, 0);
        break;
    case CONTROL:
        ask_control(client, input);
        break;
    case POKE:
        poke(client, input);
        break;
    case POKE_RAW:
        poke_raw(client, input);
        break;
    case CHECK:
        sessions_check(&world_broker()->sessions);
        break;
    case DRAIN:
        drain();
        break;
    case TYPED:
        tell_typed(client, input);
        break;
    case HANG_UP:
        hang_up(client);
        break;
    case WAIT:
        wait_a_little();
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = fuzz_input_of(data, size);
    (void)world_broker();
    for (uint32_t i = 0; i < CLIENTS; i++)
        clients[i] = (struct client){.fd = -1};
    for (int i = 0; i < DEEDS_MAX && fuzz_left(&input); i++)
        act(&input);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        listen_to(&clients[i]);
        hang_up(&clients[i]);
    }
    world_settle();
    world_trace_end();
    return 0;
}
