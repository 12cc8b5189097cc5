/* Giving rights up, as servers do it after their start: the way as words. */
#ifndef RIGHTS_H
#define RIGHTS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* Returns 0, or -1 if that failed or is not known. */
static int give_up(const char *what)
{
    if (strncmp(what, "chroot ", 7) == 0)
        return chroot(what + 7) == 0 ? chdir("/") : -1;
    if (strncmp(what, "user ", 5) == 0) {
        uid_t user = (uid_t)atoi(what + 5);
        return setresgid(user, user, user) == 0 ? setresuid(user, user, user) : -1;
    }
    return -1;
}

#endif
