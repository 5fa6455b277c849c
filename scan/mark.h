/* mark.h: what is reachable.
 *
 * mark_start(), then mark_range() for each root, mark_drain(), questions, mark_end(). A word is a
 * pointer if it is an address inside an allocated block's slot, also with its upper 16 bits cleared
 * (tagged). The end of a block is inside too, because the modes that scan ask for a byte more than
 * the program does.
 *
 * Mark bits lie outside the heap, one for each granule. Memory comes from the kernel: neither
 * mark_start() nor anything after it takes a lock or allocates from the heap.
 *
 * The world is stopped, or there is one thread. One worker; what it shares with others-to-come is
 * the mark bits (atomic) and the list of full work buffers.
 */
#ifndef SCAN_MARK_H
#define SCAN_MARK_H

#include "core/base.h"

/* Mark bits for the heap as it is now, all 0. False: no memory for them. ctx: stw */
bool mark_start(void);

/* At which multiples a pointer may stand: 8 (so at the start), 4 or 1. ctx: stw */
void mark_set_align(unsigned nbytes);

/* Work may take so many blocks of 64 KiB; what does not fit is found again by reading every marked
 * block once more. For tests. ctx: stw, before mark_start() */
void mark_limit_work(size_t nblocks);

/* Every aligned word of [from, to) that points into an allocated block marks it. A range that is not
 * of the heap; it must be readable. ctx: stw */
void mark_range(uintptr_t from, uintptr_t to);

/* The same for a single word, aligned or not: what a pointer held elsewhere leads to. ctx: stw */
void mark_word(uintptr_t word);

/* Reads marked blocks until there is nothing new. ctx: stw */
void mark_drain(void);

/* `block` is the start of an allocated block. Is it marked; mark it, and let mark_drain() read it.
 * True: it was not marked before. ctx: stw */
bool mark_is_marked(uintptr_t block);
bool mark_block(uintptr_t block);

/* The allocated block around `p`: its start; 0 if there is none. ctx: stw */
uintptr_t mark_find(uintptr_t p);

/* How many bytes of an allocated block are read; NULL (so at the start): the whole slot. What lies
 * behind the program's bytes is not the program's. ctx: stw, before mark_range() */
void mark_measure_with(size_t (*nbytes)(uintptr_t block, size_t slot_bytes));

/* From now on `fn` is told each time a word points to a block that was marked already; NULL: no
 * longer. So can heads of leaked structures be told from what they lead to. ctx: stw */
void mark_tell_again(void (*fn)(uintptr_t block, void *arg), void *arg);

struct mark_counts {
	uint64_t nblocks;                       /* marked */
	uint64_t nbytes;                        /* read, of blocks and ranges */
};

/* Since mark_start(). ctx: stw */
struct mark_counts mark_counts(void);

/* The mark bits go back to the kernel. ctx: any */
void mark_end(void);

#endif
