/*
 * What of the runtime must be written in assembly, for x86-64 System V. See switch.h and platform.h.
 */
#define FUNCTION(name)       \
    .globl name;             \
    .hidden name;            \
    .type name, @function;   \
    .balign 16;              \
    name:

#define END(name) .size name, .- name

/* What the code before left in registers would be saved on the new stack, and keep its image alive. */
#define FORGET_REGISTERS \
    xorl %ebp, %ebp;     \
    xorl %ebx, %ebx;     \
    xorl %r12d, %r12d;   \
    xorl %r13d, %r13d;   \
    xorl %r14d, %r14d;   \
    xorl %r15d, %r15d

    .text

/* long kitsune__syscall(long number, long a, long b, long c, long d, long e, long f) */
FUNCTION(kitsune__syscall)
    .cfi_startproc
    endbr64
    movq %rdi, %rax
    movq %rsi, %rdi
    movq %rdx, %rsi
    movq %rcx, %rdx
    movq %r8, %r10
    movq %r9, %r8
    movq 8(%rsp), %r9
    syscall
    .globl kitsune__syscall_made
    .hidden kitsune__syscall_made
kitsune__syscall_made: /* by where a filter knows the runtime's own calls (withhold.c) */
    ret
    .cfi_endproc
END(kitsune__syscall)

/* long kitsune__start_beside(void *stack_top, void (*entry)(void *), void *argument): see beside.h */
FUNCTION(kitsune__start_beside)
    .cfi_startproc
    endbr64
    movq %rsi, %r9 /* the kernel keeps both for the task */
    movq %rdx, %r8
    movq %rdi, %rsi
    andq $-16, %rsi
    movl $0x800700, %edi /* CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_UNTRACED */
    xorl %edx, %edx
    xorl %r10d, %r10d
    movl $56, %eax /* clone */
    syscall
    testq %rax, %rax
    jz 1f
    ret
1:  .cfi_undefined rip
    FORGET_REGISTERS
    movq %r8, %rdi
    call *%r9
    movl $60, %eax /* exit(0) */
    xorl %edi, %edi
    syscall
    ud2
    .cfi_endproc
END(kitsune__start_beside)

/* uint64_t kitsune__suspend(context *, void *stack_top, void (*entry)(void *), void *argument) */
FUNCTION(kitsune__suspend)
    .cfi_startproc
    endbr64
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movq %rsp, (%rdi)
    /* From here on the frame's caller is the end of the stack: a debugger stops there. */
    .cfi_undefined rip
    movq %rsi, %rsp
    andq $-16, %rsp
    FORGET_REGISTERS
    movq %rcx, %rdi
    call *%rdx
    ud2
    .cfi_endproc
END(kitsune__suspend)

/* void kitsune__resume(const context *, uint64_t value): the signal frame or call that is left may
 * have anything on the x87 stack and in the direction flag. */
FUNCTION(kitsune__resume)
    .cfi_startproc
    endbr64
    movq (%rdi), %rsp
    movq %rsi, %rax
    cld
    fninit
    fldcw 4(%rsp)
    ldmxcsr (%rsp)
    addq $8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .cfi_endproc
END(kitsune__resume)

/* void kitsune__leave_for(void *stack_top, void (*entry)(void *), void *argument) */
FUNCTION(kitsune__leave_for)
    .cfi_startproc
    endbr64
    .cfi_undefined rip
    movq %rdi, %rsp
    andq $-16, %rsp
    FORGET_REGISTERS
    movq %rdx, %rdi
    call *%rsi
    ud2
    .cfi_endproc
END(kitsune__leave_for)

/* void kitsune__tell_and_end(uint32_t *word, uint32_t value): see park.h */
FUNCTION(kitsune__tell_and_end)
    .cfi_startproc
    .cfi_undefined rip
    endbr64
    movl %esi, (%rdi)
    movl $202, %eax /* futex(word, FUTEX_WAKE, 1) */
    movl $1, %esi
    movl $1, %edx
    syscall
1:  movl $60, %eax /* exit(0) */
    xorl %edi, %edi
    syscall
    jmp 1b
    .cfi_endproc
END(kitsune__tell_and_end)

/* int kitsune__under_valgrind(void): valgrind's client request RUNNING_ON_VALGRIND (0x1001); on a
 * processor the four rotations by 128 bits in all, and the exchange, do nothing. */
FUNCTION(kitsune__under_valgrind)
    .cfi_startproc
    endbr64
    subq $56, %rsp
    .cfi_adjust_cfa_offset 56
    movq $0x1001, (%rsp)
    movq $0, 8(%rsp)
    movq $0, 16(%rsp)
    movq $0, 24(%rsp)
    movq $0, 32(%rsp)
    movq $0, 40(%rsp)
    movq %rsp, %rax
    xorl %edx, %edx
    rolq $3, %rdi
    rolq $13, %rdi
    rolq $61, %rdi
    rolq $51, %rdi
    xchgq %rbx, %rbx
    movq %rdx, %rax
    addq $56, %rsp
    .cfi_adjust_cfa_offset -56
    ret
    .cfi_endproc
END(kitsune__under_valgrind)

    .section .note.GNU-stack,"",@progbits
