#define _GNU_SOURCE
#include "wrap_timer.h"

#include <signal.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "calls.h"
#include "journal.h"

#define DELETED_MAX 32

/* Timers of the old version that end with the commit; until then they do not run. */
static timer_t deleted[DELETED_MAX];
static uint32_t deleted_count;

/* libc passes the kernel's number through, except for timers that start threads: those are negative. */
static int is_kernels(timer_t timer) {
    return (intptr_t)timer >= 0;
}

static int number_of(timer_t timer) {
    return (int)(intptr_t)timer;
}

int kitsune__call_setitimer(int which, const struct itimerval *value, struct itimerval *old) {
    kitsune__journal_save_timers();
    return setitimer((__itimer_which_t)which, value, old);
}

unsigned kitsune__call_alarm(unsigned seconds) {
    kitsune__journal_save_timers();
    return alarm(seconds);
}

useconds_t kitsune__call_ualarm(useconds_t first, useconds_t interval) {
    kitsune__journal_save_timers();
    return ualarm(first, interval);
}

int kitsune__call_timer_create(clockid_t clock, struct sigevent *event, timer_t *timer) {
    /* libc makes a thread for all such timers. */
    if (kitsune__journal_active() && event != NULL && event->sigev_notify == SIGEV_THREAD)
        kitsune__journal_abort(KITSUNE__REFUSED_CALL,
                               "the new version called timer_create() for a timer that starts "
                               "threads, which needs a guard if (!kitsune_is_updating()),");
    int result = timer_create(clock, event, timer);
    if (result == 0 && is_kernels(*timer) && kitsune__journal_active())
        kitsune__journal_note_timer(number_of(*timer));
    return result;
}

int kitsune__call_timer_settime(timer_t timer, int flags, const struct itimerspec *value,
                                struct itimerspec *old) {
    if (is_kernels(timer))
        kitsune__journal_save_timer(number_of(timer));
    return timer_settime(timer, flags, value, old);
}

/* It goes on existing, so that a rollback finds it. */
static int delete_later(timer_t timer) {
    const struct itimerspec never = {{0, 0}, {0, 0}};
    if (deleted_count == DELETED_MAX)
        kitsune__journal_abort(KITSUNE__REFUSED_CALL,
                               "the new version deleted more than %d timers of the old one,",
                               DELETED_MAX);
    int result = kitsune__call_timer_settime(timer, 0, &never, NULL);
    if (result == 0)
        deleted[deleted_count++] = timer;
    return result;
}

int kitsune__call_timer_delete(timer_t timer) {
    if (!kitsune__journal_active() || !is_kernels(timer))
        return timer_delete(timer);
    if (!kitsune__journal_made_timer(number_of(timer)))
        return delete_later(timer);
    kitsune__journal_forget_timer(number_of(timer));
    return timer_delete(timer);
}

int kitsune__call_timerfd_settime(int timer, int flags, const struct itimerspec *value,
                                  struct itimerspec *old) {
    kitsune__journal_save_timerfd(timer);
    return timerfd_settime(timer, flags, value, old);
}

void kitsune__timers_apply(void) {
    for (uint32_t index = 0; index < deleted_count; index++)
        timer_delete(deleted[index]);
    deleted_count = 0;
}
