/* SPDX-License-Identifier: MIT */
/* sw-manager: the manager of manager.h as a program that reads commands from standard input. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "lib/manager.h"

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"max", required_argument, NULL, 'm'},
        {"listen", required_argument, NULL, 'l'},
        {"log", required_argument, NULL, 'o'},
        {0},
    };
    struct manager_options settings = {.max = 512};
    for (int option; (option = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
        switch (option) {
        case 'm':
            settings.max = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'l':
            settings.listen_path = optarg;
            break;
        case 'o':
            settings.log = optarg;
            break;
        default:
            return 2;
        }
    }
    if (optind == argc) {
        (void)fprintf(stderr, "Usage: sw-manager [--max N] [--listen PATH] [--log FILE] "
                              "/path/of/service [ARGUMENT]...\n"
                              "Commands on standard input: start stop kill restart crash list "
                              "drop give put max deaf\n");
        return 2;
    }
    settings.argv = argv + optind;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    return manager_serve(&settings, 0, 1);
}
