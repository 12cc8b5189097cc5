/*
 * What of the runtime must be written in assembly, for AArch64. See switch.h and platform.h.
 */

#define FUNCTION(name)       \
    .globl name;             \
    .hidden name;            \
    .type name, %function;   \
    .balign 16;              \
    name:

#define END(name) .size name, .- name

#define FUTEX 98
#define EXIT 93

/* The frame of a suspended context. */
#define FRAME 176

/* What the code before left in registers would be saved on the new stack, and keep its image alive. */
#define FORGET_REGISTERS \
    mov x19, xzr;        \
    mov x20, xzr;        \
    mov x21, xzr;        \
    mov x22, xzr;        \
    mov x23, xzr;        \
    mov x24, xzr;        \
    mov x25, xzr;        \
    mov x26, xzr;        \
    mov x27, xzr;        \
    mov x28, xzr;        \
    mov x29, xzr;        \
    mov x30, xzr

    .text

/* long kitsune__syscall(long number, long a, long b, long c, long d, long e, long f) */
FUNCTION(kitsune__syscall)
    .cfi_startproc
    hint #34 /* bti c */
    mov x8, x0
    mov x0, x1
    mov x1, x2
    mov x2, x3
    mov x3, x4
    mov x4, x5
    mov x5, x6
    svc #0
    .globl kitsune__syscall_made
    .hidden kitsune__syscall_made
kitsune__syscall_made: /* by where a filter knows the runtime's own calls (withhold.c) */
    ret
    .cfi_endproc
END(kitsune__syscall)

/* long kitsune__start_beside(void *stack_top, void (*entry)(void *), void *argument): see beside.h */
FUNCTION(kitsune__start_beside)
    .cfi_startproc
    hint #34
    mov x9, x1 /* the kernel keeps both for the task */
    mov x10, x2
    and x1, x0, #0xfffffffffffffff0
    mov x0, #0x700 /* CLONE_VM | CLONE_FS | CLONE_FILES, and CLONE_UNTRACED */
    movk x0, #0x80, lsl #16
    mov x2, xzr
    mov x3, xzr
    mov x4, xzr
    mov x8, #220 /* clone */
    svc #0
    cbz x0, 1f
    ret
1:  .cfi_undefined x30
    FORGET_REGISTERS
    mov x0, x10
    blr x9
    mov x0, xzr
    mov x8, #EXIT
    svc #0
    brk #0
    .cfi_endproc
END(kitsune__start_beside)

/* uint64_t kitsune__suspend(context *, void *stack_top, void (*entry)(void *), void *argument) */
FUNCTION(kitsune__suspend)
    .cfi_startproc
    hint #34
    stp x29, x30, [sp, #-FRAME]!
    stp x19, x20, [sp, #16]
    stp x21, x22, [sp, #32]
    stp x23, x24, [sp, #48]
    stp x25, x26, [sp, #64]
    stp x27, x28, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mrs x9, fpcr
    str x9, [sp, #160]
    mov x9, sp
    str x9, [x0]
    /* From here on the frame's caller is the end of the stack: a debugger stops there. */
    .cfi_undefined x30
    and x1, x1, #-16
    mov sp, x1
    mov x16, x2
    mov x0, x3
    FORGET_REGISTERS
    blr x16
    brk #0
    .cfi_endproc
END(kitsune__suspend)

/* void kitsune__resume(const context *, uint64_t value) */
FUNCTION(kitsune__resume)
    .cfi_startproc
    hint #34
    ldr x9, [x0]
    mov sp, x9
    mov x0, x1
    ldr x9, [sp, #160]
    msr fpcr, x9
    ldp d14, d15, [sp, #144]
    ldp d12, d13, [sp, #128]
    ldp d10, d11, [sp, #112]
    ldp d8, d9, [sp, #96]
    ldp x27, x28, [sp, #80]
    ldp x25, x26, [sp, #64]
    ldp x23, x24, [sp, #48]
    ldp x21, x22, [sp, #32]
    ldp x19, x20, [sp, #16]
    ldp x29, x30, [sp], #FRAME
    ret
    .cfi_endproc
END(kitsune__resume)

/* void kitsune__leave_for(void *stack_top, void (*entry)(void *), void *argument) */
FUNCTION(kitsune__leave_for)
    .cfi_startproc
    hint #34
    .cfi_undefined x30
    and x0, x0, #-16
    mov sp, x0
    mov x16, x1
    mov x0, x2
    FORGET_REGISTERS
    blr x16
    brk #0
    .cfi_endproc
END(kitsune__leave_for)

/* void kitsune__tell_and_end(uint32_t *word, uint32_t value): see park.h */
FUNCTION(kitsune__tell_and_end)
    .cfi_startproc
    .cfi_undefined x30
    hint #34
    stlr w1, [x0]
    mov x8, #FUTEX /* futex(word, FUTEX_WAKE, 1) */
    mov x1, #1
    mov x2, #1
    svc #0
1:  mov x8, #EXIT /* exit(0) */
    mov x0, xzr
    svc #0
    b 1b
    .cfi_endproc
END(kitsune__tell_and_end)

/* int kitsune__under_valgrind(void): valgrind's client request RUNNING_ON_VALGRIND (0x1001); on a
 * processor the four rotations by 128 bits in all, and the or, do nothing. */
FUNCTION(kitsune__under_valgrind)
    .cfi_startproc
    hint #34
    sub sp, sp, #48
    .cfi_adjust_cfa_offset 48
    mov x9, #0x1001
    stp x9, xzr, [sp]
    stp xzr, xzr, [sp, #16]
    stp xzr, xzr, [sp, #32]
    mov x3, xzr
    mov x4, sp
    ror x12, x12, #3
    ror x12, x12, #13
    ror x12, x12, #51
    ror x12, x12, #61
    orr x10, x10, x10
    mov x0, x3
    add sp, sp, #48
    .cfi_adjust_cfa_offset -48
    ret
    .cfi_endproc
END(kitsune__under_valgrind)

    .section .note.GNU-stack, "", %progbits
