/* SPDX-License-Identifier: MIT */
/* Surfing Weights client: connection, models, leases and components.
 *
 * A client is one session with the broker. It maps the broker's arena (all cached weights) and index
 * read-only, and one page of its own that it writes its pins into. A resident chunk is leased without a
 * system call and without a message.
 *
 * Threads: every function may be called from several threads at once on the same handle, except that a
 *   handle must not be closed while another thread uses it, and a lease or component handle belongs to
 *   one thread at a time.
 * Fork: a child gets a session of its own at its first call; leases it inherited answer SW_EFORK. Their
 *   bytes stay readable in the child until that call, as long as the parent holds the lease.
 * Broker gone: what is mapped goes on serving hits; a miss connects again with back-off, and a process
 *   that only hits moves to the next broker within a fraction of a second of its start. Held leases
 *   stay readable, on the old arena.
 * Options structs begin with their own size, so that either side may be newer: use SW_INIT.
 */
#ifndef SW_CLIENT_H
#define SW_CLIENT_H

#include <sw/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sw_client sw_client;       /* a session with the broker */
typedef struct sw_model sw_model;         /* one revision of one model, opened by a client */
typedef struct sw_component sw_component; /* a leased chunk with its parsed tensor views */

/* ---- connection ------------------------------------------------------------------------------- */

struct sw_client_options {
    size_t size;             /* sizeof(struct sw_client_options) */
    const char *socket_path; /* NULL: $SW_SOCKET, else /run/swbroker/swbroker.sock */
    const char *name;        /* shown by swctl clients; NULL: the program's name */
    int timeout_ms;          /* deadline of every wait on the broker; 0: 30000; < 0: none */
    int any_server_uid;      /* 0: the broker must run as root, as this process's own uid, or as
                                the owner of the socket file's directory; 1: trust any */
    char *error;             /* NULL, or where a failed open writes its message */
    size_t error_size;
    int autostart;           /* 1: where no broker answers, start a private one; 0: as
                                $SW_AUTOSTART says (1 or 0); -1: never */
    const char *chunks_dir;  /* what it serves: a model's directory or a folder of them; NULL:
                                $SW_CHUNKS_DIR */
    const char *cache_size;  /* of it, as swbrokerd --cache-size; NULL: $SW_CACHE_SIZE, else its
                                default */
    const char *broker_path; /* absolute path of swbrokerd; NULL: $SW_BROKER, else where it is
                                installed, else in $PATH */
};

/* A private broker is this user's alone. Every process of the user that names the same chunks
 * directory shares it, whoever started it, with the cache size of whoever did; it ends two seconds
 * after its last client. It is no child of the process that starts it. sw_client_open, and a client
 * whose broker has gone, wait for it as for any other; a start that fails is -ECONNREFUSED (the message
 * has the broker's own last line), -EINVAL (no chunks directory), -ENOENT (it or the program is not
 * there), SW_EUNTRUSTED (somebody else can write where its socket is to be), or another -errno. */

/* Connects and attaches. ret_client is owned by the caller: sw_client_close.
 * With options NULL every default applies. Errors: -ENOENT/-ECONNREFUSED (no broker at that path),
 * -EACCES, SW_EUNTRUSTED, SW_EVERSION, SW_EQUOTA (too many sessions), -ETIMEDOUT, -ENOMEM. */
SW_API int sw_client_open(const struct sw_client_options *options, sw_client **ret_client);

/* Ends the session; its models and components must have been closed. NULL is allowed. */
SW_API void sw_client_close(sw_client *client);

/* Copies the message of the last failure on this handle (what, where, what to do) into text, cut to
 * size with a terminating zero. Returns the code of that failure, 0 when there was none. */
SW_API int sw_client_message(const sw_client *client, char *text, size_t size);

/* Copies the path of the socket that the latest session was made on: a private broker's is not the
 * one of the options. For swctl --socket. Errors: -ERANGE when it was cut. */
SW_API int sw_client_socket_path(const sw_client *client, char *text, size_t size);

struct sw_client_stats {
    size_t size;           /* sizeof(struct sw_client_stats), set by the caller */
    uint64_t hits;         /* leases granted without a message */
    uint64_t misses;       /* leases that had to ask the broker */
    uint64_t prefetches;   /* chunks asked for ahead of use */
    uint64_t reconnects;   /* sessions after the first */
    uint64_t revoked;      /* leases whose release said SW_EREVOKED */
    uint64_t mapped_bytes; /* bytes of arena address space mapped now */
};
SW_API int sw_client_get_stats(sw_client *client, struct sw_client_stats *stats);

