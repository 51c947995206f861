/* SPDX-License-Identifier: MIT */
/* What the operator's verbs work with. */
#include "operator/control.h"

void control_init(struct control *control)
{
    TAILQ_INIT(&control->pins);
    TAILQ_INIT(&control->verifies);
    TAILQ_INIT(&control->wheres);
}
