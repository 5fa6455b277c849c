/* cuts.c: see cuts.h. Depends on regs.h and the kernel. */
#include "scan/cuts.h"

#include "core/os.h"
#include "core/sigmask.h"
#include "scan/regs.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>

#define NCOUNTS 65536

/* Touched where thread ids are, and the kernel gives them in sequence. */
static _Atomic uint32_t *counts;

void cuts_start(void)
{
	if (!counts)
		counts = os_map(NCOUNTS * sizeof *counts);
}

__attribute__((no_sanitize("thread"))) _Atomic uint32_t *cuts_of(int tid)
{
	return counts ? &counts[(unsigned)tid % NCOUNTS] : NULL;
}

/* As the kernel has it. */
struct kernel_action {
	uintptr_t handler;
	unsigned long flags, restorer;
	struct sigmask mask;
};

/* One of these is going to run a handler of the program's. A child that ends may be pending though
 * nobody asked for it. */
__attribute__((no_sanitize("thread"))) static bool is_handled(uint64_t signals)
{
	for (; signals; signals &= signals - 1) {
		struct kernel_action action = { 0 };
		long signo = bit_first(signals) + 1;

		regs_syscall(SYS_rt_sigaction, signo, 0, (long)&action, sizeof action.mask.bits);
		if (action.handler > (uintptr_t)SIG_IGN)
			return true;
	}
	return false;
}

__attribute__((no_sanitize("thread"))) void cuts_note(int tid, int own, const void *context)
{
	_Atomic uint32_t *count = cuts_of(tid);
	struct sigmask pending = { 0 };
	long result;

	if (!count || !regs_is_after_call(context, &result) || (result <= 0 && result != -EINTR))
		return;
	regs_syscall(SYS_rt_sigpending, (long)&pending, sizeof pending.bits, 0, 0);
	pending.bits &= ~regs_blocked(context) & ~(UINT64_C(1) << (own - 1));
	/* relaxed: this thread reads it. */
	if (!is_handled(pending.bits))
		atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
}
