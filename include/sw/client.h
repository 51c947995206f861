/* SPDX-License-Identifier: MIT */
/* Surfing Weights client: connection, models, leases and components.
 *
 * A client is one session with the broker. It maps the broker's arena (all cached weights) and
 * index read-only, and a private page where it writes its pins. Leasing a resident chunk takes no
 * system call and no message.
 *
 * Threads: all functions may be called from several threads at once on the same handle, with two
 *   exceptions: do not close a handle while another thread uses it, and use a lease or component
 *   from one thread at a time.
 * Fork: the child opens a new session at its first call. Releasing an inherited lease returns
 *   SW_EFORK; its bytes stay readable in the child until that first call, while the parent holds
 *   the lease.
 * Broker restarts: the mapped arena keeps serving hits. A miss reconnects with back-off; a process
 *   that only hits moves to the new broker within a fraction of a second. Held leases stay readable
 *   in the old arena.
 * Option structs begin with their size, so program and library may be of different releases: use
 *   SW_INIT.
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

/* ---- connection ------------------------------------------------------------------------------ */

struct sw_client_options {
    size_t size;             /* sizeof(struct sw_client_options) */
    const char *socket_path; /* NULL: $SW_SOCKET, else /run/swbroker/swbroker.sock */
    const char *name;        /* shown by swctl clients; NULL: the program's name */
    int timeout_ms;          /* limit for each wait on the broker; 0: 30000; < 0: none */
    int any_server_uid;      /* 0: the broker must run as root, as this process's uid, or as the
                                owner of the socket's directory; 1: trust any */
    char *error;             /* NULL, or a buffer for the message of a failed open */
    size_t error_size;
    int autostart;           /* 1: start a private broker if none answers; 0: follow
                                $SW_AUTOSTART (1 or 0); -1: never */
    const char *chunks_dir;  /* private broker: a model's directory, or a folder of them; NULL:
                                $SW_CHUNKS_DIR */
    const char *cache_size;  /* private broker: swbrokerd --cache-size; NULL: $SW_CACHE_SIZE, else
                                the broker's default */
    const char *broker_path; /* absolute path of swbrokerd; NULL: $SW_BROKER, else the installed
                                one, else the first in $PATH */
};

/* A private broker serves only the current user. All of the user's processes that name the same
 * chunks directory share it; the process that starts it sets the cache size. It exits two seconds
 * after its last client and is not a child of the process that started it. sw_client_open, and a
 * client whose broker has gone, wait for it as for any other broker. Errors of starting it:
 * -ECONNREFUSED (the message holds the broker's last line), -EINVAL (no chunks directory given),
 * -ENOENT (the directory or the program does not exist), SW_EUNTRUSTED (other users can write to
 * the socket's directory), or another -errno. */

/* Connects and attaches. The caller owns *ret_client: sw_client_close.
 * options NULL selects all defaults. Errors: -ENOENT/-ECONNREFUSED (no broker at that path),
 * -EACCES, SW_EUNTRUSTED, SW_EVERSION, SW_EQUOTA (too many sessions), -ETIMEDOUT, -ENOMEM. */
SW_API int sw_client_open(const struct sw_client_options *options, sw_client **ret_client);

/* Ends the session. Close its models and components first. NULL is allowed. */
SW_API void sw_client_close(sw_client *client);

/* Copies the message of the last failure on this handle (what failed, where, what to do) into text,
 * truncated to size and zero-terminated. Returns the code of that failure, or 0 if there was none.
 */
SW_API int sw_client_message(const sw_client *client, char *text, size_t size);

/* Copies the socket path of the current session, for swctl --socket: with a private broker it
 * differs from the options. Errors: -ERANGE (truncated). */
SW_API int sw_client_socket_path(const sw_client *client, char *text, size_t size);

struct sw_client_stats {
    size_t size;           /* sizeof(struct sw_client_stats), set by the caller */
    uint64_t hits;         /* leases granted without a message */
    uint64_t misses;       /* leases that had to ask the broker */
    uint64_t prefetches;   /* chunks requested ahead of use */
    uint64_t reconnects;   /* sessions after the first */
    uint64_t revoked;      /* leases whose release returned SW_EREVOKED */
    uint64_t mapped_bytes; /* arena address space mapped now */
};
SW_API int sw_client_get_stats(sw_client *client, struct sw_client_stats *stats);

/* ---- models ---------------------------------------------------------------------------------- */

/* Opens the current revision of a model in the broker's catalog. Loads nothing.
 * The caller owns *ret_model: sw_model_close. Errors: SW_ENOMODEL, SW_EFORMAT, SW_EDISCONNECTED. */
SW_API int sw_model_open(sw_client *client, const char *name, sw_model **ret_model);
SW_API void sw_model_close(sw_model *model);

/* Components are numbered in the order in which a forward pass uses them (the manifest's order). */
SW_API uint32_t sw_model_component_count(const sw_model *model);

struct sw_component_info {
    size_t size;      /* sizeof(struct sw_component_info), set by the caller */
    const char *name; /* "embeddings", "layer_0", …; borrowed, lives as long as the model */
    uint64_t bytes;   /* of the whole chunk */
    int resident;     /* 1: in the arena at the time of the call */
};
/* Errors: SW_ENOCOMPONENT (component is out of range). */
SW_API int sw_model_component_info(sw_model *model, uint32_t component,
                                   struct sw_component_info *info);

/* The number of the named component, or SW_ENOCOMPONENT. */
SW_API int sw_model_find(const sw_model *model, const char *component_name);

/* Reads a small file of the model's directory (config.json, vocab.txt, 1_Pooling/config.json …).
 * *ret_data is allocated with malloc, with a zero byte after its *ret_size bytes; the caller frees
 * it. Errors: SW_ENOCOMPONENT (the model has no such file). */
