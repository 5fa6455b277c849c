/* eintr.h: calls that block, each in a thread of its own, while the world is stopped many times, by
 * reports in mode leaks and by collections in mode gc.
 *
 * A program has a table of them and ends with eintr_main().
 */
#ifndef TESTS_EINTR_H
#define TESTS_EINTR_H

#include "tests/process/process.h"

#include <pthread.h>

#define MS 300
#define MAX_ROWS 64

extern int __lsan_do_recoverable_leak_check(void) __attribute__((weak));
extern size_t spangc_collect(void) __attribute__((weak));

static struct timespec now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t;
}

static int error_of(long result)
{
	return result == -1 ? errno : 0;
}

enum kind {
	TIMED,                                  /* ends at its time; EINTR if a signal comes */
	ENDLESS,                                /* ends when a signal comes */
	STEADY,                                 /* ends at its time, whatever comes */
};

struct row {
	const char *name;
	int (*call)(void);
	enum kind kind;
	int expected;                           /* at the end of its time */
};


static struct run {
	const struct row *row;
	pthread_t thread;
	int error;
	double ms;
	struct timespec from, signalled;
	bool is_late;                           /* half of the time went by without a signal */
	_Atomic bool is_begun, is_done;
} runs[MAX_ROWS];

static void *run(void *arg)
{
	struct run *r = arg;
	struct timespec from, to;
	sigset_t child;

	/* One that ends while the thread that made it stands still, so that all is blocked there, cuts short
	 * another thread's sigwaitinfo(), though no handler runs: the kernel looks for somebody to tell. */
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	CHECK(pthread_sigmask(SIG_BLOCK, &child, NULL) == 0);
	r->from = from = now(CLOCK_MONOTONIC);
	r->is_begun = true;
	r->error = r->row->call();
	to = now(CLOCK_MONOTONIC);
	r->ms = (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
	r->is_done = true;
	return NULL;
}

static void nothing(int signo)
{
	(void)signo;
}

static unsigned nbad;

static void judge(const struct run *r, int expected, bool has_waited)
{
	if (r->error == -1 || (r->error == expected && (!has_waited || r->ms >= MS)))
		return;
	nbad++;
	dprintf(2, "%s: %s after %.3f ms\n", r->row->name, strerror(r->error), r->ms);
}

static void interrupt(struct run *r)
{
	while (!r->is_done) {
		pthread_kill(r->thread, SIGUSR1);
		sleep_ms(5);
	}
}

static void *go_on_stopping(void *is_over)
{
	while (!*(_Atomic bool *)is_over) {
		if (strcmp(getenv("SPANGC_MODE"), "gc") != 0)
			__lsan_do_recoverable_leak_check();
		else if (spangc_collect)
			spangc_collect();
		sleep_ms(1);
	}
	return NULL;
}

/* What has a time ends though the stops do not; then all that has none. */
static void undisturbed(const struct row *rows, size_t n)
{
	_Atomic bool is_over = false;
	pthread_t stopper;

	for (size_t i = 0; i < n; i++) {
		runs[i] = (struct run){ .row = &rows[i] };
		CHECK(pthread_create(&runs[i].thread, NULL, run, &runs[i]) == 0);
	}
	sleep_ms(20);
	CHECK(pthread_create(&stopper, NULL, go_on_stopping, (void *)&is_over) == 0);
	for (size_t i = 0; i < n; i++) {
		if (rows[i].kind == ENDLESS)
			continue;
		pthread_join(runs[i].thread, NULL);
		judge(&runs[i], rows[i].expected, rows[i].kind == TIMED);
	}
	is_over = true;
	pthread_join(stopper, NULL);
	for (size_t i = 0; i < n; i++) {
		struct run *r = &runs[i];

		if (rows[i].kind != ENDLESS)
			continue;
		judge(r, r->is_done ? -2 : r->error, false);
		interrupt(r);
		judge(r, EINTR, false);
		pthread_join(r->thread, NULL);
	}
}

/* Just before it is sent. On a busy machine the call may end in its time before, or between two. */
static void note_signal(struct run *r)
{
	struct timespec t = now(CLOCK_MONOTONIC), last = r->signalled.tv_sec ? r->signalled : r->from;

	r->is_late |= (t.tv_sec - last.tv_sec) * 1000 + (t.tv_nsec - last.tv_nsec) / 1000000 > MS / 2;
	r->signalled = t;
}

/* The program's signal, in the midst of stops. */
static void interrupted(const struct row *rows, size_t n)
{
	_Atomic bool is_over = false;
	pthread_t stopper;

	for (size_t i = 0; i < n; i++) {
		runs[i] = (struct run){ .row = &rows[i] };
		if (rows[i].kind == TIMED)
			CHECK(pthread_create(&runs[i].thread, NULL, run, &runs[i]) == 0);
	}
	CHECK(pthread_create(&stopper, NULL, go_on_stopping, (void *)&is_over) == 0);
	for (unsigned nwaiting = 1; nwaiting; ) {       /* on a busy machine some begin late */
		sleep_ms(20);
		nwaiting = 0;
		for (size_t i = 0; i < n; i++) {
			struct run *r = &runs[i];

			if (rows[i].kind != TIMED)
				continue;
			if (r->is_begun)
				note_signal(r);
			if (!r->is_done) {
				pthread_kill(r->thread, SIGUSR1);
				nwaiting++;
			}
		}
	}
	for (size_t i = 0; i < n; i++) {
		if (rows[i].kind != TIMED)
			continue;
		pthread_join(runs[i].thread, NULL);
		if (!runs[i].is_late)
			judge(&runs[i], EINTR, false);
	}
	is_over = true;
	pthread_join(stopper, NULL);
}

static const struct way {
	const char *mode, *dirty;
} ways[] = {
	{ "leaks", NULL },
	{ "gc", "uffd" },
	{ "gc", "mprotect" },
	{ "gc", "snapshot" },
	{ "gc", "stw" },
};

static const struct way *way;

static void set_way(void)
{
	setenv("SPANGC_MODE", way->mode, 1);
	if (way->dirty)
		setenv("SPANGC_GC_DIRTY", way->dirty, 1);
}

static int eintr_main(int argc, const struct row *rows, size_t n, void (*prepare)(void),
                      void (*tidy_up)(void))
{
	struct sigaction action = { .sa_handler = nothing };
	struct outcome o;

	if (!preloaded_library())
		SKIP("runs with the library only");
	watchdog(100);
	CHECK(n <= MAX_ROWS);
	if (argc > 1) {
		CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
		prepare();
		undisturbed(rows, n);
		interrupted(rows, n);
		tidy_up();
		return nbad > 0;
	}
	for (way = ways; way < ways + COUNT(ways); way++) {
		watchdog(100);
		run_self(&o, "stopped", set_way);
		CHECKF(ended_well(&o), "%s %s: %x:\n%s", way->mode, way->dirty ? way->dirty : "",
		       (unsigned)o.status, o.err);
	}
	return 0;
}

#endif
