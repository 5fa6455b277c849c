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

#include "tests/wipe.h"

/* A variable that holds something, though nothing reads it: stores to it are made. */
#define HOLDER        static __attribute__((used))
#define HIGH_BITS     48                /* an address of the program has none from here on */
#define CHECK(x)                                                                             \
	do {                                                                                 \
		if (!(x)) {                                                                  \
			dprintf(2, "%s:%d: CHECK(%s)\n", __FILE__, __LINE__, #x);            \
			_exit(99);                                                           \
		}                                                                            \
	} while (0)

/* A pointer that the compiler knows nothing about. */
static inline void *hide(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
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
