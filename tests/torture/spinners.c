/* spinners.c: two hundred threads that never let go of a processor, each with an object that only a
 * register leads to; collections end all the same.
 *
 * also: SPANGC_VERIFY=1
 * timeout: 240
 */
#include "tests/torture/torture.h"
#include "tests/torture/objects.h"

#define NTHREADS 200
#define MASK UINT64_C(0x5a5a5a5a5a5a5a5a)
#define NCOLLECTIONS 3

static _Atomic uint32_t is_over;
static _Atomic unsigned nready;

/* Turns until is_over, while nothing but one register holds the word: which, says `where`. */
static NOINLINE uint64_t hold_in_register(uint64_t masked, unsigned where)
{
#ifdef __x86_64__
#define HOLD(to, from)                                                                       \
	__asm__ volatile("xor %[m], %[w]\n\t" to "\n\t xor %k[w], %k[w]\n"                    \
	                 "1: addq $1, %[n]; cmpl $0, %[over]; je 1b\n\t"                      \
	                 from "\n\t xor %[m], %[w]"                                          \
	                 : [w] "+&a"(masked), [n] "+&r"(n)                                   \
	                 : [m] "d"(MASK), [over] "m"(is_over)                                \
	                 : "rbx", "r12", "r15", "xmm3", "xmm15", "cc", "memory")
	uint64_t n = 0;

	switch (where % 4) {
	case 0:
		HOLD("mov %%rax, %%rbx", "mov %%rbx, %%rax; xor %%ebx, %%ebx");
		break;
	case 1:
		HOLD("mov %%rax, %%r15", "mov %%r15, %%rax; xor %%r15d, %%r15d");
		break;
	case 2:
		HOLD("movq %%rax, %%xmm3", "movq %%xmm3, %%rax");
		break;
	default:
		HOLD("movq %%rax, %%xmm15; pslldq $8, %%xmm15", "psrldq $8, %%xmm15; movq %%xmm15, %%rax");
	}
	return masked;
#else
	uint64_t word = masked ^ MASK;

	(void)where;
	while (!is_over)
		__asm__ volatile("" : "+r"(word));
	return word ^ MASK;
#endif
}

static NOINLINE uint64_t make_masked(uint64_t serial)
{
	return object_make(serial).word ^ MASK;
}

static void *spin(void *arg)
{
	unsigned number = (unsigned)(uintptr_t)arg;
	uint64_t serial = (uint64_t)number * 1000, masked = make_masked(serial);

	wipe();
	nready++;
	masked = hold_in_register(masked, number);
	torture_count(object_walk((struct ref){ masked ^ MASK, serial }, true));
	return NULL;
}

static void overwrite(uint64_t *rng)
{
	for (unsigned i = 0; i < 3000; i++)
		make_garbage(rng);
}

int main(void)
{
	static pthread_t thread[NTHREADS];
	uint64_t rng;

	torture_begin_alone();
	watchdog(torture_seconds() + 200);
	rng = torture.seed;
	while (torture_goes_on() || torture.nlooks == 0) {
		is_over = nready = 0;
		for (unsigned i = 0; i < NTHREADS; i++)
			thread[i] = start_thread(spin, (void *)(uintptr_t)(i + 1));
		for (unsigned i = 0; i < NCOLLECTIONS; i++) {
			collect();
			overwrite(&rng);
		}
		while (nready < NTHREADS)
			sched_yield();
		collect();
		overwrite(&rng);
		is_over = 1;
		for (unsigned i = 0; i < NTHREADS; i++)
			join_thread(thread[i]);
	}
	return torture_end();
}
