/* unwind.h: the return addresses of the calling thread, fast.
 *
 * What a thread allocated last was mostly called from the same outer frames. They are kept, with the
 * places on the stack that they were read from: a walk ends where it comes upon a frame that is
 * kept, if all these places hold what they did.
 */
#ifndef SCAN_UNWIND_H
#define SCAN_UNWIND_H

#include "core/base.h"
#include "scan/regs.h"

struct unwind_frame {
	uintptr_t pc, stack, frame;             /* registers, once what this frame called returns */
	uint32_t rule;                          /* unwind.c */
	uint32_t note;                          /* the caller's */
	uint16_t nchecks;                       /* all must hold if the frames outside are to be as kept */
	bool needs_frame;                       /* and `frame` too */
};

struct unwind_check {
	const uintptr_t *at;
	uintptr_t value;
};

/* One thread's; used by that thread alone, and not by a signal handler that interrupts its use. */
struct unwind {
	uintptr_t base, limit;                  /* of its stack; elsewhere nothing is kept */
	uint32_t generation;
	unsigned depth;                         /* room, and frames at most */
	unsigned nkept;
	bool is_whole;                          /* frame 0 has no caller, or it was left out */

	/* The last stack, the outermost frame first. */
	unsigned nframes, nsame;                /* the first nsame are as in the stack before, `note` too */
	struct unwind_frame *frames;
	struct unwind_frame *fresh;
	struct unwind_check *checks;
};

/* Bytes for the arrays of one of this depth, which follow it. ctx: any */
size_t unwind_bytes(unsigned depth);
void unwind_init(struct unwind *u, unsigned depth, uintptr_t base, uintptr_t limit);

/* The frames from the one that `caller` returns to on. `from` is a call of ours inside of that. False:
 * only the innermost frames could be told. ctx: alloc, signal */
bool unwind_walk(struct unwind *u, const struct regs_call *from, uintptr_t caller);

#endif
