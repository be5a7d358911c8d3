/* A wish that long work end soon, honoured between two ops: what runs inside pk_interruptible_begin and _end may fail
 * with PK_EINTERRUPTED once the wish is due. Who allows it undoes what was begun. */
#ifndef PK_CORE_INTERRUPT_H
#define PK_CORE_INTERRUPT_H

#include <stdint.h>

#include "core/status.h"

#define PK_INTERRUPTED "interrupted by a signal" /* the message */

/* Wish for it in so many milliseconds from now; safe in a signal handler. */
void pk_interrupt_after(int64_t milliseconds);
/* There is no wish any more. */
void pk_interrupt_clear(void);

/* Interruption is allowed from here to there (nested calls count). */
void pk_interruptible_begin(void);
void pk_interruptible_end(void);

/* PK_OK; or, once for each wish, PK_EINTERRUPTED. */
pk_status pk_interrupt_poll(void);

#endif
