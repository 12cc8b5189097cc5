#include "commands.h"

#include "client.h"
#include "keyspace.h"
#include "pattern.h"
#include "server.h"
#include "statistics.h"
#include "transaction.h"
#include "version.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef void command_handler(struct client *client);

struct command {
    const char *name;
    int arity; /* arguments, the name among them; negative: at least so many */
    command_handler *run;
};

static const char not_a_number[] = "ERR value is not an integer or out of range";
static const char wrong_syntax[] = "ERR syntax error";

static const struct blob *argument(const struct client *client, int index)
{
    return client->arguments[index];
}

static bool number_argument(struct client *client, int index, long long *number)
{
    if (blob_to_number(argument(client, index), number))
        return true;
    reply_error(client, not_a_number);
    return false;
}

/* -- connection -- */

static void run_ping(struct client *client)
{
    if (client->count > 1)
        reply_blob(client, argument(client, 1));
    else
        reply_raw(client, "+PONG\r\n");
}

static void run_echo(struct client *client)
{
    reply_blob(client, argument(client, 1));
}

static void run_quit(struct client *client)
{
    reply_ok(client);
    client->closing = true;
}

static void run_select(struct client *client)
{
    if (blob_is(argument(client, 1), "0"))
        reply_ok(client);
    else
        reply_error(client, "ERR DB index is out of range");
}

static void run_hello(struct client *client)
{
    long long protocol = client->protocol;

    if (client->count > 1 && (!blob_to_number(argument(client, 1), &protocol) || protocol < 2 ||
                              protocol > 3)) {
        reply_error(client, "NOPROTO unsupported protocol version");
        return;
    }
    client->protocol = (int)protocol;
    reply_map(client, 4);
    reply_text(client, "server");
    reply_text(client, "kvd");
    reply_text(client, "version");
    reply_text(client, KVD_VERSION);
    reply_text(client, "proto");
    reply_integer(client, protocol);
    reply_text(client, "id");
    reply_integer(client, (long long)client->id);
}

static void run_client(struct client *client)
{
    const struct blob *verb = argument(client, 1);

    if (blob_is(verb, "SETNAME") && client->count == 3) {
        free(client->name);
        client->name = client_take(client, 2);
        reply_ok(client);
    } else if (blob_is(verb, "GETNAME") && client->count == 2) {
        if (client->name)
            reply_blob(client, client->name);
        else
            reply_null(client);
    } else if (blob_is(verb, "ID") && client->count == 2) {
        reply_integer(client, (long long)client->id);
    } else if (blob_is(verb, "LIST") && client->count == 2) {
        client_list(client);
    } else if (blob_is(verb, "SETINFO") && client->count == 4) {
        reply_ok(client);
    } else {
        reply_error(client, "ERR unknown subcommand or wrong number of arguments for 'client'");
    }
}

/* -- keys -- */

struct set_options {
    bool only_new, only_old, keeps_expiry, returns_old;
    int64_t expires_ms;
};

/* Reads the amount behind argument `index` in units of `unit_ms`; false if it was answered with an
 * error. */
static bool read_expiry(struct client *client, int index, long long unit_ms, int64_t *expires_ms)
{
    long long amount;

    if (index + 1 >= client->count) {
        reply_error(client, wrong_syntax);
        return false;
    }
    if (!number_argument(client, index + 1, &amount))
        return false;
    if (amount <= 0 || amount > INT64_MAX / 2 / unit_ms) {
        reply_error(client, "ERR invalid expire time");
        return false;
    }
    *expires_ms = now_ms() + amount * unit_ms;
    return true;
}

static bool read_set_options(struct client *client, struct set_options *options)
{
    for (int i = 3; i < client->count; i++) {
        const struct blob *word = argument(client, i);
        if (blob_is(word, "NX")) {
            options->only_new = true;
        } else if (blob_is(word, "XX")) {
            options->only_old = true;
        } else if (blob_is(word, "KEEPTTL")) {
            options->keeps_expiry = true;
        } else if (blob_is(word, "GET")) {
            options->returns_old = true;
        } else if (blob_is(word, "EX") || blob_is(word, "PX")) {
            if (!read_expiry(client, i++, blob_is(word, "EX") ? 1000 : 1, &options->expires_ms))
                return false;
        } else {
            reply_error(client, wrong_syntax);
            return false;
        }
    }
    if (options->only_new && options->only_old) {
        reply_error(client, wrong_syntax);
        return false;
    }
    return true;
}

