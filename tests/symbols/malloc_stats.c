/* malloc_stats.c: some lines on stderr, nothing on stdout, cancellation as it was. */
#include "tests/check.h"

#include <malloc.h>
#include <pthread.h>

static size_t bytes_written(int fd)
{
	int saved = dup(fd);
	FILE *f = tmpfile();
	off_t length;

	CHECK(f && saved >= 0 && dup2(fileno(f), fd) == fd);
	malloc_stats();
	fflush(stdout);
	CHECK(dup2(saved, fd) == fd);
	length = lseek(fileno(f), 0, SEEK_END);
	fclose(f);
	close(saved);
	return (size_t)length;
}

static void state_is_kept(int state)
{
	int now;

	pthread_setcancelstate(state, NULL);
	bytes_written(2);
	pthread_setcancelstate(state, &now);
	CHECKF(now == state, "%d became %d", state, now);
}

/* A cancellation that waits must not strike in the middle of it. */
static void *cancelled(void *is_done)
{
	int old;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	pthread_cancel(pthread_self());
	malloc_stats();
	*(bool *)is_done = true;
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
	pthread_testcancel();
	return NULL;
}

int main(void)
{
	bool is_done = false;
	pthread_t t;
	void *how;

	check_heap_works();
	CHECK(bytes_written(2) > 20);
	CHECK(bytes_written(1) == 0);
	state_is_kept(PTHREAD_CANCEL_DISABLE);
	state_is_kept(PTHREAD_CANCEL_ENABLE);
	CHECK(pthread_create(&t, NULL, cancelled, &is_done) == 0);
	CHECK(pthread_join(t, &how) == 0);
	CHECK(is_done && how == PTHREAD_CANCELED);
	return 0;
}
