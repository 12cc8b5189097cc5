/*
 * Feeds the helper's own code with requests: well-formed, malformed, cut in pieces. Each complete line
 * must get exactly one last answer, in order, unless the connection was broken off for a line too long.
 *
 * usage: fuzz_requests RELEASE COUNT SEED; what is answered goes to standard output.
 */
#include "../../runtime/src/helper.c"

#include <stdio.h>
#include <stdlib.h>

static struct helper *helper;
static unsigned long long state;
static const char *release;

/* xorshift64*: the same numbers everywhere. */
static size_t draw(size_t limit) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (size_t)(state * 2685821657736338717ull >> 16) % limit;
}

static void make_helper(void) {
    helper = calloc(1, sizeof *helper);
    helper->tree = kitsune__tree_map();
    helper->speaker = kitsune__tree_enter(helper->tree, (int32_t)getpid(), NULL);
    if (!helper->speaker)
        exit(2);
    helper->user = geteuid();
    for (int i = 0; i < MAX_CLIENTS; i++)
        helper->clients[i].fd = -1;
    strcpy(helper->speaker->running.program, "ledger");
    strcpy(helper->speaker->running.version, "1");
}

/* ---- what is asked ------------------------------------------------------------------------- */

static const char *const words[] = {
    "status",
    "update",
    " ",
    "  ",
    "/",
    "%2f",
    "%",
    "%0",
    "%00",
    "%zz",
    "\n",
    "\n",
    "\r",
    "\xff",
    "\xc3\xa9",
    "\"",
    "\\",
    "0",
    "1",
    "99999999999999999999",
    "-1",
    "86400000",
    "86400001",
    "update /x",
    "update / 5 5\n",
    "status\n",
    "status status\n",
    "status 1\n",
    "update /x 1 1 1\n",
    "update /x 1 1 1 1\n",
    "{\"verb\": \"status\"}\n",
    "GET / HTTP/1.1\r\n",
    "update /dev/null 1 1\n",
    "update /proc/self/mem 1 1\n",
    "STATUS\n",
};

/* Appends to `text`; returns the new length. */
static size_t append(char *text, size_t used, size_t size) {
    char piece[512];
    size_t length;

    if (draw(40) == 0) { /* not thousands of lines: who does not read their answers is sent away */
        length = draw(size - used < 70000 ? size - used : 70000);
        memset(text + used, (int)(11 + draw(245)), length);
        return used + length;
    }
    if (draw(20) == 0)
        snprintf(piece, sizeof piece, "update %s %zu %zu\n", release, draw(3), 1 + draw(5));
    else if (draw(6) == 0)
        snprintf(piece, sizeof piece, "%c", (int)draw(256));
    else
        snprintf(piece, sizeof piece, "%s", words[draw(sizeof words / sizeof words[0])]);
    length = piece[0] ? strlen(piece) : 1;
    if (length > size - used)
        return used;
    memcpy(text + used, piece, length);
    return used + length;
}

/* ---- the program, as far as it is needed: it takes every second request, withdraws some ------ */

static void be_the_program(void) {
    struct kitsune__control *control = helper->speaker;

    if (draw(3) == 0) {
        kitsune__helper_move_state(control, KITSUNE__PENDING, KITSUNE__IDLE);
    } else if (draw(2) && kitsune__helper_move_state(control, KITSUNE__PENDING, KITSUNE__TAKEN)) {
        memset(&control->outcome, 0, sizeof control->outcome);
        control->outcome.committed = (int)draw(2);
        memset(control->outcome.reason, '"', draw(200));
        memset(control->outcome.not_undone, 0x80,
               draw(10) ? 3 : sizeof control->outcome.not_undone);
        kitsune__control_note(control, &control->outcome);
        control->state = KITSUNE__DONE;
    }
    kitsune__helper_follow_flights(helper);
}

/* ---- what is answered ---------------------------------------------------------------------- */

static unsigned long dones;

static void drain(int fd) {
    static char text[1 << 20];
    ssize_t got;

    while ((got = recv(fd, text, sizeof text, MSG_DONTWAIT)) > 0) {
        static const char done[] = "{\"event\": \"done\"";

        for (char *at = text; (at = memmem(at, (size_t)(text + got - at), done, sizeof done - 1));
             at++)
            dones++;
        fwrite(text, 1, (size_t)got, stdout);
    }
}

static void step(int fd) {
    if (helper->clients[0].used < sizeof helper->clients[0].line)
        read_client(helper, 0);
    serve_lines(helper, 0);
    for (int tries = 0; helper->flight_count && tries < 1000; tries++)
        be_the_program();
    serve_lines(helper, 0);
    drain(fd);
}

/* Returns how many lines the text has, up to one that is too long. */
static unsigned long count_lines(const char *text, size_t size) {
    unsigned long lines = 0;

    for (const char *end; (end = memchr(text, '\n', size)); lines++) {
        if (end - text > LINE_LIMIT)
            break;
        size -= (size_t)(end + 1 - text);
        text = end + 1;
    }
    return lines + (memchr(text, '\n', size) || size > LINE_LIMIT);
}

static void converse(unsigned long number) {
    static char text[200000];
    size_t used = 0, sent = 0;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0)
        exit(2);
    helper->clients[0] = (struct client){.fd = pair[0]};
    for (size_t pieces = 1 + draw(30); pieces > 0; pieces--)
        used = append(text, used, sizeof text);
    dones = 0;
    while (sent < used && !helper->clients[0].closing) {
        size_t length = 1 + draw(draw(3) ? used - sent : 20 < used - sent ? 20 : used - sent);
        ssize_t done = send(pair[1], text + sent, length, MSG_NOSIGNAL);

        sent += done > 0 ? (size_t)done : 0;
        step(pair[1]);
    }
    for (int i = 0; i < 20 && !helper->clients[0].closing; i++)
        step(pair[1]);
    if (dones != count_lines(text, sent)) {
        fprintf(stderr, "conversation %lu: %lu answers to %lu lines\n", number, dones,
                count_lines(text, sent));
        exit(1);
    }
    drop_client(helper, 0);
    close(pair[1]);
}

int main(int count, char **arguments) {
    unsigned long tries;

    if (count != 4)
        return 2;
    release = arguments[1];
    tries = strtoul(arguments[2], NULL, 10);
    state = strtoull(arguments[3], NULL, 10) * 2 + 1;
    make_helper();
    for (int i = 0; i < KITSUNE_BUILD_ID_SIZE; i++)
        sscanf(getenv("PARENT") + 2 * i, "%2hhx", &helper->speaker->running.build_id[i]);
    for (unsigned long i = 0; i < tries; i++)
        converse(i);
    return 0;
}
