/* os_linux.c: os.h for Linux.
 *
 * Reached from meta.c, heap*.c, large.c and discard.c. Calls libc's thin wrappers of system calls
 * so that a test can stand between us and the kernel; keeps errno around each.
 *
 * Two ways to own a range of addresses:
 *   mapped     one PROT_NONE, MAP_NORESERVE mapping; committing is mprotect
 *   chosen     nothing is mapped; committing is mmap with MAP_FIXED_NOREPLACE
 * The first keeps everyone else out of the range. It counts in full against RLIMIT_AS, and
 * mlockall() would count it against RLIMIT_MEMLOCK, hence the second under such a limit.
 */
#define _GNU_SOURCE
#include "core/os.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#define RW (PROT_READ | PROT_WRITE)
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

/* Where a chosen range may begin: above what programs and Go, V8 and sanitizers ask for by
 * address, below where the kernel places mappings (mmap_base, about 127 TiB). */
#define CHOICE_BASE  (UINT64_C(24) << 40)
#define CHOICE_STEP  (UINT64_C(1) << 40)
#define CHOICE_COUNT 32

static void *map(uintptr_t at, size_t nbytes, int prot, int flags)
{
	int kept = errno;
	void *p = mmap((void *)at, nbytes, prot, PRIVATE | flags, -1, 0);

	errno = kept;
	return p == MAP_FAILED ? NULL : p;
}

static void unmap(uintptr_t addr, size_t nbytes)
{
	int kept = errno;

	if (nbytes)
		munmap((void *)addr, nbytes);
	errno = kept;
}

static bool reserve_mapped(struct os_region *r, size_t nbytes, size_t alignment)
{
	size_t slack = alignment - OS_PAGE_BYTES;
	uintptr_t p = (uintptr_t)map(0, nbytes + slack, PROT_NONE, 0);

	if (!p)
		return false;
	r->base = align_up(p, alignment);
	r->nbytes = nbytes;
	r->is_mapped = true;
	/* What is too much stays, addresses without memory: each munmap here took 1.5 us. */
	r->nbytes_below = r->base - p;
	r->nbytes_above = slack - r->nbytes_below;
	return true;
}

/* Are the first and the last os page of the range free? The kernel is asked by mapping them. */
static bool is_vacant(uintptr_t base, size_t nbytes)
{
	uintptr_t ends[] = { base, base + nbytes - OS_PAGE_BYTES };

	for (int i = 0; i < 2; i++) {
		uintptr_t p = (uintptr_t)map(ends[i], OS_PAGE_BYTES, PROT_NONE, MAP_FIXED_NOREPLACE);

		unmap(p, p ? OS_PAGE_BYTES : 0);
		if (p != ends[i])
			return false;
	}
	return true;
}

/* The kernel's 16 random bytes for this process: addresses stay unpredictable. */
static uint64_t random_bits(void)
{
	const unsigned char *bytes = (const unsigned char *)getauxval(AT_RANDOM);
	uint64_t bits = 0;

	for (int i = 0; bytes && i < 8; i++)
		bits = bits << 8 | bytes[8 + i];
	return bits;
}

/* Each region gets a place of its own: what was chosen before is not mapped yet, looks vacant. */
static bool reserve_chosen(struct os_region *r, size_t nbytes, size_t alignment)
{
	static unsigned ntried;
	uint64_t random = random_bits();

	while (ntried < CHOICE_COUNT) {
		unsigned i = ntried++;
		uint64_t slide = (random >> 5) % (CHOICE_STEP / 2);
		uintptr_t base = CHOICE_BASE + (random + i) % CHOICE_COUNT * 2 * CHOICE_STEP + slide;

		base = align_down(base, alignment);
		if (!is_vacant(base, nbytes))
			continue;
		*r = (struct os_region){ .base = base, .nbytes = nbytes };
		return true;
	}
	return false;
}

