/*
 * A connection: what is read and not yet understood, the command that is being received, what is
 * answered and not yet sent. A client is freed only by its own event handler.
 */
#ifndef KVD_CLIENT_H
#define KVD_CLIENT_H

#include "blob.h"
#include "buffer.h"
#include "loop.h"

#include <kitsune.h>

struct transaction;

struct client {
    struct event event;
    struct client *next, *previous;
    uint64_t id;
    int64_t connected_ms;
    unsigned long long requests;
    int protocol; /* 2 or 3, of RESP */
    bool closing; /* answers are sent, then it ends */
    struct blob *name; /* CLIENT SETNAME; may be NULL */

    struct buffer input, output;

    /* The command being received: arguments[0 .. count) are there, the rest to come. */
    struct blob ** E_PTRARRAY(self.capacity) arguments;
    int count, expected, capacity;
    long long bulk_length; /* of the argument whose head is read; -1: none */

    struct transaction *transaction; /* since MULTI, else NULL */
};

void client_accept(int fd);
size_t client_count(void);
void client_list(struct client *to); /* answers CLIENT LIST */

/* Hands over an argument of the current command; the client does not free it then. */
struct blob *client_take(struct client *client, int argument);

/* Makes a command of blobs the current one, in place of that which was; they are the client's then. */
void client_set_command(struct client *client, struct blob **arguments, int count);

/* Answers, in the words of RESP. */
void reply_raw(struct client *client, const char *text);
void reply_ok(struct client *client);
void reply_error(struct client *client, const char *message);
void reply_integer(struct client *client, long long number);
void reply_bulk(struct client *client, const void *bytes, size_t length);
void reply_text(struct client *client, const char *text);
void reply_blob(struct client *client, const struct blob *blob);
void reply_null(struct client *client);
void reply_array(struct client *client, size_t count);
void reply_map(struct client *client, size_t pairs);

#endif
