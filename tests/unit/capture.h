/* capture.h: what a test's calls write to stderr, one message for each write(2).
 *
 * A socket of whole messages stands where stderr was, so that a test sees not only the text but
 * also whether it came in one piece.
 */
#ifndef TESTS_UNIT_CAPTURE_H
#define TESTS_UNIT_CAPTURE_H

#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct capture {
	int stderr_copy;
	int reader;
};

static inline void capture_begin(struct capture *c)
{
	int ends[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	c->stderr_copy = dup(STDERR_FILENO);
	c->reader = ends[0];
	cr_assert_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	close(ends[1]);
}

/* Closes what capture_begin() opened; `got` is all that was written. Returns the number of
 * writes: 0 is silence. */
static inline int capture_end(struct capture *c, char *got, size_t size)
{
	int nwrites = 0;
	ssize_t n;

	dup2(c->stderr_copy, STDERR_FILENO);
	close(c->stderr_copy);
	while ((n = recv(c->reader, got, size - 1, MSG_DONTWAIT)) > 0) {
		nwrites++;
		got += n;
		size -= (size_t)n;
	}
	*got = '\0';
	close(c->reader);
	return nwrites;
}

#endif
