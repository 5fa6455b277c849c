/* own.h: memory of our own that may hold addresses of blocks, and is no root. Kernels can be built
 * without names for such memory: so its addresses are noted. */
#ifndef SCAN_OWN_H
#define SCAN_OWN_H

#include "core/base.h"

/* Fresh zeroed memory, for ever; `name` is what /proc/PID/maps shows. NULL: refused. ctx: any, stw */
void *own_map(size_t nbytes, const char *name);

/* Shows what own_map() gave. ctx: any, stw */
void own_visit(void (*fn)(uintptr_t from, uintptr_t to, void *arg), void *arg);

#endif
