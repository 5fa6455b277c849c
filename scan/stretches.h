/* stretches.h: disjoint stretches of addresses, found by an address in them: in as many steps as a balanced
 * tree has levels, however many there are. The nodes are the caller's, and so is the lock. */
#ifndef SCAN_STRETCHES_H
#define SCAN_STRETCHES_H

#include "core/base.h"

struct stretch {
	uintptr_t from, to;                     /* not changed while it is in a tree */

	/* Stretches' own. */
	struct stretch *left, *right;
	uint64_t priority;
};

/* `s`, which is not empty, is put into the tree; nothing there may overlap it. ctx: any */
void stretches_add(struct stretch **root, struct stretch *s);

/* `s` is taken out of the tree it is in. ctx: any */
void stretches_remove(struct stretch **root, struct stretch *s);

/* One that overlaps [from, to), or NULL. ctx: any */
struct stretch *stretches_find(struct stretch *root, uintptr_t from, uintptr_t to);

#endif
