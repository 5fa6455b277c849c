/* stacks.c: allocation stacks in a tree that only grows.
 *
 * Reached from preload/leaks.c for each allocation of mode leaks, from any thread and from signal
 * handlers: takes no lock, as the unwinder may wait for the loader's. Depends on unwind.h, os.h, and
 * on roots.h at the start.
 *
 * A node is a frame and who called it: stacks have their outer frames in common (10,466 stacks of 17
 * words each, as python3 made them, are 43,000 nodes of two words). The innermost frame's node is the
 * stack's number; it has the function that was called beside its address. A stack of more frames
 * than are kept begins with a root of its own.
 *
 * A node is written, then published by a compare-and-exchange at the head of its bucket's chain, and
 * never changed. Who loses that race looks through what was added meanwhile, so no node is there
 * twice (the one written in vain is lost).
 *
 * Invariants:
 *   N1  a node that is in a chain is whole, and so is its parent (tests/race/stacks.c);
 *   N2  with SPANGC_VERIFY=1: a walk gives the frames that libunwind gives (compare()).
 */
#include "scan/stacks.h"

#include "core/knobs.h"
#include "core/os.h"
#include "core/report.h"
#include "scan/modules.h"
#include "scan/roots.h"
#include "scan/unwind.h"

#include <errno.h>
#include <string.h>

#define BUCKET_BITS 16
#define NODES_MAX (UINT32_C(1) << 21)           /* 32 MiB of addresses, touched as they are used */
#define OWN_FRAMES 16                           /* of ours, above the caller's */
#define ADDRESS_BITS 47
#define WORD_MODULE_SHIFT 48                    /* modules.h: the bit between is 0 */
#define MODULE_BITS 13
#define KEY_MASK ((UINT64_C(1) << (ADDRESS_BITS + MODULE_BITS)) - 1)
#define FUNCTION_SHIFT (ADDRESS_BITS + MODULE_BITS)
#define NFUNCTIONS 15                           /* 10 of the malloc family allocate */
#define WALKS_MAX 4096                          /* threads that are served fast */

struct node {
	uint64_t key;                           /* address, module, function's number plus 1 */
	uint32_t parent;                        /* 0: none */
	uint32_t next;                          /* in the bucket; 0: the end */
};

/* A thread's, or nobody's. */
struct walk {
	_Atomic bool is_taken;
	_Alignas(CACHE_LINE) struct unwind unwind;      /* its arrays follow */
};

static struct {
	/* Constant after stacks_start(), stacks_walk() and stacks_unwind_with(). */
	_Atomic uint32_t *heads;
	struct node *nodes;
	unsigned depth;
	uintptr_t walks;
	size_t walk_bytes;
	stacks_unwind_fn *_Atomic unwind;

	/* Any thread, atomic. */
	_Alignas(CACHE_LINE) _Atomic uint32_t nnodes;
	_Atomic uint32_t nwalks;                /* ever taken at once */
	_Atomic uint64_t nlost;
	const void *_Atomic functions[NFUNCTIONS];
} stacks;

static _Thread_local struct {
	struct walk *walk;
	bool is_unwinding;
	bool has_ended;                         /* the thread */
} own;

static void *map_named(size_t nbytes)
{
	void *p = os_map(align_up(nbytes, OS_PAGE_BYTES));

	if (!p)
		return NULL;
	os_name((uintptr_t)p, nbytes, "spangc stacks");
	roots_exclude((uintptr_t)p, (uintptr_t)p + nbytes);
	return p;
}

bool stacks_start(unsigned depth)
{
	stacks.depth = depth;
	stacks.heads = map_named(sizeof *stacks.heads << BUCKET_BITS);
	stacks.nodes = map_named(NODES_MAX * sizeof *stacks.nodes);
	/* relaxed: there is one thread. 0 is no stack. */
	atomic_store_explicit(&stacks.nnodes, 1, memory_order_relaxed);
	if (stacks.heads && stacks.nodes)
		return true;
	stacks.heads = NULL;
	return false;
}

bool stacks_is_unwinding(void)
{
	return own.is_unwinding;
}

