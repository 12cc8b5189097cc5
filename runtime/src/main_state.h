/*
 * What each version's main is given: arguments as the process first got them, and libc's parser of
 * options as it was at the start.
 */
#ifndef KITSUNE_MAIN_STATE_H
#define KITSUNE_MAIN_STATE_H

/* Keeps the arguments. Once, before the first main. Returns 0, or -1 if there is no memory. */
int kitsune__arguments_keep(int count, char **arguments);
/* The arguments for a new main; `count` is filled. A version may have written into those that it
 * was given, and its state may point to them: such a vector is left alone and a new one made. NULL if
 * there is no memory. */
char **kitsune__arguments_renew(int *count);
/* Resets getopt. */
void kitsune__options_reset(void);

#endif
