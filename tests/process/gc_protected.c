/* gc_protected.c: what a marking has noted as small blocks is freed, becomes large blocks, and is protected
 * by the program, as guard pages are, before the marking comes to read it. The collector must not die of
 * that. The small blocks are an array's, whose last word leads to a long list: marking follows it first.
 *
 * leaks: its mode is gc
 * variants: SPANGC_MODE=gc SPANGC_GC_DIRTY=uffd | SPANGC_MODE=gc SPANGC_GC_DIRTY=mprotect
 */
#include "tests/process/process.h"

#include <pthread.h>
#include <sys/mman.h>

#define NROUNDS 3
#define NSMALL 12000
#define SMALL_BYTES 1000
#define NNODES 1500000
#define NLARGE 150
#define LARGE_BYTES KIB(64)
#define PAGE KIB(4)

struct node {
	struct node *next;
	long rest[6];
};

static void **table;
static void *large[NLARGE];
static _Atomic int nbegun;

static void *collect(void *arg)
{
	nbegun++;
	((size_t (*)(void))symbol("spangc_collect"))();
	return arg;
}

/* In random order, so that marking takes its time. */
static struct node *make_list(uint64_t *rng)
{
	struct node **node = malloc(NNODES * sizeof *node), *first;

	CHECK(node);
	for (size_t i = 0; i < NNODES; i++) {
		size_t j = next_random(rng) % (i + 1);
		struct node *made = malloc(sizeof *made);

		CHECK(made);
		node[i] = node[j];
		node[j] = made;
	}
	for (size_t i = 0; i < NNODES; i++)
		node[i]->next = i + 1 < NNODES ? node[i + 1] : NULL;
	first = node[0];
	free(node);
	return first;
}

static void free_list(struct node *first)
{
	for (struct node *next; first; first = next) {
		next = first->next;
		free(first);
	}
}

static void set_large(int prot)
{
	for (unsigned i = 0; i < NLARGE; i++)
		CHECK(mprotect(large[i], LARGE_BYTES, prot) == 0);
}

int main(void)
{
	uint64_t rng = seed_from_env();

	watchdog(100);
	for (int round = 0; round < NROUNDS; round++) {
		pthread_t thread;

		table = malloc((NSMALL + 1) * sizeof *table);
		for (unsigned i = 0; i < NSMALL; i++)
			table[i] = memset(hide(malloc(SMALL_BYTES)), 0, SMALL_BYTES);
		table[NSMALL] = make_list(&rng);
		CHECK(pthread_create(&thread, NULL, collect, NULL) == 0);
		while (nbegun == round)
			sleep_ms(1);
		sleep_ms(40 + 20 * round);
		for (unsigned i = 0; i < NSMALL; i++) {
			free(table[i]);
			table[i] = NULL;
		}
		for (unsigned i = 0; i < NLARGE; i++)
			CHECK(posix_memalign(&large[i], PAGE, LARGE_BYTES) == 0);
		set_large(PROT_NONE);
		CHECK(pthread_join(thread, NULL) == 0);
		set_large(PROT_READ | PROT_WRITE);
		for (unsigned i = 0; i < NLARGE; i++)
			free(large[i]);
		free_list(table[NSMALL]);
		free(table);
	}
	return 0;
}
