/* unwind.c: the walk by rules finds what glibc's backtrace() finds, which reads the same tables by
 * other code: for calls of every depth, with and without frame pointers, through frames of unknown
 * size, on other stacks, and when the frames outside have changed under equal return addresses.
 */
#include <criterion/criterion.h>

#include "scan/cfi.h"
#include "scan/unwind.h"
#include "tests/core.h"

#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#define DEPTH 24
#define INNER 4                                 /* frames that backtrace() may begin with */
#define ROUNDS 20000
#define STACK_BYTES KIB(64)

#define APART __attribute__((noinline, noclone, noipa))
#define FRAMED APART __attribute__((optimize("no-omit-frame-pointer")))

static struct unwind *walk;
static unsigned ncompared, nsame, ndeep;
static bool is_coroutine;
static volatile unsigned sink;

static void start(void)
{
	pthread_attr_t attr;
	size_t nbytes;
	void *base;

	cr_assert_eq(pthread_getattr_np(pthread_self(), &attr), 0);
	cr_assert_eq(pthread_attr_getstack(&attr, &base, &nbytes), 0);
	pthread_attr_destroy(&attr);
	walk = calloc(1, sizeof *walk + unwind_bytes(DEPTH));
	unwind_init(walk, DEPTH, (uintptr_t)base, (uintptr_t)base + nbytes);
	backtrace((void *[1]){ NULL }, 1);      /* it loads a library at its first call */
	ncompared = nsame = ndeep = 0;
}

TestSuite(unwind, .init = start);

/* A note depends on all frames outside of it. */
static void compare_notes(void)
{
	uint32_t note = 0;

	for (unsigned i = 0; i < walk->nframes; i++) {
		note = (note ^ (uint32_t)walk->frames[i].pc) * 0x9e3779b1u;
		if (i < walk->nsame)
			cr_assert_eq(walk->frames[i].note, note, "frame %u of %u", i, walk->nframes);
		walk->frames[i].note = note;
	}
}

/* Of its caller's caller on. */
APART static void compare(void)
{
	struct regs_call here = regs_caller(__builtin_frame_address(0));
	void *got[DEPTH + INNER], **pcs = got;
	int n = backtrace(got, DEPTH + INNER);

	while (n && *pcs != (void *)here.pc)
		pcs++, n--;
	cr_assert_gt(n, 0);
	/* Below makecontext()'s start nobody knows more. */
	cr_assert(unwind_walk(walk, &here, here.pc) || is_coroutine);
	for (int i = 0; i < n && i < DEPTH; i++) {
		const struct unwind_frame *f = &walk->frames[walk->nframes - 1 - (unsigned)i];

		cr_assert_lt((unsigned)i, walk->nframes);
		cr_assert_eq(f->pc, (uintptr_t)pcs[i], "frame %d of %d: %zx, not %p", i, n, f->pc,
		             pcs[i]);
	}
	cr_assert_eq(walk->nframes, n < DEPTH ? n : DEPTH);
	compare_notes();
	ncompared++;
	nsame += walk->nsame;
	ndeep += n >= DEPTH;
}

static uint64_t state;

static unsigned pick(unsigned n)
{
	state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (unsigned)(state >> 33) % n;
}

/* The frame pointer is of no use to these: it is the caller's, or saved, or what they go by. */
APART static void without(void)
{
	compare();
	sink++;
}

APART static void saving(void)
{
	unsigned a = pick(9), b = pick(9), c = pick(9), d = pick(9), e = pick(9), f = pick(9);

	compare();
	sink += a + b * c + d * e + f;
}

FRAMED static void with(void)
{
	compare();
	sink++;
}

APART static void varied(void (*inner)(void), size_t nbytes)
{
	volatile char *room = __builtin_alloca(nbytes);

	*room = 1;
	inner();
	sink += (unsigned)*room;
}

APART static void from_near(void (*inner)(void), size_t nbytes)
{
	varied(inner, nbytes);
	sink++;
}

/* What lay here before is not overwritten. */
APART static void from_far(void (*inner)(void), size_t nbytes)
{
	volatile char room[256];

	room[0] = 1;
	varied(inner, nbytes);
	sink += (unsigned)room[0];
}

Test(unwind, tells_frames_apart_that_differ_in_the_frame_pointer_alone)
{
	void (*const inner[])(void) = { without, saving, with };
	void (*const from[])(void (*)(void), size_t) = { from_near, from_far };

	/* From one place: all that differs are the two frames in the middle. */
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned n = 0; n < 200; n++)
			from[n % 2](inner[i], n % 2 ? 16 + 4 * n : 600);
	}
}

static void wander(unsigned depth);

APART static void plain(unsigned depth)
{
	wander(depth);
	sink++;
}

FRAMED static void framed(unsigned depth)
{
	wander(depth);
	sink++;
}

