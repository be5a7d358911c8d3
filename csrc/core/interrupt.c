/* One point in time, set by a signal handler and read between ops. */
#include "core/interrupt.h"

#include <stdatomic.h>

#include "core/clock.h"

static atomic_llong due; /* milliseconds of the clock that only goes forward; 0: there is no wish */
static atomic_int allowed;

static int64_t now(void) { return pk_clock_ns() / 1000000; }

void pk_interrupt_after(int64_t milliseconds) { due = now() + milliseconds; }
void pk_interrupt_clear(void) { due = 0; }

void pk_interruptible_begin(void) { atomic_fetch_add(&allowed, 1); }
void pk_interruptible_end(void) { atomic_fetch_sub(&allowed, 1); }

pk_status pk_interrupt_poll(void) {
    long long when = atomic_load_explicit(&due, memory_order_relaxed);
    if (when == 0 || atomic_load_explicit(&allowed, memory_order_relaxed) == 0 || now() < when) return PK_OK;
    due = 0;
    return pk_fail(PK_EINTERRUPTED, PK_INTERRUPTED);
}
