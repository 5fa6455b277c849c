/* faults.h: SIGSEGV and SIGSYS, which the library shares with the program.
 *
 * From faults_own() on the kernel has the library's handler, and the program's action is kept here.
 * A signal that is none of the library's is passed on: the handler is called with the kernel's own
 * words, on the stack that the program wants; where there is none, the process dies of the signal where
 * it stood. While the heap is protected neither signal is ever blocked.
 */
#ifndef SCAN_FAULTS_H
#define SCAN_FAULTS_H

#include "core/base.h"
#include "scan/regs_calls.h"

/* The two, and the one that stops threads: blocked nowhere while the heap is protected. ctx: any */
uint64_t faults_open_signals(void);

/* Takes over `signo`, if the program has it (again). False: the kernel refuses. ctx: stw */
bool faults_own(int signo, regs_handler_fn *handler);

/* No handler of the program's blocks these signals while it runs. ctx: stw */
void faults_open_masks(void);

/* Is that signal's action kept here? ctx: any, signal */
bool faults_owns(int signo);

/* What sigaction() does, for such a signal. `new` may be NULL; of the other, either. ctx: signal, all
 * blocked; any */
void faults_change(int signo, const struct regs_action *new, struct regs_action *old);
struct sigaction;
void faults_sigaction(int signo, const struct sigaction *new, struct sigaction *old);

/* Of the two, what the program wants blocked, where the kernel does not know: as kept for a thread, under its
 * id. Those of `mask` are kept, and leave it. ctx: signal */
void faults_hide(int tid, uint64_t *mask);

/* The same where a handler ends and *mask, that of before, is all that the program wants. Frames that the
 * kernel pushed while the heap was protected know less: then these two signals look open. ctx: signal */
void faults_hide_only(int tid, uint64_t *mask);

/* A new thread. ctx: any, signal */
void faults_thread_begins(int tid);

/* rt_sigprocmask(2) as the program sees it; *mask is the kernel's. Either of the others may be NULL.
 * ctx: signal, or the thread's own mask */
void faults_change_mask(int tid, int how, const uint64_t *set, uint64_t *old, uint64_t *mask);

/* ctx: fork child */
void faults_fork_child(void);

/* ctx: signal */
void faults_pass_on(int signo, siginfo_t *info, void *context);

#endif
