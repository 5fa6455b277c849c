/* world.h: the stopped world: what threads.c, which stops it, and thread_stacks.c, which looks at it,
 * share. */
#ifndef SCAN_WORLD_H
#define SCAN_WORLD_H

#include "core/lock.h"
#include "core/sigmask.h"
#include "scan/regs.h"
#include "scan/threads.h"

#include <ucontext.h>

#define WORLD_BUCKETS 1024
#define TASK_CHUNK_RECORDS 128

/* One task during a stop. Records are reused from stop to stop. */
struct task {
	struct task *_Atomic next_in_bucket;
	_Atomic int tid;
	_Atomic uint32_t answered;              /* the generation */

	/* Written by the task before it answers; of the caller by scan_stop(). */
	const ucontext_t *context;
	uintptr_t thread_pointer;               /* of a raw clone perhaps its creator's */

	/* LOCK_WORLD. */
	bool is_gone;
};

struct task_chunk {
	struct task_chunk *next;
	struct task task[TASK_CHUNK_RECORDS];
};

extern struct world {
	struct lock lock;

	/* The lock. */
	struct task_chunk *chunks, *chunk;
	unsigned ntasks;                        /* in use, of all chunks */
	unsigned ngone, ndeaf;
	struct sigmask saved;
	uint64_t began_ns;
	struct scan_stop_info info;
	int self, pid;
	int home;                               /* the process that these records are of */
	unsigned nleaving;                      /* calls of scan_threads_leave() without .._stay(): all threads' */
	uintptr_t self_frame, self_registers[REGS_NSAVED];
	int shown;                              /* whose ranges scan_threads_visit() shows */
	bool has_new, is_short;                 /* of the last look at /proc/self/task */
	bool has_self;                          /* else its numbers are another pid namespace's */
	bool is_refused;                        /* the kernel takes no signal for a thread */

	/* Any thread, atomic. */
	_Atomic bool is_on;
	_Atomic uint32_t generation;
	_Atomic uint32_t nanswered;             /* in this stop */
	_Atomic uint32_t nasked;
	struct task *_Atomic bucket[WORLD_BUCKETS];
	void (*_Atomic leave)(void *context, int tid);
} world;

/* The record of a task in the current stop. ctx: stw, signal */
struct task *world_find_task(int tid);

/* Has it answered in the current stop? ctx: stw */
bool world_has_answered(const struct task *t);

/* Each task but the caller. ctx: stw */
void world_visit_tasks(void (*fn)(struct task *t, void *arg), void *arg);

/* From now on each thread that leaves a stop calls `leave` first, from the handler. ctx: stw */
void world_on_leave(void (*leave)(void *context, int tid));

/* The handler of the stop signal. False: the kernel refuses. ctx: init, any */
bool world_install(void);

#endif
