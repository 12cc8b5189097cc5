#include <sys/syscall.h>

/*
 * long kitsune__wait_call(const uint32_t *gate, uint32_t bits, long number, const long arguments[6])
 *
 * The system call, unless one of `bits` is set in the gate: then KITSUNE__WAIT_WOKEN. Between
 * kitsune__wait_begin and kitsune__wait_end the kick's handler moves the instruction pointer to
 * kitsune__wait_woken. Just before _end nothing has happened yet: the kernel puts the pointer back to
 * the syscall instruction of a call that it restarts; at _end a result other than -EINTR stands.
 */
    .text
    .globl kitsune__wait_call, kitsune__wait_begin, kitsune__wait_end, kitsune__wait_woken
    .hidden kitsune__wait_call, kitsune__wait_begin, kitsune__wait_end, kitsune__wait_woken
    .type kitsune__wait_call, @function
    .p2align 4
kitsune__wait_call:
    .cfi_startproc
    endbr64
    pushq   %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    pushq   %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    movq    %rdi, %rbx
    movl    %esi, %ebp
    movq    %rdx, %rax
    movq    %rcx, %r11
    movq    0(%r11), %rdi
    movq    8(%r11), %rsi
    movq    16(%r11), %rdx
    movq    24(%r11), %r10
    movq    32(%r11), %r8
    movq    40(%r11), %r9
kitsune__wait_begin:
    testl   %ebp, (%rbx)
    jnz     kitsune__wait_woken
    syscall
kitsune__wait_end:
    popq    %rbp
    .cfi_remember_state
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbp
    popq    %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    ret
kitsune__wait_woken:
    .cfi_restore_state
    movq    $-4096, %rax
    jmp     kitsune__wait_end
    .cfi_endproc
    .size kitsune__wait_call, . - kitsune__wait_call

/*
 * int kitsune__call_NAME(up to four arguments): the whole of a call as it comes most often. SLOWLY makes
 * it the long way, with the same arguments, which the system call leaves in their registers: when
 * the program has threads (libc must then be told of a cancellation point), when a bit of the gate is set,
 * and when a kick ended it. Marks as above, one set for each call. Further arguments are zero (recvfrom).
 */
    .macro  QUICK_CALL name, number, slowly
    .text
    .globl kitsune__call_\name, kitsune__\name\()_begin, kitsune__\name\()_end
    .globl kitsune__\name\()_woken
    .hidden kitsune__call_\name, kitsune__\name\()_begin, kitsune__\name\()_end
    .hidden kitsune__\name\()_woken
    .type kitsune__call_\name, @function
    .p2align 4
kitsune__call_\name:
    .cfi_startproc
    endbr64
    movq    __libc_single_threaded@GOTPCREL(%rip), %r9
    movq    kitsune__control_gate(%rip), %r8
    movq    %rcx, %r10
    cmpb    $0, (%r9)
    je      kitsune__\name\()_woken
    movl    $\number, %eax
kitsune__\name\()_begin:
    cmpl    $0, (%r8)
    jnz     kitsune__\name\()_woken
    xorl    %r8d, %r8d
    xorl    %r9d, %r9d
    syscall
kitsune__\name\()_end:
    cmpq    $-4096, %rax
    jae     1f
    ret
1:  je      kitsune__\name\()_woken
    movq    %rax, %rdi
    jmp     kitsune__wait_failed
kitsune__\name\()_woken:
    movq    %r10, %rcx
    jmp     \slowly
    .cfi_endproc
    .size kitsune__call_\name, . - kitsune__call_\name
    .endm

    QUICK_CALL poll, SYS_poll, kitsune__poll_slowly
    QUICK_CALL epoll_wait, SYS_epoll_wait, kitsune__epoll_wait_slowly
    QUICK_CALL read, SYS_read, kitsune__read_slowly
    QUICK_CALL recv, SYS_recvfrom, kitsune__recv_slowly

    .section .note.GNU-stack, "", @progbits
