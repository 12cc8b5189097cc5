/*
 * What the runtime must know of the processor, one file for each (machine_*.c): where a signal's handler
 * finds the registers of what it interrupted, how calls and system calls look in memory. The assembly
 * beside it: platform_*.S, platform_wait_*.S. The build takes those of the compiler's machine
 * (kitsune_tool/launcher.py).
 *
 * `ucontext` is the third argument of a signal handler. Any context.
 */
#ifndef KITSUNE_MACHINE_H
#define KITSUNE_MACHINE_H

#include <setjmp.h>
#include <stdint.h>

#if defined(__x86_64__)
#define KITSUNE__ELF_MACHINE EM_X86_64
#define KITSUNE__AUDIT_ARCH AUDIT_ARCH_X86_64
#define KITSUNE__RSEQ_SIGNATURE 0x53053053u /* glibc's */
#elif defined(__aarch64__)
#define KITSUNE__ELF_MACHINE EM_AARCH64
#define KITSUNE__AUDIT_ARCH AUDIT_ARCH_AARCH64
#define KITSUNE__RSEQ_SIGNATURE 0xd428bc00u
#endif

/* ---- the interrupted code -------------------------------------------------------------------- */

/* Where it stood. */
void *kitsune__interrupted_at(const void *ucontext);
/* The stack pointer that it had. */
void *kitsune__interrupted_stack(const void *ucontext);
/* It goes on at another place, with the same registers. */
void kitsune__interrupted_continue_at(void *ucontext, const void *address);
/* The argument of a system call that it is about to make, or that a filter trapped. */
long kitsune__interrupted_argument(const void *ucontext, unsigned index);
/* What a call that it has just made returned, and what it sees instead. */
long kitsune__interrupted_result(const void *ucontext);
void kitsune__interrupted_return(void *ucontext, long result);
/* The bits that it waits for; only inside kitsune__wait_call. */
uint32_t kitsune__interrupted_bits(const void *ucontext);
/* The number of the system call that it is about to make, or is in and will make again; -1 if it stands
 * before no such instruction. Its code must be readable. */
long kitsune__interrupted_before_call(const void *ucontext);
/* Non-zero if it has just come back from a system call, which may have been `number`. */
int kitsune__interrupted_behind_call(const void *ucontext, long number);
/* It goes on behind the system call that it stands before, as if that had returned `result`. */
void kitsune__interrupted_skip_call(void *ucontext, long result);
/* It makes the futex call again that it has just made and that looks at a word before it waits; or sees what
 * makes libc do so. */
void kitsune__interrupted_wait_again(void *ucontext, long number);

/* ---- threads --------------------------------------------------------------------------------- */

/* The thread pointer of the calling kernel thread becomes another thread's: its thread-locals, and all
 * that libc takes for the thread. */
void kitsune__become_thread(void *thread_pointer);

/* ---- code ------------------------------------------------------------------------------------ */

/* Bytes of a system call's instruction. */
#define KITSUNE__CALL_SIZE_MAX 4
/* Non-zero if a call instruction ends at the address; the bytes before it must be readable code. */
int kitsune__is_return_address(const void *address);
/* Where that call goes if it names its target, else NULL. */
const void *kitsune__call_target(const void *return_address);

/* ---- jumps ----------------------------------------------------------------------------------- */

/* The stack pointer that a longjmp to this environment restores; 0 if this libc keeps it in a way
 * that is not known here. */
uintptr_t kitsune__jump_target(const struct __jmp_buf_tag *environment);

#endif
