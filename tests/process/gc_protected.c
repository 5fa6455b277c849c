/* gc_protected.c: what a marking has noted as small blocks is freed, becomes large blocks, and is protected
 * by the program, as guard pages are, before the marking comes to read it. The collector must not die of
 * that, as it did in each of eight runs when it read all small blocks in place.
 *
 * leaks: its mode is gc
 * variants: SPANGC_MODE=gc SPANGC_GC_DIRTY=uffd | SPANGC_MODE=gc SPANGC_GC_DIRTY=mprotect | SPANGC_MODE=gc BY_NUMBER=1
 * BY_NUMBER: by syscall() instead of mprotect().
 */
#include "tests/process/process.h"

#include <pthread.h>
#include <sys/mman.h>

#define NROUNDS 60
#define NSMALL 60000
#define SMALL_BYTES 1000
#define NWORDS (SMALL_BYTES / sizeof(void *))
#define NLARGE 500
#define LARGE_BYTES KIB(80)

static void ***small;
static void *large[NLARGE];
static _Atomic bool is_over;

static void *collect(void *arg)
{
	size_t (*collect_now)(void) = (size_t (*)(void))symbol("spangc_collect");

	while (!is_over)
		collect_now();
	return arg;
}

/* Each leads to eight others, so that much waits to be read. */
static void make_small(uint64_t *rng)
{
	small = malloc(NSMALL * sizeof *small);
	CHECK(small);
	for (unsigned i = 0; i < NSMALL; i++)
		small[i] = calloc(NWORDS, sizeof(void *));
	for (unsigned i = 0; i < NSMALL; i++) {
		for (unsigned k = 0; k < NWORDS; k += 16)
			small[i][k] = small[next_random(rng) % NSMALL];
	}
}

static void set_large(int prot)
{
	for (unsigned i = 0; i < NLARGE; i++) {
		CHECK((getenv("BY_NUMBER") ? (int)syscall(SYS_mprotect, large[i], LARGE_BYTES, prot)
		                           : mprotect(large[i], LARGE_BYTES, prot)) == 0);
	}
}

int main(void)
{
	uint64_t rng = seed_from_env();
	pthread_t thread;

	watchdog(100);
	CHECK(pthread_create(&thread, NULL, collect, NULL) == 0);
	for (unsigned round = 0; round < NROUNDS; round++) {
		make_small(&rng);
		sleep_ms((long)(next_random(&rng) % 8));
		for (unsigned i = 0; i < NSMALL; i++)
			free(small[i]);
		for (unsigned i = 0; i < NLARGE; i++)
			CHECK(posix_memalign(&large[i], KIB(4), LARGE_BYTES) == 0);
		set_large(PROT_NONE);
		sleep_ms(3);
		set_large(PROT_READ | PROT_WRITE);
		for (unsigned i = 0; i < NLARGE; i++)
			free(large[i]);
		free(small);
	}
	is_over = true;
	CHECK(pthread_join(thread, NULL) == 0);
	return 0;
}
