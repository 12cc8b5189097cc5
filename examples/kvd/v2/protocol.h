/* Requests of RESP: arrays of bulk strings, or words on a line as a person types them. */
#ifndef KVD_PROTOCOL_H
#define KVD_PROTOCOL_H

struct client;

enum received {
    RECEIVED_PART,    /* more input is needed */
    RECEIVED_COMMAND, /* client->arguments[0 .. count), count > 0 */
    RECEIVED_NOTHING, /* an empty request, which is not answered */
    RECEIVED_NONSENSE /* `*mistake` says why; the connection cannot go on */
};

/* Takes from client->input what belongs to the command being received. */
enum received protocol_receive(struct client *client, const char **mistake);

#endif
