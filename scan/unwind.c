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

	for (unsigned i = 0; i < n; i++)
		differs |= *checks[i].at ^ checks[i].value;
	if (likely(!differs))
		return n;
	for (unsigned i = 0;; i++) {
		if (*checks[i].at != checks[i].value)
			return i;
	}
}

/* Of the outermost `top` frames kept, those that are as they were if the one that `call` belongs to is
 * the innermost of them: `top` or fewer. */
static unsigned still_there(const struct unwind *u, unsigned top, const struct regs_call *call)
{
	const struct unwind_frame *f = &u->frames[top - 1];
	unsigned failed = 0;

	if (f->call.pc != call->pc || (f->needs_frame && f->call.frame != call->frame))
		return top - 1;                 /* those outside may be found yet */
	failed = first_failed(u->checks, f->nchecks);
	while (top && u->frames[top - 1].nchecks > failed)
		top--;
	return top;
}

/* --- steps --- */

static bool is_end(uint32_t rule)
{
	return rule == RULE_END;
}

static bool is_step(uint32_t rule)
{
	return (rule & FROM_MASK) != FROM_MASK;
}

static unsigned nsaved(uint32_t rule)
{
	return rule >> SAVED_SHIFT;
}

/* The caller's registers, from a stack that ends at `limit`. */
UNCHECKED HOT struct regs_call step(const struct regs_call *call, uint32_t rule, uintptr_t limit)
{
	uintptr_t from = (rule & FROM_MASK) == FROM_FRAME ? call->frame : call->stack;
	uintptr_t top = from + (rule >> UP_SHIFT & UP_MASK) * WORD;
	const uintptr_t *at = (const uintptr_t *)top;
	struct regs_call to = { .stack = top, .frame = call->frame };

	/* A frame pointer that is none. */
	if (unlikely(top - call->stack - WORD > UP_MASK * WORD || top % WORD || top > limit)) {
		to.stack = 0;
		return to;
	}
	to.pc = at[-1];
	if (nsaved(rule))
		to.frame = at[-(int)nsaved(rule)];
	return to;
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
	bool is_from_frame = (f->rule & FROM_MASK) == FROM_FRAME;

	f->nchecks = 0;
	f->needs_frame = false;
	if (i == 0) {
		if (u->is_whole && is_step(f->rule)) {
			struct regs_call end = step(&f->call, f->rule, UINTPTR_MAX);

			add_check(u, f, end.stack - WORD, 0);
			f->needs_frame = is_from_frame;
		}
		return;
	}
	f->nchecks = caller->nchecks;
	add_check(u, f, caller->call.stack - WORD, caller->call.pc);
	if (caller->needs_frame && nsaved(f->rule))
		add_check(u, f, caller->call.stack - nsaved(f->rule) * WORD, caller->call.frame);
	f->needs_frame = is_from_frame || (caller->needs_frame && !nsaved(f->rule));
}

enum ending { ENDING_JOINED, ENDING_WHOLE, ENDING_CUT, ENDING_UNKNOWN };

/* From the frame of `call` outwards, until one of `*top` kept ones is met; `fresh` gets those before,
 * *nfresh of them. */
static enum ending go(struct unwind *u, struct regs_call call, uintptr_t limit, unsigned *top,
                      unsigned *nfresh)
{
	struct unwind_frame *fresh = u->fresh;
	unsigned n = 0;

	for (;;) {
		while (*top && u->frames[*top - 1].call.stack <= call.stack) {
			unsigned there = *top - 1;

			if (u->frames[there].call.stack == call.stack)
				there = still_there(u, *top, &call);
			if (there == *top) {
				*nfresh = n;
				return ENDING_JOINED;
			}
			*top = there;
		}
		if (n == u->depth) {
			*nfresh = n;
			return ENDING_CUT;
		}
		fresh[n].call = call;
		fresh[n].rule = rule_of(call.pc);
		n++;
		if (unlikely(!is_step(fresh[n - 1].rule))) {
			*nfresh = n;
			return is_end(fresh[n - 1].rule) ? ENDING_WHOLE : ENDING_UNKNOWN;
		}
		call = step(&call, fresh[n - 1].rule, limit);
		if (unlikely(!call.pc)) {
			*nfresh = n;
			return call.stack ? ENDING_WHOLE : ENDING_UNKNOWN;
		}
	}
}

/* The fresh frames go inside of the `top` kept ones. Too many: the outermost go. */
static void join(struct unwind *u, unsigned top, unsigned nfresh)
{
	unsigned over = top + nfresh > u->depth ? top + nfresh - u->depth : 0;

	if (unlikely(over)) {
		memmove(u->frames, u->frames + over, (top - over) * sizeof *u->frames);
		u->is_whole = false;
		for (unsigned i = 0; i < top - over; i++)
			note_checks(u, i);
	}
	u->nsame = over ? 0 : top;
	u->nframes = top - over;
	for (unsigned i = nfresh; i--; u->nframes++) {
		u->frames[u->nframes] = u->fresh[i];
		note_checks(u, u->nframes);
	}
}

/* Our own calls between. */
static bool leave_own(struct regs_call *call, uintptr_t caller)
{
	for (unsigned i = 0; call->pc != caller; i++) {
		uint32_t rule = rule_of(call->pc);

		if (i == OWN_FRAMES || !is_step(rule))
			return false;
		*call = step(call, rule, UINTPTR_MAX);
	}
	return true;
}

bool unwind_walk(struct unwind *u, struct regs_call from, uintptr_t caller)
{
	uint32_t now = modules_generation();
	unsigned top = u->generation == now ? u->nkept : 0, nfresh;

	/* relaxed: see forget(). */
	if (unlikely(atomic_load_explicit(&rules_generation, memory_order_relaxed) != now))
		forget(now);
	u->generation = now;
	u->nframes = u->nsame = u->nkept = 0;
	if (unlikely(!leave_own(&from, caller)))
		return false;

	bool is_own_stack = from.stack - u->base < u->limit - u->base;
	uintptr_t limit = is_own_stack ? u->limit : UINTPTR_MAX;

	if (unlikely(!is_own_stack))
		top = 0;

	enum ending ending = go(u, from, limit, &top, &nfresh);

	/* Frames that were left out belong to this stack. */
	if (unlikely(ending == ENDING_JOINED && !u->is_whole && top + nfresh < u->depth)) {
		top = 0;
		ending = go(u, from, limit, &top, &nfresh);
	}
	if (ending != ENDING_JOINED) {
		top = 0;
		u->is_whole = ending == ENDING_WHOLE;
	}
	join(u, top, nfresh);
	if (is_own_stack && ending != ENDING_UNKNOWN && u->frames[0].call.stack <= u->limit)
		u->nkept = u->nframes;
	return ending != ENDING_UNKNOWN;
}
