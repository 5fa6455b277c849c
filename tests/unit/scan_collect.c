/* scan_collect.c: marking for a collection: marks that stay, free slots, protected blocks, help from others. Pages
 * that were written are scan_dirty.c's. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "core/marks.h"
#include "scan/mark.h"
#include "scan/own.h"
#include "scan/roots.h"
#include "scan/threads.h"
#include "scan/workers.h"
#include "tests/check.h"
#include "tests/core.h"
#include "tests/unit/collect.h"

/* --- marks --- */

Test(scan_collect, marks_stay_until_a_full_marking_begins, .init = start)
{
	void *p = make(48), *q = make(48);

	cr_assert(mark_start_full());
	mark_from(p);
	mark_end();
	cr_assert(is_marked(p));
	cr_assert(mark_start_sticky());
	mark_from(q);
	mark_end();
	cr_assert(is_marked(p) && is_marked(q));
	cr_assert(mark_start_full());
	cr_assert_not(is_marked(p) || is_marked(q));
	mark_end();
}

Test(scan_collect, a_sticky_marking_does_not_read_what_is_marked, .init = start)
{
	void **p = make(48), *q = make(48);

	cr_assert(mark_start_full());
	mark_from(p);
	mark_end();
	p[0] = q;
	cr_assert(mark_start_sticky());
	mark_from(p);
	cr_assert_not(is_marked(q));
	cr_assert_eq(mark_counts().nblocks, 0);
	mark_page_of(p);
	mark_drain();
	cr_assert(is_marked(q));
	mark_end();
}

/* A mark may be left on a free slot. If another block comes to lie there, an address inside it is not
 * taken for the start of a marked one. */
Test(scan_collect, a_sticky_marking_begins_without_marks_on_free_memory, .init = start)
{
	char *p = make(256);

	cr_assert(mark_start_full());
	mark_end();
	marks_set((uintptr_t)p + 32);
	cr_assert(mark_start_sticky());
	mark_from(p + 32);
	cr_assert(is_marked(p));
	cr_assert_not(is_marked(p + 32));
	mark_end();
}

Test(scan_collect, counts_tell_blocks_slots_and_what_was_read, .init = start)
{
	void **p = make(40);

	p[0] = make(100);
	p[1] = make(KIB(40));
	cr_assert(mark_start_full());
	mark_from(p);
	cr_assert_eq(mark_counts().nblocks, 3);
	cr_assert_eq(mark_counts().nslot_bytes, 48 + 112 + KIB(48));
	cr_assert_geq(mark_counts().nbytes, 40 + 96 + KIB(40));
	mark_end();
}

Test(scan_collect, what_the_heap_grew_by_counts_when_it_is_told, .init = start)
{
	void **p = make(48), *q;
	size_t nbytes = heap.nbytes;

	cr_assert(mark_start_full());
	do
		q = make(MIB(10));
	while ((uintptr_t)q - heap.base < nbytes);
	p[0] = q;
	mark_from(p);
	cr_assert_not(is_marked(q));
	mark_extend();
	mark_page_of(p);
	mark_drain();
	cr_assert(is_marked(q));
	mark_end();
}

/* --- threads --- */

static void show_to_threads_rule(const void *p)
{
	uintptr_t word = (uintptr_t)p;

	mark_threads_range((uintptr_t)&word, (uintptr_t)(&word + 1));
	mark_drain();
}

Test(scan_collect, a_free_slot_in_a_thread_s_hands_gets_a_mark_and_is_not_read, .init = start)
{
	void **p = make(48), *q = make(48);

	p[0] = q;
	cache_free(p);
	cr_assert(mark_start_full());
	mark_from(p);
	cr_assert_not(is_marked(p));
	show_to_threads_rule(p);
	cr_assert(is_marked(p));
	cr_assert_not(is_marked(q));
	cr_assert_eq(mark_counts().nblocks, 0);
	mark_end();
}

Test(scan_collect, so_does_one_that_the_collector_reclaimed, .init = start)
{
	void **p = make(48);

	*heap_granule((uintptr_t)p) = SIZECLASS_RECLAIMED;
	cr_assert(mark_start_full());
	mark_from(p);
	cr_assert_not(is_marked(p));
	show_to_threads_rule(p);
	cr_assert(is_marked(p));
	mark_end();
}

Test(scan_collect, in_a_thread_s_hands_an_address_inside_a_block_is_the_block, .init = start)
{
	static const size_t sizes[] = { 48, 1000, KIB(8), KIB(40), MIB(2) };

	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		void **p = make(sizes[i]), *q = make(48);
		char *inside = (char *)p + sizes[i] / 2;

		p[0] = q;
		cr_assert(mark_start_full());
		show_to_threads_rule(inside);
		cr_assert(is_marked(p) && is_marked(q));
		cr_assert_not(is_marked(inside), "%zu", sizes[i]);
		mark_end();
	}
}

