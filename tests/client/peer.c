/* SPDX-License-Identifier: MIT */
/* The scripted broker of client/peer.h. */
#include "client/peer.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/digest.h"
#include "core/safetensors.h"
#include "core/socket.h"

/* It serves Criterion's tests and plain programs alike, so it stops both in the plain way. */
#define MUST(condition) ((condition) ? (void)0 : give_up(#condition, __LINE__))

static void give_up(const char *what, int line)
{
    fprintf(stderr, "client/peer.c:%d: not so: %s (%s)\n", line, what, strerror(errno));
    abort();
}

#define ELEMENTS 48u /* three panels of one column */

float peer_element(uint32_t component, uint32_t i)
{
    return (float)(component * 1000 + i);
}

/* ---- what it serves -------------------------------------------------------------------------- */

static void make_content(struct peer *peer, uint32_t component)
{
    char names[2][32] = {"b.weight", "a.weight"};
    struct swi_tensor tensors[2] = {
        {.name = names[0],
         .dtype = SW_DTYPE_F32,
         .rank = 3,
         .shape = {3, 1, 16},
         .bytes = 4 * ELEMENTS},
        {.name = names[1],
         .dtype = SW_DTYPE_F32,
         .rank = 2,
         .shape = {6, 8},
         .bytes = 4 * ELEMENTS},
    };
    char key[] = "layout", value[] = "panel", other_key[] = "component", number[] = "0";
    number[0] = (char)('0' + component);
    struct swi_metadata metadata[2] = {{.key = key, .value = value},
                                       {.key = other_key, .value = number}};
    struct swi_safetensors file = {
        .tensors = tensors, .count = 2, .metadata = metadata, .metadata_count = 2};
    char *header;
    size_t header_size;
    uint64_t size;
    struct swi_error error = {0};
    MUST(swi_safetensors_render(&file, SWI_TENSOR_ALIGN, &header, &header_size, &size, &error) ==
         0);
    uint8_t *content = calloc(1, size);
    MUST(content);
    memcpy(content, header, header_size);
    free(header);
    for (size_t t = 0; t < 2; t++)
        for (uint32_t i = 0; i < ELEMENTS; i++) {
            float element =
                peer_element(component, i) + (peer->faults.other_revision ? 0.5f : 0.0f);
            memcpy(content + tensors[t].offset + i * sizeof element, &element, sizeof element);
        }
    if (peer->faults.bad_header)
        memset(content, 0xff, 64);
    peer->content[component] = content;
    peer->bytes[component] = size;
}

static int memory(const char *name, uint64_t bytes, int64_t less, void **ret)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    MUST(fd >= 0);
    MUST(ftruncate(fd, (off_t)bytes) == 0);
    if (ret) {
        *ret = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        MUST(*ret != MAP_FAILED);
    }
    if (less)
        MUST(ftruncate(fd, (off_t)((int64_t)bytes - less)) == 0);
    return fd;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void answer(int fd, enum swi_wire_type type, uint64_t tag, const void *body, size_t size,
                   const int *fds, size_t fd_count)
{
    uint8_t packet[4096];
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, sizeof packet, type, tag);
    swi_wire_put(&out, body, size);
    (void)swi_socket_send(fd, packet, swi_wire_end(&out), fds, fd_count);
}

static void answer_done(int fd, uint64_t tag, int status, const char *text)
{
    uint8_t body[512];
    struct swi_wire_done done = {.status = status, .text_length = (uint32_t)strlen(text)};
    memcpy(body, &done, sizeof done);
    memcpy(body + sizeof done, text, strlen(text));
    answer(fd, SWI_WIRE_DONE, tag, body, sizeof done + strlen(text), NULL, 0);
}

