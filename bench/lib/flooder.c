/* SPDX-License-Identifier: MIT */
/* A process of flooding clients: each in turn reads its answers and sends one message. */
#include "lib/flooder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/layout.h"
#include "core/socket.h"
#include "core/wire.h"

#define CLIENTS_MAX  64
#define CHUNKS_KNOWN 64
#define VERDICT_NS   UINT64_C(20000000) /* how long to wait for the answer to a malformed message */

struct client {
    int fd;      /* -1: not connected */
    bool opened; /* handle 0 is open; chunks are known */
    uint64_t incarnation;
    uint32_t chunk[CHUNKS_KNOWN];
    uint32_t chunks;
    uint64_t operations;
    uint64_t
        verdict_ns; /* it broke the protocol: says nothing before it is closed, or until then */
};

struct flooder {
    const struct flood_plan *plan;
    struct flood_count *count;
    struct client client[CLIENTS_MAX];
    unsigned seed;
    uint64_t tag;
    uint8_t packet[SWI_WIRE_MAX + 64];
};

static unsigned dice(struct flooder *flooder, unsigned sides)
{
    return (unsigned)rand_r(&flooder->seed) % sides;
}

/* ---- sending --------------------------------------------------------------------------------- */

static void hang_up(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    client->opened = false;
    client->chunks = 0;
    client->verdict_ns = 0;
}

/* True: sent. The socket may be full; a closed one is reconnected later. */
static bool send_raw(struct client *client, const void *packet, size_t size, int descriptor)
{
    int result = swi_socket_send(client->fd, packet, size, &descriptor, descriptor >= 0);
    if (result < 0 && result != -EAGAIN)
        hang_up(client);
    return result == 0;
}

static bool send_body(struct flooder *flooder, struct client *client, enum swi_wire_type type,
                      const void *body, size_t size, const void *tail, size_t tail_size)
{
    struct swi_wire_out out;
    swi_wire_begin(&out, flooder->packet, SWI_WIRE_MAX, type, ++flooder->tag);
    swi_wire_put(&out, body, size);
    if (tail_size > 0)
        swi_wire_put(&out, tail, tail_size);
    return send_raw(client, flooder->packet, swi_wire_end(&out), -1);
}

static bool say_hello(struct flooder *flooder, struct client *client)
{
    const struct swi_wire_hello hello = {
        .layout_version = SWI_LAYOUT_VERSION, .layout_hash = SWI_LAYOUT_HASH, .name = "flooder"};
    return send_body(flooder, client, SWI_WIRE_HELLO, &hello, sizeof hello, NULL, 0);
}

static bool say_open(struct flooder *flooder, struct client *client)
{
    struct swi_wire_open open = {.name = {0}};
    strncpy(open.name, flooder->plan->model, sizeof open.name - 1);
    return send_body(flooder, client, SWI_WIRE_OPEN, &open, sizeof open, NULL, 0);
}

static bool say_table(struct flooder *flooder, struct client *client)
{
    const struct swi_wire_table table = {.model = 0, .first = dice(flooder, 3)};
    return send_body(flooder, client, SWI_WIRE_TABLE, &table, sizeof table, NULL, 0);
}

