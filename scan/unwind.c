/* unwind.c: frame after frame by rules, one for each return address.
 *
 * Reached from stacks.c for each allocation of mode leaks. Depends on cfi.c, which makes a rule when
 * its return address is seen first. No lock, no system call, no allocation.
 *
 * A rule is 31 bits beside the 33 bits of its address that its place in the table does not say: one
 * word, so that threads may read and write the table as they like.
 *
 *     bits 0-1    the canonical address is counted from: 1 the stack pointer, 2 the frame pointer;
 *                 3: no rule, and bits 2-21 say why (RULE_END, RULE_UNKNOWN)
 *     bits 2-21   words up to it
 *     bits 22-30  words from there down to the saved frame pointer; 0: it is not saved
 *
 * Invariants:
 *   U1  what is read lies where the tables say that a frame of a living call is, or was once, on a
 *       thread's own stack, above its stack pointer: that is mapped;
 *   U2  a walk gives what libunwind gives (SPANGC_VERIFY=1; tests/unit/unwind.c).
 */
#pragma GCC optimize("no-tree-slp-vectorize")   /* words that were just stored are not loaded in pairs */

#include "scan/unwind.h"

#include "scan/cfi.h"
#include "scan/modules.h"

#include <string.h>

#define WORD sizeof(uintptr_t)
#define ADDRESS_BITS 47
#define TABLE_BITS 14
#define TABLE_SIZE (1u << TABLE_BITS)
#define RULE_BITS (64 - (ADDRESS_BITS - TABLE_BITS))
#define RULE_MASK ((1u << RULE_BITS) - 1)
#define FROM_MASK 3u
#define FROM_STACK 1u
#define FROM_FRAME 2u
#define UP_SHIFT 2
#define UP_BITS 20
#define UP_MASK ((1u << UP_BITS) - 1)
#define SAVED_SHIFT (UP_SHIFT + UP_BITS)
#define SAVED_MAX ((1u << (RULE_BITS - SAVED_SHIFT)) - 1)
#define RULE_END 3u
#define RULE_UNKNOWN (3u | 1u << UP_SHIFT)
#define OWN_FRAMES 16                           /* of ours, inside of the caller's */

/* Any thread, atomic. */
static _Atomic uint64_t rules[TABLE_SIZE];
static _Atomic uint32_t rules_generation;       /* modules_generation() when they were made */

/* Other code may stand where some stood. Who has seen that runs this before it looks at a rule; that
 * another one does so too is harmless: no thread has addresses of code that is gone. */
static COLD void forget(uint32_t now)
{
	/* relaxed, all: rules are words of their own. */
	for (unsigned i = 0; i < TABLE_SIZE; i++)
		atomic_store_explicit(&rules[i], 0, memory_order_relaxed);
	atomic_store_explicit(&rules_generation, now, memory_order_relaxed);
}

static uint32_t make_rule(uintptr_t pc)
{
	struct cfi_step step = cfi_find(pc);

	if (!step.is_known || step.nup > UP_MASK || step.nsaved > SAVED_MAX)
		return RULE_UNKNOWN;
	if (step.is_end)
		return RULE_END;
	return (step.is_from_frame ? FROM_FRAME : FROM_STACK) | step.nup << UP_SHIFT
	       | step.nsaved << SAVED_SHIFT;
}

/* A rule has two places; a new one takes the first, whose old one moves to the second. They are
 * those of addresses that differ by 1, and no two calls end so near to each other. */
static SLOW uint32_t learn(uintptr_t pc, uint64_t tag, unsigned at)
{
	uint32_t rule = make_rule(pc);

	/* relaxed, all: each word says whose it is. */
	uint64_t old = atomic_load_explicit(&rules[at], memory_order_relaxed);

	atomic_store_explicit(&rules[at ^ 1], old, memory_order_relaxed);
	atomic_store_explicit(&rules[at], tag << RULE_BITS | rule, memory_order_relaxed);
	return rule;
}

HOT uint32_t rule_of(uintptr_t pc)
{
	uint64_t tag = pc >> TABLE_BITS;
	unsigned at = (unsigned)(pc ^ tag ^ tag >> TABLE_BITS) % TABLE_SIZE;

	if (unlikely(pc >> ADDRESS_BITS))
		return RULE_UNKNOWN;
	for (unsigned i = 0; i < 2; i++) {
		/* relaxed: see learn(). */
		uint64_t word = atomic_load_explicit(&rules[at ^ i], memory_order_relaxed);

		if (likely(word >> RULE_BITS == tag && word & RULE_MASK))
			return (uint32_t)word & RULE_MASK;
	}
	return learn(pc, tag, at);
}

