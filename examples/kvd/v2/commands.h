/* What the server can do. */
#ifndef KVD_COMMANDS_H
#define KVD_COMMANDS_H

struct client;

/* Runs the command whose arguments the client has received and answers it. */
void command_run(struct client *client);

#endif
