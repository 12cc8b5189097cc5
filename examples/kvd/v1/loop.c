#include "loop.h"

#include "memory.h"

#include <kitsune.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#define EVENTS_AT_ONCE 128

static int epoll_fd = -1;

/* By descriptor. The kernel is told descriptors, not addresses: these may change in an update. */
static struct event ** E_PTRARRAY(events_capacity) events;
static size_t events_capacity;

static struct timer *timers; /* soonest first */

static int64_t clock_ms(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t now_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

static void control(int operation, struct event *event)
{
    struct epoll_event wanted = {.events = event->interest, .data.fd = event->fd};

    if (epoll_ctl(epoll_fd, operation, event->fd, &wanted) != 0) {
        fprintf(stderr, "kvd: epoll_ctl: %s\n", strerror(errno));
        exit(1);
    }
}

void loop_start(void)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) {
        fprintf(stderr, "kvd: epoll_create1: %s\n", strerror(errno));
        exit(1);
    }
}

static void make_room_for(size_t fd)
{
    if (fd < events_capacity)
        return;
    size_t capacity = 2 * fd + 16;
    events = memory_resize(events, capacity * sizeof *events);
    memset(events + events_capacity, 0, (capacity - events_capacity) * sizeof *events);
    events_capacity = capacity;
}

void loop_add(struct event *event)
{
    make_room_for((size_t)event->fd);
    events[event->fd] = event;
    control(EPOLL_CTL_ADD, event);
}

void loop_change(struct event *event, uint32_t interest)
{
    if (event->interest == interest)
        return;
    event->interest = interest;
    control(EPOLL_CTL_MOD, event);
}

void loop_remove(struct event *event)
{
    events[event->fd] = NULL;
    control(EPOLL_CTL_DEL, event);
}

static void schedule(struct timer *timer, int in_ms)
{
    struct timer **link = &timers;

    timer->due_ms = clock_ms(CLOCK_MONOTONIC) + in_ms;
    while (*link && (*link)->due_ms <= timer->due_ms)
        link = &(*link)->next;
    timer->next = *link;
    *link = timer;
}

void loop_every(int first_ms, timer_handler *handler)
{
    struct timer *timer = memory_new(sizeof *timer);

    timer->handler = handler;
    schedule(timer, first_ms);
}

static void run_timers(void)
{
    int64_t now = clock_ms(CLOCK_MONOTONIC);

    while (timers && timers->due_ms <= now) {
        struct timer *timer = timers;
        timers = timer->next;
        schedule(timer, timer->handler());
    }
}

static int wait_ms(void)
{
    if (timers == NULL)
        return -1;
    int64_t left = timers->due_ms - clock_ms(CLOCK_MONOTONIC);
    return left > 0 ? (int)left : 0;
}

void loop_once(void)
{
    struct epoll_event ready[EVENTS_AT_ONCE];
    int count = epoll_wait(epoll_fd, ready, EVENTS_AT_ONCE, wait_ms());

    for (int i = 0; i < count; i++) {
        /* An earlier handler of this round may have removed it. */
        struct event *event = events[ready[i].data.fd];
        if (event)
            event->handler(event, ready[i].events);
    }
    run_timers();
}
