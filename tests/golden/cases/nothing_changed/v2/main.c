struct event { int fd; void (*call)(struct event *, void *); struct event *next; };
struct plain { int n; struct plain *next; char *name; };
struct settings { char text[16]; union { int number; float ratio; } value; } __attribute__((packed));
struct event *events;
struct plain *plains;
struct settings settings;
int numbers[4];
