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
 * long kitsune__wait_quick(long a, long b, long c, long d, const uint32_t *gate, long number)
 *
 * The same for a call of at most four arguments, ended by any bit of the gate; its own two marks.
 */
    .text
    .globl kitsune__wait_quick, kitsune__wait_quick_begin, kitsune__wait_quick_end
    .globl kitsune__wait_quick_woken
    .hidden kitsune__wait_quick, kitsune__wait_quick_begin, kitsune__wait_quick_end
    .hidden kitsune__wait_quick_woken
    .type kitsune__wait_quick, @function
    .p2align 4
kitsune__wait_quick:
    .cfi_startproc
    endbr64
    movq    %rcx, %r10
    movq    %r9, %rax
kitsune__wait_quick_begin:
    cmpl    $0, (%r8)
    jnz     kitsune__wait_quick_woken
    syscall
kitsune__wait_quick_end:
    ret
kitsune__wait_quick_woken:
    movq    $-4096, %rax
    ret
    .cfi_endproc
    .size kitsune__wait_quick, . - kitsune__wait_quick
    .section .note.GNU-stack, "", @progbits
