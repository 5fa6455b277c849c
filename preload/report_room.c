/* report_room.c: see report_room.h. Reached from reports.c and collector.c. By the system call itself: the wrapper of
 * setrlimit() is the program's. */
#include "preload/report_room.h"

#include "core/marks.h"
#include "core/report.h"
#include "scan/own.h"
#include "scan/peek.h"
#include "scan/regs.h"
#include "scan/threads.h"

#include <sys/resource.h>
#include <sys/syscall.h>

#define STACK_BYTES KIB(256)
#define OWN_FILES 16

/* Constant after report_room_start(). */
static uintptr_t stack_top;                     /* 0: no memory */
static uintptr_t *left_frame;

void report_room_start(void)
{
	uintptr_t base = (uintptr_t)own_map(STACK_BYTES, "spangc reports");

	if (!base)
		return;
	stack_top = base + STACK_BYTES;
	left_frame = scan_threads_own_stack(base, stack_top);
}

static long limit(const struct rlimit *new, struct rlimit *old)
{
	return regs_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, (long)new, (long)old);
}

/* The lowest free descriptor tells how many are in use, but for gaps. False: there are enough. */
static bool raise_limit(struct rlimit *raised, rlim_t *saved)
{
	int lowest = peek_open("/", true);

	peek_close(lowest);
	if (limit(NULL, raised) || (lowest >= 0 && (rlim_t)lowest + OWN_FILES <= raised->rlim_cur))
		return false;
	if (lowest < 0 && raised->rlim_cur == raised->rlim_max && !marks_are_on())
		report_line("no file descriptor is left for a report of leaks", NULL);
	*saved = raised->rlim_cur;
	raised->rlim_cur += raised->rlim_max - raised->rlim_cur < OWN_FILES
	                    ? raised->rlim_max - raised->rlim_cur : OWN_FILES;
	return !limit(raised, NULL);
}

/* Unless the program has set another one meanwhile. */
static void restore_limit(const struct rlimit *raised, rlim_t saved)
{
	struct rlimit now;

	if (limit(NULL, &now) || now.rlim_cur != raised->rlim_cur)
		return;
	now.rlim_cur = saved;
	limit(&now, NULL);
}

void report_room_run(void (*fn)(void *arg), void *arg)
{
	struct rlimit raised;
	rlim_t saved;
	bool is_raised = raise_limit(&raised, &saved);

	if (stack_top)
		regs_call_on(stack_top, left_frame, fn, arg);
	else
		fn(arg);
	if (is_raised)
		restore_limit(&raised, saved);
}
