/* A sibling's tag, flags, a tag in the union itself, an anonymous union, pointers by a tag. */
enum kind { NUMBER, TEXT, ITEM };
struct item { int number; };
union value { long number; char *text; struct item *item; struct { int low, high; } pair; };
union message { int kind; struct { int kind; struct item *item; } with_item; };
struct owner { int kind; };
struct record {
    enum kind kind;
    union value values[2];
    unsigned flags;
    union { double real; struct item *hidden; };
    union message message;
    void *data;
    struct owner *owner;
    union { long bits; struct item *item; } owned;
};
struct record *record;
