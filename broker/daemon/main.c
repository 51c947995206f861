/* SPDX-License-Identifier: MIT */
/* The program swbrokerd. */
#include <stdio.h>

#include "core/program.h"
#include "daemon/run.h"
#include "settings/settings.h"

enum exit_code { EXIT_FAILED = 1, EXIT_USAGE = 2 };

static int serve(struct settings *settings)
{
    struct swi_error error = {0};
    log_start(settings->options.log_level);
    int result = broker_run(settings, &error);
    if (result == 0)
        return 0;
    log_error("%s", error.text[0] ? error.text : sw_strerror(result));
    return EXIT_FAILED;
}

static int check(const struct settings *settings)
{
    struct swi_error error = {0};
    if (broker_check(&settings->options, &error) < 0) {
        (void)fprintf(stderr, "swbrokerd: %s\n", error.text);
        return EXIT_USAGE;
    }
    settings_print(settings, stdout);
    return 0;
}

int main(int argc, char **argv)
{
    swi_program_begin();
    struct settings settings;
    enum settings_action action;
    struct swi_error error = {0};
    if (settings_load(argc, argv, &settings, &action, &error) < 0) {
        (void)fprintf(stderr, "swbrokerd: %s\n", error.text);
        return EXIT_USAGE;
    }
    int result = 0;
    if (action == SETTINGS_RUN)
        result = serve(&settings);
    else if (action == SETTINGS_CHECK)
        result = check(&settings);
    else if (action == SETTINGS_HELP)
        settings_print_help(stdout);
    else
        (void)printf("swbrokerd " SW_VERSION_STRING "\n");
    settings_free(&settings);
    if (fflush(stdout) != 0 || ferror(stdout))
        return EXIT_FAILED;
    return result;
}
