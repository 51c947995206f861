/* SPDX-License-Identifier: MIT */
/* Descriptions of error codes, and messages built where a failure is detected. */
#include "core/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const messages[] = {
    [-5000 - SW_EBUSY] = "no pin slot is free; release a lease first",
    [-5000 - SW_EREVOKED] = "the broker revoked this lease; discard what was computed from it",
    [-5000 - SW_EFORK] = "the handle was inherited across fork and belongs to the parent process",
    [-5000 - SW_EPROTOCOL] = "the peer broke the protocol",
    [-5000 - SW_EVERSION] = "incompatible version; use programs and library of the same release",
    [-5000 - SW_ENOMODEL] = "no such model in the catalog",
    [-5000 - SW_ENOCOMPONENT] = "no such component, tensor or file in the model",
    [-5000 - SW_EFORMAT] = "malformed file",
    [-5000 - SW_EDIGEST] = "the bytes do not match their digest",
    [-5000 - SW_EARENAFULL] = "no room in the arena: every chunk that could be evicted is pinned",
    [-5000 - SW_EUNTRUSTED] = "the server runs as an untrusted user",
    [-5000 - SW_EQUOTA] = "a per-client limit of the broker is exceeded",
    [-5000 - SW_ESTALE] = "the model revision is gone; open the model again",
    [-5000 - SW_ELOAD] = "the broker could not read the chunk",
    [-5000 - SW_EUNSUPPORTED] = "valid, but not supported by this build",
    [-5000 - SW_EDISCONNECTED] = "the broker went away and did not come back in time",
    [-5000 - SW_EFULL] = "too many requests are in flight; collect some first",
};

const char *sw_strerror(int code)
{
    if (code == 0)
        return "success";
    if (code > 0)
        return "not an error code";
    if (code <= -5000) {
        /* -5000 - code, computed so that INT_MIN cannot overflow */
        unsigned int index = (unsigned int)-(code + 5000);
        if (index < sizeof messages / sizeof messages[0] && messages[index])
            return messages[index];
        return "unknown error";
    }
    const char *text = strerrordesc_np(-code);
    return text ? text : "unknown error";
}

const char *sw_version(void)
{
    return SW_VERSION_STRING;
}

int swi_fail(struct swi_error *error, int code, const char *format, ...)
{
    if (!error)
        return code;
    va_list arguments;
    va_start(arguments, format);
    error->code = code;
    (void)vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return code;
}

int swi_fail_within(struct swi_error *error, int code, const char *format, ...)
{
    if (!error)
        return code;
    char inner[SWI_ERROR_TEXT];
    memcpy(inner, error->text, sizeof inner);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < sizeof error->text)
        (void)snprintf(error->text + length, sizeof error->text - (size_t)length, "%s", inner);
    error->code = code;
    return code;
}
