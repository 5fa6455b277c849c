/* own_threads.c: the library's threads have got to their work before main() runs, and the helper before
 * free() returns: what libc allocates on their way comes from this heap, and might be the very block
 * that main() frees twice.
 *
 * leaks: sets its modes itself
 * variants: SPANGC_MODE=gc NTHREADS=1 | SPANGC_MODE=leaks SPANGC_REPORT_EVERY=60m NTHREADS=1 SPANGC_REPORT=/dev/null | SPANGC_MODE=gc SPANGC_REPORT_SIGNAL=USR2 NTHREADS=2
 */
#include "tests/process/process.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>

static atomic_uint nbegun, nended;

/* In front of libc's: where a thread's stack is, for which libc allocates. */
int pthread_getattr_np(pthread_t thread, pthread_attr_t *attr)
{
	int (*real)(pthread_t, pthread_attr_t *);
	int error;

	nbegun++;
	*(void **)&real = dlsym(RTLD_NEXT, "pthread_getattr_np");
	sleep_ms(50);
	error = real(thread, attr);
	nended++;
	return error;
}

static void expect_ended(unsigned n)
{
	unsigned ended = nended;

	CHECKF(ended >= n && nbegun == ended, "%u of %u, expected %u", ended, nbegun, n);
}

static void free_much(void)
{
	static char *block[6400];

	for (size_t i = 0; i < COUNT(block); i++)
		memset(block[i] = hide(malloc(10000)), 1, 10000);
	for (size_t i = 0; i < COUNT(block); i++) {
		free(block[i]);
		expect_ended(0);
	}
}

int main(void)
{
	unsigned n = (unsigned)strtoul(getenv("NTHREADS"), NULL, 10);

	watchdog(60);
	expect_ended(n);
	CHECK(nended == n);
	do
		free_much();
	while (nended == n);                    /* until there is a helper */
	return 0;
}
