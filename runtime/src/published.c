/*
 * The rest of the published API, in releases and in plain executables: heap lists, transformers by
 * hand, allocation. Everything here is for the program's threads.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kitsune.h"
#include "ktheaptrack.h"

#define NAME_SIZE 1024

/* ---- heap lists ------------------------------------------------------------------------------ */

void kitsune_heaplist_init(kitsune_heaplist *list) {
    list->begin = list->last = NULL;
}

void kitsune_heaplist_add(kitsune_heaplist *list, void *block) {
    kitsune_heaplist_node *node = malloc(sizeof *node);
    if (node == NULL) {
        kitsune_log("no memory to note the block %p: an update would not find it", block);
        return;
    }
    *node = (kitsune_heaplist_node){.addr = block};
    if (list->begin == NULL)
        list->begin = node;
    else
        list->last->next = node;
    list->last = node;
}

int kitsune_heaplist_del(kitsune_heaplist *list, void *block) {
    kitsune_heaplist_node *before = NULL, *node = list->begin;
    while (node != NULL && node->addr != block)
        before = node, node = node->next;
    if (node == NULL)
        return 0;
    if (before == NULL)
        list->begin = node->next;
    else
        before->next = node->next;
    if (list->last == node)
        list->last = before;
    free(node);
    return 1;
}

kitsune_heaplist_iterator *kitsune_heaplist_begin(kitsune_heaplist *list) {
    return list->begin;
}

kitsune_heaplist_iterator *kitsune_heaplist_end(kitsune_heaplist *list) {
    (void)list;
    return NULL;
}

kitsune_heaplist_iterator *kitsune_heaplist_last(kitsune_heaplist *list) {
    return list->last;
}

kitsune_heaplist_iterator *kitsune_heaplist_next(kitsune_heaplist_iterator *at) {
    return at != NULL ? at->next : NULL;
}

int kitsune_heaplist_isempty(kitsune_heaplist *list) {
    return list->begin == NULL;
}

/* ---- transformers by hand -------------------------------------------------------------------- */

/* The length of a text and its start, without the quotes that a string literal has when it was made
 * a text of by the preprocessor. */
static int unquoted(const char **text) {
    int length = (int)strlen(*text);
    if (length >= 2 && **text == '"') {
        (*text)++;
        length -= 2;
    }
    return length;
}

char *kitsune_get_symbol_key(const char *name, const char *func, const char *file, const char *ns) {
    char *key = NULL;
    int file_length = file != NULL ? unquoted(&file) : 0;
    int length =
        asprintf(&key, "%s%s%.*s%s%s%s%s", ns ? ns : "", ns ? "@" : "", file_length,
                 file ? file : "", file ? "/" : "", func ? func : "", func ? "#" : "", name);
    return length < 0 ? NULL : key;
}

/* Appends a text with _ for what no name may have; returns the new length. */
static size_t append(char *name, size_t length, const char *text) {
    for (; *text && length < NAME_SIZE - 1; text++)
        name[length++] = isalnum((unsigned char)*text) ? *text : '_';
    name[length] = '\0';
    return length;
}

static xform_fn_t find_xform(const char *name, const char *func, const char *file, const char *ns) {
    char text[NAME_SIZE];
    size_t length = append(text, 0, "_kitsune_transform_");
    const char *parts[] = {ns,   ns ? "___ns___" : NULL,     file, file ? "___file___" : NULL,
                           func, func ? "___func___" : NULL, name};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i] != NULL)
            length = append(text, length, parts[i]);
    return (xform_fn_t)(uintptr_t)kitsune_lookup_key_new(text);
}

xform_fn_t kitsune_get_xform(const char *name, const char *func, const char *file, const char *ns) {
    if (!kitsune_is_updating())
        return NULL;
    xform_fn_t found = find_xform(name, func, file, ns);
    while (found == NULL && file != NULL && (file = strchr(file, '/')) != NULL)
        found = find_xform(name, func, ++file, ns); /* it may be named with less of the path */
    return found;
}

/* Tells whether `old` is the function of this name, a global one or one of `file`, of which the
 * compiler may have been told more of the path than a key has. */
static int is_old_function(const void *old, const char *file, const char *name) {
    char key[NAME_SIZE];
    if (kitsune_old_address_matches(name, old))
        return 1;
    for (; file != NULL; file = strchr(file, '/'), file += file != NULL) {
        int length = snprintf(key, sizeof key, "%s/%s", file, name);
        if (length < (int)sizeof key && kitsune_old_address_matches(key, old))
            return 1;
    }
    return 0;
}

void *kitsune__map_function(void *function, const char *file, const char *names,
                            void *const *functions, size_t count) {
    char name[NAME_SIZE];
    for (size_t i = 0; function != NULL && i < count; i++) {
        names += strspn(names, ", \t\n&");
        size_t length = strcspn(names, ", \t\n");
        snprintf(name, sizeof name, "%.*s", (int)length, names);
        if (is_old_function(function, file, name))
            return functions[i];
        names += length;
    }
    return function;
}

/* ---- what the launcher does anyway ----------------------------------------------------------- */

int kitsune_logging_init(const char *name) {
    (void)name;
    return 1;
}

void *kitsune_malloc(size_t size) {
    return malloc(size);
}

void *kitsune_calloc(size_t count, size_t size) {
    return calloc(count, size);
}

void kitsune_free(void *block) {
    free(block);
}
