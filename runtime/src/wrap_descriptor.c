/*
 * Calls that change what the kernel keeps for an open file: its status flags, what an epoll watches.
 * The snapshot's descriptors share that with the program's, so the first change in a transaction
 * notes how it was, and a rollback puts it back. Outside a transaction the calls are libc's.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/ioctl.h>

#include "calls.h"
#include "journal.h"

__attribute__((noinline)) static int change_watches(int epoll, int operation, int descriptor,
                                                    struct epoll_event *event) {
    kitsune__journal_save_watches(epoll);
    return epoll_ctl(epoll, operation, descriptor, event);
}

/* Servers call this several times in each turn: without a transaction there is nothing to keep. */
int kitsune__call_epoll_ctl(int epoll, int operation, int descriptor, struct epoll_event *event) {
    if (kitsune__journal != NULL)
        return change_watches(epoll, operation, descriptor, event);
    return epoll_ctl(epoll, operation, descriptor, event);
}

int kitsune__call_fcntl(int descriptor, int command, long argument) {
    if (command == F_SETFL)
        kitsune__journal_save_flags(descriptor);
    return fcntl(descriptor, command, argument);
}

int kitsune__call_fcntl64(int descriptor, int command, long argument) {
    if (command == F_SETFL)
        kitsune__journal_save_flags(descriptor);
    return fcntl64(descriptor, command, argument);
}

int kitsune__call_ioctl(int descriptor, unsigned long request, void *argument) {
    if (request == FIONBIO || request == FIOASYNC)
        kitsune__journal_save_flags(descriptor);
    return ioctl(descriptor, request, argument);
}
