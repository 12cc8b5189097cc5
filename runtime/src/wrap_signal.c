#define _GNU_SOURCE
#include "wrap_signal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "calls.h"
#include "journal.h"
#include "oldcode.h"
#include "request.h"
#include "thread.h"

#define SIGNALS 64
#define BIT_OF(number) (1ull << ((number) - 1))

/* What the new version asked for. */
static struct wish {
    int is_set;
    struct sigaction action;
} wishes[SIGNALS + 1];
/* Of the calling thread. */
static _Thread_local sigset_t mask;
static _Thread_local stack_t altstack;

/* Signals for which siginterrupt() said that signal() shall not restart calls. */
static sigset_t interrupting;

/* The program has had a handler that ends calls with EINTR. */
static int may_interrupt;

/* Addresses in old images that the kernel still knows; a scan for words that point into an image
 * finds them here. */
static const void *kept_in_kernel[SIGNALS + 2];
#define KEPT_ALTSTACK (SIGNALS + 1)

static int is_number(int number) {
    return number >= 1 && number <= SIGNALS;
}

void kitsune__signals_forget(void) {
    memset(wishes, 0, sizeof wishes);
}

void kitsune__signals_begin(void) {
    kitsune__journal_kept_mask(&mask);
    kitsune__journal_kept_altstack(&altstack);
}

/* ---- dispositions --------------------------------------------------------------------------- */

