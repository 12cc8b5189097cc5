#include "pattern.h"

#include <stddef.h>

/* Matches the set behind '[' against `c`; `*pattern` is moved behind the set. */
static bool set_holds(const char **pattern, char c)
{
    const char *p = *pattern;
    bool inverted = *p == '^', found = false;

    p += inverted;
    for (; *p && *p != ']'; p++) {
        char from = *p, to = from;
        if (p[1] == '-' && p[2] && p[2] != ']') {
            to = p[2];
            p += 2;
        }
        found |= from <= c && c <= to;
    }
    *pattern = *p ? p + 1 : p;
    return found != inverted;
}

/* Matches one character's worth of pattern, which is no '*'; moves `*pattern` behind it. */
static bool one_matches(const char **pattern, char c)
{
    char wanted = *(*pattern)++;

    switch (wanted) {
    case '?':
        return true;
    case '[':
        return set_holds(pattern, c);
    case '\\':
        if (**pattern)
            wanted = *(*pattern)++;
        return c == wanted;
    default:
        return c == wanted;
    }
}

/* Going back to the last star only keeps this from taking exponential time. */
bool pattern_matches(const char *pattern, const char *text)
{
    const char *after_star = NULL, *retry = NULL;

    while (*text) {
        if (*pattern == '*') {
            after_star = ++pattern;
            retry = text;
        } else if (*pattern && one_matches(&pattern, *text)) {
            text++;
        } else if (after_star) {
            pattern = after_star;
            text = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}
