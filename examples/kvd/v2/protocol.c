#include "protocol.h"

#include "client.h"
#include "memory.h"

#include <stdlib.h>
#include <string.h>

#define MAX_ARGUMENTS (1024 * 1024)
#define MAX_BULK_LENGTH (512LL * 1024 * 1024)
#define MAX_LINE_LENGTH (64 * 1024)

static void add_argument(struct client *client, struct blob *argument)
{
    if (client->count == client->capacity) {
        client->capacity = 2 * client->capacity + 8;
        client->arguments = memory_resize(client->arguments,
                                          (size_t)client->capacity * sizeof *client->arguments);
    }
    client->arguments[client->count++] = argument;
}

/*
 * Returns the length of the line in front, without its end, and in `*whole` with it; -1 if it is not
 * all there.
 */
static ssize_t line_length(const struct buffer *input, size_t *whole)
{
    const char *front = buffer_front(input);
    const char *end = buffer_length(input) ? memchr(front, '\n', buffer_length(input)) : NULL;

    if (end == NULL)
        return -1;
    *whole = (size_t)(end - front) + 1;
    return end - front - (end > front && end[-1] == '\r');
}

/* Takes the line in front as a number behind the letter that `kind` wants. */
static enum received receive_number(struct client *client, char kind, long long limit,
                                    long long *number)
{
    size_t whole;
    ssize_t length = line_length(&client->input, &whole);

    if (length < 0)
        return buffer_length(&client->input) > MAX_LINE_LENGTH ? RECEIVED_NONSENSE : RECEIVED_PART;
    if (length < 2 || *buffer_front(&client->input) != kind)
        return RECEIVED_NONSENSE;

    struct blob *digits = blob_new(buffer_front(&client->input) + 1, (size_t)length - 1);
    bool good = blob_to_number(digits, number) && *number <= limit;
    free(digits);
    if (good)
        buffer_consume(&client->input, whole);
    return good ? RECEIVED_COMMAND : RECEIVED_NONSENSE;
}

static enum received receive_line(struct client *client, const char **mistake)
{
    static const char spaces[] = " \t";
    size_t whole;
    ssize_t length = line_length(&client->input, &whole);

    if (length < 0) {
        *mistake = "ERR Protocol error: too big inline request";
        return buffer_length(&client->input) > MAX_LINE_LENGTH ? RECEIVED_NONSENSE : RECEIVED_PART;
    }
    struct blob *line = blob_new(buffer_front(&client->input), (size_t)length);
    char *rest = line->bytes, *word;
    while ((word = strsep(&rest, spaces)) != NULL)
        if (*word)
            add_argument(client, blob_new(word, strlen(word)));
    free(line);
    buffer_consume(&client->input, whole);
    return client->count ? RECEIVED_COMMAND : RECEIVED_NOTHING;
}

static enum received receive_head(struct client *client, const char **mistake)
{
    long long expected;
    enum received received = receive_number(client, '*', MAX_ARGUMENTS, &expected);

    *mistake = "ERR Protocol error: invalid multibulk length";
    if (received == RECEIVED_COMMAND) {
        client->expected = expected > 0 ? (int)expected : 0;
        client->bulk_length = -1;
    }
    return received == RECEIVED_COMMAND && client->expected == 0 ? RECEIVED_NOTHING : received;
}

/* Takes one argument: its head, its bytes, the end of its line. */
static enum received receive_argument(struct client *client, const char **mistake)
{
    struct buffer *input = &client->input;

    if (client->bulk_length < 0) {
        long long length;
        enum received received = receive_number(client, '$', MAX_BULK_LENGTH, &length);
        *mistake = "ERR Protocol error: invalid bulk length";
        if (received != RECEIVED_COMMAND)
            return received;
        if (length < 0)
            return RECEIVED_NONSENSE;
        client->bulk_length = length;
    }
    size_t length = (size_t)client->bulk_length;
    if (buffer_length(input) < length + 2) {
        /* Once, so that a big value is not copied again and again as it comes. */
        buffer_reserve(input, length + 2 - buffer_length(input));
        return RECEIVED_PART;
    }
    add_argument(client, blob_new(buffer_front(input), length));
    buffer_consume(input, length + 2);
    client->bulk_length = -1;
    return RECEIVED_COMMAND;
}

enum received protocol_receive(struct client *client, const char **mistake)
{
    enum received received;

    if (client->expected == 0) {
        if (buffer_length(&client->input) == 0)
            return RECEIVED_PART;
        if (*buffer_front(&client->input) != '*')
            return receive_line(client, mistake);
        received = receive_head(client, mistake);
        if (received != RECEIVED_COMMAND)
            return received;
    }
    while (client->count < client->expected) {
        received = receive_argument(client, mistake);
        if (received != RECEIVED_COMMAND)
            return received;
    }
    return RECEIVED_COMMAND;
}
