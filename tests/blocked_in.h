/* blocked_in.h: waiting until a thread of this process sleeps in a certain system call: no time that a test
 * sleeps itself is long enough on every machine. */
#ifndef TESTS_BLOCKED_IN_H
#define TESTS_BLOCKED_IN_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline bool is_blocked_in(int tid, long number)
{
	char path[64], text[32] = "", *end;
	int fd;

	snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, text, sizeof text - 1) < 0)
		text[0] = '\0';
	close(fd);
	return strtol(text, &end, 10) == number && end > text;   /* "running" is no number */
}

/* A hang ends by the test's own time limit. */
static inline void wait_until_blocked_in(int tid, long number)
{
	while (!is_blocked_in(tid, number))
		usleep(1000);
}

#endif
