/*
 * The event loop: descriptors and timers, one thread. An event is embedded in what it is about and
 * belongs to it; the loop only points to it, from `loop_add` to `loop_remove`. Handlers may add and
 * remove any event, their own too.
 */
#ifndef KVD_LOOP_H
#define KVD_LOOP_H

#include <stdint.h>

struct event;
typedef void event_handler(struct event *event, uint32_t ready);

struct event {
    int fd;
    uint32_t interest; /* EPOLLIN, EPOLLOUT */
    event_handler *handler;
};

struct timer;
typedef int timer_handler(void); /* returns milliseconds until the next call */

struct timer {
    int64_t due_ms;
    timer_handler *handler;
    struct timer *next; /* due later, or at the same time */
};

void loop_start(void);
void loop_add(struct event *event);
void loop_change(struct event *event, uint32_t interest);
void loop_remove(struct event *event);
void loop_every(int first_ms, timer_handler *handler);

/* Waits until something happens and handles it. */
void loop_once(void);

int64_t now_ms(void); /* wall clock, for expiry times */

#endif
