/* SPDX-License-Identifier: MIT */
/* sw-exporter: the broker's metrics over HTTP, for Prometheus. A program of its own, so that neither the daemon
 * nor swctl speaks HTTP. */
#include <getopt.h>
#include <stdio.h>

#include "core/socket.h"
#include "exporter/server.h"
#include "sw/base.h"

static void print_help(void)
{
    (void)printf(
        "Usage: sw-exporter [OPTION]...\n"
        "Serve the metrics of a running swbrokerd to Prometheus over HTTP, at /metrics.\n"
        "\n"
        "  --listen ADDRESS:PORT  default " EXPORTER_LISTEN "; port 0: any free one\n"
        "  --allow-remote         accept an address that other machines can reach: there\n"
        "                         is no password\n"
        "  --socket PATH          the broker's; default $SW_SOCKET, else\n"
        "                         " SWI_DEFAULT_SOCKET "\n"
        "  --version              print the version\n"
        "  --help                 print this text\n"
        "\n"
        "Prints the URL when it is ready, and runs until SIGTERM or SIGINT. While no broker\n"
        "answers, swbroker_up is 0.\n"
        "Exit status: 0 stopped by a signal; 1 cannot listen; 2 wrong usage.\n");
}

static int usage(const char *word, const char *problem)
{
    (void)fprintf(stderr, "sw-exporter: %s %s; see sw-exporter --help\n", word, problem);
    return EXPORTER_USAGE;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'}, {"allow-remote", no_argument, NULL, 'r'},
        {"socket", required_argument, NULL, 's'}, {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    const char *listen = EXPORTER_LISTEN, *socket_path = NULL;
    bool allow_remote = false;
    opterr = 0;
    for (int id; (id = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        switch (id) {
        case 'l':
            listen = optarg;
            break;
        case 'r':
            allow_remote = true;
            break;
        case 's':
            socket_path = optarg;
            break;
        case 'v':
            (void)printf("sw-exporter " SW_VERSION_STRING "\n");
            return EXPORTER_DONE;
        case 'h':
            print_help();
            return EXPORTER_DONE;
        case ':':
            return usage(argv[optind - 1], "needs a value");
        default:
            return usage(argv[optind - 1], "is not an option");
        }
    }
    if (optind < argc)
        return usage(argv[optind], "is not an option, and there are no arguments");
    return exporter_serve(swi_socket_path(socket_path), listen, allow_remote);
}
