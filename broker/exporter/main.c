/* SPDX-License-Identifier: MIT */
/* sw-exporter: the broker's metrics over HTTP, for Prometheus. A program of its own, so that
 * neither the daemon nor swctl speaks HTTP. */
#include "cli/options.h"
#include "core/program.h"
#include "core/socket.h"
#include "exporter/server.h"

int main(int argc, char **argv)
{
    const char *listen = EXPORTER_LISTEN, *socket_path = NULL;
    bool allow_remote = false;
    const struct cli_option options[] = {
        {"listen", "ADDRESS:PORT", "default " EXPORTER_LISTEN "; port 0: any free one",
         .text = &listen},
        {"allow-remote", NULL,
         "accept an address that other machines can reach: there\nis no password",
         .flag = &allow_remote},
        {"socket", "PATH", "socket of the broker; default $SW_SOCKET, else\n" SWI_DEFAULT_SOCKET,
         .text = &socket_path},
        {0},
    };
    const struct cli_command command = {
        .program = "sw-exporter",
        .about = "Serve the metrics of a running swbrokerd to Prometheus over HTTP, at /metrics.",
        .more =
            "Prints the URL when it is ready, and runs until SIGTERM or SIGINT. While no broker\n"
            "answers, swbroker_up is 0.\n"
            "Exit status: 0 stopped by a signal; 1 cannot listen; 2 wrong usage.",
        .options = options};
    int status;
    swi_program_begin();
    if (!cli_parse(&command, argc, argv, NULL, &status))
        return status;
    return exporter_serve(swi_socket_path(socket_path), listen, allow_remote);
}
