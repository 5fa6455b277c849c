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

/* ctx: signal */
void faults_pass_on(int signo, siginfo_t *info, void *context);

#endif
