#ifndef LIST_H
#define LIST_H

#include <kitsune.h>

struct link {
    void E_T(@t) *value;
    struct link E_G(@t) *next;
} E_GENERIC(@t);

struct list {
    struct link E_G(@t) *first, *last;
    int length;
} E_GENERIC(@t);

void list_append(struct list *list, void *value);

#endif