static void welcome(struct peer *peer, uint32_t session, uint64_t tag)
{
    const struct peer_faults *faults = &peer->faults;
    int fd = peer->connection[session];
    if (faults->hello_status) {
        answer_done(fd, tag, faults->hello_status, faults->hello_message);
        return;
    }
    void *page;
    int page_fd = memory("peer-page", sizeof(struct swi_page), 0, &page);
    swi_page_init(page);
    pthread_mutex_lock(&peer->moving);
    if (peer->page[session])
        munmap(peer->page[session], sizeof(struct swi_page));
    peer->page[session] = page;
    peer->revoked[session] = false;
    pthread_mutex_unlock(&peer->moving);
    if (faults->page_less)
        MUST(ftruncate(page_fd, (off_t)((int64_t)sizeof(struct swi_page) - faults->page_less)) ==
             0);
    struct swi_wire_welcome body = {.epoch = swi_session_revoke(peer->index, session),
                                    .instance = peer->index->header.instance,
                                    .arena_bytes = PEER_ARENA,
                                    .session = session,
                                    .broker_pid = (uint32_t)getpid()};
    int fds[4] = {peer->arena_fd, peer->index_fd, page_fd, page_fd};
    size_t count = faults->no_descriptors ? 0 : faults->extra_descriptor ? 4 : 3;
    answer(fd, SWI_WIRE_WELCOME, tag, &body, sizeof body, fds, count);
    close(page_fd);
}

static void send_table(struct peer *peer, int fd, uint64_t tag, uint32_t first)
{
    static const char *const names[PEER_COMPONENTS] = {"embeddings", "layer_0", "layer_1"};
    uint8_t packet[4096];
    struct swi_wire_out out;
    /* One row a part: the client must come back for the rest. */
    struct swi_wire_table_part part = {.first = first, .count = peer->faults.short_table ? 2 : 1};
    swi_wire_begin(&out, packet, sizeof packet, SWI_WIRE_TABLE_PART, tag);
    swi_wire_put(&out, &part, sizeof part);
    uint32_t chunk = peer->faults.bad_chunk_id ? SWI_CHUNKS + first : first;
    swi_wire_put_row(&out, peer->bytes[first], chunk, names[first]);
    (void)swi_socket_send(fd, packet, swi_wire_end(&out), NULL, 0);
}

static void send_file(struct peer *peer, int fd, uint64_t tag, const char *path)
{
    static const char text[] = "{\"model_type\": \"toy\"}";
    if (strcmp(path, "config.json") != 0) {
        answer_done(fd, tag, SW_ENOCOMPONENT, "no such file");
        return;
    }
    struct swi_wire_file_is is = {.bytes = sizeof text - 1 + peer->faults.file_bytes_less};
    int file = memfd_create("peer-file", MFD_CLOEXEC);
    MUST(write(file, text, sizeof text - 1) == (ssize_t)sizeof text - 1);
    answer(fd, SWI_WIRE_FILE_IS, tag, &is, sizeof is, &file, 1);
    close(file);
}

/* A place that no chunk has, another one each time, so that old addresses meet new bytes. */
static uint64_t free_place(struct peer *peer)
{
    for (;;) {
        uint64_t offset = (uint64_t)(peer->next_place++ % (PEER_ARENA >> 20)) << 20;
        bool taken = false;
        for (uint32_t i = 0; i < PEER_COMPONENTS; i++) {
            struct swi_entry_value entry = swi_entry_get(peer->index, i);
            taken = taken || (entry.state != SWI_ABSENT && entry.offset == offset);
        }
        if (!taken)
            return offset;
    }
}

static void put_into_arena(struct peer *peer, uint32_t chunk)
{
    pthread_mutex_lock(&peer->moving);
    if (swi_entry_get(peer->index, chunk).state == SWI_ABSENT) {
        uint64_t offset = free_place(peer);
        swi_entry_begin_load(peer->index, chunk, peer->faults.offset_outside ? PEER_ARENA : offset);
        memcpy(peer->arena + offset, peer->content[chunk], peer->bytes[chunk]);
        swi_entry_publish(peer->index, chunk);
    }
    pthread_mutex_unlock(&peer->moving);
}

