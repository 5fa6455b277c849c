/* os.c: what the kernel does for us, with and without a limit on address space. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/core.h"

#define N MIB(1)

static struct os_region r;

static void limit_address_space(size_t nbytes)
{
	struct rlimit limit = { nbytes, RLIM_INFINITY };

	if (CORE_HAS_ASAN)
		cr_skip("no limits under ASan");
	cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
}

static void reserved(void)
{
	cr_assert_eq(os_reserve(&r, MIB(64), MIB(64), MIB(2)), 0);
}

static void reserved_and_committed(void)
{
	reserved();
	cr_assert_eq(os_commit(&r, r.base, 4 * N), 0);
}

static void reserved_under_limit(void)
{
	limit_address_space(GIB(2));
	reserved();
}

static bool is_zero(uintptr_t addr, size_t nbytes)
{
	const char *p = (const char *)addr;

	return p[0] == 0 && memcmp(p, p + 1, nbytes - 1) == 0;
}

/* Can the range be written to? write(2) says EFAULT instead of a signal. */
static bool is_accessible(uintptr_t addr)
{
	int ends[2];
	bool is_read;

	cr_assert_eq(pipe(ends), 0);
	is_read = write(ends[1], (void *)addr, 1) == 1;
	close(ends[0]);
	close(ends[1]);
	return is_read;
}

Test(os, reserves_a_tebibyte_at_an_aligned_address)
{
	cr_assert_eq(os_reserve(&r, GIB(1024), MIB(64), ARENA_BYTES), 0);
	cr_assert_eq(r.base % ARENA_BYTES, 0);
	cr_assert(r.is_mapped);
	cr_assert_geq(r.nbytes, MIB(64));
}

