struct entry;
static struct entry *first;
struct entry **first_at(void) { return &first; }
