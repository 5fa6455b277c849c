/* epoll_data.c: held by the kernel only, which gives it back with each event of a descriptor.
 *
 * leaks: none
 */
#include <sys/epoll.h>

#include "tests/corpus/corpus.h"

static int fds[2], epoll_fd;

static NOINLINE void keep(void)
{
	struct epoll_event event = { .events = EPOLLIN };

	event.data.ptr = block(48);
	CHECK(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[0], &event) == 0);
}

int main(void)
{
	CHECK(pipe(fds) == 0);
	epoll_fd = epoll_create1(0);
	CHECK(epoll_fd >= 0);
	apart(keep);
	return 0;
}
