/* guard.h: the heap protected against writing, in granules of 64 KiB that are opened one by one.
 *
 *     closed   may be read only: nobody has written there since guard_close()
 *     open     somebody may have
 *
 * 64 KiB: each open granule among closed ones is a mapping of the kernel's more, of which a process may
 * have 65,530; without some left the program's own mmap and pthread_create fail. After 8,000 openings
 * all is open. Memory that the program itself has protected otherwise is left as it is, and counts as open;
 * so does what stopped threads stand on.
 */
#ifndef SCAN_GUARD_H
#define SCAN_GUARD_H

#include "core/base.h"

#define GUARD_GRANULE KIB(64)

/* [from, to) is closed; more may follow, up to `limit`. `spare` is called before, here and below, and tells
 * by guard_note_foreign() what must never be closed: stopped threads still run in our handler. False: not
 * possible, or the program uses io_uring, through which the kernel writes when no system call says so;
 * then all is open. ctx: stw */
bool guard_close(uintptr_t from, uintptr_t to, uintptr_t limit, void (*spare)(void));

/* Was it for io_uring that the last guard_close() failed? ctx: any, by who called that */
bool guard_has_uring(void);

/* What is closed reaches to `to` from now on, within the limit of before. False: as above. ctx: stw */
bool guard_close_more(uintptr_t to, void (*spare)(void));

/* [from, to) as before is closed again, with what the heap has got up to `to`. ctx: stw */
bool guard_close_again(uintptr_t to, void (*spare)(void));

/* Is there anything closed? ctx: any, signal */
bool guard_is_closed(void);

/* Is the granule of `p` closed? ctx: any, signal */
bool guard_is_closed_at(uintptr_t p);

/* Is `p` within what was closed, even if long ago? ctx: any, signal */
bool guard_covers(uintptr_t p);

/* When it returns [from, to) can be written; addresses outside are ignored. ctx: any, signal;
 * lock-free, and several threads at once for the same granule */
void guard_open(uintptr_t from, uintptr_t to);

/* The same for all; at once. ctx: any, signal */
void guard_open_all(void);

/* All can be written, in pieces, and nothing is closed any more. What was open stays known. ctx: any */
void guard_end(void);

/* [from, to) is open, and not closed until the next guard_close(): the program is about to protect it
 * itself, or a stopped thread needs it. ctx: any, signal */
void guard_note_foreign(uintptr_t from, uintptr_t to);

/* Shows the open parts, and as one what is behind the end. ctx: stw */
void guard_visit_open(void (*fn)(uintptr_t from, uintptr_t to, void *arg), void *arg);

/* In a copy of the process: all can be written. ctx: fork child, signal */
void guard_fork_child(void);

/* Openings since the start. ctx: any */
uint64_t guard_nopened(void);

#endif
