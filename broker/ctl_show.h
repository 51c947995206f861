/* The broker's answers, printed for people. Each takes an answer that is "ok". */
#ifndef SWB_CTL_SHOW_H
#define SWB_CTL_SHOW_H

#include <jansson.h>

void ctl_show_ping(const json_t *reply);
void ctl_show_stats(const json_t *reply);
void ctl_show_chunks(const json_t *reply);
void ctl_show_models(const json_t *reply);
void ctl_show_clients(const json_t *reply);
void ctl_show_clear(const json_t *reply);
void ctl_show_resize(const json_t *reply);
void ctl_show_warm(const json_t *reply);
void ctl_show_push(const json_t *reply);
void ctl_show_reload(const json_t *reply);

#endif
