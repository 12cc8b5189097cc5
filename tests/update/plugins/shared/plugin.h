/* What the program and its plugin share. */
#ifndef PLUGIN_H
#define PLUGIN_H

#define SHOWN __attribute__((visibility("default")))

struct api {
    int (*scale)(int);
    const char *label;
};

SHOWN int host_twice(int x);
SHOWN int host_later(int x); /* called only after an update */
SHOWN extern HOST_TOTAL host_total;
SHOWN extern const struct api host_table;

/* The plugin's own: what it is given, and one call of everything that it has. */
void plugin_start(const struct api *table, int (*scale)(int), const char *label);
void plugin_run(char *text, unsigned long size);
int plugin_later(void);

#endif
