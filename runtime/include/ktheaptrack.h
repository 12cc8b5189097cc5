/*
 * Lists of heap blocks that only a library knows (a callback's argument, a node of its tree): the
 * program notes them, so that they are migrated, and tells the library their new addresses.
 *
 * A list is generic in what its blocks are: struct kitsune_heaplist E_G(struct request) list; it is
 * migrated like any variable. It may be zero instead of initialised.
 */
#ifndef KTHEAPTRACK_H
#define KTHEAPTRACK_H

#include "kitsune.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The list owns its nodes, not what they point to. */
struct kitsune_heaplist_node {
    void E_T(@t) * addr;
    struct kitsune_heaplist_node E_G(@t) * next;
} E_GENERIC(@t);
typedef struct kitsune_heaplist_node E_G(@t) kitsune_heaplist_node E_GENERIC(@t);

struct kitsune_heaplist {
    struct kitsune_heaplist_node E_G(@t) * begin;
    struct kitsune_heaplist_node E_G(@t) * last;
} E_GENERIC(@t);
typedef struct kitsune_heaplist E_G(@t) kitsune_heaplist E_GENERIC(@t);

typedef kitsune_heaplist_node kitsune_heaplist_iterator;

void kitsune_heaplist_init(kitsune_heaplist *list) KITSUNE__HIDDEN;
/* Adds a block at the end. Without memory for its node the process's next update would lose it, so
 * that is told in the log. */
void kitsune_heaplist_add(kitsune_heaplist *list, void *block) KITSUNE__HIDDEN;
/* Takes the first node of a block out; 0 if there is none. */
int kitsune_heaplist_del(kitsune_heaplist *list, void *block) KITSUNE__HIDDEN;

kitsune_heaplist_iterator *kitsune_heaplist_begin(kitsune_heaplist *list) KITSUNE__HIDDEN;
/* What is behind the last one. */
kitsune_heaplist_iterator *kitsune_heaplist_end(kitsune_heaplist *list) KITSUNE__HIDDEN;
kitsune_heaplist_iterator *kitsune_heaplist_last(kitsune_heaplist *list) KITSUNE__HIDDEN;
kitsune_heaplist_iterator *kitsune_heaplist_next(kitsune_heaplist_iterator *at) KITSUNE__HIDDEN;
int kitsune_heaplist_isempty(kitsune_heaplist *list) KITSUNE__HIDDEN;

/* `cur`, a `type`, is each block in turn; `tmp` is an iterator. The body takes no block out. */
#define HEAPLIST_FOR_EACH(list, cur, type, tmp)                                                    \
    for ((tmp) = kitsune_heaplist_begin(list), (cur) = (tmp) ? (type)(tmp)->addr : NULL;           \
         (tmp) != kitsune_heaplist_end(list);                                                      \
         (tmp) = kitsune_heaplist_next(tmp), (cur) = (tmp) ? (type)(tmp)->addr : NULL)

#ifdef __cplusplus
}
#endif

#endif
