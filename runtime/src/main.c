/*
 * kitsune-launcher [--public-key FILE | --revocations FILE]… [--] RELEASE.so [ARGUMENTS…]
 *
 * Loads the first release of a program and calls its main; all later versions run in this process.
 * Releases must be signed by one of the keys, if there are any, and must not be in the list of revoked
 * ones; $KITSUNE_PUBLIC_KEY and $KITSUNE_REVOCATIONS are as the options.
 * Exit status: the program's; 127 if the release cannot be started.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"
#include "log.h"
#include "main_state.h"
#include "oldcode.h"
#include "platform.h"
#include "quiesce.h"
#include "request.h"
#include "thread.h"
#include "trial.h"
#include "trust.h"
#include "wrap_exit.h"

#define EXIT_NOT_STARTED 127

extern char **environ;

static int refuse(const char *what, const char *why) {
    fprintf(stderr, "kitsune: %s: %s\n", what, why);
    return EXIT_NOT_STARTED;
}

static void start_channel(void) {
    struct kitsune__running running = kitsune__image_names(kitsune__image_current());
    char why[256];
    if (kitsune__request_start(&running, why, sizeof why) != 0)
        kitsune__log("%s cannot be updated from outside: %s", running.program, why);
    kitsune__load_tell();
}

static int refuse_file(const char *path, uint32_t code, const char *reason) {
    fprintf(stderr, "kitsune: %s: error[K%u]: %s\n", path, code, reason);
    return EXIT_NOT_STARTED;
}

/* What can be set by an option, before the release, or by the environment. */
static const struct setting {
    const char *option, *variable;
    int (*set)(const char *path, struct kitsune__problem *problem);
} settings[] = {
    {"--public-key", "KITSUNE_PUBLIC_KEY", kitsune__trust_add_key},
    {"--revocations", "KITSUNE_REVOCATIONS", kitsune__trust_set_revocations},
};

#define SETTINGS (sizeof settings / sizeof settings[0])

/* Returns 0 after saying what is wrong. */
static int apply(const struct setting *setting, const char *path) {
    struct kitsune__problem problem;
    if (setting->set(path, &problem) == 0)
        return 1;
    refuse_file(path, problem.code, problem.text);
    return 0;
}

static const struct setting *find_setting(const char *option) {
    for (size_t index = 0; index < SETTINGS; index++)
        if (strcmp(settings[index].option, option) == 0)
            return &settings[index];
    return NULL;
}

/* Takes the options in front; returns the index of the release, or 0 after saying what is wrong. */
static int read_options(int count, char **arguments) {
    struct kitsune__problem problem;
    const struct setting *setting;
    int at = 1;
    if (kitsune__trust_start(&problem) != 0)
        return refuse("trust", problem.text), 0;
    for (size_t index = 0; index < SETTINGS; index++) {
        const char *path = getenv(settings[index].variable);
        if (path != NULL && path[0] != '\0' && !apply(&settings[index], path))
            return 0;
    }
    for (; at + 1 < count && (setting = find_setting(arguments[at])) != NULL; at += 2)
        if (!apply(setting, arguments[at + 1]))
            return 0;
    kitsune__trust_settle();
    return at < count && strcmp(arguments[at], "--") == 0 ? at + 1 : at;
}

/* A release's gate is a page, and memory is compared and restored by pages. */
static int has_known_pages(void) {
    long size = sysconf(_SC_PAGESIZE);
    if (size == (long)kitsune__page_size())
        return 1;
    fprintf(stderr,
            "kitsune: error[K404]: this kernel has pages of %ld bytes; updates need one that has "
            "pages of %lu\n",
            size, (unsigned long)kitsune__page_size());
    return 0;
}

int main(int count, char **arguments) {
    char reason[KITSUNE__REASON_SIZE];
    kitsune__platform_start();
    if (!has_known_pages())
        return EXIT_NOT_STARTED;
    int first = read_options(count, arguments);
    if (first == 0)
        return EXIT_NOT_STARTED;
    if (count <= first) {
        fprintf(stderr,
                "usage: %s [--public-key FILE | --revocations FILE]… [--] RELEASE.so "
                "[ARGUMENT…]\n",
                arguments[0]);
        return 2;
    }
    kitsune__log_open();
    if (kitsune__emulated())
        kitsune__log(
            "an emulator of another machine runs this program: requests reach it by the signal "
            "alone, no update can be rehearsed, its wait for any child sees the helper process");
    kitsune__oldcode_start();
    kitsune__threads_start();
    if (kitsune__request_prepare() != 0)
        kitsune__log("no updates are possible: %m");
    kitsune__trial_start();
    kitsune__exit_start();
    kitsune__quiesce_start();
    if (kitsune__arguments_keep(count - first, arguments + first) != 0)
        return refuse(arguments[first], "out of memory");
    uint32_t code = kitsune__load_first(arguments[first], reason, sizeof reason);
    if (code != 0)
        return refuse_file(arguments[first], code, reason);
    kitsune__log_program(kitsune__image_current()->release->identity->program);
    start_channel();
    kitsune__quiesce_set_base(__builtin_frame_address(0));
    return kitsune__image_current()->release->main(count - first, arguments + first, environ);
}
