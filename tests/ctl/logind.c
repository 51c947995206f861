/* SPDX-License-Identifier: MIT */
/* What swctl doctor takes for logind's configuration: files and drop-ins as systemd reads them. */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "ctl/doctor/logind.h"
#include "support/support.h"

TestSuite(swctl_logind, .timeout = 60);

static void put(const char *path, const char *text)
{
    char *full = strdup(sup_path("root%s", path));
    for (char *slash = strchr(full + strlen(sup_dir()) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (!sup_exists(full))
            sup_mkdir(full);
        *slash = '/';
    }
    sup_write_text(full, text);
    free(full);
}

static struct ctl_logind look(void)
{
    struct ctl_logind logind;
    ctl_logind_read(sup_path("root"), &logind);
    return logind;
}

Test(swctl_logind, nothing_said_is_the_default)
{
    struct ctl_logind logind = look();
    cr_assert(logind.remove_ipc);
    cr_assert_not(logind.kill_processes);
    cr_assert_str_eq(logind.where, "");
    put("/etc/systemd/logind.conf", "[Login]\n#RemoveIPC=no\n;KillUserProcesses=yes\n");
    logind = look();
    cr_assert(logind.remove_ipc);
    cr_assert_not(logind.kill_processes);
}

Test(swctl_logind, the_first_main_file_and_its_own_section_count)
{
    put("/usr/lib/systemd/logind.conf", "[Login]\nKillUserProcesses=yes\nRemoveIPC=0\n");
    cr_assert(look().kill_processes);
    cr_assert_not(look().remove_ipc);
    put("/etc/systemd/logind.conf", "[Other]\nRemoveIPC=no\n[Login]\nnonsense\nRemoveIPC = On\n");
    cr_assert(look().remove_ipc);
    cr_assert_not(look().kill_processes, "the vendor's file is hidden by that of /etc");
    cr_assert_str_eq(look().where, "/etc/systemd/logind.conf");
}

Test(swctl_logind, drop_ins_win_in_the_order_of_their_names)
{
    put("/etc/systemd/logind.conf", "[Login]\nRemoveIPC=yes\n");
    put("/usr/lib/systemd/logind.conf.d/50-vendor.conf", "[Login]\nRemoveIPC=false\n");
    cr_assert_not(look().remove_ipc);
    cr_assert_str_eq(look().where, "/usr/lib/systemd/logind.conf.d/50-vendor.conf");
    put("/etc/systemd/logind.conf.d/40-mine.conf", "[Login]\nRemoveIPC=yes\n");
    cr_assert_not(look().remove_ipc, "the name decides, not the folder");
    put("/run/systemd/logind.conf.d/60-now.conf", "[Login]\nRemoveIPC=t\nKillUserProcesses=1\n");
    cr_assert(look().remove_ipc);
    cr_assert(look().kill_processes);
    put("/run/systemd/logind.conf.d/70-text.txt", "[Login]\nRemoveIPC=no\n");
    put("/run/systemd/logind.conf.d/.80.conf", "[Login]\nRemoveIPC=no\n");
    put("/run/systemd/logind.conf.d/90-wrong.conf", "[Login]\nRemoveIPC=perhaps\n");
    cr_assert(look().remove_ipc);
}

Test(swctl_logind, a_name_hides_the_same_in_a_later_folder)
{
    put("/usr/lib/systemd/logind.conf.d/50-a.conf", "[Login]\nRemoveIPC=no\n");
    put("/run/systemd/logind.conf.d/50-a.conf", "[Login]\nKillUserProcesses=yes\n");
    cr_assert(look().remove_ipc);
    cr_assert(look().kill_processes);
    put("/etc/systemd/logind.conf.d/50-b.conf", "");
    cr_assert_eq(symlink("/dev/null", sup_path("root/etc/systemd/logind.conf.d/50-a.conf")), 0);
    cr_assert(look().remove_ipc);
    cr_assert_not(look().kill_processes);
}
