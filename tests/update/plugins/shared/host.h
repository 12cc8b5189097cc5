/* The program: VERSION says which. */
#include "serve.h"

#include <dlfcn.h>

#ifndef HOST_TOTAL
#define HOST_TOTAL int
#endif
#include "plugin.h"

static void *handle;
static void (*run)(char *, unsigned long);

static void load(const char *path)
{
    void (*begin)(const struct api *, int (*)(int), const char *);

    handle = dlopen(path, RTLD_LAZY);
    if (!handle) {
        printf("%s\n", dlerror());
        return;
    }
    begin = (void (*)(const struct api *, int (*)(int), const char *))dlsym(handle, "plugin_start");
    run = (void (*)(char *, unsigned long))dlsym(handle, "plugin_run");
    begin(&host_table, host_table.scale, "label of " VERSION);
}

static void answer(const char *word, const char *rest)
{
    char text[200] = "no plugin";

    if (strcmp(word, "load") == 0)
        load(rest);
    if (strcmp(word, "later") == 0) {
        printf("%d\n", ((int (*)(void))dlsym(handle, "plugin_later"))());
        return;
    }
    if (run)
        run(text, sizeof text);
    printf("%s\n", text);
}
