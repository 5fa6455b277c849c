/* line_server.h: threads that answer the lines of connections. A connection is known to the kernel alone,
 * as the data of an epoll instance. For one program with answer() of its own.
 */
#ifndef TESTS_LINE_SERVER_H
#define TESTS_LINE_SERVER_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE_BYTES 256

struct connection {
	int fd;
	size_t len;
	char line[LINE_BYTES];
};

static int epoll, listener;                     /* the latter's data is NULL, where there is one */

static void answer(struct connection *c, char *line);

static void wait_for(int how, struct connection *c)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT, .data.ptr = c };

	epoll_ctl(epoll, how, c->fd, &event);
}

static void add_connection(int fd)
{
	struct connection *c = fd >= 0 ? calloc(1, sizeof *c) : NULL;

	if (c) {
		c->fd = fd;
		wait_for(EPOLL_CTL_ADD, c);
	}
}

/* False: it has ended. */
static bool serve(struct connection *c)
{
	ssize_t n = read(c->fd, c->line + c->len, sizeof c->line - 1 - c->len);
	char *end;

	if (n <= 0)
		return false;
	c->len += (size_t)n;
	c->line[c->len] = '\0';
	while ((end = strchr(c->line, '\n'))) {
		*end = '\0';
		answer(c, c->line);
		c->len -= (size_t)(end + 1 - c->line);
		memmove(c->line, end + 1, c->len + 1);
	}
	return c->len < sizeof c->line - 1;
}

/* A thread of the server. */
static void *serve_all(void *arg)
{
	struct epoll_event event;

	while (epoll_wait(epoll, &event, 1, -1) == 1) {
		struct connection *c = event.data.ptr;

		if (!c) {
			add_connection(accept(listener, NULL, NULL));
		} else if (serve(c)) {
			wait_for(EPOLL_CTL_MOD, c);
		} else {
			close(c->fd);
			free(c);
		}
	}
	perror("epoll_wait");                   /* EINTR would show here */
	exit(1);
	return arg;
}

#endif
