/* cuts.h: system calls that a stop cut short.
 *
 * Some calls fail with EINTR although the stop signal's handler asks for a restart, others return
 * with less than was asked for. The handler counts, for each thread, the calls that ended so because
 * of a stop and of nothing else; preload/eintr.c repeats these.
 *
 * A signal of the program's comes first: its handler's frame is below ours if both came at once, so
 * that what ours interrupted is no system call; and if one came during the stop, which is pending
 * then, nothing is counted. One that comes between the end of the handler and the repeated call is
 * in the place of one that comes right before the call.
 */
#ifndef SCAN_CUTS_H
#define SCAN_CUTS_H

#include "core/base.h"

/* Once, before the first stop; without memory nothing is counted. ctx: init */
void cuts_start(void);

/* The count of a thread. Threads whose ids are a multiple of 65536 apart share it; NULL: not counted.
 * Only the thread itself and its handlers change it. ctx: any, signal */
_Atomic uint32_t *cuts_of(int tid);

/* The thread `tid` leaves the handler of the stop signal `own`, which interrupted `context`. ctx:
 * signal, all signals blocked */
void cuts_note(int tid, int own, const void *context);

#endif
