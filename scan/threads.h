/* threads.h: the threads of the process, and stopping them.
 *
 * Who is there says /proc/self/task at each stop: libc's own threads and raw clones pass no wrapper.
 * The registry, fed by preload's pthread_create, adds what only a thread of libc's has: the bounds
 * of its stack, and where libc keeps its record, so that the stack of a thread that ended, which
 * libc keeps for the next one, is known to be dead.
 *
 * Stopping is a real-time signal for each thread, whose handler says that it is there and waits for
 * the resume. Our own code holds LOCK_HEAPS, LOCK_CENTRAL, LOCK_PAGES, LOCK_THREADS and LOCK_META with
 * signals blocked only, so no stopped thread holds one of these. Any other lock, libc's and the loader's
 * too, may be held: no dl_iterate_phdr, no pthread call, no stdio until the resume.
 */
#ifndef SCAN_THREADS_H
#define SCAN_THREADS_H

#include "core/base.h"

/* The signal. preload keeps it out of every mask and every sigaction of the program's. */
int scan_threads_signal(void);

/* Once, in the modes that scan: the handler, and the calling thread (the only one). False: the
 * kernel refuses, nothing can be stopped. ctx: init */
bool scan_threads_start(void);

/* Was it started? The wrappers ask before they do anything. ctx: any, signal */
bool scan_threads_is_on(void);

/* A thread of libc's in three steps. The creator's: a record, which keeps `start` and `arg` (a root
 * until the thread has it); NULL: no memory, do without. `keeps_stack`: its stack is the program's,
 * and memory like any other when it has ended. The thread's first: its stack is [base, limit). The
 * creator's, if there is no thread after all. The end is seen by itself. ctx: any */
struct scan_thread;
struct scan_thread *scan_thread_plan(void *(*start)(void *), void *arg, bool keeps_stack);
struct scan_job {
	void *(*start)(void *);
	void *arg;
} scan_thread_begins(struct scan_thread *t, uintptr_t base, uintptr_t limit);
void scan_thread_drop(struct scan_thread *t);

/* [base, limit) is a stack of ours, where one thread at a time may stop the world; from what address on its
 * own stack is alive must be stored at the result before. ctx: init */
uintptr_t *scan_threads_own_stack(uintptr_t base, uintptr_t limit);

/* All other threads stop. Not nested: a second thread that wants to stop the world waits its turn,
 * and is stopped meanwhile. Signals stay blocked for the caller until the resume. False: it was not
 * started, /proc is not there or shows another pid namespace, or the kernel takes no signals for
 * threads; then nothing is stopped. ctx: any, no lock held */
bool scan_stop(void);
void scan_resume(void);

/* Until scan_threads_stay() nothing is stopped: scan_stop() says false. For exec: the signal that stops a
 * thread would end the program that it becomes. By several threads at once. Nothing in a child of
 * vfork(), whose parent is no concern of the program's. ctx: any, no lock held */
void scan_threads_leave(void);
void scan_threads_stay(void);

/* The calling thread may have left the calls in between without coming back: a handler's longjmp(), its
 * end. Costs nothing if it was in none. ctx: any, signal, no lock held */
extern _Thread_local unsigned world_nown_leaving;
void scan_threads_stay_all(void);
static inline void scan_threads_come_back(void)
{
	if (unlikely(world_nown_leaving > 0))
		scan_threads_stay_all();
}

struct scan_stop_info {
	unsigned nthreads;                      /* stopped */
	unsigned nmissed;                       /* there, but did not answer: they run on */
	uint64_t ns;                            /* from the first signal to the last answer */
};

/* About the current or last stop. ctx: any */
struct scan_stop_info scan_stop_info(void);

/* Shows the registers and the live part of the stack of every thread, the caller's from scan_stop()'s
 * own frame on, and alternate signal stacks. `what` is valid during the call. ctx: stw */
typedef void scan_range_fn(uintptr_t from, uintptr_t to, const char *what, void *arg);
void scan_threads_visit(scan_range_fn *fn, void *arg);

/* During the visit: the id of the thread whose range is shown; 0: nobody's. ctx: stw */
int scan_threads_shown(void);

/* The thread of libc's whose record is within 4 KiB of `p`, where its static TLS ends: its id, and where
 * the record is; 0: none. ctx: stw */
int scan_threads_at(uintptr_t p, uintptr_t *libc_record);

/* Shows the ranges that hold nothing alive: the stacks of the visited threads (their live part was
 * shown), and those of threads that ended, with their TLS. ctx: stw */
void scan_threads_visit_dead(void (*fn)(uintptr_t from, uintptr_t to, void *arg), void *arg);

/* The child has one thread. The stacks of the others, who lived when it was forked, are memory like
 * any other: nothing says that what they held is lost. ctx: fork child */
void scan_threads_fork_child(void);

#endif
