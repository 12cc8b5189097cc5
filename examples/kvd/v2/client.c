#include "client.h"

#include "commands.h"
#include "memory.h"
#include "protocol.h"
#include "transaction.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE (64 * 1024)

/* A client with more than this to receive is not asked for more before it has received it. */
#define OUTPUT_HIGH_WATER (1024 * 1024)

static struct client *clients;
static size_t clients_count;
static uint64_t last_id;

static void client_free(struct client *client)
{
    if (client->previous)
        client->previous->next = client->next;
    else
        clients = client->next;
    if (client->next)
        client->next->previous = client->previous;
    clients_count--;

    loop_remove(&client->event);
    close(client->event.fd);
    for (int i = 0; i < client->count; i++)
        free(client->arguments[i]);
    free(client->arguments);
    free(client->name);
    transaction_free(client->transaction);
    buffer_clear(&client->input);
    buffer_clear(&client->output);
    free(client);
}

struct blob *client_take(struct client *client, int argument)
{
    struct blob *blob = client->arguments[argument];

    client->arguments[argument] = NULL;
    return blob;
}

static void forget_command(struct client *client)
{
    for (int i = 0; i < client->count; i++)
        free(client->arguments[i]);
    client->count = client->expected = 0;
}

void client_set_command(struct client *client, struct blob **arguments, int count)
{
    forget_command(client);
    if (count > client->capacity) {
        client->arguments = memory_resize(client->arguments, (size_t)count * sizeof *arguments);
        client->capacity = count;
    }
    memcpy(client->arguments, arguments, (size_t)count * sizeof *arguments);
    client->count = count;
}

static bool is_output_full(const struct client *client)
{
    return buffer_length(&client->output) >= OUTPUT_HIGH_WATER;
}

/* Returns true if it stopped because too much waits to be sent. */
static bool run_commands(struct client *client)
{
    while (!client->closing) {
        if (is_output_full(client))
            return true;
        const char *mistake = NULL;
        enum received received = protocol_receive(client, &mistake);
        if (received == RECEIVED_PART)
            return false;
        if (received == RECEIVED_COMMAND) {
            client->requests++;
            command_run(client);
        } else if (received == RECEIVED_NONSENSE) {
            reply_error(client, mistake);
            client->closing = true;
        }
        forget_command(client);
    }
    return false;
}

/* Both return false if the connection is over. */
static bool read_input(struct client *client)
{
    char *space = buffer_reserve(&client->input, READ_SIZE);
    ssize_t length = recv(client->event.fd, space, READ_SIZE, 0);

    if (length > 0)
        client->input.end += (size_t)length;
    return length > 0 || (length < 0 && (errno == EAGAIN || errno == EINTR));
}

static bool write_output(struct client *client)
{
    size_t length = buffer_length(&client->output);

    if (length == 0)
        return true;
    ssize_t sent = send(client->event.fd, buffer_front(&client->output), length, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN || errno == EINTR;
    buffer_consume(&client->output, (size_t)sent);
    return true;
}

static uint32_t wanted(const struct client *client)
{
    uint32_t interest = 0;

    if (buffer_length(&client->output) > 0)
        interest |= EPOLLOUT;
    if (!is_output_full(client) && !client->closing)
        interest |= EPOLLIN;
    return interest;
}

static void on_client(struct event *event, uint32_t ready)
{
    struct client *client = (struct client *)((char *)event - offsetof(struct client, event));
    bool alive = true, full;

    if (ready & EPOLLOUT)
        alive = write_output(client);
    if (alive && (ready & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !client->closing)
        alive = read_input(client);
    if (!alive) {
        client_free(client);
        return;
    }
    do {
        full = run_commands(client);
        alive = write_output(client);
    } while (alive && full && !is_output_full(client));
    if (!alive || (client->closing && buffer_length(&client->output) == 0)) {
        client_free(client);
        return;
    }
    loop_change(&client->event, wanted(client));
}

void client_accept(int fd)
{
    struct client *client = memory_new(sizeof *client);

    client->event = (struct event){.fd = fd, .interest = EPOLLIN, .handler = on_client};
    client->id = ++last_id;
    client->connected_ms = now_ms();
    client->protocol = 2;
    client->bulk_length = -1;
    client->next = clients;
    if (clients)
        clients->previous = client;
    clients = client;
    clients_count++;
    loop_add(&client->event);
}

size_t client_count(void)
{
    return clients_count;
}

static void describe(const struct client *client, FILE *text)
{
    fprintf(text, "id=%" PRIu64 " fd=%d name=%s age=%" PRId64 " resp=%d tot-cmds=%llu\n", client->id,
            client->event.fd, client->name ? client->name->bytes : "",
            (now_ms() - client->connected_ms) / 1000, client->protocol, client->requests);
}

void client_list(struct client *to)
{
    char *bytes = NULL;
    size_t length = 0;
    FILE *text = open_memstream(&bytes, &length);

    if (text == NULL) {
        reply_error(to, "ERR out of memory");
        return;
    }
    for (const struct client *client = clients; client; client = client->next)
        describe(client, text);
    fclose(text);
    reply_bulk(to, bytes, length);
    free(bytes);
}

void reply_raw(struct client *client, const char *text)
{
    buffer_append(&client->output, text, strlen(text));
}

void reply_ok(struct client *client)
{
    reply_raw(client, "+OK\r\n");
}

void reply_error(struct client *client, const char *message)
{
    reply_raw(client, "-");
    reply_raw(client, message);
    reply_raw(client, "\r\n");
}

static void reply_head(struct client *client, char kind, long long number)
{
    char text[32];
    int length = snprintf(text, sizeof text, "%c%lld\r\n", kind, number);

    buffer_append(&client->output, text, (size_t)length);
}

void reply_integer(struct client *client, long long number)
{
    reply_head(client, ':', number);
}

void reply_bulk(struct client *client, const void *bytes, size_t length)
{
    reply_head(client, '$', (long long)length);
    buffer_append(&client->output, bytes, length);
    reply_raw(client, "\r\n");
}

void reply_text(struct client *client, const char *text)
{
    reply_bulk(client, text, strlen(text));
}

void reply_blob(struct client *client, const struct blob *blob)
{
    reply_bulk(client, blob->bytes, blob->length);
}

void reply_null(struct client *client)
{
    reply_raw(client, client->protocol == 3 ? "_\r\n" : "$-1\r\n");
}

void reply_array(struct client *client, size_t count)
{
    reply_head(client, '*', (long long)count);
}

void reply_map(struct client *client, size_t pairs)
{
    if (client->protocol == 3)
        reply_head(client, '%', (long long)pairs);
    else
        reply_array(client, 2 * pairs);
}
