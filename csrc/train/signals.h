/* Asking a long run to stop: SIGINT, SIGTERM and SIGUSR1 (a scheduler's early warning) set a flag that the
 * loop reads between steps. A step that does not end within three seconds is interrupted between two ops
 * (core/interrupt.h) where the loop allows it, for it can undo the step. The second signal of a kind ends the process as
 * if nobody listened. */
#ifndef PK_TRAIN_SIGNALS_H
#define PK_TRAIN_SIGNALS_H

#include "core/status.h"

/* Listen (nested calls count); the handlers that were there come back with the last pk_signals_end. */
pk_status pk_signals_begin(void);
void pk_signals_end(void);
/* "SIGINT", "SIGTERM", "SIGUSR1", or null when none has come since the listening began. */
const char *pk_signal_seen(void);

#endif
