/* trim.h: os pages inside spans that hold no allocated slot go back to the kernel.
 *
 * The span stays as it is: its free slots stay free, and who writes to one has memory there again,
 * for the price of a fault. So this is for spans whose owner does nothing at the time, and for who
 * wants memory back now (scavenge.c).
 */
#ifndef CORE_TRIM_H
#define CORE_TRIM_H

#include "core/base.h"
#include "core/span.h"

/* Gives back the os pages of a span that hold no allocated slot and were not given back before;
 * bytes. ctx: alloc, owner's lock */
size_t trim_span(struct span *s);

/* Slots of the span will be taken, or its pages leave it: what was given back from under it counts
 * as resident from now on. ctx: alloc, owner's lock */
void trim_forget(struct span *s);

#endif
