/* base.h: units, words and compiler hints that every file shares.
 *
 * Included by all of core, scan and preload; includes nothing of ours. A "page" is PAGE_BYTES
 * (8 KiB), an "os page" OS_PAGE_BYTES (4 KiB), an arena ARENA_BYTES (64 MiB) of address space.
 */
#ifndef CORE_BASE_H
#define CORE_BASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)
#define GIB(n) ((size_t)(n) << 30)

#define CACHE_LINE 64
#define OS_PAGE_SHIFT 12
#define OS_PAGE_BYTES (UINT64_C(1) << OS_PAGE_SHIFT)
#define PAGE_SHIFT 13
#define PAGE_BYTES (UINT64_C(1) << PAGE_SHIFT)
#define ARENA_SHIFT 26
#define ARENA_BYTES (UINT64_C(1) << ARENA_SHIFT)
#define HUGE_PAGE_BYTES MIB(2)                  /* what the kernel calls a transparent huge page */

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define HOT static inline __attribute__((always_inline))
#define COLD __attribute__((noinline, cold))            /* errors, start-up: small, elsewhere */
#define SLOW __attribute__((noinline))                  /* the other half of something HOT */
#define PLACED __attribute__((aligned(CACHE_LINE)))     /* where it lies decides how fast it is */

/* An index of a page, counted from the heap's base. 2^27 of them are 1 TiB. */
typedef uint32_t page_idx;
#define PAGE_NONE UINT32_MAX

/* A span class: a size class, scanned or not. 0 is no class. */
typedef uint8_t class_idx;

static inline size_t align_up(size_t n, size_t alignment)
{
	return (n + alignment - 1) & ~(alignment - 1);
}

static inline size_t align_down(size_t n, size_t alignment)
{
	return n & ~(alignment - 1);
}

static inline bool is_power_of_two(size_t n)
{
	return n && !(n & (n - 1));
}

/* Index of the lowest set bit; `word` is not 0. */
static inline unsigned bit_first(uint64_t word)
{
	return (unsigned)__builtin_ctzll(word);
}

/* Sums of neighbouring bits, then pairs, then nibbles (Knuth, TAOCP 7.1.3): the builtin is a call
 * where the CPU may lack the instruction. */
static inline unsigned bit_count(uint64_t word)
{
	word -= word >> 1 & UINT64_C(0x5555555555555555);
	word = (word & UINT64_C(0x3333333333333333)) + (word >> 2 & UINT64_C(0x3333333333333333));
	word = (word + (word >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	return (unsigned)(word * UINT64_C(0x0101010101010101) >> 56);
}

/* Ones at [from, from + n), n in 0..64 - from. */
static inline uint64_t bit_range(unsigned from, unsigned n)
{
	return n >= 64 ? ~UINT64_C(0) : ((UINT64_C(1) << n) - 1) << from;
}

/* One more of what is counted for statistics only. */
static inline void count_add(_Atomic uint64_t *counter, uint64_t n)
{
	/* relaxed: nothing is decided by it. */
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* The hint to the CPU that this thread spins; none where we know none. */
#if defined __x86_64__ || defined __i386__
static inline void cpu_relax(void)
{
	__builtin_ia32_pause();
}
#elif defined __aarch64__
static inline void cpu_relax(void)
{
	__asm__ volatile("isb" ::: "memory");
}
#else
static inline void cpu_relax(void)
{
	__asm__ volatile("" ::: "memory");
}
#endif

#endif
