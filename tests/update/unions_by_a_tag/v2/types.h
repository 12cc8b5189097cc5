enum kind { NONE, EXTRA, ITEM, NUMBER, TEXT };

struct item {
    long weight;
    int number;
    struct item *next;
};

union value { /* by the kind beside it */
    double extra[4];
    long number;
    char *text;
    struct item *item;
    struct item inner;
};

#define F_BIG 1u
#define F_POINTER 2u

union big { /* of a list of free ones, or a name */
    char name[40];
    union big *next;
};

struct record {
    enum kind kind;
    union value value;
    union { /* by two flags */
        char small[16];
        union big *big;
        char *pointer;
    } name;
    unsigned flags;
    struct record *next;
};

union message { /* each begins with its kind */
    int kind;
    struct {
        int kind;
        struct item *item;
    } with_item;
    struct {
        int kind;
        void (*call)(int);
        struct item *other;
    } with_call;
};

struct holder {
    char is_item;
    union { /* anonymous, one member is an anonymous struct, one a union */
        struct {
            int count;
            struct item *items;
        };
        double real;
        union {
            struct item *deep;
            long deep_number;
        };
    };
    void *data; /* an item or a record */
    enum kind beside;
    union value *value; /* the tag is beside the pointer */
};