static size_t limit_of(__rlimit_resource_t resource)
{
	struct rlimit limit;
	int kept = errno;
	bool is_limited = getrlimit(resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;

	errno = kept;
	return is_limited ? (size_t)limit.rlim_cur : SIZE_MAX;
}

size_t os_memory_limit(void)
{
	size_t space = limit_of(RLIMIT_AS), data = limit_of(RLIMIT_DATA);

	return space < data ? space : data;
}

int os_reserve(struct os_region *r, size_t nbytes, size_t min_bytes, size_t alignment)
{
	size_t limit = limit_of(RLIMIT_AS);

	/* More than the limit can't be used. Powers of two keep table sizes simple. */
	while (nbytes / 2 >= limit && nbytes / 2 >= min_bytes)
		nbytes /= 2;
	for (size_t n = nbytes; limit == SIZE_MAX && n >= min_bytes; n /= 2) {
		if (reserve_mapped(r, n, alignment))
			return 0;
	}
	for (; nbytes >= min_bytes; nbytes /= 2) {
		if (reserve_chosen(r, nbytes, alignment))
			return 0;
	}
	return ENOMEM;
}

int os_protect(uintptr_t addr, size_t nbytes, bool is_writable)
{
	int kept = errno;
	int error = mprotect((void *)addr, nbytes, is_writable ? RW : PROT_READ) ? errno : 0;

	errno = kept;
	return error;
}

int os_commit(const struct os_region *r, uintptr_t addr, size_t nbytes)
{
	if (r->is_mapped)
		return os_protect(addr, nbytes, true);

	int kept = errno;
	void *p = mmap((void *)addr, nbytes, RW, PRIVATE | MAP_FIXED_NOREPLACE, -1, 0);
	int error = p == MAP_FAILED ? errno : 0;

	errno = kept;
	if (!error && (uintptr_t)p != addr) {   /* before Linux 4.17 the address is only a hint */
		unmap((uintptr_t)p, nbytes);
		error = EEXIST;
	}
	return error;
}

void os_unreserve(struct os_region *r, size_t used)
{
	if (r->is_mapped) {
		unmap(r->base - r->nbytes_below, r->nbytes_below);
		unmap(r->base + used, r->nbytes - used + r->nbytes_above);
	}
	r->is_mapped = false;
}

void *os_map(size_t nbytes)
{
	return map(0, nbytes, RW, 0);
}

void os_unmap(uintptr_t addr, size_t nbytes)
{
	unmap(addr, nbytes);
}

static void *map_shared(uintptr_t at, size_t nbytes, int flags)
{
	int kept = errno;
	void *p = mmap((void *)at, nbytes, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1,
	               0);

	errno = kept;
	return p == MAP_FAILED ? NULL : p;
}

void *os_map_shared(size_t nbytes)
{
	return map_shared(0, nbytes, 0);
}

int os_renew_shared(uintptr_t addr, size_t nbytes)
{
	return map_shared(addr, nbytes, MAP_FIXED) ? 0 : ENOMEM;
}

static int advise(uintptr_t addr, size_t nbytes, int advice)
{
	int kept = errno;
	int error = madvise((void *)addr, nbytes, advice) ? errno : 0;

	errno = kept;
	return error;
}

bool os_is_writable(uintptr_t addr)
{
	return !advise(addr, OS_PAGE_BYTES, MADV_POPULATE_WRITE);
}

int os_discard(uintptr_t addr, size_t nbytes)
{
	return advise(addr, nbytes, MADV_DONTNEED);
}

int os_discard_lazily(uintptr_t addr, size_t nbytes)
{
	return advise(addr, nbytes, MADV_FREE);
}

/* Elsewhere first, then to the target: the first step is the one that can fail (the source may
 * consist of several mappings), and a failure with MREMAP_FIXED could leave the target unmapped,
 * for another thread's mmap to fall into. MREMAP_DONTUNMAP (Linux 5.7) keeps the source mapped for
 * the same reason. */
int os_move_pages(uintptr_t from, uintptr_t to, size_t nbytes)
{
	int kept = errno;
	void *between = mremap((void *)from, nbytes, nbytes, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);

	if (between == MAP_FAILED) {
		int error = errno;

		errno = kept;
		return error;
	}
	if (mremap(between, nbytes, nbytes, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)to) == MAP_FAILED) {
		map(to, nbytes, RW, MAP_FIXED_NOREPLACE);       /* in case it is unmapped by now */
		memcpy((void *)to, between, nbytes);
		unmap((uintptr_t)between, nbytes);
	}
	errno = kept;
	return 0;
}

int os_renew(uintptr_t addr, size_t nbytes)
{
	return map(addr, nbytes, RW, MAP_FIXED) ? 0 : ENOMEM;
}

int os_advise_huge(uintptr_t addr, size_t nbytes, bool wanted)
{
	return advise(addr, nbytes, wanted ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

void os_name(uintptr_t addr, size_t nbytes, const char *name)
{
	static _Atomic bool is_refused;         /* the kernel was built without it */
	int kept = errno;

	/* relaxed: at worst it is asked twice. */
	if (!atomic_load_explicit(&is_refused, memory_order_relaxed)
	    && prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, nbytes, name))
		atomic_store_explicit(&is_refused, true, memory_order_relaxed);
	errno = kept;
}

uint64_t os_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t os_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void os_nap_ns(uint64_t ns)
{
	const struct timespec t = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };
	int kept = errno;

	syscall(SYS_nanosleep, &t, NULL);
	errno = kept;
}

uint64_t os_clock_us(int clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t))
		return 0;
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t os_thread_cpu_us(void)
{
	return os_clock_us(CLOCK_THREAD_CPUTIME_ID);
}

int os_thread_clock(void)
{
	clockid_t clock;

	return pthread_getcpuclockid(pthread_self(), &clock) ? CLOCK_THREAD_CPUTIME_ID : clock;
}

uint64_t os_process_cpu_us(void)
{
	return os_clock_us(CLOCK_PROCESS_CPUTIME_ID);
}
