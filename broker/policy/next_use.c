/* SPDX-License-Identifier: MIT */
/* next-use: from the cursors of all sessions to the time until each component's next use.
 *
 * Everything that comes from a client is clamped before it is used: a step lasts between a
 * microsecond and ten seconds, a component lies inside its model, lanes of one session share its
 * bytes. The work of one round is bounded; when there are more cursors than it allows, rounds start
 * at different sessions.
 */
#include <assert.h>
#include <math.h>

#include "core/lease.h"
#include "policy/internal.h"

#define STEP_MIN_NS     1e3
#define STEP_MAX_NS     1e10
#define STEP_UNKNOWN_NS 1e7
#define SILENT_PASSES   4
#define SILENT_MIN_NS   250e6               /* a stalled disk does not make a worker idle */
#define WORK_MAX        (UINT32_C(1) << 20) /* components looked at in one round */

/* ---- what cursors say ---------------------------------------------------------------------------
 */

static double clamp_step(uint64_t step_ns)
{
    if (step_ns == 0)
        return STEP_UNKNOWN_NS; /* the first pass has no measurement yet */
    double step = (double)step_ns;
    if (step < STEP_MIN_NS)
        return STEP_MIN_NS;
    return step > STEP_MAX_NS ? STEP_MAX_NS : step;
}

static bool look_at_lane(struct lane *lane, const struct swi_page *page, unsigned number,
                         uint64_t now_ns)
{
    struct swi_cursor_value value = swi_cursor_get(page, number);
    if (value.incarnation != lane->incarnation) {
        *lane = (struct lane){.incarnation = value.incarnation, .pass_began_ns = now_ns};
    } else if (value.pass != lane->pass) {
        double passes = value.pass > lane->pass ? (double)(value.pass - lane->pass) : 1;
        lane->pass_ns = (double)(now_ns - lane->pass_began_ns) / passes;
        lane->pass_began_ns = now_ns;
    } else if (value.component == lane->component && value.tick == lane->tick) {
        return false;
    }
    lane->pass = value.pass;
    lane->component = value.component;
    lane->tick = value.tick;
    lane->step_ns = clamp_step(value.step_ns);
    lane->moved_ns = now_ns;
    return true;
}

/* How long a pass through `size` components takes: what was seen, else what the client says. */
static double pass_ns(const struct lane *lane, uint32_t size)
{
    double said = lane->step_ns * size;
    return lane->pass_ns > STEP_MIN_NS ? fmin(lane->pass_ns, STEP_MAX_NS * size) : said;
}

bool policy_observe(struct policy *policy, uint32_t session, const struct swi_page *page,
                    uint64_t now_ns)
{
    bool moved = false;
    for (unsigned i = 0; i < SW_CURSOR_LANES; i++)
        moved = look_at_lane(&policy->lane[session][i], page, i, now_ns) || moved;
    if (moved && policy->session_at[session] == 0) {
        policy->session[policy->session_count++] = session;
        policy->session_at[session] = policy->session_count;
    }
    return moved;
}

void policy_forget_session(struct policy *policy, uint32_t session)
{
    for (unsigned i = 0; i < SW_CURSOR_LANES; i++)
        policy->lane[session][i] = (struct lane){.incarnation = 0};
    uint32_t at = policy->session_at[session];
    if (at == 0)
        return;
    uint32_t moved = policy->session[--policy->session_count];
    policy->session[at - 1] = moved;
    policy->session_at[moved] = at;
    policy->session_at[session] = 0;
}

/* The model that a lane's pass runs through, when the lane is live. */
static struct policy_model *live_model(struct policy *policy, const struct lane *lane)
{
    if (lane->incarnation == 0)
        return NULL;
    struct policy_model *model = policy_find_model(policy, lane->incarnation);
    if (!model || lane->component >= model->size)
        return NULL;
    double silent_ns = (double)(policy->now_ns - lane->moved_ns);
    double patience_ns = SILENT_PASSES * pass_ns(lane, model->size);
    return silent_ns <= fmax(patience_ns, SILENT_MIN_NS) ? model : NULL;
}

/* ---- foresight
 * ----------------------------------------------------------------------------------- */

static void begin_model(struct policy *policy, struct policy_model *model)
{
    if (model->foreseen == policy->prepared)
        return;
    model->foreseen = policy->prepared;
    model->pass_ns = 0;
    for (uint32_t i = 0; i < model->size; i++)
        model->component[i].until_ns = model->component[i].beyond_ns = INFINITY;
}

/* Walks the lane's pass from where it is, once around. Its share of bytes is what it may keep from
 * leaving, the nearest first. */
static void walk(struct policy *policy, const struct lane *lane, struct policy_model *model,
                 uint64_t share_bytes)
{
    begin_model(policy, model);
    double whole_ns = pass_ns(lane, model->size);
    double step_ns = whole_ns / model->size;
    double begun_ns = (double)(policy->now_ns - lane->pass_began_ns);
    model->pass_ns = fmax(model->pass_ns, fmax(whole_ns, begun_ns));
    /* part of the current step is over */
    double elapsed_ns = fmin((double)(policy->now_ns - lane->moved_ns), step_ns);
    uint64_t bytes = 0;
    for (uint32_t steps = 0; steps < model->size; steps++) {
        uint32_t at = lane->component + steps;
        struct policy_component *component =
            &model->component[at < model->size ? at : at - model->size];
        if (component->id == ARENA_NOBODY)
            continue;
        const struct known_chunk *chunk = &policy->chunk[component->id];
        if (chunk->resident)
            bytes += chunk->bytes;
        double until_ns = steps == 0 ? 0 : steps * step_ns - elapsed_ns;
        if (until_ns < component->beyond_ns) {
            component->beyond_ns = until_ns;
            component->steps = steps;
        }
        if (bytes <= share_bytes)
            component->until_ns = fmin(component->until_ns, until_ns);
    }
}

static uint32_t foresee_session(struct policy *policy, uint32_t session)
{
    struct policy_model *models[SW_CURSOR_LANES];
    unsigned live = 0;
    for (unsigned i = 0; i < SW_CURSOR_LANES; i++) {
        models[i] = live_model(policy, &policy->lane[session][i]);
        live += models[i] != NULL;
    }
    uint32_t work = SW_CURSOR_LANES;
    for (unsigned i = 0; i < SW_CURSOR_LANES; i++) {
        if (!models[i])
            continue;
        walk(policy, &policy->lane[session][i], models[i], policy->session_bytes / live);
        work += models[i]->size;
    }
    return work;
}

void policy_foresee(struct policy *policy)
{
    policy->prepared++;
    uint32_t work = 0;
    uint32_t count = policy->session_count;
    uint32_t done = 0;
    for (; done < count && work < WORK_MAX; done++) {
        uint32_t at = (policy->first_session + done) % count;
        work += foresee_session(policy, policy->session[at]);
    }
    policy->first_session = done < count ? (policy->first_session + done) % count : 0;
}
