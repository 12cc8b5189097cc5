/* Patterns as KEYS takes them: * ? [abc] [^a-z] and \ before a character that means itself. */
#ifndef KVD_PATTERN_H
#define KVD_PATTERN_H

#include <stdbool.h>

bool pattern_matches(const char *pattern, const char *text);

#endif
