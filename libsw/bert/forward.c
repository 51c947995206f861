/* The public calls that run a pass. Results are copied out only when the whole pass has succeeded. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bert/handle.h"
#include "bert/pooling.h"

static uint32_t tokens_of(const struct sw_bert_batch *batch)
{
    uint32_t tokens = 0;
    for (uint32_t i = 0; i < batch->sequences; i++)
        tokens += batch->lengths[i];
    return tokens;
}

int sw_bert_forward(sw_bert *bert, const struct sw_bert_batch *batch,
                    const struct sw_bert_output *output)
{
    const float *pooled = NULL;
    size_t width = bert->config.hidden;
    pthread_mutex_lock(&bert->lock);
    int r = output->size < sizeof *output
                ? swi_fail(&bert->error, -EINVAL,
                           "the output's size member is not set: use SW_INIT")
                : swi_bert_pass(bert, batch, output->pooler_output ? &pooled : NULL, NULL);
    if (r == 0 && output->last_hidden_state)
        memcpy(output->last_hidden_state, swi_encoder_hidden(bert->encoder),
               tokens_of(batch) * width * sizeof(float));
    if (r == 0 && output->pooler_output)
        memcpy(output->pooler_output, pooled, batch->sequences * width * sizeof(float));
    pthread_mutex_unlock(&bert->lock);
    return r;
}

/* What the model's own pooling is, read once. */
static int default_pooling(sw_bert *bert)
{
    void *json = NULL;
    size_t size = 0;
    if (bert->pooling != SW_POOLING_DEFAULT)
        return 0;
    int r = sw_model_file(bert->model, "1_Pooling/config.json", &json, &size);
    if (r == SW_ENOCOMPONENT) {
        bert->pooling = SW_POOLING_MEAN;
        return 0;
    }
    if (r < 0)
        return swi_bert_client_failure(bert, r, "1_Pooling/config.json");
    r = swi_pooling_parse(json, size, &bert->pooling, &bert->error);
    free(json);
    return r;
}

int sw_bert_embed(sw_bert *bert, const struct sw_bert_batch *batch, enum sw_pooling pooling,
                  int normalize, float *embeddings)
{
    const float *pooled = NULL;
    uint32_t width = bert->config.hidden;
    pthread_mutex_lock(&bert->lock);
    int r = 0;
    if ((unsigned)pooling > SW_POOLING_POOLER)
        r = swi_fail(&bert->error, -EINVAL, "%d is not a kind of pooling", (int)pooling);
    if (r == 0 && pooling == SW_POOLING_DEFAULT) {
        r = default_pooling(bert);
        pooling = bert->pooling;
    }
    if (r == 0)
        r = swi_bert_pass(bert, batch, pooling == SW_POOLING_POOLER ? &pooled : NULL, NULL);
    if (r == 0 && pooling == SW_POOLING_POOLER)
        memcpy(embeddings, pooled, batch->sequences * (size_t)width * sizeof(float));
    else if (r == 0)
        swi_pool(pooling, batch, swi_encoder_hidden(bert->encoder), width, embeddings);
    if (r == 0 && normalize)
        swi_normalize_rows(embeddings, batch->sequences, width);
    pthread_mutex_unlock(&bert->lock);
    return r;
}
