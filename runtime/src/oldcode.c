#define _GNU_SOURCE
#include "oldcode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "machine.h"
#include "platform.h"
#include "registry.h"
#include "request.h"

#define CLOSED_MAX 32

/* A registered function of an old image. */
struct entry {
    uint32_t offset; /* from the image's start */
    uint32_t is_told;
    const void *successor; /* NULL: none */
};

/* An image whose code is closed. Mapped memory of its own. */
struct closed {
    size_t bytes;
    struct kitsune__image *image;
    uint32_t is_open; /* given back after all, or for the time of a transaction */
    uint32_t is_given_back;
    uint32_t count;
    struct entry entries[]; /* by offset */
};

static enum kitsune__old_code policy;
static struct closed *closed[CLOSED_MAX]; /* NULL: free; read by the handler */
static uint32_t is_ours;                  /* the handler is installed */
static struct sigaction program_action;   /* meanwhile */

void kitsune__oldcode_start(void) {
    const char *text = getenv("KITSUNE_OLD_CODE");
    if (text == NULL || *text == '\0' || strcmp(text, "keep") == 0)
        policy = KITSUNE__CODE_RUNS;
    else if (strcmp(text, "redirect") == 0)
        policy = KITSUNE__CODE_REDIRECTED;
    else if (strcmp(text, "refuse") == 0)
        policy = KITSUNE__CODE_REFUSED;
    else
        kitsune__log("K376: KITSUNE_OLD_CODE is '%s', which is none of keep, redirect and refuse; "
                     "old code is kept",
                     text);
}

/* ---- SIGSEGV --------------------------------------------------------------------------------- */

