/* victims.h: the frame of a program that misuses the heap exactly once.
 *
 * The lines of a first comment that scripts/run-tests reads, in every folder of tests/ whose
 * programs run under the preloaded library; each is optional and stands on one line:
 *
 *   status: SIGABRT             how it ends: a signal's name or an exit status; 0 if absent
 *   stderr: REGEX               an extended regex for the one line that stderr holds, whole
 *                               line; absent: stderr is not looked at
 *   args: ONE TWO               arguments
 *   env: NAME=VALUE NAME=VALUE  environment of every run
 *   variants: A=1 | A=2 B=3     one run for each set, on top of env; an empty set is allowed
 *
 * A run whose environment holds SPANGC_MISUSE=warn must end with status 0, and its REGEX has
 * WARNING in place of ERROR. Programs of tests/victims take each of their runs a second time
 * with that variable, so that no header need say so.
 *
 * A victim calls misuse_of(p) before the call that is wrong, and ends with `return survived();`:
 * under SPANGC_MISUSE=warn that looks for exactly one line that names p, then uses the heap.
 */
#ifndef TESTS_VICTIMS_H
#define TESTS_VICTIMS_H

#include "tests/check.h"

static struct {
	const void *address;
	int         saved_stderr;
	int         capture[2];
	bool        is_warned;
} victim;

/* Size of the block in question: SIZE from the environment (see variants), or `otherwise`. */
static inline size_t victim_size(size_t otherwise)
{
	const char *text = getenv("SIZE");

	return hide_size(text ? strtoull(text, NULL, 0) : otherwise);
}

/* The next call is wrong about `address`, and its message must name it. */
static inline void misuse_of(const void *address)
{
	const char *mode = getenv("SPANGC_MISUSE");

	victim.address = address;
	victim.is_warned = mode && strcmp(mode, "warn") == 0;
	if (!victim.is_warned)
		return;
	victim.saved_stderr = dup(2);
	CHECK(pipe(victim.capture) == 0);
	CHECK(dup2(victim.capture[1], 2) == 2);
}

/* What the library said goes on to stderr for the runner; it must be one line, with the address. */
static inline void check_warning(void)
{
	char text[1000], address[24];
	ssize_t n;

	dup2(victim.saved_stderr, 2);
	close(victim.capture[1]);
	n = read(victim.capture[0], text, sizeof text - 1);
	CHECK(n > 0);
	text[n] = '\0';
	CHECK(write(2, text, (size_t)n) == n);
	CHECK(strchr(text, '\n') == text + n - 1);
	snprintf(address, sizeof address, " 0x%lx in ", (unsigned long)(uintptr_t)victim.address);
	CHECKF(strstr(text, address), "not%s", address);
}

static inline int survived(void)
{
	CHECKF(victim.is_warned, "the misuse went unnoticed");
	check_warning();
	check_heap_works();
	return 0;
}

#endif
