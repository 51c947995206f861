/* SPDX-License-Identifier: MIT */
/* Getting hold of a handle: whose turn it is, and what a forked child has to put right before it
 * may. */
#include "encoder/handle.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "client/connection.h"
#include "core/deadline.h"

int swi_bert_fail(sw_bert *bert, const struct swi_error *error)
{
    swi_bert_note(bert);
    bert->last = *error;
    swi_bert_noted(bert);
    return error->code;
}

/* With the notes held, in a child. A handle that is busy is so with a thread of the parent's, which
 * does not exist here: what it was changing may be half done, so the engine is made anew and the
 * old memory given up. */
static int take_over(sw_bert *bert, struct swi_error *error)
{
    if (bert->process == swi_process())
        return 0;
    if (bert->busy) {
        swi_encoder *encoder = NULL;
        int r = swi_encoder_create(&bert->config, swi_encoder_threads(bert->encoder), &encoder);
        if (r < 0)
            return swi_fail(error, r, "cannot start an engine in this child process: %s",
                            sw_strerror(r));
        bert->encoder = encoder;
        bert->logits = NULL;
        bert->logits_capacity = 0;
        bert->busy = false;
    }
    if (bert->telling && !pthread_equal(bert->teller, pthread_self()))
        bert->telling = false;
    (void)swi_condition_init(&bert->told); /* anew: nobody waits on them in this process */
    (void)swi_condition_init(&bert->idle);
    bert->process = swi_process();
    return 0;
}

int swi_bert_adopt(sw_bert *bert)
{
    struct swi_error error = {0};
    swi_bert_note(bert);
    int r = take_over(bert, &error);
    swi_bert_noted(bert);
    return r < 0 ? swi_bert_fail(bert, &error) : 0;
}

static bool is_cancelled(const struct swi_limits *limits)
{
    return limits->cancelled && __atomic_load_n(limits->cancelled, __ATOMIC_RELAXED);
}

/* With the notes held: another pass may be under way; waits for its end, or as long as the limits
 * allow. */
static int become_busy(sw_bert *bert, const struct swi_limits *limits, struct swi_error *error)
{
    int r = 0;
    while (bert->busy && r == 0) {
        uint64_t now = swi_now(), until = limits->deadline_ns;
        if (is_cancelled(limits))
            r = swi_fail(error, -ECANCELED, "cancelled while another pass had this handle");
        else if (now >= until)
            r = swi_fail(error, -ETIMEDOUT, "its time was over while another pass had this handle");
        else if (until == SWI_FOREVER && !limits->cancelled)
            (void)pthread_cond_wait(&bert->idle, &bert->notes.mutex);
        else {
            if (limits->cancelled && until - now > SWI_SLICE_NS)
                until = now + SWI_SLICE_NS;
            struct timespec time = swi_deadline_time(until);
            (void)pthread_cond_timedwait(&bert->idle, &bert->notes.mutex, &time);
        }
    }
    bert->busy = bert->busy || r == 0;
    return r;
}

int swi_bert_enter(sw_bert *bert, const struct swi_limits *limits, struct swi_error *error)
{
    swi_bert_note(bert);
    int r = take_over(bert, error);
    if (r == 0)
        r = become_busy(bert, limits, error);
    swi_bert_noted(bert);
    if (r < 0)
        return swi_bert_fail(bert, error);
    bert->error.code = 0;
    bert->limits = *limits;
    return 0;
}

int swi_bert_enter_quickly(sw_bert *bert)
{
    const struct swi_limits none = {.deadline_ns = SWI_FOREVER};
    struct swi_error error = {0};
    return swi_bert_enter(bert, &none, &error);
}

int swi_bert_leave(sw_bert *bert, int r, struct swi_error *ret_error)
{
    if (r < 0) {
        if (bert->error.code == 0)
            (void)swi_fail(&bert->error, r, "%s", sw_strerror(r));
        bert->error.code = r;
        if (ret_error)
            *ret_error = bert->error;
    }
    swi_bert_note(bert);
    if (r < 0)
        bert->last = bert->error;
    bert->scratch_bytes = swi_encoder_scratch_bytes(bert->encoder);
    bert->busy = false;
    swi_bert_noted(bert);
    pthread_cond_signal(&bert->idle);
    return r;
}
