/* SPDX-License-Identifier: MIT */
/* Writes the trace. trace.h describes its format. */
#include "cache/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

#define BUFFER_BYTES   (1u << 18)
#define NAME_MAX_SHOWN 1024

struct followed {
    uint64_t place;   /* of the next record in its page */
    uint64_t last_ns; /* time of its last line */
};

struct trace {
    FILE *file; /* NULL: recording has ended */
    struct cache *cache;
    char *path;
    uint64_t bytes;
    uint64_t budget;
    uint64_t lost;
    uint64_t started_ns;
    uint64_t unknown;           /* records that named an unknown chunk */
    uint64_t named[SWI_CHUNKS]; /* incarnation in the last chunk line of this id; 0: none */
    struct followed session[SWI_SESSIONS];
    struct swi_trace_value values[SWI_TRACE_RECORDS];
};

static void stop(struct trace *trace, const char *why)
{
    log_warning("the trace %s ends here: %s", trace->path, why);
    swi_trace_switch(cache_index(trace->cache), false);
    (void)fclose(trace->file);
    trace->file = NULL;
}

static void __attribute__((format(printf, 2, 3))) line(struct trace *trace, const char *format, ...)
{
    if (!trace->file)
        return;
    va_list arguments;
    va_start(arguments, format);
    int length = vfprintf(trace->file, format, arguments);
    va_end(arguments);
    if (length < 0) {
        stop(trace, sw_strerror(-errno));
        return;
    }
    trace->bytes += (uint64_t)length;
    if (trace->bytes > TRACE_BYTES_MAX)
        stop(trace, "it has reached the largest size; record a shorter time");
}

int trace_open(const char *path, struct cache *cache, uint64_t now_ns, struct trace **ret,
               struct swi_error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd < 0)
        return swi_fail(error, -errno, "cannot write the trace %s: %s", path, sw_strerror(-errno));
    struct trace *trace = calloc(1, sizeof *trace);
    char *copy = strdup(path);
    FILE *file = trace && copy ? fdopen(fd, "w") : NULL;
    if (!file) {
        (void)close(fd);
        free(copy);
        free(trace);
        return swi_fail(error, -ENOMEM, "out of memory");
    }
    (void)setvbuf(file, NULL, _IOFBF, BUFFER_BYTES);
    trace->file = file;
    trace->cache = cache;
    trace->path = copy;
    trace->started_ns = now_ns;
    for (uint32_t i = 0; i < SWI_SESSIONS; i++)
        trace->session[i].last_ns = now_ns;
    line(trace, "surfing-weights-trace 1\n");
    trace_budget(trace, now_ns);
    swi_trace_switch(cache_index(cache), true);
    *ret = trace;
    return 0;
}

void trace_skip(struct trace *trace, uint32_t session, const struct swi_page *page)
{
    uint64_t lost = 0;
    (void)swi_page_take_trace(page, &trace->session[session].place, trace->values,
                              SWI_TRACE_RECORDS, &lost);
}

struct trace_status trace_get_status(const struct trace *trace)
{
    return (struct trace_status){.path = trace->path,
                                 .recording = trace->file != NULL,
                                 .bytes = trace->bytes,
                                 .unknown = trace->unknown,
                                 .lost = trace->lost,
                                 .started_ns = trace->started_ns};
}

void trace_close(struct trace *trace, uint64_t now_ns)
{
    if (!trace)
        return;
    line(trace, "end %" PRIu64 "\n", now_ns);
    if (trace->unknown > 0)
        log_warning("the trace %s omits %" PRIu64 " records of unknown chunks", trace->path,
                    trace->unknown);
    if (trace->file) {
        swi_trace_switch(cache_index(trace->cache), false);
        if (fclose(trace->file) != 0)
            log_warning("the trace %s may be incomplete: %s", trace->path, sw_strerror(-errno));
    }
    free(trace->path);
    free(trace);
}

bool trace_alive(const struct trace *trace)
{
    return trace->file != NULL;
}

void trace_budget(struct trace *trace, uint64_t now_ns)
{
    uint64_t budget = cache_budget(trace->cache);
    if (budget == trace->budget)
        return;
    trace->budget = budget;
    line(trace, "budget %" PRIu64 " %" PRIu64 "\n", now_ns, budget);
}

/* Replaces control characters: a name comes from a directory and must not end a line. */
static void put_name(char *to, size_t size, const char *model, const char *component)
{
    (void)snprintf(to, size, "%s/%s", model, component);
    for (char *c = to; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
}

/* Describes a chunk before its first use. False: there is no such chunk. */
static bool introduce(struct trace *trace, uint32_t id)
{
    struct cache_chunk_view view;
    if (!cache_view(trace->cache, id, &view))
        return false;
    const struct cache_chunk *chunk = view.chunk;
    if (trace->named[id] == chunk->incarnation)
        return true;
    trace->named[id] = chunk->incarnation;
    char name[NAME_MAX_SHOWN];
    put_name(name, sizeof name, chunk->model, chunk->name);
    line(trace, "chunk %u %" PRIu64 " %u %u %" PRIu64 " %s\n", id, chunk->incarnation,
         chunk->ordinal, chunk->model_size, chunk->bytes, name);
    return true;
}

static void write_record(struct trace *trace, uint32_t session, uint64_t time_ns,
                         const struct swi_trace_value *value)
{
    if (value->kind == SWI_TRACE_CURSOR) {
        line(trace, "cursor %" PRIu64 " %u %u %" PRIu64 " %u %" PRIu64 " %" PRIu64 "\n", time_ns,
             session, value->lane, value->incarnation, value->number, value->pass, value->step_ns);
        return;
    }
    if ((value->kind != SWI_TRACE_HIT && value->kind != SWI_TRACE_MISS) ||
        !introduce(trace, value->number)) {
        trace->unknown++;
        return;
    }
    line(trace, "%s %" PRIu64 " %u %u\n", value->kind == SWI_TRACE_HIT ? "hit" : "miss", time_ns,
         session, value->number);
}

void trace_drain(struct trace *trace, uint32_t session, const struct swi_page *page,
                 uint64_t now_ns)
{
    if (!trace->file)
        return;
    struct followed *followed = &trace->session[session];
    uint64_t lost = 0;
    uint32_t count =
        swi_page_take_trace(page, &followed->place, trace->values, SWI_TRACE_RECORDS, &lost);
    uint64_t last_ns = followed->last_ns;
    trace->lost += lost;
    if (lost > 0)
        line(trace, "lost %" PRIu64 " %u %" PRIu64 "\n", last_ns, session, lost);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t time_ns = trace->values[i].time_ns;
        if (time_ns > now_ns)
            time_ns = now_ns;
        if (time_ns > last_ns)
            last_ns = time_ns;
        write_record(trace, session, last_ns, &trace->values[i]);
    }
    followed->last_ns = last_ns;
}

void trace_forget(struct trace *trace, uint32_t session, const struct swi_page *page,
                  uint64_t now_ns)
{
    trace_drain(trace, session, page, now_ns);
    line(trace, "gone %" PRIu64 " %u\n", now_ns, session);
    trace->session[session] = (struct followed){.last_ns = now_ns};
}
