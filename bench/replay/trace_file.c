/* SPDX-License-Identifier: MIT */
/* The reader of traces: one function per kind of line. */
#include "replay/trace_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/layout.h"

#define FIELDS_MAX 8

struct reader {
    struct trace_log log;
    size_t chunk_capacity, event_capacity;
    uint32_t chunk_of[SWI_CHUNKS]; /* by id: place in chunks + 1 */
    unsigned long line;
    struct swi_error *error;
};

static int malformed(struct reader *reader, const char *what)
{
    return swi_fail(reader->error, SW_EFORMAT, "line %lu: %s", reader->line, what);
}

/* Reads count numbers from the front of *rest. strict: nothing may follow. */
static bool numbers(char **rest, uint64_t *ret, unsigned count, bool strict)
{
    for (unsigned i = 0; i < count; i++) {
        char *end;
        if (**rest < '0' || **rest > '9')
            return false;
        errno = 0;
        ret[i] = strtoull(*rest, &end, 10);
        if (errno || (*end != ' ' && *end != 0))
            return false;
        *rest = *end ? end + 1 : end;
    }
    return !strict || **rest == 0;
}

static bool grow(void *array, size_t size, size_t count, size_t *capacity)
{
    if (count < *capacity)
        return true;
    size_t more = *capacity ? *capacity * 2 : 64;
    void *grown = realloc(*(void **)array, more * size);
    if (!grown)
        return false;
    *(void **)array = grown;
    *capacity = more;
    return true;
}

static int add_event(struct reader *reader, const struct trace_event *event)
{
    struct trace_log *log = &reader->log;
    if (event->session >= SWI_SESSIONS)
        return malformed(reader, "no such session");
    if (!grow(&log->events, sizeof log->events[0], log->event_count, &reader->event_capacity))
        return swi_fail(reader->error, -ENOMEM, "out of memory");
    log->events[log->event_count++] = *event;
    return 0;
}

static int read_budget(struct reader *reader, char *rest)
{
    uint64_t field[2];
    if (!numbers(&rest, field, 2, true) || field[1] == 0)
        return malformed(reader, "expected: budget TIME BYTES");
    reader->log.budget = field[1];
    return 0;
}

static int read_chunk(struct reader *reader, char *rest)
{
    uint64_t field[5];
    if (!numbers(&rest, field, 5, false) || field[0] >= SWI_CHUNKS || field[1] == 0 ||
        field[3] > SWI_CHUNKS || field[2] >= field[3] || field[4] == 0 || *rest == 0)
        return malformed(
            reader, "expected: chunk CHUNK INCARNATION ORDINAL COMPONENTS BYTES MODEL/COMPONENT");
    struct trace_log *log = &reader->log;
    if (log->chunk_count == SWI_CHUNKS)
        return swi_fail(reader->error, SW_EUNSUPPORTED, "line %lu: more than %u chunks",
                        reader->line, SWI_CHUNKS);
    char *name = strdup(rest);
    if (!name ||
        !grow(&log->chunks, sizeof log->chunks[0], log->chunk_count, &reader->chunk_capacity)) {
        free(name);
        return swi_fail(reader->error, -ENOMEM, "out of memory");
    }
    log->chunks[log->chunk_count++] = (struct trace_chunk){.name = name,
                                                           .incarnation = field[1],
                                                           .ordinal = (uint32_t)field[2],
                                                           .model_size = (uint32_t)field[3],
                                                           .bytes = field[4]};
    reader->chunk_of[field[0]] = log->chunk_count;
    return 0;
}

static int read_use(struct reader *reader, char *rest, enum trace_event_kind kind)
{
    uint64_t field[3];
    if (!numbers(&rest, field, 3, true) || field[1] > UINT32_MAX)
        return malformed(reader, "expected: hit or miss TIME SESSION CHUNK");
    if (field[2] >= SWI_CHUNKS || reader->chunk_of[field[2]] == 0)
        return malformed(reader, "a chunk that no earlier line describes");
    return add_event(reader, &(struct trace_event){.kind = kind,
                                                   .time_ns = field[0],
                                                   .session = (uint32_t)field[1],
                                                   .chunk = reader->chunk_of[field[2]] - 1});
}

static int read_cursor(struct reader *reader, char *rest)
{
    uint64_t field[7];
    if (!numbers(&rest, field, 7, true) || field[1] > UINT32_MAX || field[2] >= SW_CURSOR_LANES ||
        field[4] >= SWI_CHUNKS)
        return malformed(reader,
                         "expected: cursor TIME SESSION LANE INCARNATION COMPONENT PASS STEP_NS");
    return add_event(reader, &(struct trace_event){.kind = TRACE_CURSOR,
                                                   .time_ns = field[0],
                                                   .session = (uint32_t)field[1],
                                                   .lane = (uint32_t)field[2],
                                                   .incarnation = field[3],
                                                   .component = (uint32_t)field[4],
                                                   .pass = field[5],
                                                   .step_ns = field[6]});
}

