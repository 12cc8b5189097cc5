#include <cet.h>
#include <sys/syscall.h>

/*
 * long kitsune__wait_call(const uint32_t *gate, uint32_t bits, long number, const long arguments[6])
 *
 * The system call, unless one of `bits` is set in the gate: then KITSUNE__WAIT_WOKEN. Between
 * kitsune__wait_begin and kitsune__wait_end the kick's handler moves the instruction pointer to
 * kitsune__wait_woken. Just before _end nothing has happened yet: the kernel puts the pointer back to
 * the syscall instruction of a call that it restarts; at _end a result other than -EINTR stands.
 *
 * kitsune__wait_uncancelled (same arguments, marks kitsune__uncancelled_*) does not go into the kernel
 * either when threads may be cancelled, of which libc must then know.
 */
    .macro  WAIT_CALL function, mark, is_cancelled
    .text
    .globl \function, \mark\()_begin, \mark\()_end, \mark\()_woken
    .hidden \function, \mark\()_begin, \mark\()_end, \mark\()_woken
    .type \function, @function
    .p2align 4
\function:
    .cfi_startproc
    _CET_ENDBR
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
\mark\()_begin:
    .if \is_cancelled == 0
    movb    $255, %fs:kitsune__in_call@tpoff
    cmpl    $0, kitsune__wait_cancels(%rip)
    jnz     \mark\()_woken
    .endif
    testl   %ebp, (%rbx)
    jnz     \mark\()_woken
    syscall
\mark\()_end:
    .if \is_cancelled == 0
    movb    $0, %fs:kitsune__in_call@tpoff
    .endif
    popq    %rbp
    .cfi_remember_state
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbp
    popq    %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    ret
\mark\()_woken:
    .cfi_restore_state
    movq    $-4096, %rax
    jmp     \mark\()_end
    .cfi_endproc
    .size \function, . - \function
    .endm

    WAIT_CALL kitsune__wait_call, kitsune__wait, 1
    WAIT_CALL kitsune__wait_uncancelled, kitsune__uncancelled, 0

/*
 * int kitsune__call_NAME(up to four arguments): the whole of a call as it comes most often. SLOWLY makes
 * it the long way, with the same arguments, which the system call leaves in their registers: when
 * a bit of the gate is set, when a kick ended it, and when threads may be cancelled (the gate is then one
 * that is always closed). Marks as above, one set for each call; the gate is read behind the first of
 * them, so that a thread that is kicked at it sees where the gate is by now. `number` in kitsune__in_call
 * says that the thread is in the call (wait.h). `fourth` is for calls of more than
 * three arguments, `zero` for recv: what is behind its own.
 */
    .macro  QUICK_CALL name, number, system_call, slowly, fourth=0, zero=0
    .text
    .globl kitsune__call_\name, kitsune__\name\()_begin, kitsune__\name\()_end
    .globl kitsune__\name\()_woken
    .hidden kitsune__call_\name, kitsune__\name\()_begin, kitsune__\name\()_end
    .hidden kitsune__\name\()_woken
    .type kitsune__call_\name, @function
    .p2align 4
kitsune__call_\name:
    .cfi_startproc
    _CET_ENDBR
    .if \fourth
    movq    %rcx, %r10
    .endif
kitsune__\name\()_begin:
    movb    $\number, %fs:kitsune__in_call@tpoff
    movq    kitsune__quick_gate(%rip), %r11
    .if \zero
    xorl    %r8d, %r8d
    xorl    %r9d, %r9d
    .endif
    movl    $\system_call, %eax
    cmpl    $0, (%r11)
    jnz     kitsune__\name\()_woken
    syscall
kitsune__\name\()_end:
    movb    $0, %fs:kitsune__in_call@tpoff
    cmpq    $-4096, %rax
    jae     1f
    ret
1:  je      kitsune__\name\()_woken
    movq    %rax, %rdi
    jmp     kitsune__wait_failed
kitsune__\name\()_woken:
    movb    $0, %fs:kitsune__in_call@tpoff
    .if \fourth
    movq    %r10, %rcx
    .endif
    jmp     \slowly
    .cfi_endproc
    .size kitsune__call_\name, . - kitsune__call_\name
    .endm

    QUICK_CALL poll, 1, SYS_poll, kitsune__poll_slowly
    QUICK_CALL epoll_wait, 2, SYS_epoll_wait, kitsune__epoll_wait_slowly, 1
    QUICK_CALL read, 3, SYS_read, kitsune__read_slowly
    QUICK_CALL recv, 4, SYS_recvfrom, kitsune__recv_slowly, 1, 1
    QUICK_CALL recvmsg, 5, SYS_recvmsg, kitsune__recvmsg_slowly

    .section .note.GNU-stack, "", @progbits
