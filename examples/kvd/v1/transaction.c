#include "transaction.h"

#include "memory.h"

#include <stdlib.h>

struct transaction *transaction_new(void)
{
    return memory_new(sizeof(struct transaction));
}

static void queued_free(struct queued *queued)
{
    for (int i = 0; i < queued->count; i++)
        free(queued->arguments[i]);
    free(queued->arguments);
    free(queued);
}

void transaction_free(struct transaction *transaction)
{
    struct queued *next;

    if (transaction == NULL)
        return;
    for (struct queued *queued = transaction->first; queued; queued = next) {
        next = queued->next;
        queued_free(queued);
    }
    free(transaction);
}

void transaction_add(struct client *client)
{
    struct transaction *transaction = client->transaction;
    struct queued *queued = memory_new(sizeof *queued);

    queued->count = client->count;
    queued->arguments = memory_new((size_t)client->count * sizeof *queued->arguments);
    for (int i = 0; i < client->count; i++)
        queued->arguments[i] = client_take(client, i);
    if (transaction->last)
        transaction->last->next = queued;
    else
        transaction->first = queued;
    transaction->last = queued;
    transaction->length++;
}

bool transaction_next(struct client *client, struct transaction *transaction)
{
    struct queued *queued = transaction->first;

    if (queued == NULL)
        return false;
    client_set_command(client, queued->arguments, queued->count);
    queued->count = 0; /* they are the client's now */
    transaction->first = queued->next;
    queued_free(queued);
    return true;
}
