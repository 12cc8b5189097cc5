/* What was called how often. */
#ifndef KVD_STATISTICS_H
#define KVD_STATISTICS_H

#include <stdio.h>

void statistics_start(void);
void statistics_count(const char *command);
unsigned long long statistics_total(void);
void statistics_print(FILE *to); /* as lines of INFO */

#endif
