/* Counts the words that come in by a FIFO, and says after each line how often its words were seen. */
#include <fcntl.h>
#include <kitsune.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "table.h"

static struct table table;
static int input = -1;

static const char *const stopwords[] = {
#include "stopwords.h"
};

static int is_stopword(const char *text)
{
    for (size_t i = 0; i < sizeof stopwords / sizeof *stopwords; i++)
        if (strcmp(stopwords[i], text) == 0)
            return 1;
    return 0;
}

static void count(char *line)
{
    for (char *text = strtok(line, " \n"); text; text = strtok(NULL, " \n")) {
        struct word *word = is_stopword(text) ? NULL : table_get(&table, text);
        if (word)
            printf("%s %u\n", word->text, ++word->count);
    }
    fflush(stdout);
}

static int open_input(const char *path)
{
    if (mkfifo(path, 0600) != 0)
        return -1;
    /* For writing too: it then never ends, whoever comes and goes. */
    return open(path, O_RDWR);
}

int main(int argc, char **argv)
{
    if (!kitsune_is_updating() && argc == 2)
        input = open_input(argv[1]);
    kitsune_do_automigrate();
    if (input < 0) {
        fprintf(stderr, "usage: %s NEW-FIFO\n", argv[0]);
        return 2;
    }
    printf("tally %s\n", VERSION);
    fflush(stdout);
    for (;;) {
        char line[1024];
        struct pollfd ready = {.fd = input, .events = POLLIN};
        kitsune_update("line");
        if (poll(&ready, 1, -1) <= 0)
            continue;
        ssize_t length = read(input, line, sizeof line - 1);
        if (length <= 0)
            return 1;
        line[length] = '\0';
        count(line);
#ifdef HAVE_EXPLICIT_BZERO
        explicit_bzero(line, sizeof line);
#endif
    }
}
