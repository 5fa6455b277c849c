/* scan_roots.c: what counts as a root, what does not, and that looking harms nothing. */
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>

#include "core/meta.h"
#include "scan/maps.h"
#include "scan/mark.h"
#include "scan/present.h"
#include "scan/ranges.h"
#include "tests/unit/scan.h"

static volatile uintptr_t in_data = 1, in_bss[100];
static _Thread_local volatile uintptr_t in_tls;

static volatile uintptr_t *map(size_t nbytes, int prot, int flags, int fd)
{
	volatile uintptr_t *p = mmap(NULL, nbytes, prot, flags, fd, 0);

	cr_assert_neq((void *)p, MAP_FAILED);
	return p;
}

#define RW (PROT_READ | PROT_WRITE)
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)
#define SHARED (MAP_SHARED | MAP_ANONYMOUS)

Test(scan_roots, variables_are_roots, .init = scan_start)
{
	in_data = scan_word(11);
	in_bss[50] = scan_word(12);
	in_tls = scan_word(13);
	cr_assert_geq(scan_count_roots(11), 1);
	cr_assert_geq(scan_count_roots(12), 1);
	cr_assert_geq(scan_count_roots(13), 1);
	in_data = in_bss[50] = in_tls = 0;
	cr_assert_eq(scan_count_roots(11), 0);
	cr_assert_eq(scan_count_roots(12), 0);
	cr_assert_eq(scan_count_roots(13), 0);
}

static void *hold_in_tls(void *arg)
{
	int *ends = arg;
	char byte;

	in_tls = scan_word(14);
	check(write(ends[1], "x", 1) == 1);
	check(read(ends[2], &byte, 1) == 1);
	return NULL;
}

Test(scan_roots, tls_of_other_threads_is_a_root_while_they_live, .init = scan_start)
{
	int ends[4];
	char byte;

	check(pipe(ends) == 0 && pipe(ends + 2) == 0);

	pthread_t thread = scan_create(hold_in_tls, ends);

	check(read(ends[0], &byte, 1) == 1);
	cr_assert_eq(scan_count_roots(14), 1);
	check(write(ends[3], "x", 1) == 1);
	pthread_join(thread, NULL);
	cr_assert_eq(scan_count_roots(14), 0);
}

Test(scan_roots, mappings_of_the_program_are_roots, .init = scan_start)
{
	volatile uintptr_t *private = map(MIB(1), RW, PRIVATE, -1);
	volatile uintptr_t *shared = map(MIB(1), RW, SHARED, -1), *brk = sbrk(8192);

	private[1000] = scan_word(21);
	shared[2000] = scan_word(22);
	brk[100] = scan_word(23);
	cr_assert_eq(scan_count_roots(21), 1);
	cr_assert_eq(scan_count_roots(22), 1);
	cr_assert_eq(scan_count_roots(23), 1);
}

static void look_everywhere(uintptr_t from, uintptr_t to, const char *what, void *arg)
{
	struct scan_search *s = arg;

	for (uintptr_t at = from, word; strcmp(what, "/dev/zero (deleted)") == 0 && at + 8 <= to; at++) {
		memcpy(&word, (void *)at, 8);
		s->nfound += word == ~s->inverted;
	}
}

/* Shared memory is looked at in pieces. */
Test(scan_roots, a_pointer_that_is_not_aligned_lies_across_no_border, .init = scan_start)
{
	char *shared = (char *)(uintptr_t)map(MIB(1), RW, SHARED, -1);
	const unsigned step = 64 * 1024 - 17;   /* meets each byte of a word at every border */
	uintptr_t word = scan_word(26);
	unsigned n = 0;

	for (unsigned at = 1; at + 8 <= MIB(1); at += step, n++)
		memcpy(shared + at, &word, 8);
	for (unsigned offset = 0; offset < 16; offset++) {
		memmove(shared + 1, shared, MIB(1) - 1);
		scan_prepare(26);
		cr_assert(scan_stop());
		roots_visit(look_everywhere, &scan_search);
		scan_resume();
		cr_assert_eq(scan_search.nfound, n, "%u, not %u", scan_search.nfound, n);
	}
}

