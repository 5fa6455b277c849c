/* eintr_ipc.h: what the calls of eintr.c and eintr_raw.c wait for, and nobody gives. */
#ifndef TESTS_EINTR_IPC_H
#define TESTS_EINTR_IPC_H

#include "tests/process/process.h"

#include <sys/msg.h>
#include <sys/sem.h>

static int silent[2];                           /* a pipe that nobody writes to */
static int queue, semaphores;

/* SIGUSR2 comes by sigtimedwait() and its kin only. */
static void prepare(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	CHECK(pipe2(silent, O_CLOEXEC) == 0);
	queue = msgget(IPC_PRIVATE, 0600);
	semaphores = semget(IPC_PRIVATE, 1, 0600);
	CHECK(queue >= 0 && semaphores >= 0);
}

static void tidy_up(void)
{
	msgctl(queue, IPC_RMID, NULL);
	semctl(semaphores, 0, IPC_RMID);
}

#endif
