/* hidden.h: blocks that a report called leaked and the program freed afterwards: it has a pointer to
 * them that no scan can see.
 *
 * Three steps: who reports lists the blocks, in memory that a copy of the process shares with it; the
 * process marks their records; free() of a block so marked is counted by its stack.
 */
#ifndef SCAN_HIDDEN_H
#define SCAN_HIDDEN_H

#include "scan/leaks.h"

/* Before a report, in the process itself; without it nothing is listed. ctx: any, no lock held */
void hidden_prepare(void);

/* The leaked blocks whose entries are not suppressed: the report's writer. ctx: any */
void hidden_list(const struct leaks *l);

/* After the report, in the process itself. ctx: any */
void hidden_mark(void);

/* A marked block is freed, or resized. ctx: alloc */
void hidden_freed(const struct record *r);

/* Shows what was freed so far, by stack. ctx: any */
struct hidden {
	uint32_t stack;
	struct leaks_sum sum;
};

uint32_t hidden_count(void);
struct hidden hidden_get(uint32_t i);

#endif
