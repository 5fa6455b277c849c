/* dirty.h: which pages of the heap were written since a moment.
 *
 * A way to track writes is a table of functions, one file a way. Those that track none (a copy of
 * the process marks, or the stopped process does) arm and collect nothing. dirty_choose() says
 * which one a cycle uses; by one thread, the one that runs the cycle, and so are all functions here
 * but dirty_expect().
 *
 *     d = dirty_choose()      -> d->arm()        pages written from here on are dirty
 *                             -> dirty_collect() shows them; with `rearm` they are clean again
 *                             -> d->disarm()
 *     a false anywhere        -> dirty_failed(d), a stopped mark, and dirty_choose() next time;
 *                                d->may_arm_later(): the same without dirty_failed()
 *
 * What is shown may be more than what was written, never less: pages behind what arm() was given, new
 * ones of the heap, are dirty if there is memory behind them. A write by the kernel counts. What is in
 * no memory is all zero, is not shown, and is not filled by any function here.
 */
#ifndef SCAN_DIRTY_H
#define SCAN_DIRTY_H

#include "core/base.h"

enum dirty_way { DIRTY_TRACKED, DIRTY_SNAPSHOT, DIRTY_STW };

/* Pages of [from, to), neighbours as one. */
typedef void dirty_fn(uintptr_t from, uintptr_t to, void *arg);

/* Since the start of the process. */
struct dirty_counts {
	uint64_t npages;                        /* os pages shown */
	uint64_t nfaults;                       /* of the program's, as far as known */
	uint64_t ncalls;                        /* of the kernel by the program, that were looked at */
};

struct dirty {
	const char *name;                       /* the word of SPANGC_GC_DIRTY, and in the trace */
	enum dirty_way way;

	/* NULL, all, where there is nothing to do; arm(), collect() and counts() are there, and only
	 * there, where writes are tracked. */

	bool arms_stopped;                      /* arm(), and re-arming, want the world stopped */
	bool stays_armed;                       /* until the next collect(): sticky marks */

	/* What can be prepared early, while the process still may. Again after fork_child().
	 * False: not here. ctx: constructor, fork child later, any */
	bool (*start)(void);

	/* [from, to): the heap as it is, whole os pages. What a former arm() left is forgotten.
	 * False: nothing is tracked. ctx: any, or stw if arms_stopped */
	bool (*arm)(uintptr_t from, uintptr_t to);

	/* Of a long range arm() is given the front, not more than this, and arm_more() the next pieces up
	 * to their end, each in a stop of its own. 0: all at once. */
	size_t piece_bytes;
	bool (*arm_more)(uintptr_t to);

	/* After arm() failed: for what the program does at the moment, not for good? NULL: no.
	 * ctx: as arm() */
	bool (*may_arm_later)(void);

	/* Shows the dirty pages of [from, to), which begins where arm()'s range does and may end
	 * behind it; `fn` may read them at once. False: writes may be missing, nothing is to be
	 * reclaimed. ctx: stw; any if !arms_stopped */
	bool (*collect)(uintptr_t from, uintptr_t to, bool rearm, dirty_fn *fn, void *arg);

	/* [from, to) is going to be written, most of it: it may be dirty from now on, at the cost of one call
	 * instead of a fault a page. NULL: nothing to do. ctx: alloc, any thread */
	void (*expect)(uintptr_t from, uintptr_t to);

	/* Tracking ends, if armed. NULL: nothing to do. ctx: any, the world runs */
	void (*disarm)(void);

	/* What start() took is given back; nothing is armed. ctx: any, the world runs */
	void (*stop)(void);

	/* Nothing is armed or started. ctx: fork child */
	void (*fork_child)(void);

	struct dirty_counts (*counts)(void);    /* ctx: any */
};

extern const struct dirty dirty_uffd, dirty_mprotect, dirty_snapshot, dirty_stw;

/* Once in mode gc: starts what SPANGC_GC_DIRTY asks for. ctx: constructor */
void dirty_start(void);

/* The way of the next cycle: that of SPANGC_GC_DIRTY, or where it does not work, and with auto, the
 * first that does. Never NULL; the last one, dirty_stw, always works. ctx: any, the world runs */
const struct dirty *dirty_choose(void);

/* As expect() of the way that is used. ctx: alloc, any thread */
void dirty_expect(uintptr_t from, uintptr_t to);

/* The program is about to filter the calling thread's system calls, perhaps all threads': what is not
 * allowed may end it. dirty_expect() makes none from now on. ctx: any */
void dirty_expect_filter(void);

/* It is not chosen again in this process. ctx: any, the world runs */
void dirty_failed(const struct dirty *d);

/* As collect(). ctx: as collect() */
bool dirty_collect(const struct dirty *d, uintptr_t from, uintptr_t to, bool rearm, dirty_fn *fn,
                   void *arg);

/* dirty_collect() shows nothing, as if no page had been written: objects must be lost. For tests.
 * ctx: any */
void dirty_pretend_clean(bool pretended);

/* Of all ways together. ctx: any */
struct dirty_counts dirty_counts(void);

/* ctx: fork child */
void dirty_fork_child(void);

#endif