static void run_set(struct client *client)
{
    struct set_options options = {0};

    if (!read_set_options(client, &options))
        return;
    const struct entry *old = keyspace_find(argument(client, 1));
    if (options.returns_old) {
        if (old)
            reply_blob(client, old->value);
        else
            reply_null(client);
    }
    if (options.only_new ? old != NULL : options.only_old && old == NULL) {
        if (!options.returns_old)
            reply_null(client);
        return;
    }
    if (options.keeps_expiry && old)
        options.expires_ms = old->expires_ms;
    struct blob *value = client_take(client, 2);
    keyspace_set(client_take(client, 1), value)->expires_ms = options.expires_ms;
    if (!options.returns_old)
        reply_ok(client);
}

static void reply_value(struct client *client, const struct blob *key)
{
    const struct entry *entry = keyspace_use(key);

    if (entry)
        reply_blob(client, entry->value);
    else
        reply_null(client);
}

static void run_get(struct client *client)
{
    reply_value(client, argument(client, 1));
}

static void run_mget(struct client *client)
{
    reply_array(client, (size_t)client->count - 1);
    for (int i = 1; i < client->count; i++)
        reply_value(client, argument(client, i));
}

static void run_mset(struct client *client)
{
    if (client->count % 2 == 0) {
        reply_error(client, "ERR wrong number of arguments for 'mset' command");
        return;
    }
    for (int i = 1; i < client->count; i += 2) {
        struct blob *value = client_take(client, i + 1);
        keyspace_set(client_take(client, i), value);
    }
    reply_ok(client);
}

static void run_del(struct client *client)
{
    int deleted = 0;

    for (int i = 1; i < client->count; i++)
        deleted += keyspace_delete(argument(client, i));
    reply_integer(client, deleted);
}

static void run_exists(struct client *client)
{
    int found = 0;

    for (int i = 1; i < client->count; i++)
        found += keyspace_find(argument(client, i)) != NULL;
    reply_integer(client, found);
}

static void run_strlen(struct client *client)
{
    const struct entry *entry = keyspace_find(argument(client, 1));

    reply_integer(client, entry ? (long long)entry->value->length : 0);
}

/* Gives the key of argument 1 another value; its expiry time stays. */
static void replace_value(struct client *client, struct entry *entry, struct blob *value)
{
    if (entry) {
        free(entry->value);
        entry->value = value;
    } else {
        keyspace_set(client_take(client, 1), value);
    }
}

static void run_append(struct client *client)
{
    struct entry *entry = keyspace_find(argument(client, 1));
    const struct blob *tail = argument(client, 2);
    size_t length = entry ? entry->value->length : 0;
    struct blob *whole = blob_new(NULL, length + tail->length);

    if (entry)
        memcpy(whole->bytes, entry->value->bytes, length);
    memcpy(whole->bytes + length, tail->bytes, tail->length);
    replace_value(client, entry, whole);
    reply_integer(client, (long long)whole->length);
}

static void add_to_value(struct client *client, long long amount)
{
    struct entry *entry = keyspace_find(argument(client, 1));
    long long number = 0;

    if ((entry && !blob_to_number(entry->value, &number)) ||
        __builtin_add_overflow(number, amount, &number)) {
        reply_error(client, not_a_number);
        return;
    }
    replace_value(client, entry, blob_format("%lld", number));
    reply_integer(client, number);
}

static void run_incr(struct client *client)
{
    add_to_value(client, 1);
}

static void run_decr(struct client *client)
{
    add_to_value(client, -1);
}

static void run_incrby(struct client *client)
{
    long long amount;

    if (number_argument(client, 2, &amount))
        add_to_value(client, amount);
}

static void run_decrby(struct client *client)
{
    long long amount;

    if (!number_argument(client, 2, &amount))
        return;
    if (amount == LLONG_MIN)
        reply_error(client, not_a_number);
    else
        add_to_value(client, -amount);
}

/* -- expiry -- */

static void expire_in(struct client *client, long long unit_ms)
{
    struct entry *entry = keyspace_find(argument(client, 1));
    long long amount;

    if (!number_argument(client, 2, &amount))
        return;
    if (amount > INT64_MAX / 2 / unit_ms) {
        reply_error(client, "ERR invalid expire time");
        return;
    }
    if (entry && amount <= 0)
        keyspace_delete(argument(client, 1));
    else if (entry)
        entry->expires_ms = now_ms() + amount * unit_ms;
    reply_integer(client, entry != NULL);
}

static void run_expire(struct client *client)
{
    expire_in(client, 1000);
}

