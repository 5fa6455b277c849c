/* thread_names.c: see thread_names.h.
 *
 * Reached from preload/leaks.c (allocation), preload/threads.c (end, fork) and the reports. Takes no
 * lock. An entry belongs to its thread until it ends; a report reads what it finds.
 */
#include "scan/thread_names.h"

#include "core/os.h"
#include "scan/peek.h"
#include "scan/regs.h"

#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* A name in two words: it is read while it is written. */
struct entry {
	_Atomic uint64_t name[THREAD_NAME_BYTES / sizeof(uint64_t)];
	_Atomic int tid;                        /* 0: the thread has ended */
};

_Thread_local uint16_t thread_number;

static struct {
	struct entry *table;                    /* by number; constant after the start. NULL: none */
	_Atomic uint32_t n;                     /* numbers given */
} threads;

bool thread_names_start(void)
{
	size_t nbytes = align_up(RECORD_THREAD_MANY * sizeof *threads.table, OS_PAGE_BYTES);

	threads.table = os_map(nbytes);
	if (threads.table)
		os_name((uintptr_t)threads.table, nbytes, "spangc threads");
	return threads.table;
}

/* relaxed, here and below: half of an old name and half of a new one is all that can come of it. */
static void note_name(struct entry *e)
{
	uint64_t name[THREAD_NAME_BYTES / sizeof(uint64_t)] = { 0 };

	if (regs_syscall(SYS_prctl, PR_GET_NAME, (long)name, 0, 0))
		return;
	for (size_t i = 0; i < sizeof name / sizeof *name; i++)
		atomic_store_explicit(&e->name[i], name[i], memory_order_relaxed);
}

static void note_tid(struct entry *e, long tid)
{
	atomic_store_explicit(&e->tid, (int)tid, memory_order_relaxed);
}

uint16_t thread_names_begin(void)
{
	if (!threads.table)
		return 0;

	/* relaxed, both: each number once is all there is to it. The look keeps it from wrapping. */
	uint32_t n = atomic_load_explicit(&threads.n, memory_order_relaxed) < RECORD_THREAD_MANY
	             ? 1 + atomic_fetch_add_explicit(&threads.n, 1, memory_order_relaxed)
	             : RECORD_THREAD_MANY;

	thread_number = n < RECORD_THREAD_MANY ? (uint16_t)n : RECORD_THREAD_MANY;
	if (n < RECORD_THREAD_MANY) {
		note_name(&threads.table[n]);
		note_tid(&threads.table[n], regs_syscall(SYS_gettid, 0, 0, 0, 0));
	}
	return thread_number;
}

/* The calling thread's; NULL: it has none. */
static struct entry *own_entry(void)
{
	bool has_one = threads.table && thread_number && thread_number < RECORD_THREAD_MANY;

	return has_one ? &threads.table[thread_number] : NULL;
}

void thread_names_end(void)
{
	struct entry *e = own_entry();

	if (!e)
		return;
	note_name(e);
	note_tid(e, 0);
}

void thread_names_fork_child(void)
{
	struct entry *own = own_entry();

	for (uint32_t i = 1; threads.table && i < RECORD_THREAD_MANY; i++) {
		struct entry *e = &threads.table[i];

		if (i > atomic_load_explicit(&threads.n, memory_order_relaxed))
			break;
		note_tid(e, e == own ? regs_syscall(SYS_gettid, 0, 0, 0, 0) : 0);
	}
}

/* /proc/PID/task/TID/comm; false: it has gone. */
static bool read_comm(uint64_t pid, int tid, char *name)
{
	char path[64], *end = path;
	long n;
	int fd;

	peek_put(&end, "/proc/");
	peek_put_number(&end, (unsigned)pid);
	peek_put(&end, "/task/");
	peek_put_number(&end, (unsigned)tid);
	peek_put(&end, "/comm");
	fd = peek_open(path, false);
	if (fd < 0)
		return false;
	n = peek_read(fd, name, THREAD_NAME_BYTES, 0);
	peek_close(fd);
	if (n <= 0)
		return false;
	name[n - 1] = '\0';                     /* its newline */
	return true;
}

uint32_t thread_names_count(void)
{
	uint32_t n = atomic_load_explicit(&threads.n, memory_order_relaxed);

	return n < RECORD_THREAD_MANY ? n : RECORD_THREAD_MANY;
}

void thread_names_get(uint16_t number, uint64_t pid, char name[static THREAD_NAME_BYTES])
{
	const struct entry *e;
	int tid;

	memset(name, 0, THREAD_NAME_BYTES);
	if (!threads.table || !number || number >= RECORD_THREAD_MANY)
		return;
	e = &threads.table[number];
	tid = atomic_load_explicit(&e->tid, memory_order_relaxed);
	if (tid && read_comm(pid, tid, name))
		return;
	for (size_t i = 0; i < THREAD_NAME_BYTES / sizeof(uint64_t); i++) {
		uint64_t word = atomic_load_explicit(&e->name[i], memory_order_relaxed);

		memcpy(name + i * sizeof word, &word, sizeof word);
	}
	name[THREAD_NAME_BYTES - 1] = '\0';
}