/* --- the kept stack --- */

size_t unwind_bytes(unsigned depth)
{
	return depth * (2 * sizeof(struct unwind_frame) + 2 * sizeof(struct unwind_check));
}

void unwind_init(struct unwind *u, unsigned depth, uintptr_t base, uintptr_t limit)
{
	*u = (struct unwind){ .base = base, .limit = limit, .depth = depth };
	u->frames = (struct unwind_frame *)(u + 1);
	u->fresh = u->frames + depth;
	u->checks = (struct unwind_check *)(u->fresh + depth);
}

/* Reading what is a race by nature, and on a coroutine's stack not known to any sanitizer. */
#define UNCHECKED __attribute__((no_sanitize("address", "thread")))

/* The first of n checks that fails; n if all hold. */
UNCHECKED static unsigned first_failed(const struct unwind_check *checks, unsigned n)
{
	uintptr_t differs = 0;

	for (unsigned i = 0; i < n; i++) {
		differs |= *checks[i].at ^ checks[i].value;
		/* One by one: gathering them into vectors takes longer. */
		__asm__("" : "+r"(differs));
	}
	if (likely(!differs))
		return n;
	for (unsigned i = 0;; i++) {
		if (*checks[i].at != checks[i].value)
			return i;
	}
}

/* Of the outermost `top` frames kept, the innermost of which has this stack pointer, those that are as
 * they were: `top` or fewer. */
static unsigned still_there(const struct unwind *u, unsigned top, uintptr_t pc, uintptr_t frame)
{
	const struct unwind_frame *f = &u->frames[top - 1];
	unsigned failed = 0;

	if (f->pc != pc || (f->needs_frame && f->frame != frame))
		return top - 1;                 /* those outside may be found yet */
	failed = first_failed(u->checks, f->nchecks);
	while (top && u->frames[top - 1].nchecks > failed)
		top--;
	return top;
}

/* --- steps --- */

static bool is_step(uint32_t rule)
{
	return (rule & FROM_MASK) != FROM_MASK;
}

static unsigned nsaved(uint32_t rule)
{
	return rule >> SAVED_SHIFT;
}

static bool is_from_frame(uint32_t rule)
{
	return (rule & FROM_MASK) == FROM_FRAME;
}

/* The registers become the caller's, whose stack ends at `limit`. False: a frame pointer that is
 * none. */
UNCHECKED HOT bool step(uintptr_t *pc, uintptr_t *stack, uintptr_t *frame, uint32_t rule,
                        uintptr_t limit)
{
	uintptr_t top = (is_from_frame(rule) ? *frame : *stack)
	                + (rule >> UP_SHIFT & UP_MASK) * WORD;
	const uintptr_t *at = (const uintptr_t *)top;

	if (unlikely(top - *stack - WORD > UP_MASK * WORD || top % WORD || top > limit))
		return false;
	*pc = at[-1];
	*stack = top;
	if (nsaved(rule))
		*frame = at[-(int)nsaved(rule)];
	return true;
}

static void add_check(struct unwind *u, struct unwind_frame *f, uintptr_t at, uintptr_t value)
{
	u->checks[f->nchecks++] = (struct unwind_check){ (const uintptr_t *)at, value };
}

/* What must hold for the frames outside of frame i to be as they are. */
static void note_checks(struct unwind *u, unsigned i)
{
	struct unwind_frame *f = &u->frames[i];
	const struct unwind_frame *caller = f - 1;

	f->nchecks = i ? caller->nchecks : 0;
	f->needs_frame = is_from_frame(f->rule);
	if (i == 0) {
		uintptr_t pc, stack = f->stack, frame = f->frame;

		if (u->is_whole && is_step(f->rule)
		    && step(&pc, &stack, &frame, f->rule, UINTPTR_MAX))
			add_check(u, f, stack - WORD, 0);
		return;
	}
	add_check(u, f, caller->stack - WORD, caller->pc);
	if (caller->needs_frame && nsaved(f->rule))
		add_check(u, f, caller->stack - nsaved(f->rule) * WORD, caller->frame);
	f->needs_frame |= caller->needs_frame && !nsaved(f->rule);
}

enum ending { ENDING_JOINED, ENDING_WHOLE, ENDING_CUT, ENDING_UNKNOWN };

struct walk {
	uintptr_t limit;                        /* of the stack */
	unsigned top;                           /* of the frames kept, those that are still there */
	unsigned nfresh;
};

