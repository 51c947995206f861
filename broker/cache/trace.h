/* SPDX-License-Identifier: MIT */
/* The recorder: what clients do with chunks, written to a file (swbrokerd --trace FILE).
 *
 * Hits never reach the broker. While a recorder exists, clients leave a record of every use in
 * their page (core/lease), and the recorder fetches them: every few milliseconds, and once more
 * before a page goes away. What a client overwrites before that is lost, and the file says how
 * much. Nothing that comes from a page is believed: records name chunks and sessions that the
 * broker knows, or they are dropped; their times are moved between the last look and this one.
 *
 * The file is text, one record a line, fields separated by one space; the first line is the
 * format's name and version. TIME is CLOCK_MONOTONIC in nanoseconds. SESSION is the session's
 * number, used again by another client after its `gone`. CHUNK is a chunk's id, which stands for
 * another chunk after a later `chunk` line with the same id.
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
 *   lost TIME SESSION COUNT           records that were overwritten unread, somewhere before TIME
 *   gone TIME SESSION                 the session has ended
 *   end TIME                          the recorder was closed; a file without it was cut short
 *
 * Lines of one session are in the order of their times; those of several are not: sort by TIME,
 * keeping the order of equal ones.
 *
 * Writing blocks the broker's loop: a trace is for a disk with time to spare. A file that cannot be
 * written any more, or has reached TRACE_BYTES_MAX, ends the recording with one warning; the broker
 * goes on.
 */
#ifndef SWB_CACHE_TRACE_H
#define SWB_CACHE_TRACE_H

#include "cache/cache.h"

#define TRACE_BYTES_MAX (UINT64_C(4) << 30)

struct trace;

/* Creates the file, or empties it, and switches tracing on in the cache's index. The cache is
 * borrowed and must outlive the recorder. */
int trace_open(const char *path, struct cache *cache, uint64_t now_ns, struct trace **ret,
               struct swi_error *error);
/* Passes over what the session's client has noted so far, in an earlier recording. */
void trace_skip(struct trace *trace, uint32_t session, const struct swi_page *page);
/* Switches tracing off, writes the end. NULL is allowed. */
void trace_close(struct trace *trace, uint64_t now_ns);

/* Fetches what the session's client has noted. */
void trace_drain(struct trace *trace, uint32_t session, const struct swi_page *page,
                 uint64_t now_ns);
/* The same for the last time. */
void trace_forget(struct trace *trace, uint32_t session, const struct swi_page *page,
                  uint64_t now_ns);
/* Looks whether the arena's budget has changed. */
void trace_budget(struct trace *trace, uint64_t now_ns);
struct trace_status {
    const char *path; /* borrowed */
    bool recording;
    uint64_t bytes;      /* written */
    uint64_t unknown;    /* records that named no chunk of the catalog */
    uint64_t lost;       /* overwritten unread */
    uint64_t started_ns; /* as trace_open was told */
};
struct trace_status trace_get_status(const struct trace *trace);
/* False once recording has ended by itself. */
bool trace_alive(const struct trace *trace);

#endif
