/* helper.h: the helper thread: when it is worth a thread, and its states from wanting to leaving.
 *
 *     none      -> wanted     helper_expect(), helper_note_loose(): so much free memory waits
 *     wanted    -> running    helper_begin(), in the thread that hooks.start_helper created
 *     wanted    -> none       helper_failed(): it could not be created
 *     running   -> none       helper_end(): there is nothing left to do, or a stop was asked for
 *     wanted, running -> stopping   helper_stop(), which waits for none
 *
 * What it does between helper_begin() and helper_end() is in scavenge.c. It uses a tenth of a
 * processor at most, however much was freed at once, and up to 0.1 s that it has saved: 900 MiB
 * freed at once took 55 ms of madvise, and 0.6 s to go while a round's tenth could not be saved.
 */
#ifndef CORE_HELPER_H
#define CORE_HELPER_H

#include "core/base.h"

/* So much free memory must wait before a helper is worth a thread. */
#define HELPER_BYTES MIB(8)

#define HELPER_CREDIT_PERCENT 10                /* of a processor */
#define HELPER_CREDIT_MAX_US 100000

/* The next cold call should start one: looked at without a lock. */
extern _Atomic bool helper_is_wanted;

/* Helper threads so far. A child begins at 0. */
extern _Atomic uint64_t helper_nstarted;

/* So much is about to be freed: is a helper worth its while? Sets helper_is_wanted. ctx: alloc */
void helper_expect(size_t nbytes);

/* Bytes of free slots that one owner's spans or depot hold changed: what all hold together may be
 * worth a helper, too. Counted in steps of 256 KiB, so that this is cheap. ctx: alloc */
void helper_note_loose(size_t from, size_t to);

/* Do all together hold enough for that? ctx: any */
bool helper_has_much_loose(void);

/* Has one started if it is wanted; `caller` is where the program called from.
 * ctx: alloc, no lock held */
void helper_start(const void *caller);

/* Does it run? Not from the moment on that it is to end. ctx: any */
bool helper_is_running(void);

/* preload could not start the helper; the next occasion may. ctx: any */
void helper_failed(void);

/* Asks the helper, which was created, to end and waits until it has. ctx: any */
void helper_stop(void);

/* The helper's own life, in this order; it sleeps, and looks whether it is to stop, as often as it
 * likes. A stop ends the sleep. ctx: a thread of ours, all signals blocked */
void helper_begin(void);
bool helper_is_stopping(void);
void helper_sleep(uint32_t ms);
void helper_end(void);

/* The processor time it may use in the next round, after a round that used so much of the time it
 * had, and a sleep. It begins with HELPER_CREDIT_MAX_US. ctx: any */
static inline uint64_t helper_credit_left(uint64_t credit_us, uint64_t used_us, uint32_t slept_ms)
{
	credit_us -= used_us < credit_us ? used_us : credit_us;
	credit_us += slept_ms * (uint64_t)(1000 * HELPER_CREDIT_PERCENT / 100);
	return credit_us < HELPER_CREDIT_MAX_US ? credit_us : HELPER_CREDIT_MAX_US;
}

/* ctx: fork child */
void helper_fork_child(void);

#endif
