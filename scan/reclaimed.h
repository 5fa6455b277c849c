/* reclaimed.h: who asked for a block that the collector reclaimed, and that the program then freed. */
#ifndef SCAN_RECLAIMED_H
#define SCAN_RECLAIMED_H

#include "core/base.h"

/* hooks.tell_stack(): the frames of that stack on stderr, as a report has them, but without what only
 * the helper for symbols knows: the process may be about to die. ctx: any */
void reclaimed_tell_stack(uint32_t stack);

#endif