/* From the frame with these registers outwards, until one is met that is kept. */
static PLACED enum ending go(struct unwind *u, struct walk *w, uintptr_t pc, uintptr_t stack,
                             uintptr_t frame)
{
	const struct unwind_frame *kept = u->frames;
	unsigned top = w->top, n = 0;
	enum ending ending;

	for (;;) {
		struct unwind_frame *f = &u->fresh[n];

		while (top && kept[top - 1].stack < stack)
			top--;
		if (top && kept[top - 1].stack == stack) {
			unsigned there = still_there(u, top, pc, frame);

			ending = ENDING_JOINED;
			if (there == top)
				break;
			top = there;
		}
		ending = ENDING_CUT;
		if (unlikely(n == u->depth))
			break;
		f->pc = pc;
		f->stack = stack;
		f->frame = frame;
		f->rule = rule_of(pc);
		n++;
		if (unlikely(!is_step(f->rule))) {
			ending = f->rule == RULE_END ? ENDING_WHOLE : ENDING_UNKNOWN;
			break;
		}
		ending = ENDING_UNKNOWN;
		if (unlikely(!step(&pc, &stack, &frame, f->rule, w->limit)))
			break;
		ending = ENDING_WHOLE;
		if (unlikely(!pc))
			break;
	}
	w->top = ending == ENDING_JOINED ? top : 0;
	w->nfresh = n;
	return ending;
}

/* The kept frames without some of the outermost. */
static COLD void drop_outer(struct unwind *u, unsigned n, unsigned ndropped)
{
	u->is_whole = false;
	for (unsigned i = 0; i + ndropped < n; i++) {
		u->frames[i] = u->frames[i + ndropped];
		note_checks(u, i);
	}
}

/* The fresh frames go inside of those that are still there; too many: the outermost go. */
static void join(struct unwind *u, const struct walk *w)
{
	unsigned over = w->top + w->nfresh > u->depth ? w->top + w->nfresh - u->depth : 0;

	u->nsame = w->top;
	if (unlikely(over)) {
		drop_outer(u, w->top, over);
		u->nsame = 0;
	}
	u->nframes = w->top - over;
	for (unsigned i = w->nfresh; i--; u->nframes++) {
		struct unwind_frame *to = &u->frames[u->nframes];
		const struct unwind_frame *f = &u->fresh[i];

		to->pc = f->pc;
		to->stack = f->stack;
		to->frame = f->frame;
		to->rule = f->rule;
		note_checks(u, u->nframes);
	}
}

/* From one of our own calls to the one that returns to `caller`. */
static COLD bool leave_own(struct regs_call *call, uintptr_t caller)
{
	for (unsigned i = 0; call->pc != caller; i++) {
		uint32_t rule = rule_of(call->pc);

		if (i == OWN_FRAMES || !is_step(rule)
		    || !step(&call->pc, &call->stack, &call->frame, rule, UINTPTR_MAX))
			return false;
	}
	return true;
}

PLACED bool unwind_walk(struct unwind *u, const struct regs_call *from, uintptr_t caller)
{
	uint32_t now = modules_generation();
	unsigned nkept = u->generation == now ? u->nkept : 0;
	struct regs_call call;

	/* relaxed: see forget(). */
	if (unlikely(atomic_load_explicit(&rules_generation, memory_order_relaxed) != now))
		forget(now);
	u->generation = now;
	u->nframes = u->nsame = u->nkept = 0;
	if (unlikely(from->pc != caller)) {
		call = *from;
		if (!leave_own(&call, caller))
			return false;
		from = &call;
	}

	bool is_own_stack = from->stack - u->base < u->limit - u->base;
	struct walk w = { .limit = is_own_stack ? u->limit : UINTPTR_MAX,
	                  .top = is_own_stack ? nkept : 0 };
	enum ending ending = go(u, &w, caller, from->stack, from->frame);

	/* Frames that were left out belong to this stack. */
	if (unlikely(ending == ENDING_JOINED && !u->is_whole && w.top + w.nfresh < u->depth)) {
		w.top = 0;
		ending = go(u, &w, caller, from->stack, from->frame);
	}
	if (ending != ENDING_JOINED)
		u->is_whole = ending == ENDING_WHOLE;
	join(u, &w);
	if (is_own_stack && ending != ENDING_UNKNOWN && u->frames[0].stack <= u->limit)
		u->nkept = u->nframes;
	return ending != ENDING_UNKNOWN;
}
