/* preload.h: what the files of preload/ share. */
#ifndef PRELOAD_PRELOAD_H
#define PRELOAD_PRELOAD_H

#include "core/base.h"

#include <signal.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
/* Where a function lies decides up to 1.2 ns of 5 for a pair of malloc and free. */
#define EXPORT_HOT EXPORT __attribute__((aligned(CACHE_LINE)))

#define SPANGC_API EXPORT
#include "preload/spangc.h"

/* The functions behind ours. Those of malloc are NULL unless the library stands down. */
struct next {
	void *(*malloc)(size_t nbytes);
	void *(*calloc)(size_t n, size_t size);
	void *(*realloc)(void *p, size_t nbytes);
	void *(*memalign)(size_t align, size_t nbytes);
	void (*free)(void *p);
	size_t (*malloc_usable_size)(void *p);
	void *(*dlopen)(const char *file, int mode);
	int (*dlclose)(void *handle);
};

extern struct next next;

/* What a malloc must define as a whole, ended by NULL; ours, whoever else defines them. */
struct own_function {
	const void *address;
	const void *found;                      /* by the loader, for everybody: ours or the program's */
};

extern const struct own_function malloc_family[];

/* Does all of it lead here, though other addresses may be found for it? False until the constructor has
 * looked. ctx: any */
bool init_has_family(void);

/* Fills next.dlopen and next.dlclose. ctx: any */
void init_find_dlopen(void);

/* The function that ours stands in front of. ctx: any but alloc */
void *init_find_next(const char *name);

/* Does nobody stand in front of that function: not the program, no other library? ctx: any but alloc */
bool init_is_unclaimed(const char *name, const void *next_one);

/* A function of a library that is loaded for it, and stays; NULL: there is none. ctx: constructor */
void *init_find_in(const char *library, const char *name);

/* The helper thread. Stopping says whether there was one. ctx: any */
bool threads_start_helper(const void *caller);
bool threads_stop_helper(void);

/* May pthread_create() be called from within malloc, which was called from there? ctx: alloc */
bool threads_may_create(const void *caller);
void threads_attached(void);
void threads_init(void);
void threads_fork_child(void);

/* Prints what SPANGC_STATS=1 promises. ctx: exit */
void info_print(void);

/* The same, whoever asks for it, to `fd`. ctx: any */
void info_write(int fd);

/* The beginning of a line of these. ctx: any */
struct text;
void info_text_head(struct text *t, const char *section);

/* The collector's part of them, and of spangc_stats_get(). ctx: any */
void info_gc_write(int fd);
void info_gc_fill(struct spangc_stats *s);

/* stderr, as it is or as it was at the start; -1: there is none any more. ctx: any */
int info_stderr(void);

/* Reports of leaks. ctx: constructor; fork child */
void reports_start(void);
void reports_fork_child(void);

/* Is there anything to report here? Not before the start, nor in a child of vfork. ctx: any */
bool reports_are_on(void);

/* Writes what is asked for; fills in who asks. Bytes leaked, or REPORTS_FAILED. ctx: any */
#define REPORTS_FAILED UINT64_MAX
struct leaks_request;
uint64_t reports_write(struct leaks_request *request);

/* A report of the process as it is now; the one at its end. Bytes leaked, or 0. ctx: any */
uint64_t reports_write_now(const char *when);
uint64_t reports_write_last(const char *when);

/* Returns when no report is under way, or the calling thread itself is at it. ctx: any */
void reports_await(void);

/* The ends of the process in mode leaks. ctx: constructor; fork child */
void exits_start(void);
void exits_fork_child(void);

/* The report that would come at exit comes now, and not again; the status to end with. ctx: any */
int exits_finish(int status);

/* Threads can be stopped, and our own variables are no roots. False: the kernel refuses. After what
 * else imports_add() is to be told. ctx: constructor */
bool looking_start(void);

/* Calls that a stop cut short go on, in modes that stop threads. ctx: constructor; fork child */
void eintr_start(void);
void eintr_fork_child(void);
void rawcalls_start(void);

/* The collector learns of memory of the heap that the program protects, and of filters of system calls; in
 * mode gc. ctx: constructor */
void protects_start(void);

/* The same of a system call that the program is about to make by its number. Nothing in other modes.
 * ctx: any, no lock held */
void protects_expect_call(long number, long a, long b, long c);

/* Functions for signals that have no exported wrapper; for a program that is about to become another;
 * C11's threads. ctx: constructor */
void signals_start(void);
void execs_start(void);
void threads_start(void);

/* The process is about to become another program. ctx: any */
void exits_before_exec(void);

/* Has the last report begun? ctx: any */
bool exits_are_over(void);

/* The program has set `signo` to its default action behind sigaction()'s back. Is `handler`, as it
 * was before, the program's? ctx: any, signal */
void exits_was_defaulted(int signo);
bool exits_is_own(void (*handler)(int signo));

/* `set` without the stop signal: itself, or `copy`. ctx: any, signal */
const sigset_t *signals_without(const sigset_t *set, sigset_t *copy);

/* What is installed where the program wants `new`; and what the program sees of what is. ctx: any */
const struct sigaction *exits_replace(int signo, const struct sigaction *new);
void exits_hide(struct sigaction *old);

#endif
