/* The broker under a service manager: what it is activated with, what it leaves behind, what its
 * successor makes of that. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/managed.h"
#include "support/raw.h"

TestSuite(broker_restart, .timeout = 120);

static const char *models(void)
{
    const char *path = sup_path("models");
    sup_mkdir(path);
    return path;
}

Test(broker_restart, is_activated_by_the_managers_socket)
{
    const char *catalog = models();
    (void)sup_synth(catalog, "tiny", SUP_ARGS("--layers", "1"));
    struct managed managed = managed_start(catalog, "16", 0, true, NULL);
    cr_assert_eq(sup_stat(&managed.broker, "models"), 1);
    cr_assert_eq(managed_stop(&managed), 0);
    cr_assert(sup_exists(managed.broker.socket), "it removed a socket that is not its own");
    managed_begin(&managed);
    cr_assert_eq(sup_stat(&managed.broker, "models"), 1);
    managed_end(&managed);
}

Test(broker_restart, refuses_descriptors_that_it_does_not_know)
{
    struct managed managed = managed_prepare(models(), "16", 64, false, NULL);
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    managed_put(&managed, "sw-other", ends[0]);
    managed_put(&managed, "stored", ends[1]);
    managed_begin(&managed);
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "ping")).exit_code, 0);
    cr_assert_eq(managed_count(&managed, "sw-other"), 0);
    cr_assert_eq(managed_count(&managed, "stored"), 0);
    cr_assert_not_null(strstr(sup_read(managed.broker.log, NULL), "of no use"));
    managed_end(&managed);
}
