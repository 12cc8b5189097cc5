#define _GNU_SOURCE
#include "wrap_exit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "calls.h"
#include "journal.h"
#include "log.h"
#include "quiesce.h"

enum kind { AT_EXIT, ON_EXIT, CXA_AT_EXIT };

struct entry {
    enum kind kind;
    void *function;
    void *argument;
};

/* Entries in the order of registration. They are mapped: in the heap the engine would take them for the
 * program's, where it seeks addresses. */
struct list {
    struct entry *entries;
    size_t count, capacity;
};

static struct list at_exit, at_quick_exit_list;

/* The smaller list stays mapped: a rollback may need it, and all of them are no larger than the new one. */
static int grow(struct list *list) {
    size_t capacity = list->capacity ? 2 * list->capacity : 128;
    struct entry *entries = mmap(NULL, capacity * sizeof *entries, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (entries == MAP_FAILED)
        return -1;
    if (list->count)
        memcpy(entries, list->entries, list->count * sizeof *entries);
    list->entries = entries;
    list->capacity = capacity;
    return 0;
}

static int add(struct list *list, enum kind kind, void *function, void *argument) {
    if (list->count == list->capacity && grow(list) != 0)
        return -1;
    list->entries[list->count++] = (struct entry){kind, function, argument};
    return 0;
}

static void call(const struct entry *entry, int status) {
    union {
        void *address;
        void (*at_exit)(void);
        void (*on_exit)(int, void *);
        void (*cxa)(void *);
    } function = {entry->function};
    switch (entry->kind) {
    case AT_EXIT:
        function.at_exit();
        break;
    case ON_EXIT:
        function.on_exit(status, entry->argument);
        break;
    case CXA_AT_EXIT:
        function.cxa(entry->argument);
        break;
    }
}

/* Entries that are added meanwhile are called too, as libc does it. */
static void work_off(struct list *list, int status) {
    while (list->count > 0) {
        struct entry last = list->entries[--list->count];
        call(&last, status);
    }
}

static void on_process_exit(int status, void *argument) {
    (void)argument;
    /* Only a call from inside a library gets here during a transaction (err(3), say). */
    if (kitsune__journal_active())
        kitsune__journal_abort(KITSUNE__EXITED, "a library called exit(%d) in the new version",
                               status);
    work_off(&at_exit, status);
    kitsune__quiesce_end_copies();
}

static void on_process_quick_exit(void) {
    if (kitsune__journal_active())
        kitsune__journal_abort(KITSUNE__EXITED, "a library called quick_exit in the new version");
    work_off(&at_quick_exit_list, 0);
}

void kitsune__exit_start(void) {
    if (on_exit(on_process_exit, NULL) != 0 || at_quick_exit(on_process_quick_exit) != 0)
        kitsune__log("no memory to note what is to be done at exit");
}

/* ---- carrying over -------------------------------------------------------------------------- */

static int is_registered(const struct list *list, const void *function, const void *argument) {
    for (size_t index = 0; index < list->count; index++)
        if (list->entries[index].function == function && list->entries[index].argument == argument)
            return 1;
    return 0;
}

/* A library's function on an object of the old image: the destructor of a static C++ object, of which
 * the new version has made its own. */
static int is_for_old_object(const struct entry *entry, const struct kitsune__image *old) {
    return entry->kind == CXA_AT_EXIT && kitsune__image_at(entry->function) == NULL &&
           kitsune__image_at(entry->argument) == old;
}

static void carry_over(struct list *list, const struct kitsune__image *old,
                       const void *(*successor)(const void *)) {
    size_t kept = 0;
    for (size_t index = 0; index < list->count; index++) {
        struct entry entry = list->entries[index];
        if (is_for_old_object(&entry, old))
            continue;
        if (kitsune__image_at(entry.function) == old) {
            const void *next = successor(entry.function);
            if (next == NULL || is_registered(list, next, entry.argument))
                continue;
            entry.function = (void *)next;
        }
        list->entries[kept++] = entry;
    }
    list->count = kept;
}

void kitsune__exit_carry_over(const struct kitsune__image *old,
                              const void *(*successor)(const void *function)) {
    carry_over(&at_exit, old, successor);
    carry_over(&at_quick_exit_list, old, successor);
}

/* ---- the calls ------------------------------------------------------------------------------ */

/* Not in a transaction; else the copies end first. */
static void prepare_end(const char *name, int status) {
    if (kitsune__journal_active())
        kitsune__journal_abort(KITSUNE__EXITED, "the new version called %s(%d)", name, status);
    kitsune__quiesce_end_copies();
}

void kitsune__call_exit(int status) {
    prepare_end("exit", status);
    exit(status);
}

void kitsune__call__exit(int status) {
    prepare_end("_exit", status);
    _exit(status);
}

void kitsune__call__Exit(int status) {
    prepare_end("_Exit", status);
    _Exit(status);
}

void kitsune__call_quick_exit(int status) {
    prepare_end("quick_exit", status);
    quick_exit(status);
}

int kitsune__call_atexit(kitsune__exit_function *function) {
    return add(&at_exit, AT_EXIT, (void *)function, NULL);
}

int kitsune__call_on_exit(void (*function)(int, void *), void *argument) {
    return add(&at_exit, ON_EXIT, (void *)function, argument);
}

int kitsune__call___cxa_atexit(void (*function)(void *), void *argument, void *dso) {
    (void)dso;
    return add(&at_exit, CXA_AT_EXIT, (void *)function, argument);
}

int kitsune__call_at_quick_exit(kitsune__exit_function *function) {
    return add(&at_quick_exit_list, AT_EXIT, (void *)function, NULL);
}

/* ---- what cannot be undone ------------------------------------------------------------------- */

static void refuse_call(const char *name) {
    if (kitsune__journal_active())
        kitsune__journal_abort(KITSUNE__REFUSED_CALL,
                               "the new version called %s(), which needs a guard "
                               "if (!kitsune_is_updating()),",
                               name);
}

int kitsune__call_daemon(int nochdir, int noclose) {
    refuse_call("daemon");
    return daemon(nochdir, noclose);
}

int kitsune__call_execve(const char *path, char *const *arguments, char *const *variables) {
    refuse_call("execve");
    return execve(path, arguments, variables);
}

int kitsune__call_execv(const char *path, char *const *arguments) {
    refuse_call("execv");
    return execv(path, arguments);
}

int kitsune__call_execvp(const char *file, char *const *arguments) {
    refuse_call("execvp");
    return execvp(file, arguments);
}

int kitsune__call_execvpe(const char *file, char *const *arguments, char *const *variables) {
    refuse_call("execvpe");
    return execvpe(file, arguments, variables);
}

int kitsune__call_fexecve(int descriptor, char *const *arguments, char *const *variables) {
    refuse_call("fexecve");
    return fexecve(descriptor, arguments, variables);
}
