/* The GEMM driver: see gemm.h for the loops and what they keep. */
#include "bert/gemm.h"

#include <assert.h>
#include <blis.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

/* ---- what BLIS offers -------------------------------------------------------------------------- */

static struct {
    struct swi_gemm_shape shape;
    sgemm_ukr_ft kernel;
    cntx_t *context;
    const struct swi_kernels *maths;
} gemm;

static pthread_once_t gemm_once = PTHREAD_ONCE_INIT;

static uint32_t round_up(uint32_t value, uint32_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

static void choose(void)
{
    cntx_t *context = bli_gks_query_cntx();
    gemm.context = context;
    void *kernel = bli_cntx_get_l3_nat_ukr_dt(BLIS_FLOAT, BLIS_GEMM_UKR, context);
    memcpy(&gemm.kernel, &kernel, sizeof kernel); /* ISO C has no cast for this */
    gemm.maths = swi_kernels();
    struct swi_gemm_shape *shape = &gemm.shape;
    shape->transposed = !bli_cntx_l3_nat_ukr_prefers_rows_dt(BLIS_FLOAT, BLIS_GEMM_UKR, context);
    uint32_t mr = (uint32_t)bli_cntx_get_blksz_def_dt(BLIS_FLOAT, BLIS_MR, context);
    uint32_t nr = (uint32_t)bli_cntx_get_blksz_def_dt(BLIS_FLOAT, BLIS_NR, context);
    /* packed operands have the width of the tile in every configuration of x86-64 and arm64 */
    assert(mr == (uint32_t)bli_cntx_get_blksz_max_dt(BLIS_FLOAT, BLIS_MR, context));
    assert(nr == (uint32_t)bli_cntx_get_blksz_max_dt(BLIS_FLOAT, BLIS_NR, context));
    shape->token_width = shape->transposed ? nr : mr;
    shape->feature_width = shape->transposed ? mr : nr;
    assert(shape->token_width <= SWI_TILE_MAX && shape->feature_width <= SWI_TILE_MAX);

    /* BLIS keeps MC × KC of its first operand in the second-level cache; so do we, of the activations,
     * with a longer K, because sums here are written to a small buffer and not to a wide matrix. */
    uint32_t kc = (uint32_t)bli_cntx_get_blksz_def_dt(BLIS_FLOAT, BLIS_KC, context);
    uint32_t mc = (uint32_t)bli_cntx_get_blksz_def_dt(BLIS_FLOAT, BLIS_MC, context);
    shape->k_block = round_up(kc + kc / 2, 32);
    uint32_t block = mc > 96 ? mc : 96;
    shape->token_block = round_up(block, shape->token_width);
    shape->feature_panels = 256 / shape->feature_width ? 256 / shape->feature_width : 1;
}

const struct swi_gemm_shape *swi_gemm_shape(void)
{
    pthread_once(&gemm_once, choose);
    return &gemm.shape;
}

/* BLIS's prototypes lack const; its kernels only read these. */
static float *mutable(const float *operand)
{
    return (float *)(uintptr_t)operand;
}

static inline void micro_kernel(uint32_t k, float scale, const float *tokens, const float *features,
                                float beta, float *c, size_t stride, auxinfo_t *next)
{
    const struct swi_gemm_shape *shape = &gemm.shape;
    if (shape->transposed)
        gemm.kernel((dim_t)shape->feature_width, (dim_t)shape->token_width, (dim_t)k, &scale,
                    mutable(features), mutable(tokens), &beta, c, 1, (inc_t)stride, next,
                    gemm.context);
    else
        gemm.kernel((dim_t)shape->token_width, (dim_t)shape->feature_width, (dim_t)k, &scale,
                    mutable(tokens), mutable(features), &beta, c, (inc_t)stride, 1, next,
                    gemm.context);
}

void swi_gemm_tile(uint32_t k, float scale, const float *tokens, const float *features, bool add,
                   float *c, size_t stride)
{
    auxinfo_t next;
    memset(&next, 0, sizeof next);
    bli_auxinfo_set_next_ab(mutable(tokens), mutable(features), &next);
    micro_kernel(k, scale, tokens, features, add ? 1.0f : 0.0f, c, stride, &next);
}

/* ---- the split of K ------------------------------------------------------------------------------ */

/* Equal stretches, each a multiple of 32 but for the last. Depends on k alone. */
uint32_t swi_gemm_k_step(uint32_t k)
{
    uint32_t most = swi_gemm_shape()->k_block;
    uint32_t parts = (k + most - 1) / most;
    return round_up((k + parts - 1) / parts, 32);
}

/* ---- packing activations ---------------------------------------------------------------------- */

/* A packed block: for each stretch of K, for each tile of tokens, [stretch, token_width]. So the tile t of
 * the stretch that starts at k0 lies at k0 · (tiles · token_width) + t · stretch · token_width. */

uint32_t swi_gemm_tiles(uint32_t tokens)
{
    uint32_t width = swi_gemm_shape()->token_width;
    return (tokens + width - 1) / width;
}

size_t swi_gemm_packed_floats(uint32_t tokens, uint32_t k)
{
    return (size_t)swi_gemm_tiles(tokens) * swi_gemm_shape()->token_width * k;
}

uint32_t swi_gemm_panels(uint32_t n)
{
    uint32_t width = swi_gemm_shape()->feature_width;
    return (n + width - 1) / width;
}

/* Packs columns [k0, k0 + columns) of x, which lie within one stretch; x points at the first of them. */
static void pack_columns(const struct swi_gemm_input *input, uint32_t k0, uint32_t columns,
                         uint32_t first_tile, uint32_t end_tile, float *packed)
{
    uint32_t width = gemm.shape.token_width, tiles = swi_gemm_tiles(input->tokens);
    uint32_t step = swi_gemm_k_step(input->k), start = k0 / step * step;
    uint32_t stretch = input->k - start < step ? input->k - start : step;
    assert(k0 + columns <= start + stretch);
    float *block = packed + (size_t)start * tiles * width;
    for (uint32_t tile = first_tile; tile < end_tile; tile++) {
        uint32_t token = tile * width, rows = input->tokens - token;
        gemm.maths->interleave(block + ((size_t)tile * stretch + (k0 - start)) * width,
                               input->x + token * input->stride, input->stride,
                               rows < width ? rows : width, columns, width);
    }
}

void swi_gemm_pack(const struct swi_gemm_input *input, uint32_t first_tile, uint32_t end_tile,
                   float *packed)
{
    assert(input->tokens > 0 && input->tokens <= swi_gemm_shape()->token_block);
    uint32_t step = swi_gemm_k_step(input->k);
    for (uint32_t k0 = 0; k0 < input->k; k0 += step) {
        struct swi_gemm_input part = *input;
        part.x += k0;
        pack_columns(&part, k0, input->k - k0 < step ? input->k - k0 : step, first_tile, end_tile,
                     packed);
    }
}

/* ---- panels of weights --------------------------------------------------------------------------- */

static const char *element(const struct swi_matrix *w, size_t index)
{
    return (const char *)w->data + index * sw_dtype_size(w->dtype);
}

/* Rows [n0, n0 + width) of the stretch [k0, k0 + k) as one panel [k, width], in place where it already
 * lies so, else in buffer. Lanes past the last row hold anything finite. */
static const float *panel_of(const struct swi_matrix *w, uint32_t n0, uint32_t k0, uint32_t k,
                             float *buffer)
{
    uint32_t width = gemm.shape.feature_width;
    const struct swi_kernels *maths = gemm.maths;
    if (w->layout == SW_LAYOUT_ROWS) {
        uint32_t rows = w->n - n0 < width ? w->n - n0 : width;
        maths->interleave_any(buffer, element(w, (size_t)n0 * w->k + k0), w->k, rows, k, width,
                              w->dtype);
        return buffer;
    }
    size_t start = ((size_t)(n0 / SW_PANEL_WIDTH) * w->k + k0) * SW_PANEL_WIDTH;
    if (width == SW_PANEL_WIDTH) {
        if (w->dtype == SW_DTYPE_F32)
            return (const float *)w->data + start;
        maths->widen(buffer, element(w, start), (size_t)k * width, w->dtype);
        return buffer;
    }
    for (uint32_t done = 0; done < width;) {
        uint32_t n = n0 + done, lane = n % SW_PANEL_WIDTH;
        uint32_t count = SW_PANEL_WIDTH - lane < width - done ? SW_PANEL_WIDTH - lane : width - done;
        if (n >= round_up(w->n, SW_PANEL_WIDTH)) { /* past the last panel: repeat what is there */
            for (uint32_t row = 0; row < k; row++)
                for (uint32_t i = done; i < width; i++)
                    buffer[row * width + i] = buffer[row * width];
            break;
        }
        start = ((size_t)(n / SW_PANEL_WIDTH) * w->k + k0) * SW_PANEL_WIDTH + lane;
        maths->copy_columns(buffer + done, width, element(w, start), SW_PANEL_WIDTH, count, k,
                            w->dtype);
        done += count;
    }
    return buffer;
}

/* Where the bytes of a panel's stretch lie, to fetch them ahead: `runs` runs of `bytes` each. */
struct source {
    const char *start;
    size_t bytes, stride;
    uint32_t runs;
};

static struct source source_of(const struct swi_matrix *w, uint32_t n0, uint32_t k0, uint32_t k)
{
    uint32_t width = gemm.shape.feature_width;
    size_t size = sw_dtype_size(w->dtype);
    struct source source = {0};
    if (w->layout == SW_LAYOUT_ROWS) {
        source.start = element(w, (size_t)n0 * w->k + k0);
        source.bytes = k * size;
        source.stride = w->k * size;
        source.runs = w->n - n0 < width ? w->n - n0 : width;
        return source;
    }
    uint32_t first = n0 / SW_PANEL_WIDTH, end = (n0 + width + SW_PANEL_WIDTH - 1) / SW_PANEL_WIDTH;
    uint32_t most = (w->n + SW_PANEL_WIDTH - 1) / SW_PANEL_WIDTH;
    source.start = element(w, ((size_t)first * w->k + k0) * SW_PANEL_WIDTH);
    source.bytes = k * SW_PANEL_WIDTH * size;
    source.stride = w->k * SW_PANEL_WIDTH * size;
    source.runs = (end < most ? end : most) - first;
    return source;
}

/* Asks for part `part` of `parts` of a source, into the second-level cache. */
static void fetch(const struct source *source, uint32_t part, uint32_t parts)
{
    size_t lines = (source->bytes + 63) / 64;
    size_t first = lines * part / parts, end = lines * (part + 1) / parts;
    for (uint32_t run = 0; run < source->runs; run++)
        for (size_t line = first; line < end; line++)
            __builtin_prefetch(source->start + run * source->stride + line * 64, 0, 2);
}

/* ---- the driver ----------------------------------------------------------------------------------- */

/* scratch: one panel [k_block, feature_width], then sums [feature_panels][token_block, feature_width] */
static size_t panel_floats(void)
{
    const struct swi_gemm_shape *shape = swi_gemm_shape();
    return (size_t)round_up(shape->k_block * shape->feature_width, 16);
}

size_t swi_gemm_scratch_floats(void)
{
    const struct swi_gemm_shape *shape = swi_gemm_shape();
    return panel_floats() +
           (size_t)shape->feature_panels * shape->token_block * shape->feature_width;
}

/* Sums of one panel, done: to the job's output. */
static void finish(const struct swi_gemm_job *job, uint32_t panel, float *sums)
{
    uint32_t width = gemm.shape.feature_width, n0 = panel * width, n = job->weight.n;
    struct swi_strip strip = {
        .sums = sums,
        .bias = job->bias ? job->bias + n0 : NULL,
        .residual = job->residual ? job->residual + n0 : NULL,
        .residual_stride = job->residual_stride,
        .out = job->packed_out ? sums : job->out + n0,
        .out_stride = job->packed_out ? width : job->out_stride,
        .rows = job->tokens,
        .width = width,
        .columns = n - n0 < width ? n - n0 : width,
        .activation = job->activation,
    };
    gemm.maths->finish(&strip);
    if (!job->packed_out)
        return;
    uint32_t step = swi_gemm_k_step(n);
    for (uint32_t done = 0; done < strip.columns;) { /* a panel may straddle two stretches */
        uint32_t k0 = n0 + done, left = strip.columns - done, room = step - k0 % step;
        uint32_t columns = left < room ? left : room;
        struct swi_gemm_input input = {
            .x = sums + done, .stride = width, .tokens = job->tokens, .k = n};
        pack_columns(&input, k0, columns, 0, swi_gemm_tiles(job->tokens), job->out);
        done += columns;
    }
}

/* One panel × one stretch of K: all tiles of tokens. */
static void multiply_panel(const struct swi_gemm_job *job, uint32_t k0, uint32_t k,
                           const float *features, const struct source *next, float *sums)
{
    const struct swi_gemm_shape *shape = &gemm.shape;
    uint32_t tiles = swi_gemm_tiles(job->tokens), width = shape->token_width;
    size_t tile_sums = (size_t)width * shape->feature_width;
    const float *tokens = job->packed + (size_t)k0 * tiles * width;
    float beta = k0 ? 1.0f : 0.0f;
    auxinfo_t aux;
    memset(&aux, 0, sizeof aux);
    for (uint32_t tile = 0; tile < tiles; tile++) {
        const float *here = tokens + (size_t)tile * k * width;
        bli_auxinfo_set_next_ab(mutable(here + (size_t)k * width), mutable(features), &aux);
        fetch(next, tile, tiles);
        micro_kernel(k, 1.0f, here, features, beta, sums + tile * tile_sums, shape->feature_width,
                     &aux);
    }
}

void swi_gemm(const struct swi_gemm_job *job, uint32_t first_panel, uint32_t end_panel,
              float *scratch)
{
    const struct swi_gemm_shape *shape = swi_gemm_shape();
    const struct swi_matrix *w = &job->weight;
    assert(job->tokens > 0 && job->tokens <= shape->token_block);
    assert((uintptr_t)scratch % 64 == 0);
    uint32_t width = shape->feature_width, step = swi_gemm_k_step(w->k);
    float *buffer = scratch, *sums = scratch + panel_floats();
    size_t strip = (size_t)swi_gemm_tiles(job->tokens) * shape->token_width * width;
    /* with a single stretch nothing waits for a second one: one strip, always in the first-level cache */
    uint32_t group = step >= w->k ? 1 : shape->feature_panels;
    for (uint32_t first = first_panel; first < end_panel; first += group) {
        uint32_t end = end_panel - first < group ? end_panel : first + group;
        for (uint32_t k0 = 0; k0 < w->k; k0 += step) {
            uint32_t k = w->k - k0 < step ? w->k - k0 : step;
            for (uint32_t panel = first; panel < end; panel++) {
                const float *features = panel_of(w, panel * width, k0, k, buffer);
                struct source next = {0};
                if (panel + 1 < end)
                    next = source_of(w, (panel + 1) * width, k0, k);
                else if (k0 + step < w->k)
                    next = source_of(w, first * width, k0 + k,
                                     w->k - k0 - k < step ? w->k - k0 - k : step);
                else if (end < end_panel)
                    next = source_of(w, end * width, 0, step < w->k ? step : w->k);
                float *mine = sums + (panel - first) * strip;
                multiply_panel(job, k0, k, features, &next, mine);
                if (k0 + k == w->k)
                    finish(job, panel, mine);
            }
        }
    }
}
