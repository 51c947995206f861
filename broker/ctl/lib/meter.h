/* SPDX-License-Identifier: MIT */
/* How far the broker is with what takes long: one line on a terminal's stderr, and cancelling. */
#ifndef SWB_CTL_LIB_METER_H
#define SWB_CTL_LIB_METER_H

#include "ctl/lib/ask.h"
#include "ctl/verb.h"

struct ctl_meter {
    struct ctl_listener listener;
    const char *name; /* of what is loaded; "": everything */
    bool shown;       /* there is a line to be cleared */
    bool terminal;
    int64_t began_ms;
    json_int_t chunks, of_chunks;
};

/* From now on Ctrl-C (and SIGTERM) ends the wait for an answer. */
void ctl_meter_begin(struct ctl_meter *meter, const char *name);
/* Clears the line. error: what ended the wait, or NULL; one that was interrupted is told with how
 * far it came. Returns the exit code. */
int ctl_meter_end(struct ctl_meter *meter, const struct swi_error *error);

#endif
