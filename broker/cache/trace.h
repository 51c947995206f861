/* SPDX-License-Identifier: MIT */
/* The recorder: writes every use of a chunk to a file (swbrokerd --trace FILE).
 *
 * Hits never reach the broker. While a recorder exists, clients leave a record of every use in
 * their page (core/lease), and the recorder fetches the records every few milliseconds, and once
 * more before a page goes away. Records that a client overwrites before that are lost; the file
 * says how many. Nothing in a page is trusted: a record that names an unknown chunk is dropped, and
 * its time is clamped to lie between the last look and this one.
 *
 * The file is text with one record per line and fields separated by one space. The first line is
 * the format's name and version. TIME is CLOCK_MONOTONIC in nanoseconds. SESSION is the session's
 * number, which another client may reuse after its `gone`. CHUNK is a chunk's id, which a later
 * `chunk` line may assign to another chunk.
 *
 *   surfing-weights-trace 1
 *   budget TIME BYTES                 the arena's budget, at the start and after each change
 *   chunk CHUNK INCARNATION ORDINAL COMPONENTS BYTES MODEL/COMPONENT
 *                                     before the first use; the chunk is number ORDINAL of the
 *                                     COMPONENTS chunks of the model revision INCARNATION; the
 *                                     names reach to the end of the line and may hold spaces
 *   hit TIME SESSION CHUNK            a lease that was granted without asking the broker
 *   miss TIME SESSION CHUNK           a lease that had to wait for the broker; TIME is its end
 *   cursor TIME SESSION LANE INCARNATION COMPONENT PASS STEP_NS
 *                                     a client published where its pass is
 *   lost TIME SESSION COUNT           records overwritten before they were read, at or before TIME
 *   gone TIME SESSION                 the session has ended
 *   end TIME                          the recorder was closed; without it, the file is truncated
 *
 * The lines of one session are in the order of their times; those of different sessions are not. To
 * merge them, sort by TIME, keeping the order of equal times.
 *
 * Writing blocks the broker's loop, so a trace belongs on a disk with spare capacity. When the file
 * cannot be written any more, or has reached TRACE_BYTES_MAX, the recording ends with one warning,
 * and the broker continues.
 */
#ifndef SWB_CACHE_TRACE_H
#define SWB_CACHE_TRACE_H

#include "cache/cache.h"

#define TRACE_BYTES_MAX (UINT64_C(4) << 30)

struct trace;

/* Creates or empties the file and switches tracing on in the cache's index. The cache is
 * borrowed and must outlive the recorder. */
int trace_open(const char *path, struct cache *cache, uint64_t now_ns, struct trace **ret,
               struct swi_error *error);
/* Passes over what the session's client has noted so far, in an earlier recording. */
void trace_skip(struct trace *trace, uint32_t session, const struct swi_page *page);
/* Switches tracing off and writes the end. NULL is allowed. */
void trace_close(struct trace *trace, uint64_t now_ns);

/* Fetches the records of the session's client. */
void trace_drain(struct trace *trace, uint32_t session, const struct swi_page *page,
                 uint64_t now_ns);
/* The same for the last time, when the session ends. */
void trace_forget(struct trace *trace, uint32_t session, const struct swi_page *page,
                  uint64_t now_ns);
/* Records the arena's budget if it has changed. */
void trace_budget(struct trace *trace, uint64_t now_ns);
struct trace_status {
    const char *path; /* borrowed */
    bool recording;
    uint64_t bytes;      /* written */
    uint64_t unknown;    /* records that named an unknown chunk */
    uint64_t lost;       /* overwritten before they were read */
    uint64_t started_ns; /* as trace_open was told */
};
struct trace_status trace_get_status(const struct trace *trace);
/* False once the recording has ended because of an error or its size. */
bool trace_alive(const struct trace *trace);

#endif
