/* SPDX-License-Identifier: MIT */
/* A worker of the torture test: uses libsw as an engine would and verifies everything.
 *
 * A lease that its release confirms must have held the bytes of the manifest's digest, and every
 * call must return within the deadline given to libsw. The worker may be killed at any point.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sw/client.h>

#include "stress/torture.h"

#define HOARD_MAX     16u
#define LOOKS_TAKE_MS 1000u /* until the broker has twice seen a quota exceeded */

struct worker {
    const struct torture *torture;
    struct board *board;
    struct seat *seat;
    uint64_t random;
    sw_client *client;
    sw_model *model[TORTURE_MODELS];
};

uint64_t torture_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717) >> 16;
}

uint64_t torture_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void torture_fail(struct board *board, const char *format, ...)
{
    char text[sizeof board->failure];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "torture: FAILED: %s\n", text);
    if (atomic_fetch_add(&board->failures, 1) == 0)
        memcpy(board->failure, text, sizeof text);
}

static uint32_t below(struct worker *worker, uint32_t bound)
{
    return (uint32_t)(torture_random(&worker->random) % bound);
}

/* ---- the stopwatch, read by the conductor ---------------------------------------------------- */

static uint64_t begin(struct worker *worker)
{
    uint64_t now = torture_now_ms();
    atomic_store(&worker->seat->busy_since_ms, now);
    return now;
}

static void end(struct worker *worker, uint64_t since)
{
    atomic_store(&worker->seat->busy_since_ms, 0);
    uint64_t took = torture_now_ms() - since;
    uint64_t longest = atomic_load(&worker->board->longest_ms);
    while (took > longest &&
           !atomic_compare_exchange_weak(&worker->board->longest_ms, &longest, took))
        ;
}

