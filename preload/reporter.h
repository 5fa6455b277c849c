/* reporter.h: the thread that has reports written while the program runs, and its socket. */
#ifndef PRELOAD_REPORTER_H
#define PRELOAD_REPORTER_H

#include "core/base.h"

#include <signal.h>

/* Starts it, if a setting asks for it. ctx: constructor */
void reporter_start(void);

/* The child of a fork gets a thread of its own: at once if its parent had none but ours, otherwise
 * when it makes its first one, for libc's and the loader's locks may be held there for ever by
 * threads that are not in it. ctx: before fork; fork child; any, in pthread_create() */
void reporter_fork_prepare(void);
void reporter_fork_child(void);
void reporter_start_late(void);

/* Threads of the process but this one and the collector's; are these all that live? ctx: any */
unsigned reporter_count_threads(void);
bool reporter_is_last(void);

/* Ends it, and says whether it was there; starts it again. ctx: any */
bool reporter_stop(void);
void reporter_resume(void);

/* No more of it: the process ends. ctx: any */
void reporter_finish(void);

/* What is installed for the signal that asks for reports, where the program wants `new`: a handler
 * of the program's own takes the place of ours, a default or ignored action does not. Once
 * that is done: what the program sees of what was there. ctx: any, signal */
const struct sigaction *reporter_replace(int signo, const struct sigaction *new);
void reporter_note(int signo, const struct sigaction *new, struct sigaction *old);

/* The same for signal() and its like, which have been called; the handler that it returns. ctx: any */
void (*reporter_was_set(int signo, void (*now)(int signo), void (*before)(int signo)))(int signo);

/* --- control.c, for the thread alone --- */

/* Opens the socket that SPANGC_CONTROL asks for, or again if it is no longer ours. */
void control_open(void);

/* To wait on; -1: none. */
int control_fd(void);

/* Serves one client, if there is one. */
void control_serve(void);

/* The socket's file goes. ctx: any */
void control_remove(void);

/* It was the parent's. ctx: fork child */
void control_fork_child(void);

#endif