/* More than are looked up at a time. */
Test(scan_collect, every_word_of_a_stack_counts, .init = start)
{
	enum { N = 1000 };
	static void *stack[N];

	for (unsigned i = 0; i < N; i++)
		stack[i] = i % 3 ? make(16 + i) : (void *)(uintptr_t)i;
	cr_assert(mark_start_full());
	mark_threads_range((uintptr_t)stack, (uintptr_t)(stack + N));
	mark_drain();
	for (unsigned i = 0; i < N; i++)
		cr_assert(i % 3 == 0 || is_marked(stack[i]));
	mark_end();
}

/* --- a second marking --- */

static uintptr_t shown[8];
static unsigned nshown;

static void show(uintptr_t block, void *arg)
{
	(void)arg;
	shown[nshown++ % 8] = block;
}

Test(scan_collect, a_second_marking_shows_what_the_first_has_not, .init = start)
{
	void **p = make(48), *q = make(48), *r = make(KIB(100));

	nshown = 0;
	cr_assert(mark_start_full());
	mark_from(p);
	p[0] = q;                               /* nobody tells of it */
	p[1] = r;
	mark_stopped();
	cr_assert(mark_verify_begin());
	mark_from(p);
	mark_verify_end(show, NULL);
	cr_assert_eq(nshown, 2);
	cr_assert_eq(shown[0] + shown[1], (uintptr_t)q + (uintptr_t)r);
	cr_assert_eq(mark_counts().nblocks, 1);
	cr_assert(is_marked(p));
	cr_assert_not(is_marked(q));
	mark_page_of(p);
	mark_drain();
	cr_assert(mark_verify_begin());
	mark_from(p);
	mark_verify_end(show, NULL);
	cr_assert_eq(nshown, 2);
	mark_end();
}

static void count(uintptr_t from, uintptr_t to, void *arg)
{
	(void)from, (void)to;
	++*(unsigned *)arg;
}

static unsigned own_mappings(void)
{
	unsigned n = 0;

	own_visit(count, &n);
	return n;
}

/* What it grew out of stays mapped, and there is a table of such. */
Test(scan_collect, a_second_marking_of_a_growing_heap_makes_few_mappings, .init = start)
{
	unsigned before = own_mappings();

	for (unsigned i = 0; i < 16; i++) {
		cr_assert_not_null(core_malloc(MIB(140)));
		cr_assert(mark_start_full());
		mark_stopped();
		cr_assert(mark_verify_begin());
		mark_verify_end(show, NULL);
		mark_end();
	}
	cr_assert_leq(own_mappings() - before, 14);
}

/* --- protected blocks --- */

static void ignore(uintptr_t from, uintptr_t to, const char *what, void *arg)
{
	(void)from, (void)to, (void)what, (void)arg;
}

static void protect(char *p, size_t nbytes, int how)
{
	uintptr_t from = align_up((uintptr_t)p, OS_PAGE_BYTES);

	cr_assert_eq(mprotect((void *)from, align_down((uintptr_t)p + nbytes - from, OS_PAGE_BYTES),
	                      how), 0);
}

/* And what it points to is found all the same. */
Test(scan_collect, a_protected_block_is_read_beside_the_program, .init = start)
{
	static const size_t sizes[] = { KIB(8), KIB(16), KIB(40), KIB(130), MIB(1) };

	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		char *p = make(sizes[i]);
		void *q = make(48), *r = make(48);

		memcpy(p + align_down(sizes[i] - 64, 8), &q, sizeof q);
		memcpy(p + KIB(5), &r, sizeof r);
		protect(p, sizes[i], PROT_NONE);
		cr_assert(mark_start_full());
		mark_from(p);
		cr_assert(is_marked(p) && is_marked(q) && is_marked(r), "%zu", sizes[i]);
		mark_page_of(p + KIB(5));
		mark_drain();
		mark_end();
		protect(p, sizes[i], PROT_READ | PROT_WRITE);
	}
}

Test(scan_collect, a_protected_block_is_read_in_a_stop, .init = start)
{
	char *p = make(KIB(100));
	void *q = make(48), *r = make(48);

	memcpy(p + KIB(50), &q, sizeof q);
	cr_assert(mark_start_full());
	mark_stopped();
	cr_assert(roots_visit_rest(false, ignore, NULL));
	cr_assert_not(roots_heap_is_protected());
	mark_drain();
	protect(p, KIB(100), PROT_NONE);
	cr_assert(roots_visit_rest(false, ignore, NULL));
	cr_assert(roots_heap_is_protected());
	mark_from(p);
	cr_assert(is_marked(q));
	protect(p, KIB(100), PROT_READ | PROT_WRITE);
	memcpy(p + KIB(50), &r, sizeof r);
	protect(p, KIB(100), PROT_NONE);
	mark_page_of(p + KIB(50));
	mark_drain();
	cr_assert(is_marked(r));
	mark_end();
}

