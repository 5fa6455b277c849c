/* mark.h: what is reachable.
 *
 * mark_start(), then mark_range() for each root, mark_drain(), questions, mark_end(), all by one
 * thread, which others help when there is much to do (mark_set_workers()). A word is a
 * pointer if it is an address inside an allocated block's slot, also with its upper 16 bits cleared
 * (tagged). The end of a block is inside too, because the modes that scan ask for a byte more than
 * the program does. Where records say how much that was, what lies between that and the slot's end is
 * not inside (mark_measure_with()): such words are mostly addresses a little below the next block, as
 * perl keeps them. A program that uses what malloc_usable_size() grants, and keeps no pointer but one
 * into that, is not understood.
 *
 * Mark bits lie outside the heap, one for each granule. Memory comes from the kernel: neither
 * mark_start() nor anything after it takes a lock or allocates from the heap.
 *
 * The world is stopped, or there is one thread. Which blocks are marked does not depend on the
 * number of workers.
 */
#ifndef SCAN_MARK_H
#define SCAN_MARK_H

#include "core/base.h"

/* Mark bits for the heap as it is now, all 0. False: no memory for them. ctx: stw */
bool mark_start(void);

/* The same for a collection, which needs mode gc: marks are those of core/marks.h, and stay when
 * marking ends. Full: all are cleared first. Sticky: all are kept; what is marked already is not read
 * again, but by mark_dirty(). From then on the program may run, allocate and free while anything
 * below is called, but where it says stw. ctx: any */
bool mark_start_full(void);
bool mark_start_sticky(void);

/* The program protects memory of the heap against reading: from the next marking on everything is read
 * as copies, also what seems to be small blocks, while the program runs. For good. ctx: any, no marking
 * is under way */
void mark_expect_protection(void);
bool mark_expects_protection(void);

/* The heap has grown: it ends where it does now. ctx: any */
void mark_extend(void);

/* Helpers for mark_drain() are started, as far as there are less, and sleep until they are wanted. ctx: any */
void mark_call_helpers(unsigned nworkers);

/* The world is stopped until mark_end(): the heap ends where it does, helpers are all awake, blocks are
 * read where they stand. ctx: stw */
void mark_stopped(void);

/* mark_range() of a thread's registers or of its stack. A word that points to memory where no block
 * is sets the mark there: the thread may be about to hand that slot out. ctx: stw */
void mark_threads_range(uintptr_t from, uintptr_t to);

/* What stands in [from, to), whole os pages of the heap, was written: the words there of marked blocks
 * are read again. ctx: any */
void mark_dirty(uintptr_t from, uintptr_t to);

/* A thread of the program's helps mark_drain() on another one: until about `nbytes` were read, or
 * there is nothing to take; how many were read. Signals are blocked. Never waits. ctx: alloc */
uint64_t mark_assist(size_t nbytes);

/* The marks of a collection are held against others, made from nothing: after mark_verify_begin()
 * show all roots and drain as before; mark_verify_end() shows each block that is marked now and was not
 * before. False: no memory. ctx: stw, after mark_stopped() */
bool mark_verify_begin(void);
void mark_verify_end(void (*fn)(uintptr_t block, void *arg), void *arg);

/* At which multiples a pointer may stand: 8 (so at the start), 4 or 1. ctx: stw */
void mark_set_align(unsigned nbytes);

/* How many threads may mark, the caller included: 1 (so at the start) to WORKERS_MAX (workers.h,
 * where workers_wanted() is). The others are started when mark_drain() has read MARK_ALONE_BYTES
 * and is not done: a thread that does nothing takes 8 us from start to end, 80 us if the processors
 * are busy; a MiB 300 us or more. ctx: stw */
#define MARK_ALONE_BYTES MIB(1)
void mark_set_workers(unsigned n);

/* Work may take so many bytes; what does not fit is found again by reading every marked block once
 * more. For tests. ctx: stw, before mark_start() */
void mark_limit_work(size_t nbytes);

/* Every aligned word of [from, to) that points into an allocated block marks it. A range that is
 * not of the heap; it must be readable. Up to MARK_NOW_BYTES are read at once, so that the range
 * may be a copy; what is larger is read by mark_drain() in part. ctx: stw */
#define MARK_NOW_BYTES KIB(128)
void mark_range(uintptr_t from, uintptr_t to);

/* The same for a single word, aligned or not: what a pointer held elsewhere leads to. ctx: stw */
void mark_word(uintptr_t word);

/* For roots_visit_threads(), mark_threads_range(); for roots_visit_rest(), mark_range(), and what was read
 * is added to *(uint64_t *)nbytes. ctx: stw */
void mark_see_thread(uintptr_t from, uintptr_t to, const char *what, void *arg);
void mark_see_root(uintptr_t from, uintptr_t to, const char *what, void *nbytes);

/* Reads marked blocks until there is nothing new. ctx: stw */
void mark_drain(void);

/* `block` is the start of an allocated block. Is it marked; mark it, and let mark_drain() read it.
 * True: it was not marked before. A block behind the heap's end at mark_start(), made by a thread that
 * runs on, counts as marked. ctx: stw */
bool mark_is_marked(uintptr_t block);
bool mark_block(uintptr_t block);

/* The allocated block around `p`: its start; 0 if there is none. ctx: stw */
uintptr_t mark_find(uintptr_t p);

/* Shows every word of [from, to) that points into an allocated block: where it stands, and the
 * block. Nothing is marked. `fn` returns false to end. ctx: stw */
void mark_visit_words(uintptr_t from, uintptr_t to,
                      bool (*fn)(uintptr_t at, uintptr_t block, void *arg), void *arg);

/* How many bytes of an allocated block may hold pointers. ctx: stw */
size_t mark_bytes(uintptr_t block);

/* How many bytes of an allocated block are read, a multiple of 8; NULL (so at the start): the whole
 * slot. What lies behind the program's bytes is not the program's. Called by all workers. ctx: stw,
 * before mark_range() */
void mark_measure_with(size_t (*nbytes)(uintptr_t block, size_t slot_bytes));

/* Whether an address in a small block's slot, behind its first granule, is the block's; NULL (so at
 * the start): it is. Called by all workers. ctx: stw, before mark_range() */
void mark_decide_with(bool (*is_inside)(uintptr_t block, size_t offset));

struct mark_counts {
	uint64_t nblocks;                       /* marked */
	uint64_t nslot_bytes;                   /* of those: their slots */
	uint64_t nbytes;                        /* read, of blocks and ranges */
};

/* Since mark_start(). ctx: any, while nobody marks */
struct mark_counts mark_counts(void);

/* Helpers end; mark bits that are not of a collection go back to the kernel. ctx: any */
void mark_end(void);

/* There is one thread, and no helper: nothing is being marked. ctx: fork child */
void mark_fork_child(void);

#endif
