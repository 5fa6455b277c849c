/* roots.h: where the program may keep pointers, apart from the heap.
 *
 * Everything writable, private or shared, that is not our own memory, as /proc/self/maps tells:
 * .data and .bss of every module, TLS, brk, the program's own mappings; of threads' stacks the live
 * part; of private memory that may not be written, or not be read, the pages that were written once
 * (where pagemap can't be opened: anonymous mappings and what the loader protects after relocation);
 * shared anonymous memory that may only be read. Then what the kernel keeps: epoll data, values of
 * timers. Then what the program adds, as far as it is mapped.
 *
 * Not seen: pointers in files, pipes and other processes, in device mappings, in memfd_secret(2)'s
 * memory, in io_uring's queues.
 */
#ifndef SCAN_ROOTS_H
#define SCAN_ROOTS_H

#include "core/base.h"
#include "scan/threads.h"

/* Memory of ours that holds addresses of blocks, and is no root: our own .data and .bss, tables.
 * What own_map() gave, and the tables of core, are known already. ctx: init */
void roots_exclude(uintptr_t from, uintptr_t to);

/* [p, p + nbytes) is a root as well, wherever it is; no longer. Nested pairs of the same range are
 * counted. False: no memory, or no such root. ctx: any */
bool roots_add(const void *p, size_t nbytes);
bool roots_remove(const void *p, size_t nbytes);

/* Shows every root range: those of threads, and the rest. The rest may be read while the program runs:
 * as copies then, but for the stacks of threads, as they were in the last stop. The range that `fn`
 * sees is valid during the call. ctx: stw; stw, or any if is_running */
void roots_visit_threads(scan_range_fn *fn, void *arg);
bool roots_visit_rest(bool is_running, scan_range_fn *fn, void *arg);

/* Of the rest what is no copy of its own in a copy of the process: mappings that processes share.
 * ctx: stw */
bool roots_visit_shared(scan_range_fn *fn, void *arg);

/* Both. Shows every root range: `from` is where it can be read, which may be a copy. `what` names it:
 * "registers", "stack", "altstack", "epoll", "timer", "added", or as in /proc/self/maps. False: the
 * maps can't be read, and threads are all that was shown. ctx: stw */
bool roots_visit(scan_range_fn *fn, void *arg);

/* Is some of the heap protected against reading, as the list of mappings said last? ctx: any */
bool roots_heap_is_protected(void);

/* Were queues of io_uring there in the last visit, which may hold what can't be seen? ctx: any */
bool roots_has_uring(void);

/* The child has one thread. ctx: fork child */
void roots_fork_child(void);

#endif
