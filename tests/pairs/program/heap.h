/*
 * Memory as its test wants it. Compiled without the look-alike: it and its tables are no part of what
 * the tool knows of the program. Each function takes a file's name and returns 0 if all went well.
 */
#ifndef HEAP_H
#define HEAP_H

/* Writes layouts and addresses of the version: see `meta` in heap.c. */
int heap_meta(const char *path);
/* Makes objects and sets pointers as the file says; the file then has their addresses. */
int heap_make(const char *path);
/* Reads the ranges that the file lists, so that a sanitizer sees it. */
int heap_touch(const char *path);
/* Frees the blocks that the file lists. */
int heap_free(const char *path);
/* The program's MIGRATE_* calls. */
void heap_migrate_by_hand(void);

#endif