static bool is_unmapped(uintptr_t addr)
{
	void *p = mmap((void *)addr, N, PROT_NONE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	return p == (void *)addr;
}

Test(os, what_is_given_up_is_unmapped_on_both_sides)
{
	cr_assert_eq(os_reserve(&r, GIB(1), GIB(1), ARENA_BYTES), 0);
	cr_assert_eq(r.nbytes_below + r.nbytes_above, ARENA_BYTES - OS_PAGE_BYTES);
	cr_assert_eq(os_commit(&r, r.base, N), 0);
	cr_assert(!is_unmapped(r.base + N));
	os_unreserve(&r, N);
	cr_assert(is_accessible(r.base));
	cr_assert(is_unmapped(r.base + N) && is_unmapped(r.base + GIB(1) - N));
	if (r.nbytes_below >= N)
		cr_assert(is_unmapped(r.base - r.nbytes_below) && is_unmapped(r.base - N));
	if (r.nbytes_above >= N)
		cr_assert(is_unmapped(r.base + GIB(1) + r.nbytes_above - N));
}

Test(os, memory_is_accessible_where_it_was_committed_only, .init = reserved)
{
	cr_assert_not(is_accessible(r.base));
	cr_assert_eq(os_commit(&r, r.base, N), 0);
	memset((void *)r.base, 1, N);
	cr_assert_not(is_accessible(r.base + N));
	cr_assert_eq(os_commit(&r, r.base + N, N), 0);
	cr_assert(is_zero(r.base + N, N));
	cr_assert_eq(*(char *)r.base, 1, "what was there stays");
}

Test(os, a_refused_commit_says_so_keeps_errno_and_may_be_repeated, .init = reserved)
{
	int error, kept;

	core_refuse_memory(true);
	errno = ERANGE;
	error = os_commit(&r, r.base, N);
	kept = errno;
	core_refuse_memory(false);
	cr_assert_eq(error, ENOMEM);
	cr_assert_eq(kept, ERANGE);
	cr_assert_eq(os_commit(&r, r.base, N), 0);
	cr_assert(is_zero(r.base, N));
}

Test(os, a_refused_map_is_null_and_keeps_errno)
{
	void *p;
	int kept;

	core_refuse_memory(true);
	errno = ERANGE;
	p = os_map(N);
	kept = errno;
	core_refuse_memory(false);
	cr_assert_null(p);
	cr_assert_eq(kept, ERANGE);
	p = os_map(N);
	cr_assert_not_null(p);
	cr_assert(is_zero((uintptr_t)p, N));
}

Test(os, discarded_memory_reads_as_zero, .init = reserved_and_committed)
{
	memset((void *)r.base, 1, 2 * N);
	cr_assert_eq(os_discard(r.base, N), 0);
	cr_assert(is_zero(r.base, N));
	cr_assert_eq(*(char *)(r.base + N), 1);
	cr_assert_eq(os_discard_lazily(r.base + N, N), 0);
}

Test(os, locked_memory_is_not_discarded, .init = reserved_and_committed)
{
	*(char *)r.base = 1;
	if (CORE_HAS_ASAN || mlock((void *)r.base, OS_PAGE_BYTES))
		cr_skip("mlock is not allowed here");
	errno = ERANGE;
	cr_assert_eq(os_discard(r.base, N), EINVAL);
	cr_assert_eq(errno, ERANGE);
	cr_assert_eq(*(char *)r.base, 1);
}

Test(os, moved_pages_leave_zeros_and_can_be_renewed, .init = reserved_and_committed)
{
	memset((void *)r.base, 1, N);
	memset((void *)(r.base + 2 * N), 2, N);
	cr_assert_eq(os_move_pages(r.base, r.base + 2 * N, N), 0);
	cr_assert_eq(*(char *)(r.base + 2 * N), 1);
	cr_assert_eq(*(char *)(r.base + 3 * N - 1), 1);
	cr_assert(is_zero(r.base, N));
	cr_assert_eq(os_renew(r.base + 2 * N, N), 0);
	cr_assert(is_zero(r.base + 2 * N, N));
}

/* --- under RLIMIT_AS --- */

Test(os, under_a_limit_nothing_is_mapped_in_advance, .init = reserved_under_limit)
{
	cr_assert_not(r.is_mapped);
	cr_assert_not(is_accessible(r.base));
	cr_assert_eq(os_commit(&r, r.base, N), 0);
	cr_assert(is_zero(r.base, N));
	cr_assert_not(is_accessible(r.base + N));
}

Test(os, under_a_limit_no_more_is_reserved_than_could_be_used)
{
	limit_address_space(MIB(500));
	cr_assert_eq(os_reserve(&r, GIB(1024), MIB(64), ARENA_BYTES), 0);
	cr_assert_leq(r.nbytes, GIB(1));
	cr_assert_geq(r.nbytes, MIB(250));
	cr_assert_eq(r.base % ARENA_BYTES, 0);
}

Test(os, under_a_limit_two_regions_do_not_overlap, .init = reserved_under_limit)
{
	struct os_region q;

	cr_assert_eq(os_reserve(&q, MIB(64), MIB(64), MIB(2)), 0);
	cr_assert(q.base >= r.base + r.nbytes || r.base >= q.base + q.nbytes, "%#lx and %#lx",
	          q.base, r.base);
}

Test(os, under_a_limit_too_much_is_refused, .init = reserved_under_limit)
{
	limit_address_space(MIB(1));
	errno = ERANGE;
	int error = os_commit(&r, r.base, 32 * N);
	int kept = errno;
	limit_address_space(GIB(2));
	cr_assert_eq(error, ENOMEM);
	cr_assert_eq(kept, ERANGE);
	cr_assert_eq(os_commit(&r, r.base, 32 * N), 0);
}

Test(os, somebody_elses_mapping_is_not_replaced, .init = reserved_under_limit)
{
	void *theirs = mmap((void *)(r.base + N), N, PROT_READ | PROT_WRITE,
	                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	cr_assert_eq((uintptr_t)theirs, r.base + N);
	memset(theirs, 1, N);
	cr_assert_eq(os_commit(&r, r.base, N), 0);
	cr_assert_eq(os_commit(&r, r.base + N, N), EEXIST);
	cr_assert_eq(*(char *)theirs, 1);
}

Test(os, a_heap_under_a_limit_can_be_filled)
{
	size_t nbytes = 0;

	limit_address_space(GIB(1));
	core_start();
	while (large_alloc(MIB(8), 1))
		nbytes += MIB(8);
	cr_assert_geq(nbytes, MIB(500));
	cr_assert_leq(nbytes, GIB(1));
}

Test(os, the_clocks_run)
{
	uint64_t now = os_now_ms(), cpu = os_thread_cpu_us();

	while (os_now_ms() == now || os_thread_cpu_us() == cpu)
		;
	cr_assert_gt(os_now_ms(), now);
	cr_assert_gt(os_thread_cpu_us(), cpu);
}

static void come(int signal)
{
	(void)signal;
}

Test(os, a_nap_lasts_at_least_as_long_and_leaves_errno_alone)
{
	uint64_t began_ns = os_now_ns();

	errno = ERANGE;
	os_nap_ns(2000000);
	cr_assert_geq(os_now_ns() - began_ns, UINT64_C(2000000));
	cr_assert_eq(errno, ERANGE);
}

Test(os, a_nap_that_a_signal_ends_leaves_errno_alone)
{
	struct sigaction sa = { .sa_handler = come };
	struct itimerval soon = { .it_value.tv_usec = 10000 };

	cr_assert_eq(sigaction(SIGALRM, &sa, NULL), 0);
	cr_assert_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
	errno = ERANGE;
	os_nap_ns(UINT64_C(20000000000));
	cr_assert_eq(errno, ERANGE);
}
