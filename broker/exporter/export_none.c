/* SPDX-License-Identifier: MIT */
/* swctl export where libmicrohttpd is not there. */
#include <stdio.h>

#include "exporter/export.h"

int ctl_export(const char *socket_path, const char *address, bool anywhere)
{
    (void)socket_path;
    (void)address;
    (void)anywhere;
    (void)fprintf(stderr, "swctl: this swctl was built without libmicrohttpd and exports nothing; "
                          "swctl stats --format=prometheus prints the same\n");
    return 1;
}
