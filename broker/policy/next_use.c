/* SPDX-License-Identifier: MIT */
/* Everything that comes from a client is clamped before use: a step lasts between a microsecond and
 * ten seconds, a component lies inside its model, and the lanes of one session share its bytes. The
 * work of one round is bounded; with more cursors than the bound allows, rounds start at different
 * sessions.
 */
#include "policy/next_use.h"

#include <math.h>

#define STEP_MIN_NS     1e3
#define STEP_MAX_NS     1e10
#define STEP_UNKNOWN_NS 1e7
#define SILENT_PASSES   4
#define SILENT_MIN_NS   250e6               /* a stalled disk does not make a worker idle */
#define WORK_MAX        (UINT32_C(1) << 20) /* components looked at in one round */

/* ---- cursors --------------------------------------------------------------------------------- */

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

/* The duration of a pass through `size` components: as measured, else as the client reports it. */
static double pass_ns(const struct lane *lane, uint32_t size)
{
    double said = lane->step_ns * size;
    return lane->pass_ns > STEP_MIN_NS ? fmin(lane->pass_ns, STEP_MAX_NS * size) : said;
}

bool next_use_observe(struct next_use *next_use, uint32_t session, const struct swi_page *page,
                      uint64_t now_ns)
{
    bool moved = false;
    for (unsigned i = 0; i < SW_CURSOR_LANES; i++)
        moved = look_at_lane(&next_use->lane[session][i], page, i, now_ns) || moved;
    if (moved && next_use->session_at[session] == 0) {
        next_use->session[next_use->session_count++] = session;
        next_use->session_at[session] = next_use->session_count;
    }
    return moved;
}

void next_use_forget_session(struct next_use *next_use, uint32_t session)
{
    for (unsigned i = 0; i < SW_CURSOR_LANES; i++)
        next_use->lane[session][i] = (struct lane){.incarnation = 0};
    uint32_t at = next_use->session_at[session];
    if (at == 0)
        return;
    uint32_t moved = next_use->session[--next_use->session_count];
    next_use->session[at - 1] = moved;
    next_use->session_at[moved] = at;
    next_use->session_at[session] = 0;
}

/* ---- foresight ------------------------------------------------------------------------------- */

/* The model that a lane's pass runs through, if the lane is live. */
static struct policy_model *live_model(const struct next_use *next_use, const struct models *models,
                                       const struct lane *lane)
{
    if (lane->incarnation == 0)
        return NULL;
    struct policy_model *model = models_find(models, lane->incarnation);
    if (!model || lane->component >= model->size)
        return NULL;
    double silent_ns = (double)(next_use->now_ns - lane->moved_ns);
    double patience_ns = SILENT_PASSES * pass_ns(lane, model->size);
    return silent_ns <= fmax(patience_ns, SILENT_MIN_NS) ? model : NULL;
}

static void begin_model(const struct next_use *next_use, struct policy_model *model)
{
    if (model->foreseen == next_use->prepared)
        return;
    model->foreseen = next_use->prepared;
    model->pass_ns = 0;
    for (uint32_t i = 0; i < model->size; i++)
        model->component[i].until_ns = model->component[i].beyond_ns = INFINITY;
}

/* Walks the lane's pass once around from its present position. The lane guards share_bytes of
 * resident chunks, the nearest first. */
static void walk(const struct next_use *next_use, const struct models *models,
                 const struct lane *lane, struct policy_model *model, uint64_t share_bytes)
{
    begin_model(next_use, model);
    double whole_ns = pass_ns(lane, model->size);
    double step_ns = whole_ns / model->size;
    double begun_ns = (double)(next_use->now_ns - lane->pass_began_ns);
    model->pass_ns = fmax(model->pass_ns, fmax(whole_ns, begun_ns));
    /* part of the current step is over */
    double elapsed_ns = fmin((double)(next_use->now_ns - lane->moved_ns), step_ns);
    uint64_t bytes = 0;
    for (uint32_t steps = 0; steps < model->size; steps++) {
        uint32_t at = lane->component + steps;
        struct policy_component *component =
            &model->component[at < model->size ? at : at - model->size];
        if (component->id == NO_CHUNK)
            continue;
        const struct known_chunk *chunk = &models->chunk[component->id];
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

/* Returns the work done, in components. */
static uint32_t walk_session(const struct next_use *next_use, const struct models *models,
                             uint32_t session)
{
    const struct lane *lanes = next_use->lane[session];
    struct policy_model *model[SW_CURSOR_LANES];
    unsigned live = 0;
    for (unsigned i = 0; i < SW_CURSOR_LANES; i++) {
        model[i] = live_model(next_use, models, &lanes[i]);
        live += model[i] != NULL;
    }
    uint32_t work = SW_CURSOR_LANES;
    for (unsigned i = 0; i < SW_CURSOR_LANES; i++) {
        if (!model[i])
            continue;
        walk(next_use, models, &lanes[i], model[i], next_use->session_bytes / live);
        work += model[i]->size;
    }
    return work;
}

void next_use_prepare(struct next_use *next_use, struct models *models, uint64_t now_ns)
{
    next_use->now_ns = now_ns;
    next_use->prepared++;
    uint32_t work = 0;
    uint32_t count = next_use->session_count;
    uint32_t done = 0;
    for (; done < count && work < WORK_MAX; done++) {
        uint32_t at = (next_use->first_session + done) % count;
        work += walk_session(next_use, models, next_use->session[at]);
    }
    next_use->first_session = done < count ? (next_use->first_session + done) % count : 0;
}
