#include "list.h"

void list_append(struct list *list, void *value)
{
    struct link *link = calloc(1, sizeof *link);

    link->value = value;
    if (list->last)
        list->last->next = link;
    else
        list->first = link;
    list->last = link;
    list->length++;
}
