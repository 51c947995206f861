/* SPDX-License-Identifier: MIT */
/* See liar.h. */
#include "liar.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/digest.h"
#include "core/lease.h"
#include "core/safetensors.h"
#include "core/socket.h"
#include "core/wire.h"

#define CONNECTIONS 4u
#define ARENA_BYTES (1u << 20)
#define CHUNK_PLACE (64u << 10) /* each chunk has so much room */
#define INCARNATION 7u

enum { HIDDEN = 16, WORDS = 20, POSITIONS = 16, TYPES = 2 };

static const char config_json[] =
    "{\"model_type\":\"bert\",\"num_hidden_layers\":1,\"hidden_size\":16,"
    "\"num_attention_heads\":1,\"intermediate_size\":16,\"vocab_size\":20,"
    "\"max_position_embeddings\":16,\"type_vocab_size\":2}";

struct liar {
    struct fuzz_input lies;
    struct swi_index *index;
    uint8_t *arena;
    int arena_fd, index_fd, listener, wake;
    int connections[CONNECTIONS]; /* -1: free */
    pthread_t thread;
    pthread_mutex_t memory; /* index and arena: one of the two threads changes them at a time */
};

/* ---- the model, made once -------------------------------------------------------------------- */

struct part {
    const char *name;
    uint32_t n, k; /* k 0: a vector */
};

static const struct part parts[LIAR_CHUNKS][16] = {
    {{"word_embeddings.weight", WORDS, HIDDEN},
     {"position_embeddings.weight", POSITIONS, HIDDEN},
     {"token_type_embeddings.weight", TYPES, HIDDEN},
     {"LayerNorm.weight", HIDDEN, 0},
     {"LayerNorm.bias", HIDDEN, 0}},
    {{"attention.self.query.weight", HIDDEN, HIDDEN},
     {"attention.self.query.bias", HIDDEN, 0},
     {"attention.self.key.weight", HIDDEN, HIDDEN},
     {"attention.self.key.bias", HIDDEN, 0},
     {"attention.self.value.weight", HIDDEN, HIDDEN},
     {"attention.self.value.bias", HIDDEN, 0},
     {"attention.output.dense.weight", HIDDEN, HIDDEN},
     {"attention.output.dense.bias", HIDDEN, 0},
     {"attention.output.LayerNorm.weight", HIDDEN, 0},
     {"attention.output.LayerNorm.bias", HIDDEN, 0},
     {"intermediate.dense.weight", HIDDEN, HIDDEN},
     {"intermediate.dense.bias", HIDDEN, 0},
     {"output.dense.weight", HIDDEN, HIDDEN},
     {"output.dense.bias", HIDDEN, 0},
     {"output.LayerNorm.weight", HIDDEN, 0},
     {"output.LayerNorm.bias", HIDDEN, 0}},
    {{"dense.weight", HIDDEN, HIDDEN}, {"dense.bias", HIDDEN, 0}},
};
static const char *const chunk_names[LIAR_CHUNKS] = {"embeddings", "layer_0", "pooler"};

static struct {
    uint8_t bytes[CHUNK_PLACE];
    uint64_t size;
} contents[LIAR_CHUNKS];

static void make_content(uint32_t chunk)
{
    struct swi_tensor tensors[16] = {0};
    struct swi_safetensors file = {.tensors = tensors};
    for (; file.count < 16 && parts[chunk][file.count].name; file.count++) {
        const struct part *part = &parts[chunk][file.count];
        struct swi_tensor *tensor = &tensors[file.count];
        tensor->name = (char *)(uintptr_t)part->name;
        tensor->dtype = SW_DTYPE_F32;
        tensor->rank = part->k ? 2 : 1;
        tensor->shape[0] = part->n;
        tensor->shape[1] = part->k;
        tensor->bytes = (uint64_t)part->n * (part->k ? part->k : 1) * sizeof(float);
    }
    char *header;
    size_t header_size;
    FUZZ_CHECK(swi_safetensors_render(&file, SWI_TENSOR_ALIGN, &header, &header_size,
                                      &contents[chunk].size, NULL) == 0);
    FUZZ_CHECK(contents[chunk].size <= CHUNK_PLACE);
    memcpy(contents[chunk].bytes, header, header_size);
    free(header);
    for (uint64_t at = header_size; at + sizeof(float) <= contents[chunk].size;
         at += sizeof(float)) {
        float value = (float)(at % 97) / 97;
        memcpy(contents[chunk].bytes + at, &value, sizeof value);
    }
}

