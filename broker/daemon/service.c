/* SPDX-License-Identifier: MIT */
/* Notifies the service manager. */
#include "daemon/service.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "core/size.h"
#include "handover/sd_notify.h"

#define STATUS_EVERY_NS (5 * LOOP_NS_PER_S)
#define LEAST_EVERY_NS  LOOP_NS_PER_MS

static bool parse_number(const char *text, uint64_t *ret)
{
    char *end;
    errno = 0;
    unsigned long long value = text ? strtoull(text, &end, 10) : 0;
    if (!text || text[0] < '0' || text[0] > '9' || *end || errno)
        return false;
    *ret = value;
    return true;
}

/* $WATCHDOG_USEC: how long the manager waits before it considers the broker hung. $WATCHDOG_PID: the
 * process that is meant, as children inherit both. 0: no watchdog. */
static uint64_t watchdog_ns(void)
{
    const char *text = getenv("WATCHDOG_USEC");
    const char *whose = getenv("WATCHDOG_PID");
    uint64_t usec, pid;
    if (!text)
        return 0;
    if (whose && parse_number(whose, &pid) && pid != (uint64_t)getpid())
        return 0;
    if (!parse_number(text, &usec) || usec == 0 || usec > UINT64_MAX / 1000) {
        log_warning("WATCHDOG_USEC=%s is not a number of microseconds; the watchdog is not fed",
                    text);
        return 0;
    }
    return usec * 1000;
}

static void describe(const struct sessions *sessions, char *text, size_t size)
{
    struct cache_stats stats;
    char resident[32], budget[32];
    cache_get_stats(sessions->cache, &stats);
    swi_size_format(stats.resident_bytes, resident, sizeof resident);
    swi_size_format(cache_budget(sessions->cache), budget, sizeof budget);
    (void)snprintf(text, size, "STATUS=%u models, %u clients, %s of %s resident%s",
                   sessions->catalog->count, sessions->attached_count, resident, budget,
                   stats.digest_errors ? ", digest errors: see swctl stats" : "");
}

/* first: "", or lines to send before the status, each with its newline. */
static void notify(struct service *service, const char *first)
{
    char status[SERVICE_STATUS], text[SERVICE_STATUS + 64];
    describe(service->sessions, status, sizeof status);
    bool changed = strcmp(status, service->status) != 0;
    (void)snprintf(text, sizeof text, "%s%s", first, changed ? status : "");
    if (text[0])
        notify_manager(text);
    memcpy(service->status, status, sizeof status);
}

static void timer_due(struct loop_timer *timer, uint64_t now_ns)
{
    struct service *service = LOOP_OWNER(timer, struct service, timer);
    notify(service, service->watched ? "WATCHDOG=1\n" : "");
    loop_arm(service->sessions->loop, timer, now_ns + service->every_ns);
}

void service_ready(struct service *service, const struct sessions *sessions)
{
    if (!getenv("NOTIFY_SOCKET"))
        return;
    /* twice as often as required, so that one slow turn does no harm */
    uint64_t limit_ns = watchdog_ns();
    service->sessions = sessions;
    service->watched = limit_ns > 0;
    service->every_ns = STATUS_EVERY_NS;
    if (service->watched && limit_ns / 2 < STATUS_EVERY_NS)
        service->every_ns = limit_ns / 2 > LEAST_EVERY_NS ? limit_ns / 2 : LEAST_EVERY_NS;
    notify(service, "READY=1\n");
    service->timer.fire = timer_due;
    loop_arm(sessions->loop, &service->timer, loop_now() + service->every_ns);
}

void service_reloading(const struct service *service)
{
    char text[64];
    (void)snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\n",
                   loop_now() / 1000);
    if (service->timer.armed)
        notify_manager(text);
}

void service_reloaded(struct service *service)
{
    if (service->timer.armed)
        notify(service, "READY=1\n");
}

void service_stopping(struct service *service)
{
    notify_manager("STOPPING=1");
    if (service->timer.armed)
        loop_disarm(service->sessions->loop, &service->timer);
}
