/* Processes that the program makes by a system call's number (wrap_clone.c). Context: ordinary. */
#ifndef KITSUNE_WRAP_CLONE_H
#define KITSUNE_WRAP_CLONE_H

/* Whether the call makes a process that goes on with a copy of this one's memory, on the same stack. */
int kitsune__makes_process(long number, long a, long b);
/* Makes such a call, with what belongs around it; returns as syscall() does, in the child too. */
long kitsune__make_process(long number, long a, long b, long c, long d, long e, long f);

#endif
