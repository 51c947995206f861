/* SPDX-License-Identifier: MIT */
/* systemd-logind's configuration, and the check of it. */
#include "ctl/doctor/logind.h"

#include <dirent.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "ctl/doctor/check.h"

#define FOLDERS     4u
#define DROPINS_MAX 256u
#define PATH_BYTES  512u

static const char *const folders[FOLDERS] = {"/etc/systemd", "/run/systemd",
                                             "/usr/local/lib/systemd", "/usr/lib/systemd"};

/* ---- one file -------------------------------------------------------------------------------- */

struct reading {
    struct ctl_logind *logind;
    const char *path;
};

/* As systemd reads a boolean; what it cannot read leaves the value as it was. */
static bool take_boolean(const char *text, bool *value)
{
    static const char *const words[2][6] = {{"0", "no", "n", "false", "f", "off"},
                                            {"1", "yes", "y", "true", "t", "on"}};
    for (int truth = 0; truth < 2; truth++)
        for (int i = 0; i < 6; i++)
            if (strcasecmp(text, words[truth][i]) == 0) {
                *value = truth;
                return true;
            }
    return false;
}

static int take(void *context, const char *section, const char *name, const char *value)
{
    struct reading *reading = context;
    struct ctl_logind *logind = reading->logind;
    bool *place = strcmp(section, "Login") != 0            ? NULL
                  : strcmp(name, "RemoveIPC") == 0         ? &logind->remove_ipc
                  : strcmp(name, "KillUserProcesses") == 0 ? &logind->kill_processes
                                                           : NULL;
    if (place && take_boolean(value, place))
        (void)snprintf(logind->where, sizeof logind->where, "%s", reading->path);
    return 1;
}

/* path is what is told of it; root is put before it. */
static bool read_file(const char *root, const char *path, struct ctl_logind *logind)
{
    char full[PATH_BYTES];
    struct reading reading = {.logind = logind, .path = path};
    if (snprintf(full, sizeof full, "%s%s", root, path) >= (int)sizeof full)
        return false;
    return ini_parse(full, take, &reading) >= 0; /* a line that is none does not end it */
}

/* ---- drop-ins -------------------------------------------------------------------------------- */

struct dropin {
    char *name;
    unsigned folder;
};

static int compare(const void *a, const void *b)
{
    const struct dropin *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (int)x->folder - (int)y->folder;
}

static bool is_conf(const char *name)
{
    size_t length = strlen(name);
    return name[0] != '.' && length > 5 && strcmp(name + length - 5, ".conf") == 0;
}

static unsigned list_dropins(const char *root, struct dropin list[DROPINS_MAX])
{
    unsigned count = 0;
    for (unsigned folder = 0; folder < FOLDERS; folder++) {
        char path[PATH_BYTES];
        (void)snprintf(path, sizeof path, "%s%s/logind.conf.d", root, folders[folder]);
        DIR *directory = opendir(path);
        for (struct dirent *entry; directory && (entry = readdir(directory));) {
            if (!is_conf(entry->d_name) || count == DROPINS_MAX)
                continue;
            list[count] = (struct dropin){.name = strdup(entry->d_name), .folder = folder};
            count += list[count].name != NULL;
        }
        if (directory)
            (void)closedir(directory);
    }
    qsort(list, count, sizeof list[0], compare);
    return count;
}

void ctl_logind_read(const char *root, struct ctl_logind *ret)
{
    *ret = (struct ctl_logind){.remove_ipc = true};
    char path[PATH_BYTES];
    bool found = false;
    for (unsigned folder = 0; folder < FOLDERS && !found; folder++) {
        (void)snprintf(path, sizeof path, "%s/logind.conf", folders[folder]);
        found = read_file(root, path, ret);
    }
    struct dropin list[DROPINS_MAX];
    unsigned count = list_dropins(root, list);
    for (unsigned i = 0; i < count; i++) {
        if (i > 0 && strcmp(list[i].name, list[i - 1].name) == 0)
            continue; /* hidden, also by a link to /dev/null */
        (void)snprintf(path, sizeof path, "%s/logind.conf.d/%s", folders[list[i].folder],
                       list[i].name);
        (void)read_file(root, path, ret);
    }
    for (unsigned i = 0; i < count; i++)
        free(list[i].name);
}

/* ---- the check ------------------------------------------------------------------------------- */

/* Where ordinary users begin. */
static uid_t first_ordinary_uid(void)
{
    char line[256];
    unsigned long first = 1000;
    FILE *file = fopen("/etc/login.defs", "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "UID_MIN", 7) == 0)
            first = strtoul(line + 7, NULL, 10);
    if (file)
        (void)fclose(file);
    return (uid_t)first;
}

void ctl_check_logind(const struct ctl_subject *subject, struct ctl_check *check)
{
    bool ordinary = subject->uid >= first_ordinary_uid() && subject->uid != 65534;
    if (access("/run/systemd/system", F_OK) < 0) {
        ctl_check_set(check, CTL_CHECK_OK, NULL, "no systemd-logind here");
        return;
    }
    struct ctl_logind logind;
    ctl_logind_read("", &logind);
    const char *by = logind.where[0] ? logind.where : "the default";
    if (!ordinary)
        ctl_check_set(check, CTL_CHECK_OK, NULL, "uid %u is a system user: logind leaves it alone",
                      subject->uid);
    else if (logind.kill_processes)
        ctl_check_set(check, CTL_CHECK_WARN,
                      "run the broker as a service under a system user, or loginctl enable-linger",
                      "KillUserProcesses=yes (%s): a broker of uid %u ends at logout", by,
                      subject->uid);
    else
        ctl_check_set(check, CTL_CHECK_OK, NULL,
                      "RemoveIPC=%s (%s); the arena has no name that it could remove",
                      logind.remove_ipc ? "yes" : "no", by);
}
