#define _GNU_SOURCE
/* longjmp and its like. */
#include <setjmp.h>

#include "calls.h"
#include "frames.h"
#include "journal.h"

/* During a transaction the kernel's mask stays: no jump, wherever it leads, may block what ends the
 * transaction. */
static struct __jmp_buf_tag prepared(const struct __jmp_buf_tag *environment) {
    struct __jmp_buf_tag way = *environment;
    kitsune__frames_jump(environment);
    if (kitsune__journal_active())
        way.__mask_was_saved = 0;
    return way;
}

void kitsune__call_longjmp(struct __jmp_buf_tag *environment, int value) {
    struct __jmp_buf_tag way = prepared(environment);
    longjmp(&way, value);
}

void kitsune__call__longjmp(struct __jmp_buf_tag *environment, int value) {
    struct __jmp_buf_tag way = prepared(environment);
    _longjmp(&way, value);
}

void kitsune__call_siglongjmp(struct __jmp_buf_tag *environment, int value) {
    struct __jmp_buf_tag way = prepared(environment);
    siglongjmp(&way, value);
}

/* What _FORTIFY_SOURCE makes of each; it checks for itself that the jump leads outwards. */
extern void __longjmp_chk(struct __jmp_buf_tag *environment, int value) __attribute__((noreturn));
void kitsune__call___longjmp_chk(struct __jmp_buf_tag *environment, int value) {
    struct __jmp_buf_tag way = prepared(environment);
    __longjmp_chk(&way, value);
}
