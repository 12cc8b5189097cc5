/* Limits that are lifted for the time of an update (own_limits.h). */
#define _GNU_SOURCE
#include "own_limits.h"

#include <sys/resource.h>
#include <sys/syscall.h>

#include "platform.h"

/* A limit below this was set to have none. */
#define NEXT_TO_NOTHING 8u

static struct {
    int resource;
    int is_lifted;
    struct rlimit before;
} limits[] = {{.resource = RLIMIT_NOFILE}, {.resource = RLIMIT_NPROC}};

#define LIMITS (sizeof limits / sizeof limits[0])

static int is_current(int resource, struct rlimit *limit) {
    return KITSUNE__SYSCALL(SYS_prlimit64, 0, resource, 0, limit) == 0;
}

static int set(int resource, const struct rlimit *limit) {
    return KITSUNE__SYSCALL(SYS_prlimit64, 0, resource, limit, 0) == 0;
}

void kitsune__own_limits_lift(void) {
    for (unsigned i = 0; i < LIMITS; i++) {
        struct rlimit now;
        if (limits[i].is_lifted || !is_current(limits[i].resource, &now) ||
            now.rlim_cur >= NEXT_TO_NOTHING || now.rlim_cur == now.rlim_max)
            continue;
        limits[i].before = now;
        now.rlim_cur = now.rlim_max;
        limits[i].is_lifted = set(limits[i].resource, &now);
    }
}

void kitsune__own_limits_lower(void) {
    for (unsigned i = 0; i < LIMITS; i++) {
        struct rlimit now;
        if (limits[i].is_lifted && is_current(limits[i].resource, &now) &&
            now.rlim_cur == limits[i].before.rlim_max && now.rlim_max == limits[i].before.rlim_max)
            set(limits[i].resource, &limits[i].before);
        limits[i].is_lifted = 0;
    }
}
