struct list { void *value; };
struct list *list;
