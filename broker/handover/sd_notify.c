/* SPDX-License-Identifier: MIT */
/* sd_notify.h through libsystemd. */
#include "handover/sd_notify.h"

#include <errno.h>

#include <systemd/sd-daemon.h>

#include <sw/base.h>

#include "base/log.h"

_Static_assert(NOTIFY_FIRST_FD == SD_LISTEN_FDS_START, "as in sd_listen_fds(3)");

void notify_manager(const char *state)
{
    int result = sd_notify(0, state);
    if (result < 0)
        log_warning("cannot notify the service manager: %s", sw_strerror(result));
}

bool notify_can_send_fds(void)
{
    return true;
}

int notify_send_fds(const char *state, const int *fds, unsigned count)
{
    int result = sd_pid_notify_with_fds(0, 0, state, fds, count);
    return result > 0 ? 0 : result == 0 ? -ENOENT : result;
}

int notify_take_fds(char ***ret_names)
{
    return sd_listen_fds_with_names(1, ret_names);
}
