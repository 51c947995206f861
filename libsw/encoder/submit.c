/* SPDX-License-Identifier: MIT */
/* Requests that are submitted: a copy of the caller's request becomes a task in the handle's lane,
 * and the executor's thread runs it as sw_encoder_run would. See executor.c for the rest of its life.
 */
#include <errno.h>
#include <stdlib.h>

#include "encoder/handle.h"

struct job {
    struct swi_task task; /* first: the executor frees it */
    sw_encoder *encoder;  /* outlives the job's run: closing the handle waits for it */
    struct sw_encoder_request request;
    struct sw_encoder_batch batch;
    struct swi_limits limits;
};

static int run(struct swi_task *task, struct swi_error *error)
{
    struct job *job = (struct job *)task;
    return swi_encoder_run(job->encoder, &job->request, &job->limits, error);
}

int sw_encoder_submit(sw_encoder *encoder, const struct sw_encoder_request *request,
                      uint64_t *ret_id)
{
    struct swi_error error = {0};
    uint64_t ignored;
    struct job *job = malloc(sizeof *job);
    if (!job) {
        (void)swi_fail(&error, -ENOMEM, "out of memory");
        return swi_encoder_fail(encoder, &error);
    }
    int r = swi_encoder_take_request(request, &job->request, &job->batch, &error);
    if (r == 0 && job->request.cancelled)
        r = swi_fail(&error, -EINVAL,
                     "a submitted request is cancelled by its number: see sw_executor_cancel");
    if (r == 0) {
        job->encoder = encoder;
        job->limits = swi_encoder_limits(encoder, &job->request);
        job->limits.cancelled = &job->task.cancelled;
        job->task = (struct swi_task){
            .run = run, .context = job->request.context, .deadline_ns = job->limits.deadline_ns};
        r = swi_lane_submit(&encoder->requests, &job->task, ret_id ? ret_id : &ignored, &error);
    }
    if (r < 0) {
        free(job);
        return swi_encoder_fail(encoder, &error);
    }
    return 0;
}