/* ---- shared memory --------------------------------------------------------------------------- */

static int make_memory(const char *name, size_t size, void **ret)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    *ret = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    FUZZ_CHECK(*ret != MAP_FAILED);
    return fd;
}

static void make_arena(struct liar *liar)
{
    void *arena, *index;
    liar->arena_fd = make_memory("liar-arena", ARENA_BYTES, &arena);
    liar->index_fd = make_memory("liar-index", sizeof(struct swi_index), &index);
    liar->arena = arena;
    liar->index = index;
    swi_index_init(liar->index, 1, ARENA_BYTES);
    for (uint32_t i = 0; i < LIAR_CHUNKS; i++) {
        if (!contents[i].size)
            make_content(i);
        struct swi_digest digest = swi_digest_of(contents[i].bytes, contents[i].size);
        swi_entry_assign(liar->index, i, INCARNATION, contents[i].size, digest.low, digest.high);
    }
}

static void load(struct liar *liar, uint32_t chunk)
{
    if (chunk >= LIAR_CHUNKS || swi_entry_get(liar->index, chunk).state != SWI_ABSENT)
        return;
    swi_entry_begin_load(liar->index, chunk, (uint64_t)chunk * CHUNK_PLACE);
    memcpy(liar->arena + (size_t)chunk * CHUNK_PLACE, contents[chunk].bytes, contents[chunk].size);
    swi_entry_publish(liar->index, chunk);
}

static void poke(struct liar *liar, struct fuzz_input *input)
{
    uint8_t what = fuzz_byte(input), which = fuzz_byte(input);
    uint32_t chunk = which % LIAR_CHUNKS;
    uint64_t value = fuzz_number(input, 8);
    uint8_t *index = (uint8_t *)liar->index, *entry = (uint8_t *)&liar->index->entry[chunk];
    size_t size;
    const uint8_t *bytes;
    switch (what % 6) {
    case 0: /* a whole field of an entry */
        memcpy(entry + which / LIAR_CHUNKS % 8 * sizeof value, &value, sizeof value);
        break;
    case 1: /* of the header, or an epoch */
        memcpy(index + (which % 8 ? which % 8 * sizeof value : 4096), &value, sizeof value);
        break;
    case 2:
        (void)swi_session_revoke(liar->index, 0);
        break;
    case 3:
        load(liar, chunk);
        break;
    case 4: /* resident or not, in another generation */
        value = (value & 0xff) << SWI_STATE_BITS | (value >> 8 & SWI_STATE_MASK);
        memcpy(entry, &value, sizeof value);
        break;
    default: /* bytes of a chunk */
        bytes = fuzz_bytes(input, which, &size);
        if (size)
            memcpy(liar->arena + (size_t)(value % (ARENA_BYTES - 256)), bytes, size);
    }
}

void liar_poke(struct liar *liar, struct fuzz_input *input)
{
    FUZZ_CHECK(pthread_mutex_lock(&liar->memory) == 0);
    poke(liar, input);
    FUZZ_CHECK(pthread_mutex_unlock(&liar->memory) == 0);
}

/* ---- answers --------------------------------------------------------------------------------- */

struct answer {
    struct swi_wire_out out;
    uint8_t bytes[8192];
    int fds[SWI_SOCKET_FDS];
    size_t fd_count;
};

