/* SPDX-License-Identifier: MIT */
/* The message of a client's last failure, and how long its calls may take. */
#include <stdarg.h>
#include <stdio.h>

#include "client/internal.h"

int swi_client_fail(struct sw_client *client, const struct swi_error *error)
{
    swi_lock(client);
    client->error = *error;
    swi_unlock(client);
    return error->code;
}

int swi_client_failf(struct sw_client *client, int code, const char *format, ...)
{
    struct swi_error error = {.code = code};
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(error.text, sizeof error.text, format, arguments);
    va_end(arguments);
    return swi_client_fail(client, &error);
}

int sw_client_message(const sw_client *client, char *text, size_t size)
{
    struct sw_client *owner = (struct sw_client *)(uintptr_t)client; /* to lock it */
    swi_lock(owner);
    int code = client->error.code;
    if (size > 0)
        (void)snprintf(text, size, "%s", code ? client->error.text : "");
    swi_unlock(owner);
    return code;
}

uint64_t swi_client_deadline(const struct sw_client *client)
{
    return swi_deadline_in(client->timeout_ms);
}
