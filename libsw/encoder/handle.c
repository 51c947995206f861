/* SPDX-License-Identifier: MIT */
/* Getting hold of a handle: whose turn it is, and what a forked child has to put right before it
 * may. */
#include "encoder/handle.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "core/deadline.h"

int swi_encoder_fail(sw_encoder *encoder, const struct swi_error *error)
{
    swi_encoder_note(encoder);
    encoder->last = *error;
    swi_encoder_noted(encoder);
    return error->code;
}

/* With the notes held, in a child. A handle that is busy is so with a thread of the parent's, which
 * does not exist here: what it was changing may be half done, so the engine is made anew and the
 * old memory given up. */
static int take_over(sw_encoder *encoder, struct swi_error *error)
{
    if (encoder->process == swi_process())
        return 0;
    if (encoder->busy) {
        swi_engine *engine = NULL;
        int r = swi_engine_create(&encoder->config, swi_engine_threads(encoder->engine), &engine);
        if (r < 0)
            return swi_fail(error, r, "cannot start an engine in this child process: %s",
                            sw_strerror(r));
        encoder->engine = engine;
        encoder->logits = NULL;
        encoder->logits_capacity = 0;
        encoder->busy = false;
    }
    (void)swi_condition_init(&encoder->idle); /* anew: nobody waits on it in this process */
    encoder->process = swi_process();
    return 0;
}

int swi_encoder_adopt(sw_encoder *encoder)
{
    struct swi_error error = {0};
    swi_encoder_note(encoder);
    int r = take_over(encoder, &error);
    swi_encoder_noted(encoder);
    return r < 0 ? swi_encoder_fail(encoder, &error) : 0;
}

static bool is_cancelled(const struct swi_limits *limits)
{
    return limits->cancelled && __atomic_load_n(limits->cancelled, __ATOMIC_RELAXED);
}

/* With the notes held: another pass may be under way; waits for its end, or as long as the limits
 * allow. */
static int become_busy(sw_encoder *encoder, const struct swi_limits *limits,
                       struct swi_error *error)
{
    int r = 0;
    while (encoder->busy && r == 0) {
        uint64_t now = swi_now(), until = limits->deadline_ns;
        if (is_cancelled(limits))
            r = swi_fail(error, -ECANCELED, "cancelled while another pass was using this handle");
        else if (now >= until)
            r = swi_fail(error, -ETIMEDOUT,
                         "its deadline passed while another pass was using this handle");
        else if (until == SWI_FOREVER && !limits->cancelled)
            (void)pthread_cond_wait(&encoder->idle, &encoder->notes.mutex);
        else {
            if (limits->cancelled && until - now > SWI_SLICE_NS)
                until = now + SWI_SLICE_NS;
            struct timespec time = swi_deadline_time(until);
            (void)pthread_cond_timedwait(&encoder->idle, &encoder->notes.mutex, &time);
        }
    }
    encoder->busy = encoder->busy || r == 0;
    return r;
}

int swi_encoder_enter(sw_encoder *encoder, const struct swi_limits *limits, struct swi_error *error)
{
    swi_encoder_note(encoder);
    int r = take_over(encoder, error);
    if (r == 0)
        r = become_busy(encoder, limits, error);
    swi_encoder_noted(encoder);
    if (r < 0)
        return swi_encoder_fail(encoder, error);
    encoder->error.code = 0;
    encoder->limits = *limits;
    return 0;
}

int swi_encoder_enter_quickly(sw_encoder *encoder)
{
    const struct swi_limits none = {.deadline_ns = SWI_FOREVER};
    struct swi_error error = {0};
    return swi_encoder_enter(encoder, &none, &error);
}

int swi_encoder_leave(sw_encoder *encoder, int r, struct swi_error *ret_error)
{
    if (r < 0) {
        if (encoder->error.code == 0)
            (void)swi_fail(&encoder->error, r, "%s", sw_strerror(r));
        encoder->error.code = r;
        if (ret_error)
            *ret_error = encoder->error;
    }
    swi_encoder_note(encoder);
    if (r < 0)
        encoder->last = encoder->error;
    encoder->scratch_bytes = swi_engine_scratch_bytes(encoder->engine);
    encoder->busy = false;
    swi_encoder_noted(encoder);
    pthread_cond_signal(&encoder->idle);
    return r;
}