static void fail(struct worker *worker, const char *what, int code)
{
    char text[384] = "";
    if (worker->client)
        (void)sw_client_message(worker->client, text, sizeof text);
    torture_fail(worker->board, "%s: %s (%d): %s", what, sw_strerror(code), code, text);
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void leave(struct worker *worker)
{
    struct sw_client_stats stats = SW_INIT(struct sw_client_stats);
    if (worker->client && sw_client_get_stats(worker->client, &stats) == 0) {
        atomic_fetch_add(&worker->board->hits, stats.hits);
        atomic_fetch_add(&worker->board->sessions, stats.reconnects + 1);
    }
    for (int i = 0; i < TORTURE_MODELS; i++) {
        sw_model_close(worker->model[i]);
        worker->model[i] = NULL;
    }
    sw_client_close(worker->client);
    worker->client = NULL;
}

/* Waits for a broker, which sw_client_open does not. */
static bool join(struct worker *worker)
{
    char text[384] = "";
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    options.socket_path = worker->torture->socket;
    options.timeout_ms = TORTURE_TIMEOUT_MS;
    options.error = text;
    options.error_size = sizeof text;
    uint64_t since = begin(worker);
    int result;
    while ((result = sw_client_open(&options, &worker->client)) != 0) {
        if (torture_now_ms() - since > TORTURE_TIMEOUT_MS) {
            torture_fail(worker->board, "open: %s: %s", sw_strerror(result), text);
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    for (int i = 0; i < TORTURE_MODELS && result == 0; i++) {
        result = sw_model_open(worker->client, worker->torture->model[i], &worker->model[i]);
        if (result == 0 && sw_model_component_count(worker->model[i]) !=
                               (uint32_t)worker->torture->manifest[i].count)
            result = SW_EPROTOCOL;
    }
    end(worker, since);
    if (result != 0)
        fail(worker, "model", result);
    return result == 0;
}

/* ---- leases ---------------------------------------------------------------------------------- */

/* Whether the leased bytes are the chunk's. Only the release decides whether the result counts. */
static bool is_right(const struct worker *worker, int model, uint32_t component,
                     const struct sw_lease *lease)
{
    const struct swi_manifest_chunk *chunk = &worker->torture->manifest[model].chunks[component];
    return lease->bytes == chunk->bytes &&
           swi_digest_equal(swi_digest_of(lease->data, lease->bytes), chunk->digest);
}

static bool release(struct worker *worker, int model, uint32_t component, struct sw_lease *lease,
                    bool right)
{
    uint64_t bytes = lease->bytes;
    int result = sw_lease_release(lease);
    if (result == SW_EREVOKED) {
        atomic_fetch_add(&worker->board->revoked, 1);
        return true;
    }
    if (result != 0) {
        fail(worker, "release", result);
        return false;
    }
    if (!right) {
        torture_fail(worker->board, "a confirmed lease of %s/%s held wrong bytes",
                     worker->torture->model[model],
                     worker->torture->manifest[model].chunks[component].name);
        return false;
    }
    atomic_fetch_add(&worker->board->leases, 1);
    atomic_fetch_add(&worker->board->bytes, bytes);
    return true;
}

/* Returns 1: leased; 0: not leased, for an acceptable reason; -1: failed. */
static int acquire(struct worker *worker, int model, uint32_t component, bool wait,
                   struct sw_lease *lease)
{
    uint64_t since = begin(worker);
    int result = wait ? sw_lease_acquire(worker->model[model], component, lease)
                      : sw_lease_try_acquire(worker->model[model], component, lease);
    end(worker, since);
    if (result == 0)
        return 1;
    if (result == SW_EARENAFULL) {
        atomic_fetch_add(&worker->board->full, 1);
        return 0;
    }
    if (!wait && result == -EAGAIN) {
        atomic_fetch_add(&worker->board->absent, 1);
        return 0;
    }
    fail(worker, "acquire", result);
    return -1;
}

static bool lease_one(struct worker *worker, int model, uint32_t component, bool wait)
{
    struct sw_lease lease;
    int result = acquire(worker, model, component, wait, &lease);
    if (result <= 0)
        return result == 0;
    bool right = is_right(worker, model, component, &lease);
    if (below(worker, 8) == 0) /* hold it for a while and verify again */
        nanosleep(&(struct timespec){.tv_nsec = (long)below(worker, 4000000)}, NULL);
    right = right && (below(worker, 4) != 0 || is_right(worker, model, component, &lease));
    return release(worker, model, component, &lease, right);
}

static bool lease_two(struct worker *worker)
{
    int model = (int)below(worker, TORTURE_MODELS);
    uint32_t count = sw_model_component_count(worker->model[model]);
    uint32_t first = below(worker, count);
    struct sw_lease lease;
    int result = acquire(worker, model, first, true, &lease);
    if (result <= 0)
        return result == 0;
    int other = (int)below(worker, TORTURE_MODELS);
    uint32_t second = below(worker, sw_model_component_count(worker->model[other]));
    bool good = lease_one(worker, other, second, false);
    return release(worker, model, first, &lease, is_right(worker, model, first, &lease)) && good;
}

/* Holds everything resident for longer than the quota permits, so that the broker revokes all
 * leases. */
static bool hoard(struct worker *worker)
{
    struct sw_lease lease[HOARD_MAX];
    uint32_t component[HOARD_MAX];
    uint32_t count = sw_model_component_count(worker->model[0]);
    uint32_t held = 0;
    bool good = true;
    for (uint32_t i = 0; i < count && held < HOARD_MAX && good; i++) {
        int result = acquire(worker, 0, i, false, &lease[held]);
        good = result >= 0;
        if (result > 0)
            component[held++] = i;
    }
    uint32_t ms = below(worker, 2 * LOOKS_TAKE_MS);
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
    for (uint32_t i = 0; i < held; i++) {
        bool right = is_right(worker, 0, component[i], &lease[i]);
        good = release(worker, 0, component[i], &lease[i], right) && good;
    }
    return good;
}

/* A pass in an engine's order, with cursor and prefetch. */
static bool pass(struct worker *worker, uint64_t number)
{
    int model = (int)below(worker, TORTURE_MODELS);
    uint32_t count = sw_model_component_count(worker->model[model]);
    for (uint32_t i = 0; i < count; i++) {
        sw_model_publish_cursor(worker->model[model], 0, i, number, 1000000);
        uint32_t ahead[2] = {(i + 1) % count, (i + 2) % count};
        int result = sw_model_prefetch(worker->model[model], ahead, 2);
        if (result != 0) {
            fail(worker, "prefetch", result);
            return false;
        }
        if (!lease_one(worker, model, i, true))
            return false;
        if (atomic_load(&worker->board->ending))
            return true;
    }
    return true;
}

/* The child opens its own session; it does not have the parent's lease. */
static int live_as_child(struct worker *worker, struct sw_lease *inherited, pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        return 0;
    struct seat own = {.pid = 0};
    worker->seat = &own;
    int result = sw_lease_release(inherited);
    if (result != SW_EFORK) {
        fail(worker, "release of an inherited lease", result);
        return 1;
    }
    int model = (int)below(worker, TORTURE_MODELS);
    uint32_t count = (uint32_t)worker->torture->manifest[model].count;
    bool good = true;
    for (int i = 0; i < 3; i++)
        good = good && lease_one(worker, model, below(worker, count), true);
    return good ? 0 : 1;
}

static bool fork_one(struct worker *worker)
{
    int model = (int)below(worker, TORTURE_MODELS);
    uint32_t component = below(worker, (uint32_t)worker->torture->manifest[model].count);
    struct sw_lease lease;
    int result = acquire(worker, model, component, true, &lease);
    if (result <= 0)
        return result == 0;
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0)
        _exit(live_as_child(worker, &lease, parent));
    int status = 0;
    bool good = child > 0 && waitpid(child, &status, 0) == child && status == 0;
    if (!good)
        torture_fail(worker->board, "a forked child ended with status %#x", (unsigned)status);
    atomic_fetch_add(&worker->board->forks, 1);
    bool right = is_right(worker, model, component, &lease);
    return release(worker, model, component, &lease, right) && good;
}

int torture_work(const struct torture *torture, struct seat *seat, uint64_t seed)
{
    struct worker worker = {
        .torture = torture, .board = torture->board, .seat = seat, .random = seed | 1};
    uint32_t hoards_once_in = seat == &torture->board->seat[0] ? 8 : 500;
    bool good = join(&worker);
    for (uint64_t i = 1; good && !atomic_load(&torture->board->ending); i++) {
        int model = (int)below(&worker, TORTURE_MODELS);
        uint32_t component = below(&worker, (uint32_t)torture->manifest[model].count);
        uint32_t what = below(&worker, 32);
        if (below(&worker, hoards_once_in) == 0) {
            good = hoard(&worker);
        } else if (what == 0) {
            leave(&worker);
            good = join(&worker);
        } else if (what == 1) {
            good = fork_one(&worker);
        } else if (what < 6) {
            good = pass(&worker, i);
        } else if (what < 10) {
            good = lease_two(&worker);
        } else {
            good = lease_one(&worker, model, component, what >= 16);
        }
    }
    leave(&worker);
    return good ? 0 : 1;
}

bool torture_read_all(const struct torture *torture)
{
    struct seat own = {.pid = 0};
    struct worker worker = {.torture = torture, .board = torture->board, .seat = &own, .random = 1};
    bool good = join(&worker);
    for (int model = 0; model < TORTURE_MODELS; model++)
        for (uint32_t i = 0; good && i < torture->manifest[model].count; i++)
            good = lease_one(&worker, model, i, true);
    leave(&worker);
    return good;
}
