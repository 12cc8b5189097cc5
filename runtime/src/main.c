/*
 * kitsune-launcher [--] RELEASE.so [ARGUMENTS…]
 *
 * Loads the first release of a program and calls its main; all later versions run in this process.
 * Exit status: the program's; 127 if the release cannot be started.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "log.h"
#include "main_state.h"
#include "platform.h"
#include "quiesce.h"
#include "request.h"
#include "thread.h"
#include "trial.h"
#include "wrap_exit.h"

#define EXIT_NOT_STARTED 127

extern char **environ;

static int refuse(const char *what, const char *why) {
    fprintf(stderr, "kitsune: %s: %s\n", what, why);
    return EXIT_NOT_STARTED;
}

static void start_channel(void) {
    const struct kitsune__image *image = kitsune__image_current();
    const struct kitsune_identity *identity = image->release->identity;
    struct kitsune__running running;
    char why[256];
    memset(&running, 0, sizeof running);
    memcpy(running.program, identity->program, sizeof running.program);
    memcpy(running.version, identity->version, sizeof running.version);
    memcpy(running.build_id, image->build_id, sizeof running.build_id);
    if (kitsune__request_start(&running, why, sizeof why) != 0)
        kitsune__log("%s cannot be updated from outside: %s", identity->program, why);
}

int main(int count, char **arguments) {
    char reason[KITSUNE__REASON_SIZE];
    int first = 1;
    if (count > first && strcmp(arguments[first], "--") == 0)
        first++;
    if (count <= first) {
        fprintf(stderr, "usage: %s [--] RELEASE.so [ARGUMENT…]\n", arguments[0]);
        return 2;
    }
    kitsune__platform_start();
    kitsune__log_open();
    kitsune__threads_start();
    if (kitsune__request_prepare() != 0)
        kitsune__log("no updates are possible: %m");
    kitsune__trial_start();
    kitsune__exit_start();
    kitsune__quiesce_start();
    if (kitsune__arguments_keep(count - first, arguments + first) != 0)
        return refuse(arguments[first], "out of memory");
    uint32_t code = kitsune__load_first(arguments[first], reason, sizeof reason);
    if (code != 0) {
        fprintf(stderr, "kitsune: %s: error[K%u]: %s\n", arguments[first], code, reason);
        return EXIT_NOT_STARTED;
    }
    start_channel();
    kitsune__quiesce_set_base(__builtin_frame_address(0));
    return kitsune__image_current()->release->main(count - first, arguments + first, environ);
}