static void run_pexpire(struct client *client)
{
    expire_in(client, 1);
}

static void run_persist(struct client *client)
{
    struct entry *entry = keyspace_find(argument(client, 1));
    bool changed = entry && entry->expires_ms != 0;

    if (changed)
        entry->expires_ms = 0;
    reply_integer(client, changed);
}

/* Returns what TTL answers, in milliseconds: -2 no such key, -1 it does not expire. */
static long long time_to_live_ms(const struct client *client)
{
    const struct entry *entry = keyspace_find(argument(client, 1));

    if (entry == NULL)
        return -2;
    return entry->expires_ms ? entry->expires_ms - now_ms() : -1;
}

static void run_ttl(struct client *client)
{
    long long left_ms = time_to_live_ms(client);

    reply_integer(client, left_ms < 0 ? left_ms : (left_ms + 500) / 1000);
}

static void run_pttl(struct client *client)
{
    reply_integer(client, time_to_live_ms(client));
}

/* -- what is known of a key -- */

static void run_type(struct client *client)
{
    reply_raw(client, keyspace_find(argument(client, 1)) ? "+string\r\n" : "+none\r\n");
}

static void run_touch(struct client *client)
{
    int touched = 0;

    for (int i = 1; i < client->count; i++)
        touched += keyspace_use(argument(client, i)) != NULL;
    reply_integer(client, touched);
}

static void run_object(struct client *client)
{
    const struct blob *verb = argument(client, 1);
    const struct entry *entry = keyspace_find(argument(client, 2));

    if (entry == NULL)
        reply_null(client);
    else if (blob_is(verb, "FREQ"))
        reply_integer(client, entry->hits);
    else if (blob_is(verb, "AGE"))
        reply_integer(client, (now_ms() - entry->created_ms) / 1000);
    else if (blob_is(verb, "ENCODING"))
        reply_text(client, "raw");
    else
        reply_error(client, "ERR unknown subcommand for 'object'");
}

/* -- the whole keyspace -- */

struct matches {
    struct client *client; /* NULL: only count */
    const struct blob *pattern;
    size_t count;
};

static void match_one(const struct blob *key, const struct entry *entry, void *context)
{
    struct matches *matches = context;

    (void)entry;
    if (!pattern_matches(matches->pattern->bytes, key->bytes))
        return;
    matches->count++;
    if (matches->client)
        reply_blob(matches->client, key);
}

static void run_keys(struct client *client)
{
    struct matches matches = {.pattern = argument(client, 1)};

    keyspace_each(match_one, &matches);
    reply_array(client, matches.count);
    matches.client = client;
    keyspace_each(match_one, &matches);
}

static void run_dbsize(struct client *client)
{
    reply_integer(client, (long long)keyspace_count());
}

static void run_flushall(struct client *client)
{
    keyspace_clear();
    reply_ok(client);
}

/* -- the server -- */

static void run_info(struct client *client)
{
    char *bytes = NULL;
    size_t length = 0;
    FILE *text = open_memstream(&bytes, &length);

    if (text == NULL) {
        reply_error(client, "ERR out of memory");
        return;
    }
    fprintf(text, "# Server\r\nkvd_version:%s\r\nprocess_id:%ld\r\ntcp_port:%d\r\n", KVD_VERSION,
            (long)getpid(), server_port);
    fprintf(text, "uptime_in_seconds:%" PRId64 "\r\n", (now_ms() - server_started_ms) / 1000);
    fprintf(text, "updated:%d\r\n", kitsune_has_updated() != 0);
    fprintf(text, "# Clients\r\nconnected_clients:%zu\r\n", client_count());
    fprintf(text, "# Stats\r\ntotal_commands_processed:%llu\r\n", statistics_total());
    fprintf(text, "# Commandstats\r\n");
    statistics_print(text);
    fprintf(text, "# Keyspace\r\ndb0:keys=%zu\r\n", keyspace_count());
    fclose(text);
    reply_bulk(client, bytes, length);
    free(bytes);
}

static void run_debug(struct client *client)
{
    char digest[17];

    if (!blob_is(argument(client, 1), "DIGEST")) {
        reply_error(client, wrong_syntax);
        return;
    }
    snprintf(digest, sizeof digest, "%016" PRIx64, keyspace_digest());
    reply_text(client, digest);
}

static void run_shutdown(struct client *client)
{
    client->closing = true;
    server_stopping = 1;
}

static command_handler run_command, run_discard, run_exec, run_multi;

