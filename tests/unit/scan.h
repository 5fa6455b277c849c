/* scan.h: looking for a word in what is shown as roots.
 *
 * Used by scan_threads.c and scan_roots.c. A test makes its word by scan_word() at the place where it
 * shall be found, and nowhere else: what is looked for is kept inverted.
 */
#ifndef TESTS_UNIT_SCAN_H
#define TESTS_UNIT_SCAN_H

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "scan/roots.h"
#include "scan/threads.h"
#include "tests/core.h"
#include "tests/scan_begin.h"

static volatile uintptr_t scan_key = UINT64_C(0x5a5aa5a5c3c33c3c);

/* Different for each number; the compiler can't know it. */
#define scan_word(number) (~(scan_key + (number)))

static struct scan_search {
	uintptr_t inverted;
	unsigned nfound;
	char what[64];                          /* of the last one */
} scan_search;

static __attribute__((unused, no_sanitize("address"))) void scan_look(uintptr_t from, uintptr_t to,
                                                                      const char *what, void *arg)
{
	struct scan_search *s = arg;

	for (uintptr_t at = (from + 7) & ~(uintptr_t)7; at + 8 <= to; at += 8) {
		if (*(const uintptr_t *)at == ~s->inverted) {
			s->nfound++;
			strncpy(s->what, what, sizeof s->what - 1);
		}
	}
}

/* The harness has a thread with all signals blocked. */
static unsigned scan_ndeaf;

static inline void scan_start(void)
{
	core_start();
	cr_assert(scan_threads_start());
	cr_assert(scan_stop());
	scan_ndeaf = scan_stop_info().nmissed;
	scan_resume();
}

static inline void scan_prepare(unsigned number)
{
	scan_search = (struct scan_search){ .inverted = scan_key + number };
}

/* How often the word of that number is shown by all threads; by all roots. */
static __attribute__((unused, noinline)) unsigned scan_count_threads(unsigned number)
{
	scan_prepare(number);
	cr_assert(scan_stop());
	scan_threads_visit(scan_look, &scan_search);
	scan_resume();
	return scan_search.nfound;
}

static __attribute__((unused, noinline)) unsigned scan_count_roots(unsigned number)
{
	scan_prepare(number);
	cr_assert(scan_stop());
	bool is_read = roots_visit(scan_look, &scan_search);
	scan_resume();
	cr_assert(is_read);
	return scan_search.nfound;
}

static __attribute__((unused)) pthread_t scan_create(void *(*start)(void *), void *arg)
{
	pthread_t thread;

	check(pthread_create(&thread, NULL, scan_begin, scan_thread_plan(start, arg, false)) == 0);
	return thread;
}

#endif