void stacks_unwind_with(stacks_unwind_fn *unwind)
{
	/* release: the unwinder is loaded. Pairs with the acquire in stacks_take(). */
	atomic_store_explicit(&stacks.unwind, unwind, memory_order_release);
}

/* --- threads --- */

void stacks_walk(void)
{
	size_t nbytes = sizeof(struct walk) + unwind_bytes(stacks.depth);

	stacks.walk_bytes = align_up(nbytes, CACHE_LINE);
	stacks.walks = (uintptr_t)map_named(WALKS_MAX * stacks.walk_bytes);
}

static struct walk *walk_at(uint32_t i)
{
	return (struct walk *)(stacks.walks + i * stacks.walk_bytes);
}

static struct walk *take_walk(void)
{
	for (uint32_t i = 0; i < WALKS_MAX; i++) {
		struct walk *w = walk_at(i);

		/* relaxed: a full look follows. acquire: pairs with the release in
		 * stacks_thread_ends(). */
		if (atomic_load_explicit(&w->is_taken, memory_order_relaxed)
		    || atomic_exchange_explicit(&w->is_taken, true, memory_order_acquire))
			continue;

		uint32_t n = atomic_load_explicit(&stacks.nwalks, memory_order_relaxed);

		/* relaxed: read by stacks_fork_child() alone. */
		while (n <= i
		       && !atomic_compare_exchange_weak_explicit(&stacks.nwalks, &n, i + 1,
		                                                 memory_order_relaxed,
		                                                 memory_order_relaxed))
			;
		return w;
	}
	return NULL;
}

void stacks_thread_begins(uintptr_t base, uintptr_t limit)
{
	if (!stacks.walks || own.has_ended)
		return;
	if (!own.walk)
		own.walk = take_walk();
	if (own.walk)
		unwind_init(&own.walk->unwind, stacks.depth, base, limit);
}

static void drop_walk(struct walk *w)
{
	/* release: all use of it is over. Pairs with the acquire in take_walk(). */
	atomic_store_explicit(&w->is_taken, false, memory_order_release);
}

void stacks_thread_ends(void)
{
	struct walk *w = own.walk;

	own.has_ended = true;
	own.walk = NULL;
	if (w)
		drop_walk(w);
}

void stacks_fork_child(void)
{
	/* relaxed: there is one thread. */
	uint32_t n = atomic_load_explicit(&stacks.nwalks, memory_order_relaxed);

	for (uint32_t i = 0; i < n; i++) {
		if (walk_at(i) != own.walk)
			drop_walk(walk_at(i));
	}
}

/* --- the tree --- */

/* NFUNCTIONS: there are too many. */
static uint64_t number_of(const void *function)
{
	for (uint64_t i = 0; i < NFUNCTIONS; i++) {
		/* relaxed, all: the value is all there is to it. */
		const void *f = atomic_load_explicit(&stacks.functions[i], memory_order_relaxed);

		if (!f)
			atomic_compare_exchange_strong_explicit(&stacks.functions[i], &f, function,
			                                        memory_order_relaxed,
			                                        memory_order_relaxed);
		if (!f || f == function)
			return i;
	}
	return NFUNCTIONS;
}

/* In the chain from `n` up to, not including, `end`. */
static uint32_t find(uint32_t n, uint32_t end, uint64_t key, uint32_t parent)
{
	for (; n != end && n; n = stacks.nodes[n].next) {
		if (stacks.nodes[n].key == key && stacks.nodes[n].parent == parent)
			return n;
	}
	return STACKS_NONE;
}

static SLOW uint32_t add(_Atomic uint32_t *head, uint32_t seen, uint64_t key, uint32_t parent)
{
	uint32_t n = NODES_MAX;

	/* relaxed, all: each number once is all there is to it, the lost ones are a figure. The first
	 * look keeps the count from wrapping. */
	if (atomic_load_explicit(&stacks.nnodes, memory_order_relaxed) < NODES_MAX)
		n = atomic_fetch_add_explicit(&stacks.nnodes, 1, memory_order_relaxed);
	if (n >= NODES_MAX) {
		atomic_fetch_add_explicit(&stacks.nlost, 1, memory_order_relaxed);
		return STACKS_NONE;
	}
	for (;;) {
		uint32_t before = seen;

		stacks.nodes[n] = (struct node){ key, parent, seen };
		/* release: the node is whole before it is in the chain. acquire on failure: as in
		 * child(). */
		if (atomic_compare_exchange_strong_explicit(head, &seen, n, memory_order_release,
		                                            memory_order_acquire))
			return n;

		uint32_t other = find(seen, before, key, parent);

		if (other)
			return other;
	}
}

