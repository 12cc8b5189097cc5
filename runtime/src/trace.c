#include "trace.h"

#include <string.h>

static void take_out(struct kitsune__trace *trace, uint32_t first, uint32_t end) {
    memmove(&trace->frames[first], &trace->frames[end],
            (trace->count - end) * sizeof trace->frames[0]);
    trace->count -= end - first;
}

/* The nearest frame inside of `outer` that is of the function that it calls, or `outer`. */
static uint32_t find_called(const struct kitsune__trace *trace, uint32_t outer) {
    uint64_t calls = trace->frames[outer].calls;
    for (uint32_t i = outer; calls != 0 && i > 0; i--)
        if (trace->frames[i - 1].start == calls)
            return i - 1;
    return outer;
}

void kitsune__trace_sift(struct kitsune__trace *trace) {
    for (uint32_t outer = 1; outer < trace->count; outer++) {
        uint32_t called = find_called(trace, outer);
        if (called + 1 < outer) {
            take_out(trace, called + 1, outer);
            outer = called + 1;
        }
    }
}