static int is_handled(const struct sigaction *action) {
    return (action->sa_flags & SA_SIGINFO) ||
           (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

static int protect(const struct closed *of, int protection) {
    uintptr_t page = kitsune__page_size();
    uintptr_t start = (uintptr_t)of->image->code_start / page * page;
    uintptr_t end = ((uintptr_t)of->image->code_end + page - 1) / page * page;
    return KITSUNE__SYSCALL(SYS_mprotect, start, end - start, protection) == 0 ? 0 : -1;
}

static struct closed *closed_at(const uint8_t *address) {
    for (int i = 0; i < CLOSED_MAX; i++) {
        struct closed *of = __atomic_load_n(&closed[i], __ATOMIC_ACQUIRE);
        if (of && address >= of->image->code_start && address < of->image->code_end)
            return of;
    }
    return NULL;
}

static struct entry *entry_at(struct closed *of, const uint8_t *address) {
    uint64_t offset = (uint64_t)(address - of->image->start);
    uint32_t low = 0, high = of->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (of->entries[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < of->count && of->entries[low].offset == offset ? &of->entries[low] : NULL;
}

static void count_call(struct closed *of) {
    __atomic_add_fetch(&of->image->held.calls, 1, __ATOMIC_RELAXED);
    kitsune__request_image_called((uintptr_t)of->image->start);
}

static const char *version_of(const struct closed *of) {
    return of->image->release->identity->version;
}

static const char *key_of(const struct closed *of, const uint8_t *address) {
    const struct kitsune_release *old = of->image->release;
    for (const struct kitsune_symbol *symbol = old->symbols; symbol != old->symbols_end; symbol++)
        if (symbol->address == address && symbol->key)
            return symbol->key;
    return "?";
}

static void tell_once(struct closed *of, struct entry *entry, const uint8_t *address) {
    if (__atomic_exchange_n(&entry->is_told, 1u, __ATOMIC_RELAXED))
        return;
    if (policy == KITSUNE__CODE_REFUSED)
        kitsune__log("K377: a call of '%s' of version %s, which ran before, is refused",
                     key_of(of, address), version_of(of));
    else
        kitsune__log(
            "K378: a call of '%s' of version %s, which ran before, was led to what runs now",
            key_of(of, address), version_of(of));
}

/* What cannot be told runs as it did. */
static void give_back(struct closed *of, const uint8_t *address) {
    if (__atomic_exchange_n(&of->is_given_back, 1u, __ATOMIC_RELAXED))
        return;
    protect(of, PROT_READ | PROT_EXEC);
    of->image->held.code = KITSUNE__CODE_RUNS;
    kitsune__request_image_runs((uintptr_t)of->image->start);
    kitsune__log("K379: code of version %s, which ran before, runs again: nothing is known of what "
                 "is executed at byte %lu of it",
                 version_of(of), (unsigned long)(address - of->image->start));
}

/* Deals with a trap in closed code. Zero if the program is to have it. */
static int deal_with(const uint8_t *address, void *context) {
    struct closed *of = closed_at(address);
    if (of == NULL)
        return 0;
    struct entry *entry = entry_at(of, address);
    if (entry == NULL || (policy == KITSUNE__CODE_REDIRECTED && entry->successor == NULL)) {
        give_back(of, address);
        return 1;
    }
    count_call(of);
    tell_once(of, entry, address);
    if (policy == KITSUNE__CODE_REFUSED)
        return 0;
    kitsune__interrupted_continue_at(context, entry->successor);
    return 1;
}

/* The signal's default: the instruction is executed again, and traps; what was sent is sent again. */
static void end_by_default(int number, const siginfo_t *info) {
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(number, &standard, NULL);
    if (info->si_code <= 0)
        KITSUNE__SYSCALL(SYS_tgkill, getpid(), gettid(), number);
}

static void pass_on(int number, siginfo_t *info, void *context) {
    struct sigaction action = program_action;
    if (!is_handled(&action)) {
        if (action.sa_handler != SIG_IGN || info->si_code > 0)
            end_by_default(number, info);
        return;
    }
    if (action.sa_flags & (int)SA_RESETHAND)
        program_action = (struct sigaction){.sa_handler = SIG_DFL};
    if (action.sa_flags & SA_SIGINFO)
        action.sa_sigaction(number, info, context);
    else
        action.sa_handler(number);
}

static void on_fault(int number, siginfo_t *info, void *context) {
    int saved = errno;
    const void *address = kitsune__interrupted_at(context);
    int is_dealt_with =
        info->si_code == SEGV_ACCERR && info->si_addr == address && deal_with(address, context);
    errno = saved;
    if (!is_dealt_with)
        pass_on(number, info, context);
}

/* With the flags and the mask of the program's handler, which is called by ours. */
static int install(void) {
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
    if (is_handled(&program_action)) {
        action.sa_flags =
            SA_SIGINFO | (program_action.sa_flags & (SA_ONSTACK | (int)SA_NODEFER | SA_RESTART));
        action.sa_mask = program_action.sa_mask;
    }
    action.sa_sigaction = on_fault;
    return sigaction(SIGSEGV, &action, NULL);
}

/* Beyond the kernel's mask libc leaves what lay on its stack, which may look like a pointer. */
static void clear_rest(struct sigaction *action) {
    memset((uint8_t *)&action->sa_mask + sizeof(uint64_t), 0,
           sizeof action->sa_mask - sizeof(uint64_t));
}

static void take_signal(void) {
    if (is_ours || sigaction(SIGSEGV, NULL, &program_action) != 0)
        return;
    clear_rest(&program_action);
    is_ours = 1;
    if (install() != 0)
        is_ours = 0;
}

/* Non-zero if nothing leads to ours any more. */
static int return_signal(void) {
    struct sigaction present;
    if (!is_ours)
        return 0;
    is_ours = 0;
    /* A library of the program may have put its own handler there by itself. */
    return sigaction(SIGSEGV, NULL, &present) == 0 && present.sa_sigaction == on_fault &&
           sigaction(SIGSEGV, &program_action, NULL) == 0;
}

int kitsune__oldcode_owns(int number) {
    return number == SIGSEGV && is_ours;
}

int kitsune__oldcode_sigaction(const struct sigaction *action, struct sigaction *previous) {
    struct sigaction before = program_action;
    if (action != NULL) {
        program_action = *action;
        clear_rest(&program_action);
        if (install() != 0) {
            program_action = before;
            return -1;
        }
    }
    if (previous != NULL)
        *previous = before;
    return 0;
}

void kitsune__oldcode_filter(sigset_t *blocked) {
    if (policy != KITSUNE__CODE_RUNS)
        sigdelset(blocked, SIGSEGV);
}

/* ---- images ---------------------------------------------------------------------------------- */

/* What an old function is in the running version: as its plan says, or its namesake. */
static const void *find_successor(const struct kitsune__registry *to,
                                  const struct kitsune_plan *plan, const char *key) {
    for (uint32_t i = 0; plan && i < plan->function_count; i++) {
        const struct kitsune_function_pair *pair = &plan->functions[i];
        if (strcmp(pair->old_key, key) != 0)
            continue;
        if (pair->new_function != NULL || pair->new_key == NULL)
            return pair->new_function;
        key = pair->new_key;
    }
    const struct kitsune_symbol *found = kitsune__registry_find(to, key, NULL);
    return found != NULL && (found->flags & KITSUNE_SYMBOL_FUNCTION) ? found->address : NULL;
}

static int is_function(const struct kitsune_symbol *symbol, const struct kitsune__image *image) {
    const uint8_t *at = symbol->address;
    return symbol->key && (symbol->flags & KITSUNE_SYMBOL_FUNCTION) && at >= image->code_start &&
           at < image->code_end;
}

static int compare(const void *one, const void *other) {
    uint32_t left = ((const struct entry *)one)->offset;
    uint32_t right = ((const struct entry *)other)->offset;
    return (left > right) - (left < right);
}

static void fill(struct closed *of, const struct kitsune__registry *to) {
    const struct kitsune__image *image = of->image, *current = kitsune__image_current();
    const struct kitsune_release *old = image->release;
    for (const struct kitsune_symbol *symbol = old->symbols; symbol != old->symbols_end; symbol++) {
        if (!is_function(symbol, image))
            continue;
        const uint8_t *start = symbol->address;
        of->entries[of->count++] = (struct entry){
            .offset = (uint32_t)(start - image->start),
            .successor = find_successor(to, current->release->plan, symbol->key),
        };
    }
    qsort(of->entries, of->count, sizeof of->entries[0], compare);
}

static struct closed *make(struct kitsune__image *image) {
    const struct kitsune_release *old = image->release;
    size_t count = (size_t)(old->symbols_end - old->symbols);
    size_t bytes = sizeof(struct closed) + count * sizeof(struct entry);
    struct kitsune__registry *to;
    if (kitsune__registry_open(&to, kitsune__image_current()->release) != 0)
        return NULL;
    struct closed *of =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (of != MAP_FAILED) {
        of->bytes = bytes;
        of->image = image;
        of->is_open = 1;
        fill(of, to);
    }
    kitsune__registry_close(to);
    return of != MAP_FAILED ? of : NULL;
}

static void shut(struct closed *of) {
    take_signal();
    if (!is_ours || of->is_given_back || protect(of, PROT_READ) != 0)
        return;
    of->is_open = 0;
    of->image->held.code = policy;
}

static void open_again(struct closed *of) {
    if (!of->is_open && !of->is_given_back)
        protect(of, PROT_READ | PROT_EXEC);
    of->is_open = 1;
    of->image->held.code = KITSUNE__CODE_RUNS;
}

static int place_of(const struct kitsune__image *image) {
    for (int i = 0; i < CLOSED_MAX; i++)
        if ((closed[i] ? closed[i]->image : NULL) == image)
            return i;
    return -1;
}

void kitsune__oldcode_close(struct kitsune__image *image) {
    int free_place = place_of(NULL);
    if (policy == KITSUNE__CODE_RUNS || place_of(image) >= 0 || free_place < 0)
        return;
    struct closed *of = make(image);
    if (of == NULL)
        return;
    __atomic_store_n(&closed[free_place], of, __ATOMIC_RELEASE);
    shut(of);
}

void kitsune__oldcode_forget(const struct kitsune__image *image) {
    int place = place_of(image);
    if (place < 0)
        return;
    struct closed *of = closed[place];
    open_again(of);
    __atomic_store_n(&closed[place], NULL, __ATOMIC_RELEASE);
    munmap(of, of->bytes);
    for (int i = 0; i < CLOSED_MAX; i++)
        if (closed[i])
            return;
    return_signal();
}

void kitsune__oldcode_suspend(void) {
    for (int i = 0; i < CLOSED_MAX; i++)
        if (closed[i])
            open_again(closed[i]);
    /* No thread is in our handler now. Kept, it would be a pointer into what becomes the old image. */
    if (return_signal())
        memset(&program_action, 0, sizeof program_action);
}

void kitsune__oldcode_resume(void) {
    for (int i = 0; i < CLOSED_MAX; i++)
        if (closed[i])
            shut(closed[i]);
}

void kitsune__oldcode_drop(void) {
    for (int i = 0; i < CLOSED_MAX; i++)
        if (closed[i])
            kitsune__oldcode_forget(closed[i]->image);
}
