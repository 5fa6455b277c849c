/* corpus.h: the frame of a program whose leaks are known to the byte.
 *
 * Used by tests/corpus only, C and C++ alike. The first comment of each program has these lines,
 * each whole on one line; tests/corpus/corpus.py reads them:
 *
 *   leaks: KIND BYTES/BLOCKS FUNCTION; ...   the report's entries: KIND is direct or indirect,
 *                          BYTES are what was asked for, FUNCTION is a frame of the entry's stack;
 *                          `none`: nothing may be reported
 *   child: the same, of the report of each forked child
 *   status: 3 or SIGTERM   how it ends; 0 if absent
 *   static: no             can't be linked statically
 *
 * A conservative scan sees stale copies of pointers, and a compiler decides where they lie. So
 * that no verdict is an accident, whatever handles a pointer runs in apart(): far below the frame
 * that goes on living, and wiped when it returns. Blocks come from block(): cleared, and of an
 * address that the compiler knows nothing about. What holds a pointer on purpose says so.
 */
#ifndef TESTS_CORPUS_H
#define TESTS_CORPUS_H

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOINLINE      __attribute__((noinline, noclone, unused))
/* A variable that holds something, though nothing reads it: stores to it are made. */
#define HOLDER        static __attribute__((used))
#define WIPED_BYTES   (128 << 10)
#define HIGH_BITS     48                /* an address of the program has none from here on */
#define CHECK(x)                                                                             \
	do {                                                                                 \
		if (!(x)) {                                                                  \
			dprintf(2, "%s:%d: CHECK(%s)\n", __FILE__, __LINE__, #x);            \
			_exit(99);                                                           \
		}                                                                            \
	} while (0)

/* Registers that a callee need not keep: nothing reads them any more, but a scan would. */
#if defined(__x86_64__)
#define CLEAR_REGISTERS()                                                                    \
	__asm__ volatile("xor %%eax, %%eax; xor %%ecx, %%ecx; xor %%edx, %%edx;"             \
	                 "xor %%esi, %%esi; xor %%edi, %%edi; xor %%r8d, %%r8d;"             \
	                 "xor %%r9d, %%r9d; xor %%r10d, %%r10d; xor %%r11d, %%r11d;"         \
	                 "pxor %%xmm0, %%xmm0; pxor %%xmm1, %%xmm1; pxor %%xmm2, %%xmm2;"    \
	                 "pxor %%xmm3, %%xmm3; pxor %%xmm4, %%xmm4; pxor %%xmm5, %%xmm5;"    \
	                 "pxor %%xmm6, %%xmm6; pxor %%xmm7, %%xmm7; pxor %%xmm8, %%xmm8;"    \
	                 "pxor %%xmm9, %%xmm9; pxor %%xmm10, %%xmm10; pxor %%xmm11, %%xmm11;" \
	                 "pxor %%xmm12, %%xmm12; pxor %%xmm13, %%xmm13;"                     \
	                 "pxor %%xmm14, %%xmm14; pxor %%xmm15, %%xmm15"                      \
	                 : : : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11",  \
	                       "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",       \
	                       "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",   \
	                       "xmm14", "xmm15", "cc")
#else
#define CLEAR_REGISTERS() ((void)0)
#endif

/* A pointer that the compiler knows nothing about. */
static inline void *hide(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

/* Overwrites the stack below the caller's frame, and what registers hold of it. */
static NOINLINE void wipe(void)
{
	char hole[WIPED_BYTES];

	memset(hole, 0, sizeof hole);
	(void)hide(hole);
	CLEAR_REGISTERS();
}

/* Calls fn and leaves no trace of what it did on this stack. */
static NOINLINE void apart(void (*fn)(void))
{
	fn();
	wipe();
}

/* A new block of zeros. */
static NOINLINE void *block(size_t nbytes)
{
	void *p = malloc(nbytes);

	CHECK(p);
	memset(p, 0, nbytes);
	return hide(p);
}

static __thread size_t parked_bytes;
static __thread uintptr_t parked;       /* the complement of an address */

static NOINLINE void park(void)
{
	parked = ~(uintptr_t)block(parked_bytes);
}

/* A new block whose only address is the one returned: none is on the stack below, nor in a
 * register. */
static inline __attribute__((always_inline)) void *block_alone(size_t nbytes)
{
	uintptr_t complement;

	parked_bytes = nbytes;
	apart(park);
	complement = parked;
	parked = 0;
	return hide((void *)~complement);
}

/* Starts a thread and waits until it calls is_ready(); it runs on when main ends. */
static sem_t thread_is_ready;

/* Nor is a copy left in a register. */
static NOINLINE void is_ready(void)
{
	sem_post(&thread_is_ready);
	CLEAR_REGISTERS();
}

static NOINLINE void start_thread(void *(*fn)(void *))
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, fn, NULL) == 0);
	CHECK(pthread_detach(thread) == 0);
	while (sem_wait(&thread_is_ready) != 0)
		;
}

/* As far as the compiler knows, what follows it is reached. */
static NOINLINE void sleep_forever(void)
{
	while (hide(&thread_is_ready))
		pause();
}

#endif
