/* Signal handlers that only note. */
#include "train/signals.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "core/interrupt.h"

enum { KINDS = 3, PATIENCE = 3000 /* milliseconds that a step has to end by itself */ };
static const int number[KINDS] = {SIGINT, SIGTERM, SIGUSR1};
static const char *const name[KINDS] = {"SIGINT", "SIGTERM", "SIGUSR1"};
static struct sigaction before[KINDS];
static volatile sig_atomic_t seen;
static int listeners;

static void note(int signal_number) {
    seen = signal_number;
    pk_interrupt_after(PATIENCE);
}

pk_status pk_signals_begin(void) {
    if (listeners++ > 0) return PK_OK;
    struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART | (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    seen = 0;
    for (int i = 0; i < KINDS; i++) {
        if (sigaction(number[i], &action, &before[i]) == 0) continue;
        int code = errno;
        while (i-- > 0) sigaction(number[i], &before[i], NULL);
        listeners = 0;
        return pk_fail(PK_EIO, "cannot listen to signals: %s", strerror(code));
    }
    return PK_OK;
}

void pk_signals_end(void) {
    if (listeners == 0 || --listeners > 0) return;
    for (int i = 0; i < KINDS; i++) sigaction(number[i], &before[i], NULL);
    pk_interrupt_clear();
}

const char *pk_signal_seen(void) {
    for (int i = 0; i < KINDS; i++)
        if (seen == number[i]) return name[i];
    return NULL;
}
