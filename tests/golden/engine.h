/*
 * A small engine to run generated code on: no image, no interior pointers, no undo. Objects are moved
 * when they are met and transformed by engine_settle, which also carries out what was to be stored.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include <stdio.h>
#include <stdlib.h>

#include "kitsune_types.h"

extern int engine_moved, engine_visited, engine_functions;

struct kitsune_xf *engine(void);
void engine_settle(struct kitsune_xf *xf);
/* Tells where an old variable is. */
void engine_variable(const char *key, void *address);

#endif
