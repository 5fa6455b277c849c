/* own_thread.c: threads of ours in the program's process: the helper, the reporter, the collector.
 *
 * Reached from threads.c, reporter.c and collector.c. They are threads of libc's, so that setuid()
 * and the like reach them, and begin with all signals blocked: no handler of the program's ever runs
 * on them. Their stacks have the usual size: the program's static TLS comes off it, and if such a
 * thread is the last one, exit() and the program's handlers run on it.
 *
 * In the modes that stop threads libc allocates on a thread's way to its work (announce() in threads.c),
 * from the program's heap. If main() runs meanwhile, the block that it has just freed may be given to
 * that thread, and a double free of it goes unnoticed, in one to three of a hundred runs: so who creates
 * a thread waits until that is over, in the constructor and in free(). The reporter
 * and the collector of a child of fork, and who starts again after a call that needed one thread, are
 * not waited for.
 */
#include "preload/own_thread.h"

#include "scan/threads.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS 1000                            /* without a wake-up */

/* On the creator's stack: the thread reads it before it wakes him. */
struct awaited {
	void *(*run)(void *);
	_Atomic uint32_t has_begun;             /* a futex */
};

void own_thread_wait(_Atomic uint32_t *word, uint32_t value, uint64_t ms)
{
	struct timespec longest = { .tv_sec = (time_t)(ms / 1000),
		                    .tv_nsec = (long)(ms % 1000) * 1000000 };
	int kept = errno;

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &longest, NULL, 0);
	errno = kept;
}

void own_thread_wake(_Atomic uint32_t *word)
{
	int kept = errno;

	/* release: what it is about. */
	atomic_fetch_add_explicit(word, 1, memory_order_release);
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	errno = kept;
}

static void *begin(void *awaited)
{
	struct awaited *a = awaited;
	void *(*run)(void *) = a->run;

	own_thread_wake(&a->has_begun);
	return run(NULL);
}

/* The thread may be stopped on its way, by a stop that waits for its creator, too. No other signal: a
 * handler could leave by longjmp(). */
static void open_stop_signal(const sigset_t *callers)
{
	sigset_t stop;

	sigemptyset(&stop);
	sigaddset(&stop, scan_threads_signal());
	if (scan_threads_is_on() && !sigismember(callers, scan_threads_signal()))
		pthread_sigmask(SIG_UNBLOCK, &stop, NULL);
}

static bool create_and_wait(pthread_t *thread, void *(*run)(void *), const sigset_t *callers)
{
	struct awaited a = { .run = run };

	if (pthread_create(thread, NULL, begin, &a))
		return false;
	open_stop_signal(callers);
	/* acquire: pairs with the release in own_thread_wake(). */
	while (!atomic_load_explicit(&a.has_begun, memory_order_acquire))
		own_thread_wait(&a.has_begun, 0, LOOK_MS);
	return true;
}

bool own_thread_create(pthread_t *thread, void *(*run)(void *), bool waits)
{
	sigset_t all, saved;
	bool is_created;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &saved);       /* the new thread inherits it */
	is_created = waits ? create_and_wait(thread, run, &saved)
	                   : !pthread_create(thread, NULL, run, NULL);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	return is_created;
}
