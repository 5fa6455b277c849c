/* dirty_mprotect.h: a protected heap for tests of mode gc's way by memory protection.
 *
 * Each test, RUNS(name) { ... }, runs in a child of its own: the harness has a thread that no signal
 * stops. What is written is looked for in a block of its own, which must come out dirty, and its contents
 * must be there.
 */
#ifndef TESTS_UNIT_DIRTY_MPROTECT_H
#define TESTS_UNIT_DIRTY_MPROTECT_H

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scan/dirty.h"
#include "scan/guard.h"
#include "tests/unit/scan.h"

#define BLOCK KIB(256)                          /* of several granules */
#define NBLOCKS 64

static char *blocks[NBLOCKS];
static unsigned nblocks;

/* Blocks of several granules each, with memory behind. */
static void fill_heap(void)
{
	for (unsigned i = 0; i < NBLOCKS; i++) {
		blocks[i] = core_malloc(BLOCK);
		check(blocks[i]);
		memset(blocks[i], 0x5a, BLOCK);
	}
}

static __attribute__((unused)) char *fresh(void)
{
	check(nblocks < NBLOCKS);
	return blocks[nblocks++];
}

static __attribute__((unused)) void open_window(void)
{
	check(scan_stop());
	check(dirty_mprotect.arm(heap.base, heap_end()));
	scan_resume();
}

static struct find {
	uintptr_t p;
	bool is_found;
} find;

static void look(uintptr_t from, uintptr_t to, void *arg)
{
	struct find *f = arg;

	f->is_found |= f->p >= from && f->p < to;
}

static __attribute__((unused)) bool is_dirty(const void *p)
{
	find = (struct find){ .p = (uintptr_t)p };
	check(scan_stop());
	check(dirty_mprotect.collect(heap.base, heap_end(), false, look, &find));
	scan_resume();
	return find.is_found;
}

static __attribute__((unused)) void close_window(void)
{
	dirty_mprotect.disarm();
}

static void prepare(void)
{
	core_start();
	check(scan_threads_start());
	fill_heap();
	check(dirty_mprotect.start());
}

/* 0 or the signal or status that it ended with. */
static __attribute__((unused)) int outcome_of(void (*test)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		alarm(100);
		signal(SIGSEGV, SIG_DFL);       /* ASan has a handler for it */
		prepare();
		test();
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status) << 8;
}

#define RUNS(name) \
	static void name##_body(void); \
	Test(protected_heap, name) { cr_assert_eq(outcome_of(name##_body), 0); } \
	static void name##_body(void)

static __attribute__((unused)) int fed_by;      /* the end that was last written to */

static __attribute__((unused)) int feed(const char *text, size_t n)
{
	int ends[2];

	check(pipe(ends) == 0);
	check(write(ends[1], text, n) == (ssize_t)n);
	fed_by = ends[1];
	return ends[0];
}

static __attribute__((unused)) void expect(const char *p, const char *text)
{
	check(memcmp(p, text, strlen(text)) == 0);
	check(is_dirty(p));
}

#endif