Test(scan_roots, mappings_of_files_are_roots, .init = scan_start)
{
	int fd = memfd_create("roots", 0);

	cr_assert_eq(ftruncate(fd, MIB(1)), 0);

	volatile uintptr_t *shared = map(MIB(1), RW, MAP_SHARED, fd);
	volatile uintptr_t *private = map(MIB(1), RW, MAP_PRIVATE, fd);

	shared[3000] = scan_word(24);
	private[100] = scan_word(25);
	in_bss[0] = private[3000] == 0;         /* the page is there */
	cr_assert_eq(scan_count_roots(24), 1);  /* the private page is the file's still */
	cr_assert_eq(scan_count_roots(25), 1);
}

Test(scan_roots, what_was_written_and_protected_is_a_root, .init = scan_start)
{
	volatile uintptr_t *p = map(MIB(1), RW, PRIVATE, -1);
	volatile uintptr_t *hidden = map(MIB(1), RW, PRIVATE, -1);

	p[5] = scan_word(26);
	hidden[5] = scan_word(27);
	mprotect((void *)p, MIB(1), PROT_READ);
	mprotect((void *)hidden, MIB(1), PROT_NONE);
	cr_assert_eq(scan_count_roots(26), 1);
	cr_assert_eq(scan_count_roots(27), 1);
}

/* Protected against reading altogether, or but for execution; shared; of a file, with nothing that may
 * be written beside it. */
Test(scan_roots, however_it_is_protected, .init = scan_start)
{
	static const int protections[] = { PROT_READ, PROT_WRITE, PROT_EXEC, PROT_NONE };
	int fd = memfd_create("file", 0);

	cr_assert_eq(ftruncate(fd, KIB(8)), 0);
	for (unsigned i = 0; i < 4; i++) {
		volatile uintptr_t *around = map(KIB(24), PROT_NONE, PRIVATE, -1);
		volatile uintptr_t *p = around + KIB(8) / 8, *q = map(KIB(8), RW, PRIVATE, -1);

		mmap((void *)p, KIB(8), RW, MAP_PRIVATE | MAP_FIXED, fd, 0);
		p[3] = scan_word(61);
		q[3] = scan_word(62);
		mprotect((void *)p, KIB(8), protections[i]);
		mprotect((void *)q, KIB(8), protections[i]);
		cr_assert_eq(scan_count_roots(61), 1, "%x", (unsigned)protections[i]);
		cr_assert_eq(scan_count_roots(62), 1, "%x", (unsigned)protections[i]);
		munmap((void *)around, KIB(24));
		munmap((void *)q, KIB(8));
	}

	volatile uintptr_t *shared = map(KIB(8), RW, SHARED, -1);

	shared[3] = scan_word(63);
	mprotect((void *)shared, KIB(8), PROT_READ);
	cr_assert_eq(scan_count_roots(63), 1);
}

#define GUARD_INSTALL 102                       /* MADV_GUARD_INSTALL of Linux 6.13 */

/* They look as if they were swapped. */
Test(scan_roots, guards_inside_mappings_do_no_harm, .init = scan_start)
{
	volatile uintptr_t *p = map(MIB(1), RW, PRIVATE, -1);

	for (size_t i = 0; i < MIB(1) / 8; i += 512)
		p[i] = 1;
	p[0] = p[512 * 100] = scan_word(64);
	if (madvise((void *)(p + 512 * 10), KIB(64), GUARD_INSTALL))
		cr_skip("this kernel has no such guards");
	for (unsigned old = 0; old < 2; old++) {
		present_pretend_no_scan(old);
		cr_assert_eq(scan_count_roots(64), 2);
	}
	present_pretend_no_scan(false);
}

/* As after setuid(): reading what was never written would make it resident. */
Test(scan_roots, without_pagemap_what_is_not_there_is_not_read, .init = scan_start, .timeout = 100)
{
	int fd = memfd_create("file", 0);

	cr_assert_eq(ftruncate(fd, KIB(8)), 0);

	volatile uintptr_t *p = map(GIB(64), RW, PRIVATE | MAP_NORESERVE, -1);
	volatile uintptr_t *file = map(KIB(8), RW, MAP_PRIVATE, fd);
	unsigned char is_there;

	present_pretend_no_pagemap(true);
	p[GIB(1)] = file[0] = scan_word(65);
	cr_assert_eq(scan_count_roots(65), 2);
	cr_assert_eq(mincore((void *)(p + GIB(2)), KIB(4), &is_there), 0);
	cr_assert_eq(is_there, 0);
	present_pretend_no_pagemap(false);
}