static void put(struct answer *answer, enum swi_wire_type type, uint64_t tag, const void *body,
                size_t size)
{
    swi_wire_begin(&answer->out, answer->bytes, sizeof answer->bytes, type, tag);
    swi_wire_put(&answer->out, body, size);
}

static void add_fd(struct answer *answer, int fd)
{
    if (answer->fd_count < SWI_SOCKET_FDS)
        answer->fds[answer->fd_count++] = fd;
}

static void put_file(struct answer *answer, uint64_t tag, const void *bytes, size_t size)
{
    struct swi_wire_file_is is = {.bytes = size};
    int fd = memfd_create("liar-file", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    put(answer, SWI_WIRE_FILE_IS, tag, &is, sizeof is);
    add_fd(answer, fd);
}

static void put_done(struct answer *answer, uint64_t tag, int32_t status, size_t text)
{
    static const char words[] = "it did not work, and this is why";
    struct swi_wire_done done = {.status = status, .text_length = (uint32_t)(text % sizeof words)};
    put(answer, SWI_WIRE_DONE, tag, &done, sizeof done);
    swi_wire_put(&answer->out, words, done.text_length);
}

static void put_welcome(struct liar *liar, struct answer *answer, uint64_t tag)
{
    void *page;
    int fd = make_memory("liar-page", sizeof(struct swi_page), &page);
    swi_page_init(page);
    (void)munmap(page, sizeof(struct swi_page));
    struct swi_wire_welcome body = {.epoch = swi_session_epoch(liar->index, 0),
                                    .instance = liar->index->header.instance,
                                    .arena_bytes = liar->index->header.arena_bytes};
    put(answer, SWI_WIRE_WELCOME, tag, &body, sizeof body);
    add_fd(answer, dup(liar->arena_fd));
    add_fd(answer, dup(liar->index_fd));
    add_fd(answer, fd);
}

static void put_table(struct answer *answer, uint64_t tag, uint32_t first)
{
    struct swi_wire_table_part part = {.first = first,
                                       .count = first < LIAR_CHUNKS ? LIAR_CHUNKS - first : 0};
    put(answer, SWI_WIRE_TABLE_PART, tag, &part, sizeof part);
    for (uint32_t i = first; i < LIAR_CHUNKS; i++)
        (void)swi_wire_put_row(&answer->out, contents[i].size, i, chunk_names[i]);
}

/* The truth. False: such a message has no answer. */
static bool put_truth(struct liar *liar, struct answer *answer, struct swi_wire_in *in)
{
    const struct swi_wire_opened opened = {.incarnation = INCARNATION, .chunks = LIAR_CHUNKS};
    struct swi_wire_table table;
    struct swi_wire_file file;
    struct swi_wire_load load_it;
    switch (in->type) {
    case SWI_WIRE_HELLO:
        put_welcome(liar, answer, in->tag);
        return true;
    case SWI_WIRE_OPEN:
        put(answer, SWI_WIRE_OPENED, in->tag, &opened, sizeof opened);
        return true;
    case SWI_WIRE_TABLE:
        FUZZ_CHECK(swi_wire_get(in, &table, sizeof table));
        put_table(answer, in->tag, table.first);
        return true;
    case SWI_WIRE_FILE:
        FUZZ_CHECK(swi_wire_get(in, &file, sizeof file));
        if (strcmp(file.path, "config.json") == 0)
            put_file(answer, in->tag, config_json, sizeof config_json - 1);
        else
            put_done(answer, in->tag, SW_ENOCOMPONENT, 8);
        return true;
    case SWI_WIRE_LOAD:
        FUZZ_CHECK(swi_wire_get(in, &load_it, sizeof load_it));
        load(liar, load_it.chunk);
        put_done(answer, in->tag, 0, 0);
        return true;
    default:
        return false;
    }
}

static void change_fds(struct answer *answer, uint8_t how)
{
    int pipes[2];
    if (how & 1 && answer->fd_count > 0)
        (void)close(answer->fds[--answer->fd_count]);
    if (how & 2)
        add_fd(answer, open("/dev/null", O_RDWR | O_CLOEXEC));
    if (how & 4) {
        FUZZ_CHECK(pipe2(pipes, O_CLOEXEC) == 0);
        (void)close(pipes[1]);
        add_fd(answer, pipes[0]);
    }
    if (how & 8 && answer->fd_count > 1) {
        int first = answer->fds[0];
        answer->fds[0] = answer->fds[answer->fd_count - 1];
        answer->fds[answer->fd_count - 1] = first;
    }
    if (how & 16 && answer->fd_count > 0) { /* memory of another length */
        int *last = &answer->fds[answer->fd_count - 1];
        (void)close(*last);
        *last = memfd_create("liar-other", MFD_CLOEXEC);
        FUZZ_CHECK(*last >= 0 && ftruncate(*last, how & 32 ? 0 : ARENA_BYTES) == 0);
    }
}

static void send_answer(int fd, struct answer *answer)
{
    size_t size = swi_wire_end(&answer->out);
    if (size)
        (void)swi_socket_send(fd, answer->bytes, size, answer->fds, answer->fd_count);
}

/* One answer, true or not. False: the connection is to be closed. */
static bool tell(struct liar *liar, int fd, struct answer *answer, struct swi_wire_in *in)
{
    uint8_t lie = fuzz_left(&liar->lies) ? fuzz_byte(&liar->lies) : 0;
    size_t size, place;
    const uint8_t *bytes;
    bool answered = put_truth(liar, answer, in);
    switch (lie % 10) {
    case 1: /* any packet */
        bytes = fuzz_bytes(&liar->lies, fuzz_byte(&liar->lies), &size);
        (void)swi_socket_send(fd, bytes, size, answer->fds, answer->fd_count);
        return true;
    case 2: /* the truth with changed bytes */
        for (int i = 0; i < 1 + lie / 10 % 4; i++) {
            place = fuzz_byte(&liar->lies) + (lie & 0x80 ? 0u : sizeof(struct swi_wire_head));
            if (answered && place < answer->out.size)
                answer->bytes[place] ^= fuzz_byte(&liar->lies);
        }
        break;
    case 3: /* a failure, or a false success */
        put_done(answer, in->tag, (int8_t)fuzz_byte(&liar->lies), fuzz_byte(&liar->lies));
        break;
    case 4: /* a message of another type with the right tag */
        put(answer, (enum swi_wire_type)fuzz_byte(&liar->lies), in->tag, NULL, 0);
        bytes = fuzz_bytes(&liar->lies, fuzz_byte(&liar->lies), &size);
        swi_wire_put(&answer->out, bytes, size);
        break;
    case 5:
        return false;
    case 6: /* with other descriptors */
        change_fds(answer, fuzz_byte(&liar->lies));
        break;
    case 7: /* memory that does not fit the answer */
        poke(liar, &liar->lies);
        break;
    case 8: /* twice */
        if (answered)
            send_answer(fd, answer);
        break;
    case 9: /* another file */
        bytes = fuzz_bytes(&liar->lies, (size_t)fuzz_number(&liar->lies, 2), &size);
        if (in->type == SWI_WIRE_FILE) {
            while (answer->fd_count > 0)
                (void)close(answer->fds[--answer->fd_count]);
            put_file(answer, in->tag, bytes, size);
        }
        break;
    default:
        break;
    }
    if (answered)
        send_answer(fd, answer);
    return true;
}

/* False: the connection is to be closed. */
static bool serve(struct liar *liar, int fd)
{
    static uint8_t packet[SWI_WIRE_MAX];
    static struct answer answer;
    struct swi_wire_in in;
    struct swi_error error;
    ssize_t length = swi_socket_receive(fd, packet, sizeof packet, NULL, NULL);
    if (length <= 0)
        return false;
    /* the library is honest, whatever it has been told */
    FUZZ_CHECK(swi_wire_parse(packet, (size_t)length, &in, &error) == 0);
    answer.fd_count = 0;
    FUZZ_CHECK(pthread_mutex_lock(&liar->memory) == 0);
    bool stays = tell(liar, fd, &answer, &in);
    FUZZ_CHECK(pthread_mutex_unlock(&liar->memory) == 0);
    for (size_t i = 0; i < answer.fd_count; i++)
        (void)close(answer.fds[i]);
    return stays;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void admit(struct liar *liar)
{
    int fd = accept4(liar->listener, NULL, NULL, SOCK_CLOEXEC);
    for (uint32_t i = 0; fd >= 0 && i < CONNECTIONS; i++)
        if (liar->connections[i] < 0) {
            liar->connections[i] = fd;
            return;
        }
    if (fd >= 0)
        (void)close(fd);
}

static void *run(void *context)
{
    struct liar *liar = context;
    for (;;) {
        struct pollfd pollers[2 + CONNECTIONS] = {{.fd = liar->wake, .events = POLLIN},
                                                  {.fd = liar->listener, .events = POLLIN}};
        for (uint32_t i = 0; i < CONNECTIONS; i++)
            pollers[2 + i] = (struct pollfd){.fd = liar->connections[i], .events = POLLIN};
        FUZZ_CHECK(poll(pollers, 2 + CONNECTIONS, -1) > 0 || errno == EINTR);
        if (pollers[0].revents)
            return NULL;
        for (uint32_t i = 0; i < CONNECTIONS; i++)
            if (pollers[2 + i].revents && !serve(liar, liar->connections[i])) {
                (void)close(liar->connections[i]);
                liar->connections[i] = -1;
            }
        if (pollers[1].revents)
            admit(liar);
    }
}

static char socket_path[64];

static void remove_socket(void)
{
    (void)unlink(socket_path);
    char *slash = strrchr(socket_path, '/');
    *slash = 0;
    (void)rmdir(socket_path);
}

/* One for the process: making and removing it would cost more than an input. */
static int listener(void)
{
    static int fd = -1;
    struct swi_error error = {0};
    const char *parent = getenv("TMPDIR");
    if (fd >= 0)
        return fd;
    (void)snprintf(socket_path, sizeof socket_path, "%.30s/sw-fuzz-XXXXXX",
                   parent ? parent : "/tmp");
    FUZZ_CHECK(mkdtemp(socket_path) != NULL);
    (void)strcat(socket_path, "/socket");
    FUZZ_CHECK(atexit(remove_socket) == 0);
    fd = swi_socket_listen(socket_path, 0600, &error);
    FUZZ_CHECK(fd >= 0);
    return fd;
}

struct liar *liar_start(struct fuzz_input lies)
{
    struct liar *liar = calloc(1, sizeof *liar);
    FUZZ_CHECK(liar != NULL);
    liar->lies = lies;
    liar->listener = listener();
    liar->wake = eventfd(0, EFD_CLOEXEC);
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        liar->connections[i] = -1;
    make_arena(liar);
    FUZZ_CHECK(pthread_mutex_init(&liar->memory, NULL) == 0);
    FUZZ_CHECK(liar->wake >= 0 && pthread_create(&liar->thread, NULL, run, liar) == 0);
    return liar;
}

void liar_stop(struct liar *liar)
{
    FUZZ_CHECK(eventfd_write(liar->wake, 1) == 0 && pthread_join(liar->thread, NULL) == 0);
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        if (liar->connections[i] >= 0)
            (void)close(liar->connections[i]);
    for (int fd; (fd = accept4(liar->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
        (void)close(fd);
    (void)munmap(liar->arena, ARENA_BYTES);
    (void)munmap(liar->index, sizeof(struct swi_index));
    (void)close(liar->arena_fd);
    (void)close(liar->index_fd);
    (void)close(liar->wake);
    (void)pthread_mutex_destroy(&liar->memory);
    free(liar);
}

const char *liar_socket(const struct liar *liar)
{
    (void)liar;
    return socket_path;
}
