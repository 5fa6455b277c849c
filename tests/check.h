/* check.h: what the programs under tests/ that see only the built library share.
 *
 * Used by tests/symbols, tests/victims, tests/process and tests/fault. A program
 * here ends with status 0 (passed), 1 (a CHECK failed, or the watchdog barked)
 * or 77 (skipped: this machine lacks something, and the last line says what).
 * Included first: the programs use what only GNU's headers declare.
 */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* dprintf and _exit: a failure inside a handler or a half-dead heap is still told. */
#define CHECK(x)                                                                             \
	do {                                                                                 \
		if (!(x)) {                                                                  \
			dprintf(2, "%s:%d: CHECK(%s)\n", __FILE__, __LINE__, #x);            \
			_exit(1);                                                            \
		}                                                                            \
	} while (0)

/* The same with words and numbers, for checks inside loops. */
#define CHECKF(x, ...)                                                                       \
	do {                                                                                 \
		if (!(x)) {                                                                  \
			dprintf(2, "%s:%d: CHECK(%s): ", __FILE__, __LINE__, #x);            \
			dprintf(2, __VA_ARGS__);                                             \
			dprintf(2, "\n");                                                    \
			_exit(1);                                                            \
		}                                                                            \
	} while (0)

#define SKIP(...)                                                                            \
	do {                                                                                 \
		printf("skipped: " __VA_ARGS__);                                             \
		printf("\n");                                                                \
		fflush(stdout);                                                              \
		_exit(77);                                                                   \
	} while (0)

/* A pointer or size the compiler knows nothing about: it can neither drop the
 * call that made it nor warn about what we do with it. */
static inline void *hide(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

static inline size_t hide_size(size_t n)
{
	__asm__ volatile("" : "+r"(n));
	return n;
}

/* The function of that name as the program would link it; libc's headers do not
 * declare all that the library exports. */
static inline void *symbol(const char *name)
{
	void *f = dlsym(RTLD_DEFAULT, name);

	CHECKF(f, "%s is not exported", name);
	return f;
}

/* Random numbers: one seed a program, from SEED or the clock, always printed. */
static inline uint64_t seed_from_env(void)
{
	const char *text = getenv("SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);

	printf("SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	return seed * 2 + 1;
}

static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Mostly small sizes, some of every class, now and then more than a class holds. */
static inline size_t random_size(uint64_t *state)
{
	uint64_t r = next_random(state);
	unsigned shift = (unsigned)(r % 100 < 70 ? 8 : r % 100 < 97 ? 13 : 17);

	return (size_t)((r >> 8) % ((uint64_t)1 << shift)) + 1;
}

/* Contents that tell whose block this is, in words: each depends on tag and place. */
static inline uint64_t pattern_word(size_t tag, size_t index)
{
	return (tag * 0x9e3779b97f4a7c15u + index + 1) * 0xd1342543de82ef95u;
}

static inline unsigned char pattern_byte(size_t tag, size_t at)
{
	return (unsigned char)(pattern_word(tag, at / 8) >> at % 8 * 8);
}

static inline void pattern_fill(void *block, size_t nbytes, size_t tag)
{
	unsigned char *b = block;

	for (size_t at = 0; at < nbytes; at += 8) {
		uint64_t word = pattern_word(tag, at / 8);
		memcpy(b + at, &word, nbytes - at < 8 ? nbytes - at : 8);
	}
}

static inline bool pattern_holds(const void *block, size_t nbytes, size_t tag)
{
	const unsigned char *b = block;

	for (size_t at = 0; at < nbytes; at += 8) {
		uint64_t word = pattern_word(tag, at / 8);
		if (memcmp(b + at, &word, nbytes - at < 8 ? nbytes - at : 8) != 0)
			return false;
	}
	return true;
}

static inline bool all_zero(const void *block, size_t nbytes)
{
	const unsigned char *b = block;

	return nbytes == 0 || (b[0] == 0 && memcmp(b, b + 1, nbytes - 1) == 0);
}

/* A template for mkstemp() and mkdtemp() where the runner wants scratch files. */
static inline void scratch_template(char *path, size_t nbytes, const char *name)
{
	const char *directory = getenv("TMPDIR");
	int n = snprintf(path, nbytes, "%s/%s.XXXXXX", directory ? directory : "/tmp", name);

	CHECK(n > 0 && (size_t)n < nbytes);
}

/* A hang must end the program, and say where the hang was. Call again at progress. */
static inline void watchdog_bark(int signo)
{
	static const char text[] = "watchdog: no progress\n";

	(void)signo;
	(void)!write(2, text, sizeof text - 1);
	_exit(1);
}

static inline void watchdog(unsigned seconds)
{
	signal(SIGALRM, watchdog_bark);
	alarm(seconds);
}

static inline void sleep_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

/* The heap after something odd: fresh blocks of many sizes do not overlap. */
static inline void check_heap_works(void)
{
	static void *block[400];

	for (size_t i = 0; i < COUNT(block); i++) {
		size_t nbytes = i * i / 8 + 1;
		block[i] = malloc(nbytes);
		CHECK(block[i]);
		pattern_fill(block[i], nbytes, i);
	}
	for (size_t i = 0; i < COUNT(block); i++) {
		CHECKF(pattern_holds(block[i], i * i / 8 + 1, i), "block %zu", i);
		free(block[i]);
	}
}

#endif