static int is_handler(const struct sigaction *action) {
    return (action->sa_flags & SA_SIGINFO) ||
           (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

/* What the program last said, without wishes. */
static int present_action(int number, struct sigaction *action) {
    if (number == SIGURG)
        return kitsune__kick_sigaction(NULL, action);
    if (kitsune__oldcode_owns(number))
        return kitsune__oldcode_sigaction(NULL, action);
    if (kitsune__journal_kept_action(number, action))
        return 0;
    return sigaction(number, NULL, action);
}

static int install_action(int number, const struct sigaction *action) {
    return number == SIGURG ? kitsune__kick_sigaction(action, NULL)
                            : sigaction(number, action, NULL);
}

static int wish_action(int number, const struct sigaction *action, struct sigaction *old) {
    struct sigaction before;
    if (!is_number(number) || (action != NULL && (number == SIGKILL || number == SIGSTOP))) {
        errno = EINVAL;
        return -1;
    }
    if (wishes[number].is_set)
        before = wishes[number].action;
    else if (present_action(number, &before) != 0)
        return -1;
    if (action != NULL) {
        wishes[number].action = *action; /* before `old` is written: both may be one */
        wishes[number].is_set = 1;
    }
    if (old != NULL)
        *old = before;
    return 0;
}

int kitsune__signals_may_interrupt(void) {
    return may_interrupt;
}

int kitsune__call_sigaction(int number, const struct sigaction *action, struct sigaction *old) {
    if (action != NULL && is_handler(action) && !(action->sa_flags & SA_RESTART))
        may_interrupt = 1;
    if (kitsune__journal_active())
        return wish_action(number, action, old);
    if (number == SIGURG)
        return kitsune__kick_sigaction(action, old);
    if (kitsune__oldcode_owns(number))
        return kitsune__oldcode_sigaction(action, old);
    return sigaction(number, action, old);
}

static kitsune__signal_handler *set_handler(int number, kitsune__signal_handler *handler,
                                            int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags}, old;
    if (handler == SIG_ERR || !is_number(number)) {
        errno = EINVAL;
        return SIG_ERR;
    }
    sigemptyset(&action.sa_mask);
    return kitsune__call_sigaction(number, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

/* BSD's signal(): the handler stays, and interrupted calls are restarted. */
kitsune__signal_handler *kitsune__call_signal(int number, kitsune__signal_handler *handler) {
    int interrupts = is_number(number) && sigismember(&interrupting, number) == 1;
    return set_handler(number, handler, interrupts ? 0 : SA_RESTART);
}

/* System V's: the handler goes when it is called. */
kitsune__signal_handler *kitsune__call___sysv_signal(int number, kitsune__signal_handler *handler) {
    return set_handler(number, handler, (int)(SA_RESETHAND | SA_NODEFER));
}

int kitsune__call_siginterrupt(int number, int interrupt) {
    struct sigaction action;
    if (kitsune__call_sigaction(number, NULL, &action) != 0)
        return -1;
    if (interrupt) {
        sigaddset(&interrupting, number);
        action.sa_flags &= ~SA_RESTART;
    } else {
        sigdelset(&interrupting, number);
        action.sa_flags |= SA_RESTART;
    }
    return kitsune__call_sigaction(number, &action, NULL);
}

/* ---- mask and alternate stack ---------------------------------------------------------------- */

static int wish_mask(int how, const sigset_t *set, sigset_t *old) {
    sigset_t before = mask;
    if (set != NULL) {
        if (how == SIG_BLOCK) {
            sigorset(&mask, &before, set);
        } else if (how == SIG_SETMASK) {
            mask = *set;
        } else if (how == SIG_UNBLOCK) {
            for (int number = 1; number <= SIGNALS; number++)
                if (sigismember(set, number) == 1)
                    sigdelset(&mask, number);
        } else {
            return EINVAL;
        }
    }
    if (old != NULL)
        *old = before;
    return 0;
}

__attribute__((noinline)) static int change_mask_with_care(int how, const sigset_t *set,
                                                           sigset_t *old) {
    sigset_t wanted;
    if (kitsune__journal_active())
        return wish_mask(how, set, old);
    if (set != NULL && how != SIG_UNBLOCK) {
        wanted = *set;
        kitsune__kick_filter(&wanted);
        kitsune__oldcode_filter(&wanted);
        set = &wanted;
    }
    return pthread_sigmask(how, set, old);
}

/* Whether there is a signal in it that the runtime may keep from being blocked. */
static int holds_ours(const sigset_t *set) {
    uint64_t signals;
    memcpy(&signals, set, sizeof signals);
    return (signals & (BIT_OF(SIGURG) | BIT_OF(SIGSEGV))) != 0;
}

/* Servers change their mask in each turn of their loop: mostly the set goes on as it is, not copied. */
static int change_mask(int how, const sigset_t *set, sigset_t *old) {
    if (kitsune__journal != NULL || (set != NULL && how != SIG_UNBLOCK && holds_ours(set)))
        return change_mask_with_care(how, set, old);
    return pthread_sigmask(how, set, old);
}

int kitsune__call_pthread_sigmask(int how, const sigset_t *set, sigset_t *old) {
    return change_mask(how, set, old);
}

int kitsune__call_sigprocmask(int how, const sigset_t *set, sigset_t *old) {
    int error = change_mask(how, set, old);
    if (error == 0)
        return 0;
    errno = error;
    return -1;
}

int kitsune__call_sigsuspend(const sigset_t *set) {
    sigset_t wanted = *set;
    if (kitsune__journal_active()) {
        sigprocmask(SIG_BLOCK, NULL,
                    &wanted); /* waits for the limit: signals wait for the commit */
        return sigsuspend(&wanted);
    }
    kitsune__kick_filter(&wanted);
    kitsune__oldcode_filter(&wanted);
    kitsune__note_call("sigsuspend", 0);
    int result = sigsuspend(&wanted);
    kitsune__note_call(NULL, 0);
    return result;
}

int kitsune__call_sigaltstack(const stack_t *stack, stack_t *old) {
    if (!kitsune__journal_active())
        return sigaltstack(stack, old);
    stack_t before = altstack;
    if (stack != NULL)
        altstack = *stack;
    if (old != NULL)
        *old = before;
    return 0;
}

/* ---- the commit ------------------------------------------------------------------------------ */

static void carry_over(int number, const struct kitsune__image *old,
                       const void *(*successor)(const void *function)) {
    struct sigaction action;
    if (wishes[number].is_set || present_action(number, &action) != 0 || !is_handler(&action) ||
        kitsune__image_at((const void *)action.sa_handler) != old)
        return;
    const void *next = successor((const void *)action.sa_handler);
    if (next == NULL) {
        kept_in_kernel[number] = (const void *)action.sa_handler;
        kitsune__journal_note(
            "the handler of signal %d has no namesake in the new version and stays "
            "in the old one",
            number);
        return;
    }
    action.sa_handler = (kitsune__signal_handler *)next;
    wishes[number].action = action;
    wishes[number].is_set = 1;
}

void kitsune__signals_carry_over(const struct kitsune__image *old,
                                 const void *(*successor)(const void *function)) {
    for (int number = 1; number <= SIGNALS; number++) {
        kept_in_kernel[number] = NULL;
        if (number != SIGKILL && number != SIGSTOP)
            carry_over(number, old, successor);
    }
    kept_in_kernel[KEPT_ALTSTACK] = altstack.ss_flags & SS_DISABLE ? NULL : altstack.ss_sp;
}

static void install_wishes(void) {
    for (int number = 1; number <= SIGNALS; number++)
        if (wishes[number].is_set)
            install_action(number, &wishes[number].action);
}

void kitsune__signals_apply(void) {
    install_wishes();
    kitsune__signals_forget();
    kitsune__signals_apply_thread();
}

void kitsune__signals_apply_thread(void) {
    sigaltstack(&altstack, NULL);
}

void kitsune__signals_wished(uint64_t *set) {
    memcpy(set, &mask, sizeof *set);
}

void kitsune__signals_unblock(void) {
    sigset_t wanted = mask;
    kitsune__kick_filter(&wanted);
    kitsune__oldcode_filter(&wanted);
    sigprocmask(SIG_SETMASK, &wanted, NULL);
}

void kitsune__signals_leave_in_child(void) {
    struct sigaction action;
    for (int number = 1; number <= SIGNALS; number++)
        if (kitsune__journal_kept_action(number, &action))
            sigaction(number, &action, NULL);
    kitsune__signals_apply_thread();
    install_wishes();
    kitsune__signals_forget();
    sigprocmask(SIG_SETMASK, &mask, NULL);
}
