/* SPDX-License-Identifier: MIT */
/* What the service manager hears of the broker. */
#include "daemon/service.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "core/size.h"
#include "daemon/broker.h"
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

/* $WATCHDOG_USEC is how long the manager waits before it takes the broker for hung; $WATCHDOG_PID
 * whose watchdog that is, as a child would inherit both. 0: there is none. */
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
        log_warning("WATCHDOG_USEC is \"%s\", which is no time: the watchdog is not fed", text);
        return 0;
    }
    return usec * 1000;
}

static void describe(struct broker *broker, char *text, size_t size)
{
    struct cache_stats stats;
    char resident[32], budget[32];
    cache_get_stats(broker->cache, &stats);
    swi_size_format(stats.resident_bytes, resident, sizeof resident);
    swi_size_format(cache_budget(broker->cache), budget, sizeof budget);
    (void)snprintf(text, size, "STATUS=%u models, %u clients, %s of %s resident%s",
                   broker->catalog->count, broker->session_count, resident, budget,
                   stats.digest_errors ? ", digest errors: see swctl stats" : "");
}

/* first: what else there is to say, "" or lines that each end with one. */
static void tell(struct broker *broker, const char *first)
{
    char status[SERVICE_STATUS], text[SERVICE_STATUS + 64];
    describe(broker, status, sizeof status);
    bool changed = strcmp(status, broker->service.status) != 0;
    (void)snprintf(text, sizeof text, "%s%s", first, changed ? status : "");
    if (text[0])
        notify_manager(text);
    memcpy(broker->service.status, status, sizeof status);
}

static void timer_due(struct loop_timer *timer, uint64_t now_ns)
{
    struct service *service = LOOP_OWNER(timer, struct service, timer);
    struct broker *broker = LOOP_OWNER(service, struct broker, service);
    tell(broker, service->watched ? "WATCHDOG=1\n" : "");
    loop_arm(broker->loop, timer, now_ns + service->every_ns);
}

void service_ready(struct broker *broker)
{
    struct service *service = &broker->service;
    if (!getenv("NOTIFY_SOCKET"))
        return;
    /* twice as often as it must, so that one slow turn is forgiven */
    uint64_t limit_ns = watchdog_ns();
    service->watched = limit_ns > 0;
    service->every_ns = STATUS_EVERY_NS;
    if (service->watched && limit_ns / 2 < STATUS_EVERY_NS)
        service->every_ns = limit_ns / 2 > LEAST_EVERY_NS ? limit_ns / 2 : LEAST_EVERY_NS;
    tell(broker, "READY=1\n");
    service->timer.fire = timer_due;
    loop_arm(broker->loop, &service->timer, loop_now() + service->every_ns);
}

void service_reloading(struct broker *broker)
{
    char text[64];
    (void)snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\n",
                   loop_now() / 1000);
    if (broker->service.timer.armed) /* the first scan belongs to the start */
        notify_manager(text);
}

void service_reloaded(struct broker *broker)
{
    if (broker->service.timer.armed)
        tell(broker, "READY=1\n");
}

void service_stopping(struct broker *broker)
{
    notify_manager("STOPPING=1");
    loop_disarm(broker->loop, &broker->service.timer);
}