static int read_gone(struct reader *reader, char *rest)
{
    uint64_t field[2];
    if (!numbers(&rest, field, 2, true) || field[1] > UINT32_MAX)
        return malformed(reader, "expected: gone TIME SESSION");
    return add_event(reader, &(struct trace_event){.kind = TRACE_GONE,
                                                   .time_ns = field[0],
                                                   .session = (uint32_t)field[1]});
}

static int read_lost(struct reader *reader, char *rest)
{
    uint64_t field[3];
    if (!numbers(&rest, field, 3, true))
        return malformed(reader, "expected: lost TIME SESSION COUNT");
    reader->log.lost += field[2];
    return 0;
}

static int read_line(struct reader *reader, char *text)
{
    char *rest = strchr(text, ' ');
    if (!rest)
        return malformed(reader, "a single word is not a record");
    *rest++ = 0;
    if (strcmp(text, "hit") == 0)
        return read_use(reader, rest, TRACE_HIT);
    if (strcmp(text, "miss") == 0)
        return read_use(reader, rest, TRACE_MISS);
    if (strcmp(text, "cursor") == 0)
        return read_cursor(reader, rest);
    if (strcmp(text, "chunk") == 0)
        return read_chunk(reader, rest);
    if (strcmp(text, "budget") == 0)
        return read_budget(reader, rest);
    if (strcmp(text, "gone") == 0)
        return read_gone(reader, rest);
    if (strcmp(text, "lost") == 0)
        return read_lost(reader, rest);
    if (strcmp(text, "end") != 0)
        return malformed(reader, "an unknown kind of record");
    reader->log.complete = true;
    return 0;
}

/* qsort is not stable: equal times keep the order of the file by their place. */
static int by_time(const void *a, const void *b)
{
    const struct trace_event *left = *(const struct trace_event *const *)a;
    const struct trace_event *right = *(const struct trace_event *const *)b;
    if (left->time_ns != right->time_ns)
        return left->time_ns < right->time_ns ? -1 : 1;
    return left < right ? -1 : left > right;
}

static int sort_events(struct reader *reader)
{
    struct trace_log *log = &reader->log;
    size_t count = log->event_count;
    const struct trace_event **order = calloc(count + 1, sizeof(struct trace_event *));
    struct trace_event *sorted = calloc(count + 1, sizeof *sorted);
    if (order && sorted) {
        for (size_t i = 0; i < count; i++)
            order[i] = &log->events[i];
        qsort(order, count, sizeof order[0], by_time);
        for (size_t i = 0; i < count; i++)
            sorted[i] = *order[i];
    }
    free(order);
    if (!order || !sorted) {
        free(sorted);
        return swi_fail(reader->error, -ENOMEM, "out of memory");
    }
    free(log->events);
    log->events = sorted;
    return 0;
}

static int read_all(struct reader *reader, FILE *file)
{
    char *text = NULL;
    size_t capacity = 0;
    int result = 0;
    ssize_t length;
    while (result == 0 && (length = getline(&text, &capacity, file)) >= 0) {
        reader->line++;
        bool whole = length > 0 && text[length - 1] == '\n';
        if (!whole && reader->line > 1)
            break; /* cut short in the middle of a line */
        if (whole)
            text[length - 1] = 0;
        if (strlen(text) + (whole ? 1 : 0) != (size_t)length)
            result = malformed(reader, "it contains a zero byte, so it is not a trace");
        else if (reader->line > 1)
            result = read_line(reader, text);
        else if (strncmp(text, "surfing-weights-trace ", 22) != 0)
            result = malformed(reader, "this is not a trace of swbrokerd --trace");
        else if (strcmp(text + 22, "1") != 0)
            result = swi_fail(reader->error, SW_EVERSION,
                              "the trace has version %.20s, but this program reads version 1",
                              text + 22);
    }
    if (result == 0 && ferror(file))
        result = swi_fail(reader->error, -EIO, "cannot read it: %s", sw_strerror(-errno));
    else if (result == 0 && reader->line == 0)
        result = swi_fail(reader->error, SW_EFORMAT, "it is empty");
    free(text);
    return result;
}

int trace_log_read(FILE *file, struct trace_log *ret, struct swi_error *error)
{
    struct reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return swi_fail(error, -ENOMEM, "out of memory");
    reader->error = error;
    int result = read_all(reader, file);
    if (result == 0)
        result = sort_events(reader);
    if (result == 0)
        *ret = reader->log;
    else
        trace_log_fini(&reader->log);
    free(reader);
    return result;
}

void trace_log_fini(struct trace_log *log)
{
    for (uint32_t i = 0; i < log->chunk_count; i++)
        free(log->chunks[i].name);
    free(log->chunks);
    free(log->events);
    *log = (struct trace_log){.chunk_count = 0};
}

uint64_t trace_log_bytes(const struct trace_log *log)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < log->chunk_count; i++)
        bytes += log->chunks[i].bytes;
    return bytes;
}