/* ---- models ----------------------------------------------------------------------------------- */

/* Opens the current revision of a model in the broker's catalog. Loads nothing.
 * ret_model is owned by the caller: sw_model_close. Errors: SW_ENOMODEL, SW_EFORMAT, SW_EDISCONNECTED. */
SW_API int sw_model_open(sw_client *client, const char *name, sw_model **ret_model);
SW_API void sw_model_close(sw_model *model);

/* Components are numbered in the order a forward pass uses them (the manifest's order). */
SW_API uint32_t sw_model_component_count(const sw_model *model);

struct sw_component_info {
    size_t size;      /* sizeof(struct sw_component_info), set by the caller */
    const char *name; /* "embeddings", "layer_0", …; borrowed, lives as long as the model */
    uint64_t bytes;   /* of the whole chunk */
    int resident;     /* 1 when it was in the arena at the time of the call */
};
/* Errors: SW_ENOCOMPONENT when component is out of range. */
SW_API int sw_model_component_info(sw_model *model, uint32_t component,
                                   struct sw_component_info *info);

/* The number of the component of that name, or SW_ENOCOMPONENT. */
SW_API int sw_model_find(const sw_model *model, const char *component_name);

/* Reads a small file of the model's directory (config.json, vocab.txt, 1_Pooling/config.json …).
 * *ret_data is allocated with malloc, zero-terminated one byte past *ret_size, freed by the caller.
 * Errors: SW_ENOCOMPONENT when the model has no such file. */
SW_API int sw_model_file(sw_model *model, const char *path, void **ret_data, size_t *ret_size);

/* Asks the broker to have these components resident soon. Returns at once; a request that the broker
 * cannot serve without evicting something needed sooner is dropped. */
SW_API int sw_model_prefetch(sw_model *model, const uint32_t *components, size_t count);

/* Waits until these components have been loaded once (they may be evicted again later). */
SW_API int sw_model_warmup(sw_model *model, const uint32_t *components, size_t count);

/* Publishes where this model's pass is: the component in use, out of how many passes and how long one
 * step takes. Pure stores, no system call while the broker lives (when it has been silent for a moment
 * this looks whether it has gone); the broker's eviction policy reads it. lane tells apart the
 * concurrent passes of one client (0 … SW_CURSOR_LANES-1). */
#define SW_CURSOR_LANES 16
SW_API void sw_model_publish_cursor(sw_model *model, unsigned lane, uint32_t component,
                                    uint64_t pass, uint64_t step_ns);

/* ---- leases: the raw bytes of a chunk ----------------------------------------------------------- */

/* While a lease is held the bytes neither move nor change. Fields other than data and bytes are the
 * library's. */
struct sw_lease {
    const void *data; /* the whole chunk file (a safetensors file), read-only, 4096-byte aligned */
    uint64_t bytes;
    struct sw_model *model;
    uint64_t generation;
    uint64_t epoch;
    void *attachment;
    uint32_t chunk;
    uint32_t slot;
};

/* Pins a component's chunk and gives its address; loads it first where it is absent, waiting up to the
 * client's deadline. On a hit: no system call, no message. The lease must be released by
 * sw_lease_release. Errors: SW_EBUSY, SW_ESTALE, SW_ELOAD, SW_EDIGEST, SW_EARENAFULL, SW_EREVOKED,
 * SW_EDISCONNECTED, -ETIMEDOUT. */
SW_API int sw_lease_acquire(sw_model *model, uint32_t component, struct sw_lease *ret_lease);

/* The same, but -EAGAIN instead of waiting when the chunk is not resident (a load is not started). */
SW_API int sw_lease_try_acquire(sw_model *model, uint32_t component, struct sw_lease *ret_lease);

/* How long one call may wait, where the client's own deadline is not the right one. */
struct sw_wait {
    size_t size;    /* sizeof(struct sw_wait) */
    int timeout_ms; /* 0: the client's; < 0: none */
    /* NULL, or a word that any thread may set by an atomic store: once it is not 0 the call waits no
     * more and answers -ECANCELED, 20 ms later at most. Borrowed for the call. */
    const int32_t *cancelled;
};

