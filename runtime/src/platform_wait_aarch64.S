#include <sys/syscall.h>

/*
 * See platform_wait_x86_64.S, whose interface this is. A system call keeps all registers but x0, so
 * nothing needs a frame: x9 is the gate, w10 the bits (machine_aarch64.c knows that), x16 is where
 * kitsune__in_call lies. Just before _end nothing has happened yet: the kernel puts the pointer back to
 * the svc of a call that it restarts, and x0 to what it was.
 */
    .macro  IN_CALL_TO_X16
    mrs     x16, tpidr_el0
    add     x16, x16, #:tprel_hi12:kitsune__in_call, lsl #12
    add     x16, x16, #:tprel_lo12_nc:kitsune__in_call
    .endm

/* long kitsune__wait_call(const uint32_t *gate, uint32_t bits, long number, const long arguments[6]) */
    .macro  WAIT_CALL function, mark, is_cancelled
    .text
    .globl \function, \mark\()_begin, \mark\()_end, \mark\()_woken
    .hidden \function, \mark\()_begin, \mark\()_end, \mark\()_woken
    .type \function, %function
    .p2align 4
\function:
    .cfi_startproc
    hint    #34 /* bti c */
    .if \is_cancelled == 0
    IN_CALL_TO_X16
    mov     w13, #255
    .endif
    mov     x9, x0
    mov     w10, w1
    mov     x8, x2
    mov     x11, x3
    ldp     x0, x1, [x11]
    ldp     x2, x3, [x11, #16]
    ldp     x4, x5, [x11, #32]
\mark\()_begin:
    .if \is_cancelled == 0
    strb    w13, [x16]
    adrp    x14, kitsune__wait_cancels
    ldr     w14, [x14, :lo12:kitsune__wait_cancels]
    cbnz    w14, \mark\()_woken
    .endif
    ldr     w12, [x9]
    tst     w12, w10
    b.ne    \mark\()_woken
    svc     #0
\mark\()_end:
    .if \is_cancelled == 0
    strb    wzr, [x16]
    .endif
    ret
\mark\()_woken:
    mov     x0, #-4096
    b       \mark\()_end
    .cfi_endproc
    .size \function, . - \function
    .endm

    WAIT_CALL kitsune__wait_call, kitsune__wait, 1
    WAIT_CALL kitsune__wait_uncancelled, kitsune__uncancelled, 0

/*
 * int kitsune__call_NAME(up to four arguments): the whole of a call as it comes most often, and SLOWLY
 * the long way, as on x86-64. x11 keeps the first argument, which the result replaces.
 */
    .macro  QUICK_START name
    .text
    .globl kitsune__call_\name, kitsune__\name\()_begin, kitsune__\name\()_end
    .globl kitsune__\name\()_woken
    .hidden kitsune__call_\name, kitsune__\name\()_begin, kitsune__\name\()_end
    .hidden kitsune__\name\()_woken
    .type kitsune__call_\name, %function
    .p2align 4
kitsune__call_\name:
    .cfi_startproc
    hint    #34
    IN_CALL_TO_X16
    mov     x11, x0
    mov     x4, xzr
    mov     x5, xzr
    .endm

    .macro  QUICK_TEST name, number, system_call
kitsune__\name\()_begin:
    mov     w12, #\number
    strb    w12, [x16]
    adrp    x10, kitsune__quick_gate
    ldr     x10, [x10, :lo12:kitsune__quick_gate]
    mov     x8, #\system_call
    ldr     w12, [x10]
    cbnz    w12, kitsune__\name\()_woken
    svc     #0
kitsune__\name\()_end:
    strb    wzr, [x16]
    .endm

    .macro  QUICK_CALL name, number, system_call, slowly
    QUICK_START \name
    QUICK_TEST \name, \number, \system_call
    cmn     x0, #1, lsl #12 /* below -4096: the call's result */
    b.cs    1f
    ret
1:  b.eq    kitsune__\name\()_woken
    b       kitsune__wait_failed
kitsune__\name\()_woken:
    strb    wzr, [x16]
    mov     x0, x11
    b       \slowly
    .cfi_endproc
    .size kitsune__call_\name, . - kitsune__call_\name
    .endm

    QUICK_CALL epoll_wait, 2, SYS_epoll_pwait, kitsune__epoll_wait_slowly
    QUICK_CALL read, 3, SYS_read, kitsune__read_slowly
    QUICK_CALL recv, 4, SYS_recvfrom, kitsune__recv_slowly
    QUICK_CALL recvmsg, 5, SYS_recvmsg, kitsune__recvmsg_slowly

/* There is only ppoll, whose limit is a time on the stack, or none; w13 keeps the milliseconds. */
    QUICK_START poll
    mov     w13, w2
    sub     sp, sp, #16
    .cfi_adjust_cfa_offset 16
    mov     w9, #1000
    udiv    w14, w2, w9
    msub    w15, w14, w9, w2
    mov     w9, #0x4240 /* 1000000 */
    movk    w9, #0xf, lsl #16
    mul     w15, w15, w9
    stp     x14, x15, [sp]
    mov     x14, sp
    cmp     w2, #0
    csel    x2, x14, xzr, ge
    mov     x3, xzr
    QUICK_TEST poll, 1, SYS_ppoll
    cmn     x0, #1, lsl #12
    b.cs    1f
    add     sp, sp, #16
    .cfi_remember_state
    .cfi_adjust_cfa_offset -16
    ret
    .cfi_restore_state
1:  b.eq    kitsune__poll_woken
    add     sp, sp, #16
    .cfi_remember_state
    .cfi_adjust_cfa_offset -16
    b       kitsune__wait_failed
    .cfi_restore_state
kitsune__poll_woken:
    strb    wzr, [x16]
    add     sp, sp, #16
    .cfi_adjust_cfa_offset -16
    mov     x0, x11
    mov     w2, w13
    b       kitsune__poll_slowly
    .cfi_endproc
    .size kitsune__call_poll, . - kitsune__call_poll

    .section .note.GNU-stack, "", %progbits