/* --- help --- */

#define NTREE 100000

static void **make_tree(void)
{
	static void **node[NTREE];

	for (unsigned i = 0; i < NTREE; i++)
		node[i] = make(40);
	for (unsigned i = 1; i < NTREE; i++)
		node[(i - 1) / 2][i % 2] = node[i];
	return node[0];
}

static _Atomic bool is_over;
static _Atomic uint64_t nassisted;

static void *assist(void *arg)
{
	(void)arg;
	while (!atomic_load(&is_over))
		atomic_fetch_add(&nassisted, mark_assist(KIB(8)));
	return NULL;
}

Test(scan_collect, threads_of_the_program_assist, .init = start)
{
	pthread_t thread[3];
	void **first = make_tree();

	cr_assert_eq(mark_assist(KIB(8)), 0);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, assist, NULL), 0);
	for (unsigned round = 0; round < 20 || !atomic_load(&nassisted); round++) {
		mark_set_workers(1 + round % 2);
		cr_assert(mark_start_full());
		mark_from(first);
		cr_assert_eq(mark_counts().nblocks, NTREE);
		mark_end();
	}
	atomic_store(&is_over, true);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	cr_assert_eq(mark_assist(KIB(8)), 0);
}

Test(scan_collect, helpers_called_before_a_stop_help_in_it, .init = start)
{
	void **first = make_tree();

	for (unsigned round = 0; round < 10; round++) {
		cr_assert(mark_start_full());
		mark_call_helpers(4);
		mark_stopped();
		mark_from(first);
		cr_assert_eq(mark_counts().nblocks, NTREE);
		mark_end();
	}
}

/* They never answer, being no threads of the program's: neither while they are there, nor when they have
 * just ended. */
Test(scan_collect, helpers_are_not_stopped_and_not_missed)
{
	unsigned ndeaf;

	start();
	cr_assert(scan_threads_start());
	cr_assert(scan_stop());
	ndeaf = scan_stop_info().nmissed;       /* the harness has such a thread */
	scan_resume();
	for (unsigned round = 0; round < 20; round++) {
		cr_assert(mark_start_full());
		mark_call_helpers(4);
		cr_assert(scan_stop());
		cr_assert_eq(scan_stop_info().nmissed, ndeaf);
		cr_assert_eq(scan_stop_info().nthreads + ndeaf, 1);
		scan_resume();
		mark_end();
		cr_assert(scan_stop());
		cr_assert_eq(scan_stop_info().nmissed, ndeaf);
		scan_resume();
	}
}

/* --- what the kernel keeps --- */

static unsigned nwords;
static uintptr_t looked_for;

static void look(uintptr_t from, uintptr_t to, const char *what, void *arg)
{
	(void)to, (void)arg;
	nwords += !strcmp(what, "epoll") && *(uintptr_t *)from == looked_for;
}

/* Found beside the program by their names, in the stop by asking them; what they watch, and what is new. */
Test(scan_collect, epoll_instances_are_found_in_the_stop_as_well, .init = start)
{
	int fds[2], old = epoll_create1(0), new;
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = looked_for = 0x123456789abc };

	cr_assert_eq(pipe(fds), 0);
	cr_assert_eq(epoll_ctl(old, EPOLL_CTL_ADD, fds[0], &event), 0);
	cr_assert(roots_visit_rest(true, look, NULL));
	cr_assert_eq(nwords, 1);
	new = epoll_create1(0);
	cr_assert_eq(epoll_ctl(new, EPOLL_CTL_ADD, fds[0], &event), 0);
	cr_assert_eq(epoll_ctl(new, EPOLL_CTL_ADD, old, &event), 0);
	nwords = 0;
	cr_assert(roots_visit_rest(false, look, NULL));
	cr_assert_eq(nwords, 3);
	cr_assert_eq(epoll_wait(new, &event, 1, 0), 0);
	for (unsigned i = 0; i < 200; i++)
		cr_assert_geq(dup(fds[1]), 0);
	nwords = 0;
	cr_assert(roots_visit_rest(true, look, NULL));
	cr_assert_eq(nwords, 3);
	nwords = 0;
	cr_assert(roots_visit_rest(false, look, NULL));
	cr_assert_eq(nwords, 3);
}