static const struct command commands[] = {
    {"append", 3, run_append},
    {"client", -2, run_client},
    {"command", -1, run_command},
    {"dbsize", 1, run_dbsize},
    {"debug", 2, run_debug},
    {"decr", 2, run_decr},
    {"decrby", 3, run_decrby},
    {"del", -2, run_del},
    {"discard", 1, run_discard},
    {"echo", 2, run_echo},
    {"exec", 1, run_exec},
    {"exists", -2, run_exists},
    {"expire", 3, run_expire},
    {"flushall", -1, run_flushall},
    {"flushdb", -1, run_flushall},
    {"get", 2, run_get},
    {"hello", -1, run_hello},
    {"incr", 2, run_incr},
    {"incrby", 3, run_incrby},
    {"info", -1, run_info},
    {"keys", 2, run_keys},
    {"mget", -2, run_mget},
    {"mset", -3, run_mset},
    {"multi", 1, run_multi},
    {"object", 3, run_object},
    {"persist", 2, run_persist},
    {"pexpire", 3, run_pexpire},
    {"ping", -1, run_ping},
    {"pttl", 2, run_pttl},
    {"quit", 1, run_quit},
    {"select", 2, run_select},
    {"set", -3, run_set},
    {"shutdown", -1, run_shutdown},
    {"strlen", 2, run_strlen},
    {"touch", -2, run_touch},
    {"ttl", 2, run_ttl},
    {"type", 2, run_type},
};

#define COMMAND_COUNT (sizeof commands / sizeof *commands)

static void run_command(struct client *client)
{
    if (client->count > 1 && blob_is(argument(client, 1), "COUNT")) {
        reply_integer(client, COMMAND_COUNT);
    } else if (client->count > 1) { /* DOCS and the like: nothing is told */
        reply_array(client, 0);
    } else {
        reply_array(client, COMMAND_COUNT);
        for (size_t i = 0; i < COMMAND_COUNT; i++) {
            reply_array(client, 7);
            reply_text(client, commands[i].name);
            reply_integer(client, commands[i].arity);
            reply_array(client, 0); /* flags */
            for (int key = 0; key < 3; key++)
                reply_integer(client, 0); /* which arguments are keys: not told */
            reply_array(client, 0); /* categories */
        }
    }
}

static const struct command *find_command(const struct blob *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (blob_is(name, commands[i].name))
            return &commands[i];
    return NULL;
}

/* Returns NULL after an error was answered. */
static const struct command *checked_command(struct client *client)
{
    const struct command *command = find_command(argument(client, 0));
    char message[128];

    if (command == NULL) {
        snprintf(message, sizeof message, "ERR unknown command '%.64s'",
                 argument(client, 0)->bytes);
        reply_error(client, message);
    } else if (command->arity < 0 ? client->count < -command->arity
                                  : client->count != command->arity) {
        snprintf(message, sizeof message, "ERR wrong number of arguments for '%s' command",
                 command->name);
        reply_error(client, message);
        command = NULL;
    }
    return command;
}

/* -- transactions -- */

static bool is_queued(const struct command *command)
{
    return command->run != run_exec && command->run != run_discard && command->run != run_multi;
}

static void run_multi(struct client *client)
{
    if (client->transaction) {
        reply_error(client, "ERR MULTI calls can not be nested");
        return;
    }
    client->transaction = transaction_new();
    reply_ok(client);
}

static void run_discard(struct client *client)
{
    if (client->transaction == NULL) {
        reply_error(client, "ERR DISCARD without MULTI");
        return;
    }
    transaction_free(client->transaction);
    client->transaction = NULL;
    reply_ok(client);
}

static void run_exec(struct client *client)
{
    struct transaction *transaction = client->transaction;

    client->transaction = NULL;
    if (transaction == NULL) {
        reply_error(client, "ERR EXEC without MULTI");
    } else if (transaction->failed) {
        reply_error(client, "EXECABORT Transaction discarded because of previous errors.");
    } else {
        reply_array(client, (size_t)transaction->length);
        while (transaction_next(client, transaction)) {
            const struct command *command = find_command(argument(client, 0));
            statistics_count(command->name);
            command->run(client);
        }
    }
    transaction_free(transaction);
}

void command_run(struct client *client)
{
    const struct command *command = checked_command(client);

    if (command == NULL) {
        if (client->transaction)
            client->transaction->failed = true;
    } else if (client->transaction && is_queued(command)) {
        transaction_add(client);
        reply_raw(client, "+QUEUED\r\n");
    } else {
        statistics_count(command->name);
        command->run(client);
    }
}
