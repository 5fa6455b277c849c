/* suppress.h: which leaks the user does not want to see: LeakSanitizer's files of suppressions. */
#ifndef SCAN_SUPPRESS_H
#define SCAN_SUPPRESS_H

#include "scan/leaks_entries.h"

/* Reads the file: lines `leak:PATTERN`, empty ones and comments (#). What is not understood is one
 * line on stderr each. ctx: any, world running */
void suppress_read(const char *path);

/* Is one of the frames of the entry's stack, by function, source file or module, matched by a pattern?
 * The first of the file that is gets the entry's blocks on its account. In a pattern * is any text,
 * and ^ and $ are the name's ends; without them it matches anywhere. After symbols_run(). ctx: any */
bool suppress_entry(const struct leaks_entry *e);

/* Shows the patterns that had something to suppress, in the order of the file. ctx: any */
void suppress_visit(void (*fn)(const char *pattern, const struct leaks_sum *sum, void *arg),
                    void *arg);

/* Forgets the patterns. ctx: any */
void suppress_drop(void);

#endif
