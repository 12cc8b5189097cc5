struct conn { int fd; char *peer; struct conn *next; };
struct conn *first;
struct conn *last;