/* As the loader leaves .data.rel.ro: read-only, of a file, directly before what may be written. */
Test(scan_roots, relocated_data_is_a_root, .init = scan_start)
{
	int fd = memfd_create("module", 0);

	cr_assert_eq(ftruncate(fd, KIB(64)), 0);

	volatile uintptr_t *p = map(KIB(64), RW, MAP_PRIVATE, fd);
	/* What comes before it can't be written, what comes behind is not next to it. */
	volatile uintptr_t *alone = map(KIB(256), PROT_NONE, PRIVATE, -1) + KIB(64) / 8;

	mmap((void *)alone, KIB(64), RW, MAP_PRIVATE | MAP_FIXED, fd, 0);
	munmap((void *)(alone + KIB(64) / 8), KIB(64));
	mprotect((void *)(alone + KIB(128) / 8), KIB(64), RW);
	p[7] = scan_word(28);
	alone[7] = scan_word(29);
	mprotect((void *)p, KIB(8), PROT_READ);
	mprotect((void *)alone, KIB(64), PROT_READ);
	cr_assert_eq(scan_count_roots(28), 1);
	cr_assert_eq(scan_count_roots(29), 1);
	/* Where nobody tells which pages were written, only these are worth reading. */
	present_pretend_no_pagemap(true);
	cr_assert_eq(scan_count_roots(28), 1);
	cr_assert_eq(scan_count_roots(29), 0, "%s", scan_search.what);
	present_pretend_no_pagemap(false);
}

/* Reading them would be SIGBUS or SIGSEGV, or would take all memory. */
Test(scan_roots, what_can_not_be_read_does_no_harm, .init = scan_start)
{
	int fd = memfd_create("short", 0);

	cr_assert_eq(ftruncate(fd, KIB(64)), 0);

	volatile uintptr_t *shared = map(KIB(64), RW, MAP_SHARED, fd);
	volatile uintptr_t *private = map(KIB(64), RW, MAP_PRIVATE, fd);

	shared[0] = scan_word(31);
	shared[KIB(32) / 8] = private[KIB(32) / 8] = private[KIB(12) / 8] = 1;
	cr_assert_eq(ftruncate(fd, KIB(16)), 0);
	map(MIB(1), PROT_NONE, PRIVATE, -1);
	map(MIB(1), PROT_WRITE, PRIVATE, -1);
	map(GIB(64), RW, PRIVATE | MAP_NORESERVE, -1)[GIB(1)] = scan_word(32);
	map(GIB(16), RW, SHARED | MAP_NORESERVE, -1)[GIB(1)] = scan_word(33);
	cr_assert_eq(scan_count_roots(31), 1);
	cr_assert_eq(scan_count_roots(32), 1);
	cr_assert_eq(scan_count_roots(33), 1);
}

/* On a kernel that tells about pages one by one. */
Test(scan_roots, the_same_pages_are_read_one_by_one, .init = scan_start)
{
	int fd = memfd_create("private", 0);

	cr_assert_eq(ftruncate(fd, KIB(64)), 0);
	present_pretend_no_scan(true);

	volatile uintptr_t *p = map(MIB(9), RW, PRIVATE, -1);
	volatile uintptr_t *private = map(KIB(64), RW, MAP_PRIVATE, fd);

	volatile uintptr_t *shared = map(KIB(64), RW, MAP_SHARED, fd);

	shared[0] = scan_word(37);
	in_bss[0] = private[0] == 0;            /* the page is there, and the file's still */
	p[0] = p[512] = p[512 * 511 + 511] = p[512 * 512] = p[MIB(9) / 8 - 1] = scan_word(34);
	private[KIB(32) / 8] = scan_word(35);
	cr_assert_eq(ftruncate(fd, KIB(4)), 0);
	cr_assert_eq(scan_count_roots(34), 5);
	cr_assert_eq(scan_count_roots(35), 0);
	cr_assert_eq(scan_count_roots(37), 1);
	present_pretend_no_scan(false);
	cr_assert_eq(scan_count_roots(34), 5);
}