/* The node of `key` called from `parent`. */
HOT uint32_t child(uint32_t parent, uint64_t key)
{
	uint64_t hash = (key ^ parent * UINT64_C(0xd6e8feb86659fd93)) * UINT64_C(0x9e3779b97f4a7c15);
	_Atomic uint32_t *head = &stacks.heads[hash >> (64 - BUCKET_BITS)];
	/* acquire: pairs with the release in add(): nodes in the chain are whole. */
	uint32_t seen = atomic_load_explicit(head, memory_order_acquire);
	uint32_t n = find(seen, STACKS_NONE, key, parent);

	return likely(n) ? n : add(head, seen, key, parent);
}

/* The address as a word of modules.h, without the bit that says nothing. */
static uint64_t key_of(uintptr_t pc)
{
	modules_words(&pc, 1);
	return (pc >> WORD_MODULE_SHIFT << ADDRESS_BITS & KEY_MASK)
	       | (pc & ((UINT64_C(1) << ADDRESS_BITS) - 1));
}

static uintptr_t word_of(uint64_t key)
{
	return (key & KEY_MASK) >> ADDRESS_BITS << WORD_MODULE_SHIFT
	       | (key & ((UINT64_C(1) << ADDRESS_BITS) - 1));
}

/* The stack that ends in a call of `function` from the frame `pc`, whose callers are `parent`. */
static PLACED uint32_t leaf(uint32_t parent, uintptr_t pc, const void *function)
{
	uint64_t f = number_of(function);

	if (unlikely(f == NFUNCTIONS))
		return STACKS_NONE;
	return child(parent, (f + 1) << FUNCTION_SHIFT | key_of(pc));
}

/* Addresses, the newest first. */
static uint32_t intern(const uintptr_t *pcs, unsigned n, const void *function)
{
	uint32_t node = 0;

	for (unsigned i = n; i-- > 1;) {
		node = child(node, key_of(pcs[i]));
		if (!node)
			return STACKS_NONE;
	}
	return leaf(node, pcs[0], function);
}

/* The walk's frames. A frame's note is its node; 0 if none was needed yet, as of the innermost one,
 * which has a leaf. */
static uint32_t intern_walk(struct unwind *u, const void *function)
{
	struct unwind_frame *f = u->frames;
	unsigned last = u->nframes - 1, i = u->nsame < last ? u->nsame : last;
	uint32_t node;

	if (i && !f[i - 1].note)
		i--;
	node = i ? f[i - 1].note : 0;
	for (; i < last; i++) {
		node = f[i].note = child(node, key_of(f[i].pc));
		if (unlikely(!node)) {
			u->nkept = 0;
			return STACKS_NONE;
		}
	}
	if (last >= u->nsame)
		f[last].note = 0;
	return leaf(node, f[last].pc, function);
}

/* --- taking --- */

/* `caller` and what is above, as the unwinder tells; how many. `got` has room for more, and begins
 * with our own. */
static unsigned unwind_all(stacks_unwind_fn *unwind, uintptr_t caller, uintptr_t *got,
                           uintptr_t **from)
{
	unsigned n = (unsigned)unwind((void **)got, (int)stacks.depth + OWN_FRAMES), at = 0;

	while (at < n && at < OWN_FRAMES && got[at] != caller)
		at++;
	if (at >= n || got[at] != caller) {
		got[0] = caller;
		at = 0;
		n = 1;
	}
	*from = &got[at];
	n = n - at < stacks.depth ? n - at : stacks.depth;
	while (n > 1 && !(*from)[n - 1])        /* the end of a thread's stack */
		n--;
	return n;
}