/* Blocking, but without waiting for the answers. */
static void connect_anew(struct flooder *flooder, struct client *client)
{
    struct swi_error error;
    client->fd = swi_socket_connect(flooder->plan->socket, 100, &error);
    if (client->fd < 0) {
        client->fd = -1;
        return;
    }
    (void)fcntl(client->fd, F_SETFL, O_NONBLOCK);
    atomic_fetch_add_explicit(&flooder->count->connects, 1, memory_order_relaxed);
    if (say_hello(flooder, client) && say_open(flooder, client))
        (void)say_table(flooder, client);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void learn(struct client *client, struct swi_wire_in *in)
{
    if (in->type == SWI_WIRE_OPENED) {
        struct swi_wire_opened opened;
        if (swi_wire_get(in, &opened, sizeof opened) && opened.model == 0)
            client->incarnation = opened.incarnation;
    } else if (in->type == SWI_WIRE_TABLE_PART) {
        struct swi_wire_table_part part;
        struct swi_wire_row row;
        const char *name;
        if (!swi_wire_get(in, &part, sizeof part))
            return;
        client->chunks = 0;
        while (client->chunks < CHUNKS_KNOWN && swi_wire_get_row(in, &row, &name))
            client->chunk[client->chunks++] = row.chunk;
        client->opened = client->chunks > 0;
    }
}

static void take_answers(struct flooder *flooder, struct client *client)
{
    while (client->fd >= 0) {
        size_t descriptors = 0;
        ssize_t length = swi_socket_receive(client->fd, flooder->packet, sizeof flooder->packet,
                                            NULL, &descriptors);
        if (length == -EAGAIN)
            return;
        if (length <= 0) {
            hang_up(client);
            return;
        }
        struct swi_wire_in in;
        struct swi_error error;
        if (swi_wire_parse(flooder->packet, (size_t)length, &in, &error) == 0)
            learn(client, &in);
    }
}

/* ---- what is allowed ------------------------------------------------------------------------- */

static uint32_t some_chunk(struct flooder *flooder, const struct client *client)
{
    return client->chunk[dice(flooder, client->chunks)];
}

static bool say_load(struct flooder *flooder, struct client *client)
{
    const struct swi_wire_load load = {
        .incarnation = client->incarnation, .model = 0, .chunk = some_chunk(flooder, client)};
    return send_body(flooder, client, SWI_WIRE_LOAD, &load, sizeof load, NULL, 0);
}

static bool say_prefetch(struct flooder *flooder, struct client *client)
{
    uint32_t ids[4];
    for (unsigned i = 0; i < 4; i++)
        ids[i] = some_chunk(flooder, client);
    const struct swi_wire_prefetch prefetch = {
        .incarnation = client->incarnation, .model = 0, .count = 4};
    return send_body(flooder, client, SWI_WIRE_PREFETCH, &prefetch, sizeof prefetch, ids,
                     sizeof ids);
}

static bool say_file(struct flooder *flooder, struct client *client)
{
    const struct swi_wire_file file = {.model = 0, .path = "config.json"};
    return send_body(flooder, client, SWI_WIRE_FILE, &file, sizeof file, NULL, 0);
}

static bool say_close(struct flooder *flooder, struct client *client)
{
    const struct swi_wire_close close_it = {.model = 1 + dice(flooder, 63)};
    return send_body(flooder, client, SWI_WIRE_CLOSE, &close_it, sizeof close_it, NULL, 0);
}

/* Well-formed, but about things that do not exist or belong to others. */
static bool say_nonsense(struct flooder *flooder, struct client *client)
{
    const struct swi_wire_load load = {.incarnation = client->incarnation + dice(flooder, 2),
                                       .model = dice(flooder, 100),
                                       .chunk = dice(flooder, 1u << 17)};
    return send_body(flooder, client, SWI_WIRE_LOAD, &load, sizeof load, NULL, 0);
}

/* ---- what is not ----------------------------------------------------------------------------- */

static bool say_garbage(struct flooder *flooder, struct client *client)
{
    size_t size = 1 + dice(flooder, 4096);
    for (size_t i = 0; i < size; i++)
        flooder->packet[i] = (uint8_t)dice(flooder, 256);
    return send_raw(client, flooder->packet, size, -1);
}

/* A valid TABLE with one error. */
static bool say_spoilt(struct flooder *flooder, struct client *client)
{
    struct swi_wire_head head = {.type = SWI_WIRE_TABLE,
                                 .version = SWI_WIRE_VERSION,
                                 .size = sizeof(struct swi_wire_table),
                                 .tag = 1};
    size_t cut = 0;
    switch (dice(flooder, 5)) {
    case 0:
        head.type = 99;
        break;
    case 1:
        head.version++;
        break;
    case 2:
        head.size++;
        break;
    case 3:
        cut = 1 + dice(flooder, sizeof head + 7);
        break;
    default:
        head.type = SWI_WIRE_WELCOME; /* not a client's to send */
        break;
    }
    memset(flooder->packet, 0, sizeof head + sizeof(struct swi_wire_table));
    memcpy(flooder->packet, &head, sizeof head);
    return send_raw(client, flooder->packet, sizeof head + sizeof(struct swi_wire_table) - cut, -1);
}

static bool say_endless_name(struct flooder *flooder, struct client *client)
{
    struct swi_wire_open open;
    memset(&open, 'A', sizeof open);
    return send_body(flooder, client, SWI_WIRE_OPEN, &open, sizeof open, NULL, 0);
}

static bool say_too_much(struct flooder *flooder, struct client *client)
{
    memset(flooder->packet, 1, sizeof flooder->packet);
    return send_raw(client, flooder->packet, sizeof flooder->packet, -1);
}

static bool say_descriptor(struct flooder *flooder, struct client *client)
{
    const struct swi_wire_table table = {.model = 0};
    struct swi_wire_out out;
    swi_wire_begin(&out, flooder->packet, SWI_WIRE_MAX, SWI_WIRE_TABLE, ++flooder->tag);
    swi_wire_put(&out, &table, sizeof table);
    return send_raw(client, flooder->packet, swi_wire_end(&out), 0);
}

static bool say_malformed(struct flooder *flooder, struct client *client)
{
    static bool (*const kinds[])(struct flooder *, struct client *) = {
        say_garbage,  say_spoilt,     say_spoilt, say_endless_name,
        say_too_much, say_descriptor, say_hello};
    return kinds[dice(flooder, sizeof kinds / sizeof kinds[0])](flooder, client);
}

static bool say_allowed(struct flooder *flooder, struct client *client)
{
    static bool (*const kinds[])(struct flooder *, struct client *) = {
        say_load, say_load, say_load,  say_prefetch, say_table,
        say_file, say_open, say_close, say_close,    say_nonsense};
    if (dice(flooder, 500) == 0) {
        hang_up(client);
        return true;
    }
    return kinds[dice(flooder, sizeof kinds / sizeof kinds[0])](flooder, client);
}

/* ---- the process ----------------------------------------------------------------------------- */

/* One operation. False: the client has to wait for the broker. */
static bool act(struct flooder *flooder, struct client *client)
{
    take_answers(flooder, client);
    if (client->fd < 0) {
        connect_anew(flooder, client);
        return client->fd >= 0;
    }
    if (!client->opened || bench_now_ns() < client->verdict_ns)
        return false;
    bool malformed = dice(flooder, 10) == 0;
    if (!(malformed ? say_malformed : say_allowed)(flooder, client))
        return false;
    client->operations++;
    atomic_fetch_add_explicit(&flooder->count->operations, 1, memory_order_relaxed);
    if (malformed)
        client->verdict_ns = bench_now_ns() + VERDICT_NS;
    if (malformed)
        atomic_fetch_add_explicit(&flooder->count->malformed, 1, memory_order_relaxed);
    return true;
}

static void sweep(struct flooder *flooder, bool flooding)
{
    unsigned acted = 0;
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < flooder->plan->clients; i++) {
        struct client *client = &flooder->client[i];
        if (flooding)
            acted += act(flooder, client);
        else
            take_answers(flooder, client);
        if (client->operations < least)
            least = client->operations;
    }
    atomic_store_explicit(&flooder->count->least, least, memory_order_relaxed);
    if (acted == 0)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

void flood_run(struct seat *seat, void *context)
{
    static struct flooder flooder;
    flooder.plan = context;
    flooder.count = &flooder.plan->board->process[seat->number];
    flooder.seed = seat->number + 1;
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        flooder.client[i].fd = -1;
    for (int go;
         (go = atomic_load_explicit(&flooder.plan->board->go, memory_order_relaxed)) != 2;) {
        sweep(&flooder, go == 1);
        atomic_store_explicit(&flooder.count->standing, go == 0, memory_order_relaxed);
    }
}
