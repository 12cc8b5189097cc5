#include "heap.h"

#include <stdlib.h>

static int is_before(const struct heap *heap, int a, int b)
{
    return heap->items[a]->due_ms < heap->items[b]->due_ms;
}

static void swap(struct heap *heap, int a, int b)
{
    struct reminder *other = heap->items[a];
    heap->items[a] = heap->items[b];
    heap->items[b] = other;
}

int heap_add(struct heap *heap, struct reminder *reminder)
{
    if (heap->count == heap->room) {
        int room = heap->room ? heap->room * 2 : 8;
        struct reminder **items = realloc(heap->items, (size_t)room * sizeof *items);
        if (!items)
            return -1;
        heap->items = items;
        heap->room = room;
    }
    heap->items[heap->count] = reminder;
    for (int at = heap->count++; at > 0 && is_before(heap, at, (at - 1) / 2); at = (at - 1) / 2)
        swap(heap, at, (at - 1) / 2);
    return 0;
}

struct reminder *heap_top(const struct heap *heap)
{
    return heap->count ? heap->items[0] : NULL;
}

struct reminder *heap_take(struct heap *heap)
{
    if (!heap->count)
        return NULL;
    struct reminder *top = heap->items[0];
    heap->items[0] = heap->items[--heap->count];
    for (int at = 0, child; (child = 2 * at + 1) < heap->count; at = child) {
        if (child + 1 < heap->count && is_before(heap, child + 1, child))
            child++;
        if (!is_before(heap, child, at))
            break;
        swap(heap, at, child);
    }
    return top;
}
