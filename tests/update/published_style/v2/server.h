#ifndef SERVER_H
#define SERVER_H

#include <kitsune.h>
#include <ktheaptrack.h>

typedef struct client_tag {
    int fd;
    unsigned long listeners;
    unsigned long peak_listeners;
    int authenticated;
    char *peer;
    int (*write)(struct client_tag *client);
} client_t;

/* A container of the program's own, generic in its values. */
struct dict_entry {
    char *key;
    void E_T(@v) * value;
    struct dict_entry E_G(@v) * next;
} E_GENERIC(@v);
typedef struct dict_entry E_G(@v) dict_entry E_GENERIC(@v);

struct dict {
    dict_entry E_G(@v) * *table;
    int size;
    int used;
    void *type_data;
} E_GENERIC(@v);
typedef struct dict E_G(@v) dict E_GENERIC(@v);

/* A library that keeps what it is given, where nobody sees it. */
void library_register(void *argument, int (*callback)(void *));
int library_call(int number);
void library_set(int number, void *argument, int (*callback)(void *));

extern int old_style_counter;
int stats_event(const char *name);

#endif
