/*
 * What a client has queued between MULTI and EXEC: its commands, in order, with their arguments.
 */
#ifndef KVD_TRANSACTION_H
#define KVD_TRANSACTION_H

#include "client.h"

struct queued {
    struct queued *next;
    int count;
    struct blob ** E_PTRARRAY(self.count) arguments;
};

struct transaction {
    struct queued *first, *last;
    int length;
    bool failed; /* a command could not be queued: EXEC does nothing */
};

struct transaction *transaction_new(void);
void transaction_free(struct transaction *transaction);

/* Takes the client's current command over, to the end of its transaction. */
void transaction_add(struct client *client);

/* Gives the first command back to the client, as its current one; false if there is none left. */
bool transaction_next(struct client *client, struct transaction *transaction);

#endif
