#define _GNU_SOURCE
#include "trial.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

static struct kitsune__trial *trial; /* NULL outside a trial; shared */
static char *release;                /* to become; owned; NULL: only count */
static int is_of_tree;               /* somebody else asks for the update, of all processes */

/* How long a process stands at the arrival for whoever asks; and how long once others are asked: they may
 * need its answers. */
#define HOLD_MS 30000
#define HOLD_IN_ROUND_MS 200

static struct kitsune__trial *map_file(const char *path) {
    struct stat status;
    void *bytes = MAP_FAILED;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return NULL;
    if (fstat(file, &status) == 0 && status.st_size >= (off_t)KITSUNE__TRIAL_SIZE)
        bytes = mmap(NULL, KITSUNE__TRIAL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (bytes == MAP_FAILED)
        return NULL;
    if (((struct kitsune__trial *)bytes)->magic == KITSUNE__TRIAL_MAGIC)
        return bytes;
    munmap(bytes, KITSUNE__TRIAL_SIZE);
    return NULL;
}

void kitsune__trial_start(void) {
    const char *path = getenv("KITSUNE_TRIAL"), *next = getenv("KITSUNE_TRIAL_RELEASE");
    if (path == NULL)
        return;
    trial = map_file(path);
    if (trial == NULL) {
        kitsune__log("KITSUNE_TRIAL: '%s' is not the file of a trial", path);
        return;
    }
    release = next != NULL ? strdup(next) : NULL;
    is_of_tree = getenv("KITSUNE_TRIAL_TREE") != NULL;
    /* What the program starts is no part of the trial. */
    unsetenv("KITSUNE_TRIAL");
    unsetenv("KITSUNE_TRIAL_RELEASE");
    unsetenv("KITSUNE_TRIAL_TREE");
    kitsune__request_raise(KITSUNE__PENDING_TRIAL);
}

void kitsune__trial_follow_child(void) {
    if (trial != NULL)
        kitsune__request_raise(KITSUNE__PENDING_TRIAL);
}

/* A slot is claimed by number and then named; a process that finds it unnamed takes one of its own, so
 * a name may have two slots: the reader adds them up, `nth` does as well. */
static struct kitsune__trial_point *slot_of(const char *name) {
    uint32_t count = trial->claimed;
    for (uint32_t index = 0; index < count && index < KITSUNE__TRIAL_POINTS; index++)
        if (strncmp(trial->points[index].name, name, sizeof trial->points[index].name - 1) == 0)
            return &trial->points[index];
    uint32_t own = trial->claimed++;
    if (own >= KITSUNE__TRIAL_POINTS) {
        trial->claimed = KITSUNE__TRIAL_POINTS;
        return NULL;
    }
    snprintf(trial->points[own].name, sizeof trial->points[own].name, "%s", name);
    return &trial->points[own];
}

static int wins(void) {
    uint32_t expected = KITSUNE__TRIAL_WAITS;
    return atomic_compare_exchange_strong(&trial->state, &expected, KITSUNE__TRIAL_ASKED);
}

static void ask(void) {
    struct kitsune__outcome outcome;
    if (kitsune__request_inside(release, 0, &outcome) != 0)
        kitsune__trial_end(&outcome);
}

/* Stands at the arrival until the request is there. */
static void hold(void) {
    static const struct timespec pause = {.tv_nsec = 1000000};
    uint32_t round = kitsune__request_round();
    int in_round_ms = 0;
    for (int ms = 0; ms < HOLD_MS && in_round_ms < HOLD_IN_ROUND_MS; ms++) {
        if (trial->state != KITSUNE__TRIAL_ASKED ||
            kitsune__request_pending() & KITSUNE__PENDING_UPDATE)
            return;
        in_round_ms += kitsune__request_round() != round;
        nanosleep(&pause, NULL);
    }
}

static int is_counted(void) {
    return is_of_tree ? kitsune__request_is_owner() : kitsune__request_is_root();
}

void kitsune__trial_arrive(const char *name) {
    struct kitsune__trial_point *point;
    if (trial == NULL || !is_counted())
        return;
    point = slot_of(name);
    if (point == NULL)
        return;
    uint64_t nth = ++point->arrivals;
    if (trial->state != KITSUNE__TRIAL_WAITS || nth < trial->arrival ||
        strcmp(point->name, trial->point) != 0)
        return;
    if (is_of_tree) {
        if (wins())
            hold();
    } else if (release != NULL && wins()) {
        ask();
    }
}

void kitsune__trial_end(const struct kitsune__outcome *outcome) {
    if (trial == NULL || is_of_tree || trial->state != KITSUNE__TRIAL_ASKED)
        return;
    trial->pause_ns = outcome->pause_ns;
    trial->objects = outcome->objects;
    memcpy(trial->code, outcome->code, sizeof trial->code);
    memcpy(trial->reason, outcome->reason, sizeof trial->reason);
    trial->state = KITSUNE__TRIAL_ENDED;
}
