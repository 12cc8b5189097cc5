/*
 * Places in the program's code, and what a thread does that keeps an update waiting: plain data, which
 * lies in the mapping that the program and its helper process share.
 */
#ifndef KITSUNE_TRACE_H
#define KITSUNE_TRACE_H

#include <stdint.h>

#include "kitsune_abi.h"

#define KITSUNE__FRAMES 8

/* In a release: what its file and its debug information say of the place can be looked up by that. */
struct kitsune__frame {
    uint8_t build_id[KITSUNE_BUILD_ID_SIZE];
    uint64_t offset;   /* the virtual address in the file */
    uint64_t start;    /* that of its function; 0: not known */
    uint64_t calls;    /* that of the function that it calls there; 0: not known */
    char function[80]; /* "main+0x1f", or "" if the file does not tell */
};

/* Functions of the program, the innermost first. */
struct kitsune__trace {
    uint32_t count;
    struct kitsune__frame frames[KITSUNE__FRAMES];
};

/* Takes out what earlier calls left on the stack: what lies between a function and the direct call of it. */
void kitsune__trace_sift(struct kitsune__trace *trace);

struct kitsune__stuck {
    int32_t tid; /* 0: it has not begun to run */
    char name[17];
    char does[320];  /* "it waits for the lock at 0x…, which thread …" */
    char point[128]; /* its last known update point, or "" */
    struct kitsune__trace trace;
    /* Who has the lock that it waits for; 0: it waits for none, or nobody is known. */
    int32_t holder;
    char holder_name[17];
    char holder_point[128]; /* where it stands, or "" if it stands at none */
    struct kitsune__trace holder_trace;
};

/* Threads that one answer names. */
#define KITSUNE__NAMED 4

/* The details of one answer. */
struct kitsune__report {
    uint32_t thread_count;
    struct kitsune__stuck threads[KITSUNE__NAMED]; /* of an update that not all threads came to */
    struct kitsune__trace crash;                   /* of one that the new version failed in */
};

#endif
