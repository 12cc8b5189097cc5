/*
 * The one table through which releases reach the launcher. Constant; exported as
 * `kitsune_launcher_table`, so that a release's constructors find it before the launcher has put it
 * into the release.
 */
#ifndef KITSUNE_TABLE_H
#define KITSUNE_TABLE_H

#include "kitsune_abi.h"

const struct kitsune_launcher *kitsune__launcher_table(void);

#endif
