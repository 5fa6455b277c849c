/* snapshot.h: something that takes its time, done in a copy of the process while it runs on.
 *
 * The copy has all memory as it was when every thread was stopped, the registers of all threads in
 * their frames, and one thread: the caller. It is no child that the program could wait for, runs none of
 * its handlers, and holds none of its files open but those it needs.
 *
 * In the copy no lock is taken, neither of ours nor of libc's or the loader's: a thread that is not in it
 * may hold it, if only because it did not stop in time. No malloc, stdio, dl_iterate_phdr, pthread
 * calls. getpid() is another, /proc/self/task has one entry, timers and what became of epoll instances: scan/kernel.h.
 * Where the program keeps writable memory from its children (MADV_DONTFORK) the copy is refused, with
 * ENODATA. What it wipes for them (MADV_WIPEONFORK) is zero. What it shares with other processes
 * (MAP_SHARED) goes on changing.
 */
#ifndef SCAN_SNAPSHOT_H
#define SCAN_SNAPSHOT_H

#include "core/base.h"

enum snapshot_end {
	SNAPSHOT_DONE,
	SNAPSHOT_REFUSED,                       /* nothing was done: no copy, or not all of it */
	SNAPSHOT_DIED,                          /* on the way */
};

struct snapshot {
	uint64_t (*fn)(void *arg);              /* runs in the copy, with the world stopped */
	void *arg;
	int fds[2];                             /* that it needs; -1: none */
	/* In the process, before it is copied, with the world stopped: what a copy sees change. False:
	 * no copy. NULL: nothing. */
	bool (*prepare)(void *arg);

	/* Filled in by snapshot_run(). */
	uint64_t pid;                           /* of the process, not the copy */
	uint64_t result;                        /* what fn returned */
	int error;                              /* errno value, if refused */
	int signo;                              /* that it died of; 0: it ended by itself */
};

/* Stops the world, makes the copy, goes on, and waits for the copy's end. One at a time.
 * ctx: any, no lock held, signals blocked */
enum snapshot_end snapshot_run(struct snapshot *s);

/* Are we in one? ctx: any */
bool snapshot_is_copy(void);

/* How long the program stood still for it. */
struct snapshot_pause {
	uint64_t stop_ns;                       /* until all threads stood */
	uint64_t copy_ns;
	uint64_t all_ns;                        /* with both of these */
};

/* ctx: the copy */
struct snapshot_pause snapshot_pause(void);

/* Zeroed memory that copies share with the process, at one address, excluded from the roots, and never
 * given back: what a copy writes there its process can read. Not from within a copy. A child of
 * the program's fork finds its own there, zero again. NULL: no memory. ctx: any, no lock held */
void *snapshot_shared(size_t nbytes);

/* In the modes that make copies; again without effect. False: no memory. ctx: init, any */
bool snapshot_start(void);

/* ctx: fork child */
void snapshot_fork_child(void);

#endif
