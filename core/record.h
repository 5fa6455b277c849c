/* record.h: what mode leaks keeps about each block: how many bytes were asked for, by which stack and
 * thread, and when.
 *
 * A word at the end of the slot, RECORD_BYTES long; of a large block it stands in the span's
 * record. Only heap_has_records() says whether there are any: elsewhere a block ends where its slot
 * does, or a byte before (heap.tail_bytes).
 *
 *     bits  0-14   bytes between those asked for and the record
 *     bit   15     the block is to be ignored
 *     bit   16     an earlier report called it leaked
 *     bits 17-37   the stack's number (scan/stacks.h); 0: none
 *     bits 38-49   the thread's number; 0: unknown
 *     bits 50-63   when, as record_birth_of() has it
 *
 * A program that writes behind its block writes here: what is read is bounded by the slot.
 */
#ifndef CORE_RECORD_H
#define CORE_RECORD_H

#include "core/base.h"
#include "core/block.h"

#define RECORD_SPARE_MAX 0x7fffu
#define RECORD_IGNORED (UINT64_C(1) << 15)
#define RECORD_REPORTED (UINT64_C(1) << 16)
#define RECORD_STACK_SHIFT 17
#define RECORD_THREAD_SHIFT 38
#define RECORD_BIRTH_SHIFT 50

#define RECORD_STACK_MAX ((UINT32_C(1) << 21) - 1)
#define RECORD_THREAD_MANY 4095u                /* one of those that got no number of their own */
#define RECORD_BIRTH_MAX 0x3fffu

struct record {
	size_t   nbytes;                        /* asked for */
	uint32_t stack;
	uint16_t thread;
	uint16_t birth;
	bool     is_ignored;
	bool     is_reported;
};

/* Births are counted from here. ctx: init */
void record_start(void);

/* A birth is a moment in 14 bits: exact to 0.25 s for 8 minutes, then to a 1024th of itself, for 97
 * days (what comes later counts as then). Rounded down; a later moment never has a lower birth.
 * record_birth_ms() is the first millisecond with that birth. ctx: any, signal */
unsigned record_birth_of(uint64_t ms);
uint64_t record_birth_ms(unsigned birth);

/* About 6 ns: the clock alone takes 5 of them. ctx: any, signal */
unsigned record_birth_now(void);

/* All but the count of bytes. ctx: any, signal */
HOT uint64_t record_word(struct record r)
{
	return (uint64_t)r.birth << RECORD_BIRTH_SHIFT | (uint64_t)r.thread << RECORD_THREAD_SHIFT
	       | (uint64_t)r.stack << RECORD_STACK_SHIFT | (r.is_ignored ? RECORD_IGNORED : 0)
	       | (r.is_reported ? RECORD_REPORTED : 0);
}

/* The same as record_set(), of a slot at p with room for `usable` bytes. ctx: the block's holder */
HOT void record_set_slot(void *p, size_t usable, struct record r)
{
	typedef uint64_t __attribute__((may_alias)) word;

	*(word *)((uintptr_t)p + usable) = record_word(r) | (usable - r.nbytes);
}

/* Writes and reads it. Of `b` only the span, class and usable count. ctx: the block's holder; stw */
void record_set(const void *p, const struct block *b, struct record r);
struct record record_get(const void *p, const struct block *b);

/* Is any block reported? ctx: any */
extern _Atomic bool record_has_reported;

/* The block is about to be freed: was it reported? Then who asked for it hears of it. ctx: alloc */
COLD void record_tell_freed(const void *p, const struct block *b);

/* The word itself; and if it is still `word`, it says from now on that the block was reported. The
 * block may be freed meanwhile: what is written is what was in this place before. ctx: any */
extern _Atomic bool record_has_reported;        /* once or more often: until then free() need not look */
uint64_t record_raw(const void *p, const struct block *b);
void record_mark_reported(const void *p, const struct block *b, uint64_t word);

/* Shows every allocated block, by rising address. The heap is used by nobody else, or the world is
 * stopped. ctx: stw */
void record_visit_blocks(void (*fn)(const void *p, const struct block *b, void *arg), void *arg);

#endif
