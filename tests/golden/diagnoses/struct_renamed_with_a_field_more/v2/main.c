struct client { int fd; char *peer; struct client *next; long seen; };
struct client *first;
struct client *last;
