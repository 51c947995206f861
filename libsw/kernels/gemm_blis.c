/* SPDX-License-Identifier: MIT */
/* Queries BLIS for its context once and calls its micro-kernel. */
#include "kernels/gemm_blis.h"

#include <assert.h>
#include <blis.h>
#include <pthread.h>
#include <string.h>

static struct swi_blis blis;
static sgemm_ukr_ft kernel;
static cntx_t *context;

static void ask(void)
{
    context = bli_gks_query_cntx();
    void *found = bli_cntx_get_l3_nat_ukr_dt(BLIS_FLOAT, BLIS_GEMM_UKR, context);
    memcpy(&kernel, &found, sizeof kernel); /* ISO C has no cast for this */
    uint32_t mr = (uint32_t)bli_cntx_get_blksz_def_dt(BLIS_FLOAT, BLIS_MR, context);
    uint32_t nr = (uint32_t)bli_cntx_get_blksz_def_dt(BLIS_FLOAT, BLIS_NR, context);
    /* packed operands have the width of the tile in every configuration of x86-64 and arm64 */
    assert(mr == (uint32_t)bli_cntx_get_blksz_max_dt(BLIS_FLOAT, BLIS_MR, context));
    assert(nr == (uint32_t)bli_cntx_get_blksz_max_dt(BLIS_FLOAT, BLIS_NR, context));
    blis.transposed = !bli_cntx_l3_nat_ukr_prefers_rows_dt(BLIS_FLOAT, BLIS_GEMM_UKR, context);
    blis.token_width = blis.transposed ? nr : mr;
    blis.feature_width = blis.transposed ? mr : nr;
    blis.kc = (uint32_t)bli_cntx_get_blksz_def_dt(BLIS_FLOAT, BLIS_KC, context);
    blis.mc = (uint32_t)bli_cntx_get_blksz_def_dt(BLIS_FLOAT, BLIS_MC, context);
}

const struct swi_blis *swi_blis(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, ask);
    return &blis;
}

/* BLIS's prototypes lack const; its kernels only read these. */
static float *mutable(const float *operand)
{
    return (float *)(uintptr_t)operand;
}

void swi_blis_tile(uint32_t k, float scale, const float *tokens, const float *features, bool add,
                   float *c, size_t stride)
{
    float beta = add ? 1.0f : 0.0f;
    auxinfo_t next;
    memset(&next, 0, sizeof next);
    bli_auxinfo_set_next_ab(mutable(tokens), mutable(features), &next);
    if (blis.transposed)
        kernel((dim_t)blis.feature_width, (dim_t)blis.token_width, (dim_t)k, &scale,
               mutable(features), mutable(tokens), &beta, c, 1, (inc_t)stride, &next, context);
    else
        kernel((dim_t)blis.token_width, (dim_t)blis.feature_width, (dim_t)k, &scale,
               mutable(tokens), mutable(features), &beta, c, (inc_t)stride, 1, &next, context);
}
