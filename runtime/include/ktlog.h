/* The update log; kitsune.h has all of it. */
#ifndef KTLOG_H
#define KTLOG_H

#include "kitsune.h"

#endif