static void load(struct peer *peer, int fd, uint64_t tag, uint32_t chunk)
{
    const struct peer_faults *faults = &peer->faults;
    atomic_fetch_add(&peer->loads, 1);
    if (faults->mute)
        return;
    if (faults->load_status) {
        answer_done(fd, tag, faults->load_status, "the disk is on fire");
        return;
    }
    if (faults->backwards && peer->pending_tag == 0) {
        peer->pending_tag = tag;
        peer->pending_chunk = chunk;
        return;
    }
    put_into_arena(peer, chunk);
    if (faults->wrong_type) {
        struct swi_wire_file_is is = {.bytes = 1};
        answer(fd, SWI_WIRE_FILE_IS, tag, &is, sizeof is, NULL, 0);
        return;
    }
    answer_done(fd, faults->foreign_tag ? tag + 1000 : tag, 0, "");
    if (peer->pending_tag) {
        put_into_arena(peer, peer->pending_chunk);
        answer_done(fd, peer->pending_tag, 0, "");
        peer->pending_tag = 0;
    }
}

static void serve(struct peer *peer, uint32_t session)
{
    static _Thread_local uint8_t packet[SWI_WIRE_MAX];
    int fd = peer->connection[session];
    ssize_t length = swi_socket_receive(fd, packet, sizeof packet, NULL, NULL);
    struct swi_wire_in in;
    struct swi_error error;
    if (length <= 0 || swi_wire_parse(packet, (size_t)length, &in, &error) < 0) {
        close(fd);
        peer->connection[session] = -1;
        return;
    }
    struct swi_wire_opened opened = {
        .incarnation = peer->incarnation, .model = 7, .chunks = PEER_COMPONENTS};
    struct swi_wire_open open;
    struct swi_wire_table table;
    struct swi_wire_file file;
    struct swi_wire_load load_it;
    switch (in.type) {
    case SWI_WIRE_HELLO:
        welcome(peer, session, in.tag);
        break;
    case SWI_WIRE_OPEN:
        swi_wire_get(&in, &open, sizeof open);
        if (strcmp(open.name, "toy") == 0)
            answer(fd, SWI_WIRE_OPENED, in.tag, &opened, sizeof opened, NULL, 0);
        else
            answer_done(fd, in.tag, SW_ENOMODEL, "no such model");
        break;
    case SWI_WIRE_TABLE:
        swi_wire_get(&in, &table, sizeof table);
        send_table(peer, fd, in.tag, table.first);
        break;
    case SWI_WIRE_FILE:
        swi_wire_get(&in, &file, sizeof file);
        send_file(peer, fd, in.tag, file.path);
        break;
    case SWI_WIRE_LOAD:
        swi_wire_get(&in, &load_it, sizeof load_it);
        load(peer, fd, in.tag, load_it.chunk);
        break;
    default:
        break;
    }
}

