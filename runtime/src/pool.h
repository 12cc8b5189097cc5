/*
 * Functions that know their number: libc calls some callbacks without saying for which registration, so
 * each registration gets a function of its own from a pool. X(n) is expanded for n from 0x000 on.
 */
#ifndef KITSUNE_POOL_H
#define KITSUNE_POOL_H

/* clang-format off */
#define KITSUNE__TIMES_16(X, n) \
    X(n##0) X(n##1) X(n##2) X(n##3) X(n##4) X(n##5) X(n##6) X(n##7) \
    X(n##8) X(n##9) X(n##a) X(n##b) X(n##c) X(n##d) X(n##e) X(n##f)
#define KITSUNE__TIMES_64(X, n) \
    KITSUNE__TIMES_16(X, n##0) KITSUNE__TIMES_16(X, n##1) \
    KITSUNE__TIMES_16(X, n##2) KITSUNE__TIMES_16(X, n##3)
#define KITSUNE__TIMES_256(X, n) \
    KITSUNE__TIMES_64(X, n) \
    KITSUNE__TIMES_16(X, n##4) KITSUNE__TIMES_16(X, n##5) KITSUNE__TIMES_16(X, n##6) \
    KITSUNE__TIMES_16(X, n##7) KITSUNE__TIMES_16(X, n##8) KITSUNE__TIMES_16(X, n##9) \
    KITSUNE__TIMES_16(X, n##a) KITSUNE__TIMES_16(X, n##b) KITSUNE__TIMES_16(X, n##c) \
    KITSUNE__TIMES_16(X, n##d) KITSUNE__TIMES_16(X, n##e) KITSUNE__TIMES_16(X, n##f)
#define KITSUNE__POOL_64(X) KITSUNE__TIMES_64(X, 0x0)
#define KITSUNE__POOL_1024(X) \
    KITSUNE__TIMES_256(X, 0x0) KITSUNE__TIMES_256(X, 0x1) \
    KITSUNE__TIMES_256(X, 0x2) KITSUNE__TIMES_256(X, 0x3)
/* clang-format on */

#endif
