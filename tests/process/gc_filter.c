/* gc_filter.c: a thread that filters its own system calls, so that ioctl ends the process, goes on
 * allocating in mode gc while pages are watched: by prctl(), by syscall(), and in a thread that it starts.
 *   leaks: its mode is gc
 *   variants: SPANGC_MODE=gc SPANGC_GC_DIRTY=uffd | SPANGC_MODE=gc SPANGC_GC_DIRTY=mprotect
 */
#include "tests/process/process.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>

#define NCYCLES 40
#define NBLOCKS 200000
#define BLOCK_BYTES 200

static _Atomic unsigned ncycles, nrounds;

static void filter(bool by_number)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof code / sizeof code[0], code };

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (by_number ? syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)
	              : prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		SKIP("no seccomp");
}

/* Blocks are lost, and new pages taken, until there were enough cycles. */
static void *allocate(void *arg)
{
	static char *kept[NBLOCKS];

	while (ncycles < NCYCLES) {
		for (unsigned i = 0; i < NBLOCKS; i++) {
			kept[i] = malloc(BLOCK_BYTES);
			CHECK(kept[i]);
			kept[i][0] = 1;
		}
		nrounds++;
	}
	return arg;
}

static void *allocate_filtered(void *by_number)
{
	pthread_t thread;

	filter(by_number);
	CHECK(pthread_create(&thread, NULL, allocate, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	return NULL;
}

static void run(bool by_number)
{
	size_t (*collect)(void) = (size_t (*)(void))symbol("spangc_collect");
	pthread_t thread;

	ncycles = 0;
	CHECK(pthread_create(&thread, NULL, allocate_filtered, by_number ? &ncycles : NULL) == 0);
	while (ncycles < NCYCLES) {
		collect();
		ncycles += nrounds > 0;         /* beside cycles from its first block on */
	}
	CHECK(pthread_join(thread, NULL) == 0);
}

int main(int argc, char **argv)
{
	(void)argv;
	watchdog(100);
	/* In processes of their own: the first one's is known to the second. */
	for (int by_number = 0; by_number < 2 && argc == 1; by_number++) {
		struct outcome o;

		run_self(&o, by_number ? "syscall" : "prctl", NULL);
		if (o.status == 77 << 8)
			return 77;
		CHECK(ended_well(&o));
	}
	if (argc > 1)
		run(!strcmp(argv[1], "syscall"));
	return 0;
}