static void admit(struct peer *peer)
{
    int fd = accept4(peer->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    for (uint32_t i = 0; i < PEER_SESSIONS; i++) {
        if (peer->connection[i] < 0) {
            peer->connection[i] = fd;
            atomic_fetch_add(&peer->sessions, 1);
            return;
        }
    }
    close(fd);
}

static void *run(void *context)
{
    struct peer *peer = context;
    for (;;) {
        struct pollfd pollers[2 + PEER_SESSIONS] = {{.fd = peer->wake[0], .events = POLLIN},
                                                    {.fd = peer->listener, .events = POLLIN}};
        for (uint32_t i = 0; i < PEER_SESSIONS; i++)
            pollers[2 + i] = (struct pollfd){.fd = peer->connection[i], .events = POLLIN};
        if (poll(pollers, 2 + PEER_SESSIONS, -1) < 0 && errno != EINTR)
            return NULL;
        if (pollers[0].revents)
            return NULL;
        for (uint32_t i = 0; i < PEER_SESSIONS; i++)
            if (pollers[2 + i].revents)
                serve(peer, i);
        if (pollers[1].revents)
            admit(peer);
    }
}

/* ---- for tests ------------------------------------------------------------------------------- */

void peer_start(struct peer *peer, const char *socket_path, const struct peer_faults *faults)
{
    static uint64_t instances;
    *peer = (struct peer){.socket = socket_path, .incarnation = 100 + ++instances};
    if (faults)
        peer->faults = *faults;
    struct swi_error error = {0};
    peer->listener = swi_socket_listen(socket_path, 0600, &error);
    MUST(peer->listener >= 0);
    MUST(pipe(peer->wake) == 0);
    void *arena, *index;
    peer->arena_fd = memory("peer-arena", PEER_ARENA, peer->faults.arena_less, &arena);
    peer->index_fd = memory("peer-index", sizeof(struct swi_index), 0, &index);
    peer->arena = arena;
    peer->index = index;
    pthread_mutex_init(&peer->moving, NULL);
    swi_index_init(peer->index, instances, PEER_ARENA);
    if (peer->faults.wrong_layout)
        peer->index->header.layout_hash ^= 1;
    if (peer->faults.index_less)
        MUST(ftruncate(peer->index_fd,
                       (off_t)((int64_t)sizeof(struct swi_index) - peer->faults.index_less)) == 0);
    for (uint32_t i = 0; i < PEER_COMPONENTS && !peer->faults.index_less; i++) {
        make_content(peer, i);
        struct swi_digest digest = swi_digest_of(peer->content[i], peer->bytes[i]);
        swi_entry_assign(peer->index, i, peer->incarnation, peer->bytes[i], digest.low,
                         digest.high);
    }
    for (uint32_t i = 0; i < PEER_SESSIONS; i++)
        peer->connection[i] = -1;
    MUST(pthread_create(&peer->thread, NULL, run, peer) == 0);
}

void peer_stop(struct peer *peer)
{
    if (peer->stopped)
        return;
    peer->stopped = true;
    MUST(write(peer->wake[1], "", 1) == 1);
    pthread_join(peer->thread, NULL);
    close(peer->wake[0]);
    close(peer->wake[1]);
    close(peer->listener);
    for (uint32_t i = 0; i < PEER_SESSIONS; i++) {
        if (peer->connection[i] >= 0)
            close(peer->connection[i]);
        if (peer->page[i])
            munmap(peer->page[i], sizeof(struct swi_page));
    }
    munmap(peer->arena, PEER_ARENA);
    munmap(peer->index, sizeof(struct swi_index));
    close(peer->arena_fd);
    close(peer->index_fd);
    for (uint32_t i = 0; i < PEER_COMPONENTS; i++)
        free(peer->content[i]);
    unlink(peer->socket);
}

uint32_t peer_pins(const struct peer *peer, uint32_t component)
{
    uint32_t pins = 0;
    for (uint32_t i = 0; i < PEER_SESSIONS; i++)
        if (peer->page[i] && !peer->revoked[i])
            pins += swi_page_pins(peer->page[i], component);
    return pins;
}

bool peer_evict(struct peer *peer, uint32_t component)
{
    pthread_mutex_lock(&peer->moving);
    bool resident = swi_entry_get(peer->index, component).state == SWI_RESIDENT;
    bool pinned = false;
    if (resident) {
        swi_entry_begin_evict(peer->index, component);
        pinned = peer_pins(peer, component) > 0;
        if (pinned)
            swi_entry_restore_evict(peer->index, component);
        else
            swi_entry_finish_evict(peer->index, component);
    }
    pthread_mutex_unlock(&peer->moving);
    return resident && !pinned;
}

void peer_revoke(struct peer *peer)
{
    pthread_mutex_lock(&peer->moving);
    for (uint32_t i = 0; i < PEER_SESSIONS; i++) {
        (void)swi_session_revoke(peer->index, i);
        peer->revoked[i] = true;
    }
    pthread_mutex_unlock(&peer->moving);
}
