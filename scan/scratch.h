/* scratch.h: memory for one report at a time. */
#ifndef SCAN_SCRATCH_H
#define SCAN_SCRATCH_H

#include "core/base.h"

/* Zero all over: none yet. */
struct scratch {
	void  *p;
	size_t nbytes;
	bool   is_excluded;                     /* from the roots */
};

/* At least `nbytes`, zero; what was there before is gone. NULL: no memory. ctx: stw */
void *scratch_take(struct scratch *s, size_t nbytes);

/* The memory behind it goes back; its addresses stay for the next time, and are no root then.
 * ctx: any, world running */
void scratch_drop(struct scratch *s);

#endif