/* As sw_lease_acquire, waiting no longer than wait says (NULL: as sw_lease_acquire does). */
SW_API int sw_lease_acquire_within(sw_model *model, uint32_t component, const struct sw_wait *wait,
                                   struct sw_lease *ret_lease);

/* Ends the lease. SW_EREVOKED: the broker took the pin away meanwhile, so whatever was read may be
 * wrong and must be discarded. SW_EFORK: the lease is the parent process's; nothing was touched. */
SW_API int sw_lease_release(struct sw_lease *lease);

/* ---- components: a chunk with its tensors --------------------------------------------------------- */

#define SW_RANK_MAX 4

/* One tensor where it lies. Element (i, j, …) is at data + (i strides[0] + j strides[1] + …) elements
 * of sw_dtype_size(dtype) bytes, in the byte order of the machine. In SW_LAYOUT_PANEL the matrix W[N][K]
 * has the shape [ceil(N/16), K, 16]: W[n][k] is element (n / 16, k, n % 16), rows past N are zero, and N
 * is the length of the bias beside it. Members from rank on of shape and strides are zero. */
struct sw_tensor {
    size_t size;      /* sizeof(struct sw_tensor), set by the caller */
    const char *name; /* borrowed from the component's views; lives as long as the model */
    const void *data; /* inside the arena; valid until the component is released; 64-byte aligned */
    uint64_t bytes;
    uint64_t shape[SW_RANK_MAX];
    uint64_t strides[SW_RANK_MAX]; /* in elements, row-major over shape */
    uint32_t rank;
    enum sw_dtype dtype;
    enum sw_layout layout;
};

/* Leases a component and gives its parsed views, taken from the model's component cache where they
 * are there. Release with sw_component_release; at most SW_EBUSY-many at once (see sw_lease_acquire for
 * errors; also SW_EFORMAT when the chunk is not a well-formed safetensors file). */
SW_API int sw_component_acquire(sw_model *model, uint32_t component, sw_component **ret_component);
/* The same, waiting no longer than wait says. */
SW_API int sw_component_acquire_within(sw_model *model, uint32_t component,
                                       const struct sw_wait *wait, sw_component **ret_component);
SW_API int sw_component_release(sw_component *component);

SW_API uint32_t sw_component_tensor_count(const sw_component *component);
SW_API int sw_component_tensor_at(const sw_component *component, uint32_t index,
                                  struct sw_tensor *tensor);
/* Errors: SW_ENOCOMPONENT. */
SW_API int sw_component_tensor(const sw_component *component, const char *name,
                               struct sw_tensor *tensor);
/* A value of the chunk's __metadata__, or NULL. Borrowed; lives as long as the model. */
SW_API const char *sw_component_metadata(const sw_component *component, const char *key);

/* ---- component cache ------------------------------------------------------------------------------ */

struct sw_cache_info {
    size_t size;       /* sizeof(struct sw_cache_info), set by the caller */
    uint32_t capacity; /* components kept at most */
    uint32_t count;    /* components kept now */
    uint64_t hits;     /* acquires that found their component parsed */
    uint64_t misses;
    uint64_t private_bytes;  /* heap of this process held by the parsed views */
    uint64_t mapped_bytes;   /* arena bytes that the kept components describe */
    uint64_t capacity_bytes; /* mapped_bytes at most; 0: no limit */
    uint64_t evictions;      /* components given up for another, or by shrinking */
};
SW_API int sw_model_get_cache_info(sw_model *model, struct sw_cache_info *info);

/* Names of the kept components, most recently used first. names receives up to capacity borrowed
 * strings that live as long as the model; returns how many there are. */
SW_API int sw_model_cached_names(sw_model *model, const char **names, size_t capacity);

/* How many components to keep; shrinking evicts at once, least recently used first. 0 keeps none. */
SW_API int sw_model_set_cache_size(sw_model *model, uint32_t components);
/* A second limit beside it: the sum of the kept components' chunk bytes. Shrinking evicts at once; a
 * component larger than the limit is used and not kept. 0: no limit, as after sw_model_open. */
SW_API int sw_model_set_cache_bytes(sw_model *model, uint64_t bytes);
SW_API void sw_model_clear_cache(sw_model *model);

#ifdef __cplusplus
}
#endif
#endif
