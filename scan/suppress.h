/* suppress.h: which leaks the user does not want to see: LeakSanitizer's files of suppressions. */
#ifndef SCAN_SUPPRESS_H
#define SCAN_SUPPRESS_H

#include "core/base.h"

/* Reads the file: lines `leak:PATTERN`, empty ones and comments (#). What is not understood is one
 * line on stderr each. ctx: any, world running */
void suppress_read(const char *path);

/* Is one of the stack's frames, by function, source file or module, matched by a pattern? In a
 * pattern * is any text, and ^ and $ are the name's ends; without them it matches anywhere. After
 * symbols_run(). ctx: any */
bool suppress_stack(uint32_t stack);

/* Forgets the patterns. ctx: any */
void suppress_drop(void);

#endif
