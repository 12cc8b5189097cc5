#include "serve.h"
#include "server.h"

int old_style_counter = 1;
static client_t *clients[2];
static dict E_G(client_t) * by_name;
static struct kitsune_heaplist E_G(client_t) noted;
static int locks;
static int updates;
static int peak;

static int write_plain(client_t *client)
{
    return client->fd * 10;
}

static int on_event(void *client)
{
    return ((client_t *)client)->fd + 1000;
}

static void create_locks(void)
{
    locks += 7;
}

/* Called by a rule only. */
__attribute__((unused)) static int first_peak(void)
{
    return 12;
}

int stats_event(const char *name)
{
    static int count;

    return name ? ++count : count;
}

static void put(const char *key, client_t *value)
{
    dict_entry *entry = calloc(1, sizeof *entry);

    entry->key = strdup(key);
    entry->value = value;
    entry->next = by_name->table[0];
    by_name->table[0] = entry;
}

static void start(void)
{
    by_name = calloc(1, sizeof *by_name);
    by_name->size = 1;
    by_name->table = calloc(1, sizeof *by_name->table);
    for (int i = 0; i < 2; i++) {
        clients[i] = calloc(1, sizeof **clients);
        clients[i]->fd = 5 + i;
        clients[i]->listeners = 10 + i;
        clients[i]->peer = strdup(i ? "one" : "zero");
        clients[i]->write = write_plain;
        put(clients[i]->peer, clients[i]);
        NOTE_HEAP(&noted, clients[i]);
        library_register(clients[i], on_event);
    }
    create_locks();
    stats_event("start");
}

static void answer(const char *word, const char *rest)
{
    client_t *client;
    kitsune_heaplist_iterator *tmp;
    int sum = 0;

    (void)rest;
    HEAPLIST_FOR_EACH(&noted, client, client_t *, tmp)
        sum += client->fd;
    if (strcmp(word, "drop") == 0) {
        sum = UNNOTE_HEAP(&noted, clients[0]);
        printf("%d %d\n", sum, UNNOTE_HEAP(&noted, clients[0]));
    } else
        printf("v2 %lu %d %d %d %d %s %lu %d | %s %d | %d %d | %d %d %d\n", clients[1]->peak_listeners, locks, updates, peak,
               clients[1]->write(clients[1]),
               clients[1]->peer, clients[1]->listeners,
               ((client_t *)by_name->table[0]->value) == clients[1], by_name->table[0]->key,
               by_name->size, library_call(0), library_call(1), sum, old_style_counter++,
               stats_event(NULL));
}

int main(void)
{
    kitsune_heaplist_init(&noted);
    kitsune_do_automigrate();
    if (!kitsune_is_updating())
        start();
    serve();
    return 0;
}