/* Frames of this size alone: some threads have stacks of 16 KiB, and the unwinder takes its part. */
static SLOW uint32_t take_whole(stacks_unwind_fn *unwind, uintptr_t caller, const void *function)
{
	uintptr_t got[OWN_FRAMES + stacks.depth], *from;
	unsigned n = unwind_all(unwind, caller, got, &from);

	return intern(from, n, function);
}

/* N2. */
static COLD void compare(const struct unwind *u, stacks_unwind_fn *unwind, uintptr_t caller)
{
	uintptr_t got[OWN_FRAMES + stacks.depth], *from;
	unsigned n = unwind_all(unwind, caller, got, &from);

	check(n == u->nframes);
	for (unsigned i = 0; i < n; i++)
		check(from[i] == u->frames[n - 1 - i].pc);
}

static uint32_t take(stacks_unwind_fn *unwind, const void *function, const void *caller,
                     const struct regs_call *from)
{
	struct unwind *u = own.walk ? &own.walk->unwind : NULL;

	if (likely(u && (unwind_walk(u, from, (uintptr_t)caller) || (!unwind && u->nframes)))) {
		if (unlikely(knobs.verify && unwind))
			compare(u, unwind, (uintptr_t)caller);
		return intern_walk(u, function);
	}
	if (!unwind)
		return leaf(0, (uintptr_t)caller, function);

	int kept = errno;
	uint32_t stack = take_whole(unwind, (uintptr_t)caller, function);

	errno = kept;
	return stack;
}

PLACED uint32_t stacks_take_from(const void *function, const void *caller, const struct regs_call *from)
{
	/* acquire: pairs with the release in stacks_unwind_with(). */
	stacks_unwind_fn *unwind = atomic_load_explicit(&stacks.unwind, memory_order_acquire);

	if (unlikely(!stacks.heads))
		return STACKS_NONE;
	if (unlikely(stacks.depth == 1 || own.is_unwinding))
		return leaf(0, (uintptr_t)caller, function);
	if (unlikely(!own.walk))
		stacks_thread_begins(0, 0);

	own.is_unwinding = true;
	atomic_signal_fence(memory_order_seq_cst);      /* a handler sees it from here ... */

	uint32_t stack = take(unwind, function, caller, from);

	atomic_signal_fence(memory_order_seq_cst);      /* ... to here */
	own.is_unwinding = false;
	return stack;
}

uint32_t stacks_take(const void *function, const void *caller)
{
	struct regs_call here = regs_caller(__builtin_frame_address(0));

	return stacks_take_from(function, caller, &here);
}

unsigned stacks_read(uint32_t stack, uintptr_t pcs[1 + STACKS_DEPTH_MAX])
{
	uint64_t function = stack < stacks_count() ? stacks.nodes[stack].key >> FUNCTION_SHIFT : 0;
	unsigned n = 1;

	if (!function)
		return 0;                       /* nothing, or an outer frame */
	/* relaxed: set before the number was used. */
	pcs[0] = (uintptr_t)atomic_load_explicit(&stacks.functions[function - 1],
	                                         memory_order_relaxed);
	for (uint32_t node = stack; node && n <= STACKS_DEPTH_MAX; node = stacks.nodes[node].parent)
		pcs[n++] = word_of(stacks.nodes[node].key);
	return n;
}

unsigned stacks_get(uint32_t stack, const uintptr_t **pcs)
{
	static uintptr_t shown[2][1 + STACKS_DEPTH_MAX];
	static unsigned last;

	last ^= 1;
	*pcs = shown[last];
	return stacks_read(stack, shown[last]);
}

uint32_t stacks_count(void)
{
	/* relaxed: whoever has a number got it from stacks_take(). */
	uint32_t n = atomic_load_explicit(&stacks.nnodes, memory_order_relaxed);

	return n < NODES_MAX ? n : NODES_MAX;
}

uint64_t stacks_nlost(void)
{
	/* relaxed: a figure. */
	return atomic_load_explicit(&stacks.nlost, memory_order_relaxed);
}
