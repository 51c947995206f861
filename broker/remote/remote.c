/* SPDX-License-Identifier: MIT */
/* What all remotes share. */
#include "remote/remote.h"

void remote_cancel(struct remote_job *job)
{
    if (job->work)
        job->cancel(job);
}
