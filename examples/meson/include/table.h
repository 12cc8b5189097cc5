#ifndef TABLE_H
#define TABLE_H

/* Words and how often each was seen. */

#define TABLE_BUCKETS 64

struct word {
    struct word *next;
    char *text;
    unsigned count;
};

struct table {
    struct word *buckets[TABLE_BUCKETS];
    unsigned words;
};

/* Returns the word's entry, made if there was none; NULL without memory. */
struct word *table_get(struct table *table, const char *text);

#endif
