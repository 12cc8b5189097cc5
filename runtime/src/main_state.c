#include "main_state.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static int count;
static char **master; /* never handed out */
static char **given;  /* handed out last */

/* One block: the vector, then the texts. */
static char **copy_vector(char **from) {
    size_t size = ((size_t)count + 1) * sizeof *from;
    for (int index = 0; index < count; index++)
        size += strlen(from[index]) + 1;
    char **vector = malloc(size);
    if (vector == NULL)
        return NULL;
    char *text = (char *)(vector + count + 1);
    for (int index = 0; index < count; index++) {
        vector[index] = text;
        text = stpcpy(text, from[index]) + 1;
    }
    vector[count] = NULL;
    return vector;
}

/* Programs write the whole area of the arguments, so a text may have lost its end: compared with the
 * master's length. */
static int is_unchanged(char **vector) {
    for (int index = 0; index < count; index++)
        if (vector[index] == NULL ||
            strncmp(vector[index], master[index], strlen(master[index]) + 1) != 0)
            return 0;
    return vector[count] == NULL;
}

int kitsune__arguments_keep(int number, char **arguments) {
    count = number;
    given = arguments;
    master = copy_vector(arguments);
    return master == NULL ? -1 : 0;
}

char **kitsune__arguments_renew(int *number) {
    *number = count;
    if (!is_unchanged(given))
        given = copy_vector(master);
    return given;
}

void kitsune__options_reset(void) {
    optind = 0; /* glibc: parse afresh, with all of its inner state */
    opterr = 1;
    optopt = '?';
    optarg = NULL;
}
