/* Pages that are there (pages.h). */
#define _GNU_SOURCE
#include "pages.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include "platform.h"

#define PAGE 4096ul
#define AT_ONCE 512u
/* Of /proc/PID/pagemap. */
#define IS_PRESENT (1ull << 63)
#define IS_SWAPPED (1ull << 62)

int kitsune__pages_open(void) {
    return kitsune__open_proc("self/pagemap", O_RDONLY | O_CLOEXEC);
}

void kitsune__pages_close(int pages) {
    if (pages >= 0)
        KITSUNE__SYSCALL(SYS_close, pages);
}

/* Reads about `count` pages from `page` on; what cannot be told is there. */
static void read_entries(int pages, uintptr_t page, uint64_t *entries, uint64_t count) {
    long got = KITSUNE__SYSCALL(SYS_pread64, pages, entries, count * sizeof *entries,
                                page / PAGE * sizeof *entries);
    for (uint64_t i = got > 0 ? (uint64_t)got / sizeof *entries : 0; i < count; i++)
        entries[i] = IS_PRESENT;
}

static int is_there(uint64_t entry) {
    return (entry & (IS_PRESENT | IS_SWAPPED)) != 0;
}

void kitsune__pages_each(int pages, uintptr_t start, uintptr_t end,
                         void (*visit)(void *context, uintptr_t start, uintptr_t end),
                         void *context) {
    uint64_t entries[AT_ONCE];
    if (pages < 0) {
        visit(context, start, end);
        return;
    }
    for (uintptr_t page = start & ~(PAGE - 1); page < end; page += AT_ONCE * PAGE) {
        uint64_t left = (end - page + PAGE - 1) / PAGE, count = left < AT_ONCE ? left : AT_ONCE;
        read_entries(pages, page, entries, count);
        for (uint64_t first = 0, next; first < count; first = next) {
            for (next = first; next < count && is_there(entries[next]) == is_there(entries[first]);)
                next++;
            uintptr_t from = page + first * PAGE, to = page + next * PAGE;
            if (is_there(entries[first]))
                visit(context, from > start ? from : start, to < end ? to : end);
        }
    }
}