Test(scan_roots, a_mapping_of_16_tib_is_walked_quickly, .init = scan_start, .timeout = 100)
{
	volatile uintptr_t *p = mmap(NULL, (size_t)16 << 40, RW, PRIVATE | MAP_NORESERVE, -1, 0);

	if ((void *)p == MAP_FAILED)
		cr_skip("no 16 TiB of addresses to be had");
	p[(size_t)1 << 40] = scan_word(36);
	cr_assert_eq(scan_count_roots(36), 1);
}

Test(scan_roots, epoll_data_are_roots, .init = scan_start)
{
	int epoll = epoll_create1(0), ends[2];
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = scan_word(41) };

	check(pipe(ends) == 0);
	check(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event) == 0);
	event.data.u64 = 0;
	cr_assert_eq(scan_count_roots(41), 1);
	cr_assert_str_eq(scan_search.what, "epoll");
	close(epoll);
	cr_assert_eq(scan_count_roots(41), 0);
}

Test(scan_roots, values_of_timers_are_roots, .init = scan_start)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	timer_t timer;

	if (access("/proc/self/timers", R_OK))
		cr_skip("this kernel has no /proc/self/timers");
	event.sigev_value.sival_ptr = (void *)scan_word(42);
	check(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
	event.sigev_value.sival_ptr = NULL;
	cr_assert_eq(scan_count_roots(42), 1);
	cr_assert_str_eq(scan_search.what, "timer");
	timer_delete(timer);
	cr_assert_eq(scan_count_roots(42), 0);
}

Test(scan_roots, what_the_program_adds_is_a_root_until_it_is_removed, .init = scan_start)
{
	volatile uintptr_t *p = core_malloc(64);

	p[3] = scan_word(51);
	cr_assert_eq(scan_count_roots(51), 0);  /* the heap is no root */
	cr_assert(roots_add((void *)p, 64));
	cr_assert(roots_add((void *)p, 64));
	cr_assert_eq(scan_count_roots(51), 1);
	cr_assert(roots_remove((void *)p, 64));
	cr_assert_eq(scan_count_roots(51), 1);
	cr_assert(roots_remove((void *)p, 64));
	cr_assert_eq(scan_count_roots(51), 0);
	cr_assert_not(roots_remove((void *)p, 64));
	cr_assert_not(roots_remove((void *)p, 32));
}

Test(scan_roots, what_the_program_added_may_be_gone, .init = scan_start)
{
	volatile uintptr_t *p = map(MIB(1), RW, PRIVATE, -1), *q = map(MIB(1), RW, PRIVATE, -1);

	cr_assert(roots_add((void *)p, MIB(1)) && roots_add((void *)q, MIB(1)));
	p[0] = q[0] = scan_word(54);
	mprotect((void *)(p + 512), KIB(4), PROT_NONE);
	munmap((void *)(q + 512), KIB(4));
	cr_assert_geq(scan_count_roots(54), 2);
	munmap((void *)p, MIB(1));
	munmap((void *)q, MIB(1));
	cr_assert_eq(scan_count_roots(54), 0);
}

/* A directory of files in memory or huge pages may be there. */
Test(scan_roots, files_of_dev_are_no_devices, .init = scan_start)
{
	static const char name[] = "/dev/spangc-test";
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);

	if (fd < 0)
		cr_skip("no file can be made in /dev");
	unlink(name);
	cr_assert_eq(ftruncate(fd, KIB(8)), 0);
	map(KIB(8), RW, MAP_SHARED, fd)[5] = scan_word(55);
	cr_assert_eq(scan_count_roots(55), 1);
}

Test(scan_roots, records_and_what_is_excluded_are_no_roots, .init = scan_start)
{
	volatile uintptr_t *record = meta_alloc(64, 8);
	volatile uintptr_t *p = map(MIB(1), RW, PRIVATE, -1);

	record[1] = scan_word(52);
	p[10] = p[20] = p[30] = scan_word(53);
	cr_assert_eq(scan_count_roots(52), 0);
	roots_exclude((uintptr_t)&p[20], (uintptr_t)&p[21]);
	cr_assert_eq(scan_count_roots(53), 2);
	roots_exclude((uintptr_t)p, (uintptr_t)p + MIB(1));
	cr_assert_eq(scan_count_roots(53), 0);
}

