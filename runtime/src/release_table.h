/* Where the release's side of the runtime finds the launcher. */
#ifndef KITSUNE__RELEASE_TABLE_H
#define KITSUNE__RELEASE_TABLE_H

#include "kitsune_abi.h"

/* The launcher's table; NULL if no launcher runs this (a plain executable, a test), or one of another
 * ABI. */
const struct kitsune_launcher *kitsune__table(void) __attribute__((visibility("hidden")));

#endif
