/* SPDX-License-Identifier: MIT */
/* Surfing Weights: the version, the export macro and the error codes that all public headers share.
 *
 * Public functions return 0 on success (or a non-negative count, where documented) and a negative
 * code on failure: either -errno or one of the SW_E… codes below, which lie outside errno's range.
 * On failure, outputs (named ret_…) are untouched. The library never prints, never exits and
 * installs no signal handlers.
 */
#ifndef SW_BASE_H
#define SW_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SW_API __attribute__((visibility("default")))

#define SW_VERSION_MAJOR  1
#define SW_VERSION_MINOR  0
#define SW_VERSION_PATCH  0
#define SW_VERSION_STRING "1.0.0"

/* Error codes beyond errno. The values are part of the ABI and of the wire protocol. */
enum sw_error {
    SW_EBUSY = -5001,         /* no free pin slot: release a lease first */
    SW_EREVOKED = -5002,      /* the lease was revoked: discard what was computed from it */
    SW_EFORK = -5003,         /* the handle belongs to the parent process (inherited across fork) */
    SW_EPROTOCOL = -5004,     /* the peer violated the protocol */
    SW_EVERSION = -5005,      /* the peer or the file has an incompatible version or layout */
    SW_ENOMODEL = -5006,      /* no model of that name in the catalog */
    SW_ENOCOMPONENT = -5007,  /* the model has no component, tensor or file of that name */
    SW_EFORMAT = -5008,       /* a file is malformed */
    SW_EDIGEST = -5009,       /* the bytes do not match their digest */
    SW_EARENAFULL = -5010,    /* the whole arena is pinned, or the chunk is larger than the cache */
    SW_EUNTRUSTED = -5011,    /* the server runs under a uid that the client does not trust */
    SW_EQUOTA = -5012,        /* a per-client limit of the broker is exceeded */
    SW_ESTALE = -5013,        /* the model revision is gone: open the model again */
    SW_ELOAD = -5014,         /* the broker could not read the chunk */
    SW_EUNSUPPORTED = -5015,  /* valid, but not supported by this build */
    SW_EDISCONNECTED = -5016, /* the broker went away and did not come back in time */
    SW_EFULL = -5017          /* too many requests are in flight: collect some */
};

/* Describes an error code of either kind. Never NULL; static storage. Thread-safe. */
SW_API const char *sw_strerror(int code);

/* The version of the loaded library, "MAJOR.MINOR.PATCH"; static storage. */
SW_API const char *sw_version(void);

/* Element types of tensors. The values appear in files and messages. */
enum sw_dtype { SW_DTYPE_F32 = 0, SW_DTYPE_F16 = 1, SW_DTYPE_BF16 = 2, SW_DTYPE_I64 = 3 };

/* How a weight matrix W[N][K] lies in memory. ROWS:  [N, K], row-major, as Hugging Face publishes
 * it. PANEL: [ceil(N/16), K, 16]: panel p holds rows 16p … 16p+15, interleaved by column; rows past
 * N are
 *        zero. This is the packed form that BLIS's 6x16 micro-kernels read. */
enum sw_layout { SW_LAYOUT_ROWS = 0, SW_LAYOUT_PANEL = 1 };

#define SW_PANEL_WIDTH 16

/* Initialises a sized struct: sets its size and zeroes the rest, which selects the defaults.
 *     struct sw_client_options options = SW_INIT(struct sw_client_options); */
#ifdef __cplusplus
#define SW_INIT(type)                                                                              \
    [] {                                                                                           \
        type sw_init_value{};                                                                      \
        sw_init_value.size = sizeof(type);                                                         \
        return sw_init_value;                                                                      \
    }()
#else
#define SW_INIT(type)                                                                              \
    {                                                                                              \
        .size = sizeof(type)                                                                       \
    }
#endif

/* Bytes per element; 0 for an unknown type. */
SW_API size_t sw_dtype_size(enum sw_dtype dtype);
/* "F32", "F16", "BF16", "I64" as safetensors spells them; "?" for an unknown type. */
SW_API const char *sw_dtype_name(enum sw_dtype dtype);
/* "rows" or "panel". */
SW_API const char *sw_layout_name(enum sw_layout layout);

#ifdef __cplusplus
}
#endif
#endif
