/*
 * KITSUNE__HIDDEN: what each version has for itself, so that no other loaded version's is taken for it.
 * Included by the headers that declare such functions.
 */
#ifndef KITSUNE__HIDDEN
#if defined(__GNUC__)
#define KITSUNE__HIDDEN __attribute__((visibility("hidden")))
#else
#define KITSUNE__HIDDEN
#endif
#endif
