/* efault.c: calls whose times and masks the library looks at, by syscall(2) and by libc: an address where
 * nothing can be read is refused by the kernel, as ever, and is not the program's death.
 *
 * variants: SPANGC_MODE=gc | SPANGC_MODE=leaks SPANGC_REPORT=/dev/null
 */
#include "tests/process/process.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/syscall.h>

#define MASK_BYTES 8

static char *nowhere;
static int epoll, semaphore;

static void expect(const char *what, long result)
{
	CHECKF(result == -1 && (errno == EFAULT || errno == ENOSYS), "%s: %ld, %s", what, result,
	       strerror(errno));
}

#define EXPECT(call) expect(#call, call)

static void bad_times(void)
{
	struct sembuf down = { .sem_op = -1 };
	struct epoll_event e;
	uint64_t none = 0;
	uint32_t word = 0;

	EXPECT(syscall(SYS_nanosleep, nowhere, NULL));
	EXPECT(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, nowhere, NULL));
	EXPECT(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, nowhere, NULL, 0));
	EXPECT(syscall(SYS_rt_sigtimedwait, &none, NULL, nowhere, sizeof none));
	EXPECT(syscall(SYS_semtimedop, semaphore, &down, 1, nowhere));
	EXPECT(syscall(SYS_epoll_pwait2, epoll, &e, 1, nowhere, NULL, MASK_BYTES));
	EXPECT(semtimedop(semaphore, &down, 1, (struct timespec *)nowhere));
	EXPECT(epoll_pwait2(epoll, &e, 1, (struct timespec *)nowhere, NULL));
	EXPECT(sigtimedwait((sigset_t *)&none, NULL, (struct timespec *)nowhere));
}

static void bad_masks(void)
{
	struct { const void *set; size_t nbytes; } packed = { nowhere, MASK_BYTES };
	const struct timespec at_once = { 0 };
	struct epoll_event e;

	EXPECT(syscall(SYS_rt_sigtimedwait, nowhere, NULL, &at_once, MASK_BYTES));
	EXPECT(syscall(SYS_rt_sigsuspend, nowhere, MASK_BYTES));
	EXPECT(syscall(SYS_ppoll, NULL, 0, &at_once, nowhere, MASK_BYTES));
	EXPECT(syscall(SYS_epoll_pwait, epoll, &e, 1, 0, nowhere, MASK_BYTES));
	EXPECT(syscall(SYS_epoll_pwait2, epoll, &e, 1, &at_once, nowhere, MASK_BYTES));
	EXPECT(syscall(SYS_pselect6, 0, NULL, NULL, NULL, &at_once, nowhere));
	EXPECT(syscall(SYS_pselect6, 0, NULL, NULL, NULL, &at_once, &packed));
}

int main(void)
{
	watchdog(60);
	nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(nowhere != MAP_FAILED);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	semaphore = semget(IPC_PRIVATE, 1, 0600);
	CHECK(epoll >= 0 && semaphore >= 0);
	bad_times();
	bad_masks();
	CHECK(semctl(semaphore, 0, IPC_RMID) == 0);
	return 0;
}