/* A frame whose size nobody knows: found by the frame pointer. */
APART static void sized(unsigned depth)
{
	char *room = __builtin_alloca(1 + pick(500));

	room[0] = 1;
	wander(depth);
	sink += (unsigned)room[0];
}

APART static void large(unsigned depth)
{
	volatile char room[9000];

	room[0] = 1;
	wander(depth);
	sink += (unsigned)room[0];
}

/* Registers that others keep, the frame pointer's among them, have other values each time. */
APART static void busy(unsigned depth)
{
	unsigned a = pick(9), b = pick(9), c = pick(9), d = pick(9), e = pick(9), f = pick(9);

	wander(depth);
	sink += a + b * c + d * e + f;
	wander(depth ? depth - 1 : 0);
	sink += a * b + c * d + e * f;
}

static int by_size(const void *a, const void *b)
{
	wander(pick(3));
	return *(const int *)a - *(const int *)b;
}

/* Through libc. */
APART static void sorted(unsigned depth)
{
	int n[3] = { 3, 1, 2 };

	if (depth < 4)
		qsort(n, 3, sizeof *n, by_size);
	sink += (unsigned)n[0];
}

APART static void wander(unsigned depth)
{
	static void (*const ways[])(unsigned) = { plain, framed, sized, large, busy, sorted };

	if (pick(3) == 0 || !depth)
		compare();
	if (!depth || ncompared > ROUNDS)
		return;
	ways[pick(6)](depth - 1);
	if (pick(2))
		ways[pick(6)](depth - 1);
	if (pick(4) == 0)
		compare();
}

static void wander_from_seed(void)
{
	const char *seed = getenv("SEED");

	state = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
	cr_log_info("SEED=%llu", (unsigned long long)state);
	while (ncompared < ROUNDS)
		wander(pick(18));
}

Test(unwind, finds_what_backtrace_finds)
{
	wander_from_seed();
	cr_assert_gt(nsame, ncompared, "frames are kept");
	cr_assert_gt(ndeep, 0);
}

Test(unwind, keeps_nothing_on_a_stack_it_does_not_know)
{
	walk->base = walk->limit = 0;
	wander_from_seed();
	cr_assert_eq(nsame, 0);
}

/* Its caller's caller is beyond what is said to be the stack. */
APART static void cut_off(void)
{
	struct regs_call here = regs_caller(__builtin_frame_address(0));

	walk->limit = here.stack + sizeof(uintptr_t);
	cr_assert_not(unwind_walk(walk, &here, here.pc));
	cr_assert_eq(walk->nframes, 1);
	cr_assert_eq(walk->nkept, 0);
}

Test(unwind, reads_nothing_beyond_the_stack)
{
	cut_off();
}

static ucontext_t back, coroutine;

static void run_coroutine(void)
{
	is_coroutine = true;
	wander(10);
	is_coroutine = false;
	swapcontext(&coroutine, &back);
	is_coroutine = true;
	wander(10);
	is_coroutine = false;
}

Test(unwind, goes_with_coroutines)
{
	state = 5;
	for (unsigned i = 0; i < 50; i++) {
		void *stack = malloc(STACK_BYTES * 4);

		getcontext(&coroutine);
		coroutine.uc_stack.ss_sp = stack;
		coroutine.uc_stack.ss_size = STACK_BYTES * 4;
		coroutine.uc_link = &back;
		makecontext(&coroutine, run_coroutine, 0);
		swapcontext(&back, &coroutine);
		wander(5);
		swapcontext(&back, &coroutine);
		free(stack);
	}
	cr_assert_gt(ncompared, 100);
}

static void on_signal(int signo)
{
	struct regs_call here = regs_caller(__builtin_frame_address(0));

	/* The frame that the kernel made is not for us: libunwind tells it. */
	cr_assert_not(unwind_walk(walk, &here, here.pc));
	sink += (unsigned)signo;
}

Test(unwind, leaves_signal_frames_to_others)
{
	signal(SIGUSR1, on_signal);
	compare();
	raise(SIGUSR1);
	compare();
	cr_assert_eq(ncompared, 2);
}

Test(unwind, knows_no_code_without_tables)
{
	cr_assert_not(cfi_find((uintptr_t)malloc(16)).is_known);
	cr_assert_not(cfi_find(0).is_known);
	cr_assert_not(cfi_find(1).is_known);
	cr_assert_not(cfi_find(UINTPTR_MAX).is_known);
	cr_assert(cfi_find((uintptr_t)compare + 1).is_known);
}

static void *wander_in_thread(void *arg)
{
	start();
	state = 7;
	wander(16);
	return arg;
}

Test(unwind, goes_in_threads)
{
	for (unsigned i = 0; i < 20; i++)
		core_in_thread(wander_in_thread, NULL);
}
