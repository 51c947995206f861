/* SPDX-License-Identifier: MIT */
/* Reads a trace of swbrokerd --trace; broker/cache/trace.h describes the format.
 *
 * Every line is checked; an error names the line. A file without its end, because the broker was
 * killed, is read as far as it goes.
 */
#ifndef SWBENCH_REPLAY_TRACE_FILE_H
#define SWBENCH_REPLAY_TRACE_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/error.h"

struct trace_chunk {
    char *name; /* MODEL/COMPONENT */
    uint64_t incarnation, bytes;
    uint32_t ordinal, model_size;
};

enum trace_event_kind { TRACE_HIT, TRACE_MISS, TRACE_CURSOR, TRACE_GONE };

struct trace_event {
    enum trace_event_kind kind;
    uint32_t session;
    uint64_t time_ns;
    uint32_t chunk; /* HIT, MISS: place in chunks */
    /* CURSOR: */
    uint32_t component, lane;
    uint64_t incarnation, pass, step_ns;
};

struct trace_log {
    struct trace_chunk *chunks;
    uint32_t chunk_count;
    struct trace_event *events; /* by time */
    size_t event_count;
    uint64_t budget; /* the last one that was written */
    uint64_t lost;
    bool complete; /* has its end */
};

/* Errors: SW_EFORMAT, SW_EVERSION, SW_EUNSUPPORTED (more than 65536 chunks), -ENOMEM, -EIO, each
 * with a message. */
int trace_log_read(FILE *file, struct trace_log *ret, struct swi_error *error);
void trace_log_fini(struct trace_log *log);

/* The total size of all chunks, each counted once. */
uint64_t trace_log_bytes(const struct trace_log *log);

#endif