static void look_beside_stacks(uintptr_t from, uintptr_t to, const char *what, void *arg)
{
	if (strcmp(what, "stack") != 0 && strcmp(what, "registers") != 0)
		scan_look(from, to, what, arg);
}

/* Our own variables count here: they are the test program's. */
static unsigned count_beside_stacks(uintptr_t inverted)
{
	scan_search = (struct scan_search){ .inverted = inverted };
	cr_assert(scan_stop());
	roots_visit(look_beside_stacks, &scan_search);
	scan_resume();
	return scan_search.nfound;
}

/* The records of marking must not keep alive what they told about the time before. */
Test(scan_roots, what_an_earlier_marking_left_is_no_root, .init = scan_start)
{
	core_malloc(48);                        /* the heap's first address is known to many */

	void **p = core_malloc(48);

	*p = NULL;

	uintptr_t hidden = ~(uintptr_t)p;

	p = NULL;

	unsigned before = count_beside_stacks(hidden);

	for (unsigned round = 0; round < 2; round++) {
		cr_assert(mark_start());
		mark_word(~hidden);
		mark_drain();
		mark_end();
	}
	cr_assert_eq(count_beside_stacks(hidden), before);
}

/* --- the parts --- */

Test(scan_roots, a_line_of_maps_is_understood)
{
	static const char line[] = "7f12a0000000-7f12a0021000 rw-s 00001000 08:01 4711       /tmp/a b";
	struct mapping m;

	cr_assert(maps_parse(line, &m));
	cr_assert_eq(m.from, UINT64_C(0x7f12a0000000));
	cr_assert_eq(m.to, UINT64_C(0x7f12a0021000));
	cr_assert(m.is_readable && m.is_writable && m.is_shared);
	cr_assert_eq(m.inode, 4711);
	cr_assert_str_eq(m.name, "/tmp/a b");
	cr_assert(maps_parse("1000-2000 r-xp 00000000 00:00 0 ", &m));
	cr_assert(m.is_readable && !m.is_writable && !m.is_shared && m.inode == 0);
	cr_assert_str_eq(m.name, "");
	cr_assert_not(maps_parse("", &m));
	cr_assert_not(maps_parse("1000-2000", &m));
	cr_assert_not(maps_parse("1000-2000 r", &m));
	cr_assert_not(maps_parse("2000-1000 rw-p 0 0:0 0", &m));
}

Test(scan_roots, what_is_outside_ranges_is_found_piece_by_piece)
{
	static const struct range inside[] = { { 90, 95 }, { 10, 20 }, { 15, 30 }, { 40, 50 },
	                                       { 40, 45 }, { 55, 70 } };
	static const struct range wanted[] = { { 5, 10 }, { 30, 40 }, { 50, 52 }, { 80, 90 },
	                                       { 95, 99 } };
	static const struct range walked[] = { { 5, 52 }, { 60, 65 }, { 80, 99 } };
	struct ranges r = { 0 };
	unsigned n = 0;

	for (unsigned i = 0; i < 6; i++)
		cr_assert(ranges_add(&r, inside[i].from, inside[i].to));
	ranges_sort(&r);
	for (unsigned i = 0; i < 3; i++) {
		uintptr_t from = walked[i].from;
		struct range part;

		while (ranges_next_outside(&r, &from, walked[i].to, &part)) {
			cr_assert(n < 5 && part.from == wanted[n].from && part.to == wanted[n].to,
			          "%u: %zu-%zu", n, part.from, part.to);
			n++;
		}
	}
	cr_assert_eq(n, 5);
}

Test(scan_roots, many_ranges_are_kept_and_sorted)
{
	struct ranges r = { 0 };

	for (unsigned i = 0; i < 5000; i++)
		cr_assert(ranges_add(&r, (i * 7919 % 5000) * 10, (i * 7919 % 5000) * 10 + 5));
	ranges_sort(&r);
	for (unsigned i = 0; i < 5000; i++)
		cr_assert_eq(r.range[i].from, i * 10);
}