SW_API int sw_model_file(sw_model *model, const char *path, void **ret_data, size_t *ret_size);

/* Asks the broker to load these components soon. Returns at once. The broker drops requests that
 * would evict chunks needed sooner. */
SW_API int sw_model_prefetch(sw_model *model, const uint32_t *components, size_t count);

/* Waits until each of these components has been loaded once (it may be evicted again later). */
SW_API int sw_model_warmup(sw_model *model, const uint32_t *components, size_t count);

/* Publishes the position of a forward pass for the broker's eviction policy: the component in use,
 * the number of the pass, and the time of one step. Only stores to memory; no system call while the
 * broker is alive (if its tick has stopped, this checks whether it has gone). lane distinguishes
 * concurrent passes of one client (0 … SW_CURSOR_LANES-1). */
#define SW_CURSOR_LANES 16
SW_API void sw_model_publish_cursor(sw_model *model, unsigned lane, uint32_t component,
                                    uint64_t pass, uint64_t step_ns);

/* ---- leases: the raw bytes of a chunk -------------------------------------------------------- */

/* While a lease is held, its bytes neither move nor change. Members other than data and bytes are
 * private to the library. */
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

/* Pins a component's chunk and returns its address. A chunk that is not resident is loaded first,
 * within the client's timeout. A hit takes no system call and no message. Release with
 * sw_lease_release. Errors: SW_EBUSY, SW_ESTALE, SW_ELOAD, SW_EDIGEST, SW_EARENAFULL, SW_EREVOKED,
 * SW_EDISCONNECTED, -ETIMEDOUT. */
SW_API int sw_lease_acquire(sw_model *model, uint32_t component, struct sw_lease *ret_lease);

/* The same, but returns -EAGAIN if the chunk is not resident, without starting a load. */
SW_API int sw_lease_try_acquire(sw_model *model, uint32_t component, struct sw_lease *ret_lease);

/* How long one call may wait, instead of the client's timeout. */
struct sw_wait {
    size_t size;    /* sizeof(struct sw_wait) */
    int timeout_ms; /* 0: the client's; < 0: none */
    /* NULL, or a word that any thread may set with an atomic store: once it is nonzero, the call
     * returns -ECANCELED within 20 ms. Borrowed for the call. */
    const int32_t *cancelled;
};

/* sw_lease_acquire with limits on the wait (NULL: those of sw_lease_acquire). */
SW_API int sw_lease_acquire_within(sw_model *model, uint32_t component, const struct sw_wait *wait,
                                   struct sw_lease *ret_lease);

/* Ends the lease. SW_EREVOKED: the broker took the pin away in the meantime; discard what was read,
 * it may be wrong. SW_EFORK: the lease belongs to the parent process; nothing was touched. */
SW_API int sw_lease_release(struct sw_lease *lease);

/* ---- components: a chunk with its tensors ---------------------------------------------------- */

#define SW_RANK_MAX 4

/* One tensor, in place. Element (i, j, …) is at data + (i strides[0] + j strides[1] + …) elements
 * of sw_dtype_size(dtype) bytes, in the machine's byte order. In SW_LAYOUT_PANEL a matrix W[N][K]
 * has the shape [ceil(N/16), K, 16]: W[n][k] is element (n / 16, k, n % 16), rows past N are zero,
 * and N is the length of the matrix's bias. shape and strides are zero from rank on. */
struct sw_tensor {
    size_t size;      /* sizeof(struct sw_tensor), set by the caller */
    const char *name; /* borrowed; lives as long as the model */
    const void *data; /* inside the arena; valid until the component is released; 64-byte aligned */
    uint64_t bytes;
    uint64_t shape[SW_RANK_MAX];
    uint64_t strides[SW_RANK_MAX]; /* in elements, row-major over shape */
    uint32_t rank;
    enum sw_dtype dtype;
    enum sw_layout layout;
};

/* Leases a component and parses its tensors, or takes them from the model's component cache.
 * Release with sw_component_release. Errors: those of sw_lease_acquire, and SW_EFORMAT (the chunk
 * is not a well-formed safetensors file). */
SW_API int sw_component_acquire(sw_model *model, uint32_t component, sw_component **ret_component);
/* The same with limits on the wait. */
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

/* ---- component cache ------------------------------------------------------------------------- */

struct sw_cache_info {
    size_t size;       /* sizeof(struct sw_cache_info), set by the caller */
    uint32_t capacity; /* most components to keep */
    uint32_t count;    /* components kept now */
    uint64_t hits;     /* acquires that found the component parsed */
    uint64_t misses;
    uint64_t private_bytes;  /* heap that the parsed views take */
    uint64_t mapped_bytes;   /* chunk bytes of the kept components */
    uint64_t capacity_bytes; /* limit on mapped_bytes; 0: none */
    uint64_t evictions;      /* components dropped for another, or by shrinking */
};
SW_API int sw_model_get_cache_info(sw_model *model, struct sw_cache_info *info);

/* Stores the names of the kept components, most recently used first: at most capacity borrowed
 * strings that live as long as the model. Returns how many components are kept. */
SW_API int sw_model_cached_names(sw_model *model, const char **names, size_t capacity);

/* Sets how many components to keep; 0 keeps none. Shrinking evicts at once, least recently used
 * first. */
SW_API int sw_model_set_cache_size(sw_model *model, uint32_t components);
/* Sets a second limit, on the chunk bytes of the kept components; 0, the default, is no limit.
 * Shrinking evicts at once. A component larger than the limit is used but not kept. */
SW_API int sw_model_set_cache_bytes(sw_model *model, uint64_t bytes);
SW_API void sw_model_clear_cache(sw_model *model);

#ifdef __cplusplus
}
#endif
#endif
