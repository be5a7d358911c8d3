/* Status codes and the message of the last failure (one a thread). Depends on nothing. */
#ifndef PK_CORE_STATUS_H
#define PK_CORE_STATUS_H

#include "pelk.h"

#if defined(__GNUC__)
#define PK_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define PK_PRINTF(fmt, args)
#endif

/* Leave a message that says what was given and what was wanted; returns status, for `return pk_fail(...)`. */
pk_status pk_fail(pk_status status, const char *format, ...) PK_PRINTF(2, 3);

/* Put text in front of the message of a failure on its way up ("stages.2." before "blocks.0: ..."). */
pk_status pk_fail_prefix(pk_status status, const char *format, ...) PK_PRINTF(2, 3);

#define PK_TRY(call)                          \
    do {                                      \
        pk_status try_status = (call);        \
        if (try_status != PK_OK) return try_status; \
    } while (0)

/* For functions with one exit: needs a local `pk_status status` and a label `done`. */
#define PK_TRY_DONE(call)                     \
    do {                                      \
        status = (call);                      \
        if (status != PK_OK) goto done;       \
    } while (0)

#define PK_RETURN_IF(condition, ...)          \
    do {                                      \
        if (condition) return pk_fail(__VA_ARGS__); \
    } while (0)

#endif
