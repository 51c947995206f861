/* SPDX-License-Identifier: MIT */
/* What the broker tells the service manager: ready, status, watchdog, reloading, stopping. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "support/support.h"

/* ---- a manager that only listens ------------------------------------------------------------- */

static int manager = -1;

static void listen_as_manager(const char *watchdog_usec)
{
    const char *path = sup_path("notify");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(manager, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(setenv("NOTIFY_SOCKET", path, 1), 0);
    (void)unsetenv("WATCHDOG_PID");
    (void)unsetenv("WATCHDOG_USEC");
    if (watchdog_usec)
        cr_assert_eq(setenv("WATCHDOG_USEC", watchdog_usec, 1), 0);
}

/* The next message; NULL: none within that time. */
static const char *hear(int timeout_ms)
{
    static char text[512];
    struct pollfd ready = {.fd = manager, .events = POLLIN};
    if (poll(&ready, 1, timeout_ms) <= 0)
        return NULL;
    ssize_t size = recv(manager, text, sizeof text - 1, 0);
    cr_assert_gt(size, 0);
    text[size] = 0;
    return text;
}

/* Whether one of the message's lines is, or begins with, this. */
static bool has_line(const char *text, const char *line)
{
    for (const char *at = text; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        if (strncmp(at, line, strlen(line)) == 0)
            return true;
    return false;
}

/* The first message that has such a line, of the next few. */
static const char *hear_line(const char *line)
{
    for (int i = 0; i < 100; i++) {
        const char *text = hear(20000);
        cr_assert_not_null(text, "the manager does not hear %s", line);
        if (has_line(text, line))
            return text;
    }
    cr_assert(false, "the manager hears much, but not %s", line);
    return NULL;
}

static const char *catalog(void)
{
    const char *path = sup_path("models");
    sup_mkdir(path);
    return path;
}

/* ---- the tests ------------------------------------------------------------------------------- */

Test(broker_service, says_ready_with_its_status_and_stopping, .timeout = 60)
{
    listen_as_manager(NULL);
    const char *models = catalog();
    (void)sup_synth(models, "tiny", SUP_ARGS("--layers", "1"));
    struct sup_broker broker = sup_broker_start(models, "16", NULL);
    const char *first = hear(20000);
    cr_assert(has_line(first, "READY=1"), "%s", first);
    cr_assert(has_line(first, "STATUS=1 models, 0 clients, 0 B of 16.0 MiB resident"), "%s", first);
    cr_assert_eq(sup_broker_stop(&broker), 0);
    cr_assert_not_null(hear_line("STOPPING=1"));
    cr_assert_null(hear(0));
}

Test(broker_service, tells_a_changed_status_by_itself, .timeout = 60)
{
    listen_as_manager(NULL);
    const char *models = catalog();
    (void)sup_synth(models, "tiny", SUP_ARGS("--layers", "1"));
    struct sup_broker broker = sup_broker_start(models, "16", NULL);
    (void)hear_line("READY=1");
    json_decref(sup_swctl(&broker, SUP_ARGS("warm", "tiny")));
    const char *text = hear_line("STATUS=1 models");
    cr_assert_null(strstr(text, " 0 B of"), "%s", text);
    cr_assert_not(has_line(text, "WATCHDOG=1"), "nobody asked for a watchdog: %s", text);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(broker_service, feeds_a_watchdog_until_it_hangs, .timeout = 120)
{
    listen_as_manager("200000");
    struct sup_broker broker = sup_broker_start(catalog(), "16", NULL);
    (void)hear_line("READY=1");
    for (int i = 0; i < 10; i++)
        (void)hear_line("WATCHDOG=1");
    /* a process that does not run stands for a loop that does not turn */
    cr_assert_eq(kill(broker.pid, SIGSTOP), 0);
    while (hear(1000)) /* what was on its way */
        ;
    cr_assert_null(hear(1000));
    cr_assert_eq(kill(broker.pid, SIGCONT), 0);
    (void)hear_line("WATCHDOG=1");
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(broker_service, leaves_the_watchdog_of_another_process_alone, .timeout = 60)
{
    listen_as_manager("200000");
    cr_assert_eq(setenv("WATCHDOG_PID", sup_format("%d", (int)getpid()), 1), 0);
    struct sup_broker broker = sup_broker_start(catalog(), "16", NULL);
    (void)hear_line("READY=1");
    cr_assert_null(hear(1500));
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(broker_service, says_what_is_wrong_with_a_watchdog_time, .timeout = 60)
{
    static const char *const wrong[] = {"soon", "0", "-5", "99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (manager >= 0)
            close(manager);
        (void)unlink(sup_path("notify"));
        listen_as_manager(wrong[i]);
        struct sup_broker broker = sup_broker_start(catalog(), "16", NULL);
        cr_assert_eq(sup_broker_stop(&broker), 0);
        size_t size;
        cr_assert_not_null(strstr(sup_read(broker.log, &size), "WATCHDOG_USEC"), "%s", wrong[i]);
    }
}

static uint64_t monotonic_usec(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Reloading with its time, then ready again with the catalog as it is now. */
static void expect_reload(const char *status, uint64_t began_usec)
{
    const char *text = hear_line("RELOADING=1");
    const char *stamp = strstr(text, "MONOTONIC_USEC=");
    uint64_t usec = 0;
    cr_assert(stamp && sscanf(stamp, "MONOTONIC_USEC=%" SCNu64, &usec) == 1, "%s", text);
    cr_assert(usec >= began_usec && usec <= monotonic_usec(), "%" PRIu64, usec);
    text = hear_line("READY=1");
    cr_assert(has_line(text, status), "%s", text);
}

Test(broker_service, says_when_it_reloads, .timeout = 60)
{
    listen_as_manager(NULL);
    const char *models = catalog();
    struct sup_broker broker = sup_broker_start(models, "16", NULL);
    (void)hear_line("READY=1");
    (void)sup_synth(models, "one", SUP_ARGS("--layers", "1"));
    uint64_t began_usec = monotonic_usec();
    json_decref(sup_swctl(&broker, SUP_ARGS("reload")));
    expect_reload("STATUS=1 models", began_usec);
    (void)sup_synth(models, "two", SUP_ARGS("--layers", "1"));
    began_usec = monotonic_usec();
    cr_assert_eq(kill(broker.pid, SIGHUP), 0);
    expect_reload("STATUS=2 models", began_usec);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}
