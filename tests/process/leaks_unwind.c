/* leaks_unwind.c: each stack is the one that libunwind finds (SPANGC_VERIFY=1 ends the program
 * otherwise): from frames of unknown size, in threads with little stack, in signal handlers, also on
 * a stack of their own, on coroutines, and after a jump out of deep calls.
 * env: SPANGC_MODE=leaks SPANGC_VERIFY=1
 */
#include "tests/process/process.h"

#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define APART __attribute__((noinline, noclone))

static volatile unsigned sink;
static jmp_buf out;

APART static void use(size_t nbytes)
{
	void *p = malloc(nbytes), *q = calloc(3, nbytes);

	p = realloc(p, 2 * nbytes + 1);
	free(q);
	free(p);
	sink++;
}

APART static void descend(unsigned depth, bool jumps)
{
	char *room = __builtin_alloca(1 + depth * 7 % 90);

	room[0] = 1;
	use(16 + depth);
	if (depth)
		descend(depth - 1, jumps);
	else if (jumps)
		longjmp(out, 1);
	use(100 + depth);
	sink += (unsigned)room[0];
}

APART static void roam(void)
{
	for (unsigned depth = 0; depth < 50; depth += 3)
		descend(depth, false);
	for (unsigned depth = 0; depth < 20; depth++) {
		if (!setjmp(out))
			descend(depth, true);
	}
}

static int by_value(const void *a, const void *b)
{
	use(10);
	return *(const int *)a - *(const int *)b;
}

static void *in_thread(void *arg)
{
	int n[] = { 5, 3, 4, 1, 2 };

	descend(5, false);
	qsort(n, 5, sizeof *n, by_value);
	return arg;
}

static void on_signal(int signo)
{
	descend(4, false);
	sink += (unsigned)signo;
}

static void handle(int flags)
{
	static char altstack[64 * 1024];
	stack_t stack = { .ss_sp = altstack, .ss_size = sizeof altstack };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = flags };

	sigaltstack(&stack, NULL);
	sigaction(SIGUSR1, &action, NULL);
	for (unsigned i = 0; i < 5; i++) {
		use(i);
		raise(SIGUSR1);
	}
}

static ucontext_t back, coroutine;

static void run(void)
{
	for (unsigned i = 0; i < 3; i++) {
		descend(10, false);
		swapcontext(&coroutine, &back);
	}
}

static void coroutines(void)
{
	for (unsigned i = 0; i < 5; i++) {
		size_t nbytes = 64 * 1024 + i * 4096;
		void *stack = malloc(nbytes);

		getcontext(&coroutine);
		coroutine.uc_stack.ss_sp = stack;
		coroutine.uc_stack.ss_size = nbytes;
		coroutine.uc_link = &back;
		makecontext(&coroutine, run, 0);
		for (unsigned turn = 0; turn < 4; turn++) {
			swapcontext(&back, &coroutine);
			descend(3, false);
		}
		free(stack);
	}
}

int main(void)
{
	pthread_attr_t attr;

	roam();
	pthread_attr_init(&attr);
	for (unsigned i = 0; i < 20; i++) {
		pthread_t thread;

		pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN + (i % 2 ? 1 << 20 : 16 * 1024));
		if (pthread_create(&thread, &attr, in_thread, NULL))
			return 1;
		roam();
		pthread_join(thread, NULL);
	}
	handle(0);
	handle(SA_ONSTACK);
	coroutines();
	return 0;
}
