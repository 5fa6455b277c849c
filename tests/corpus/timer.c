/* timer.c: held by the kernel only, which gives it to the signal of a timer.
 *
 * leaks: none
 */
#include <time.h>

#include "tests/corpus/corpus.h"

static timer_t timer;

static NOINLINE void keep(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };

	event.sigev_value.sival_ptr = block(48);
	CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
}

int main(void)
{
	struct itimerspec in_an_hour = { .it_value.tv_sec = 3600 };

	apart(keep);
	CHECK(timer_settime(timer, 0, &in_an_hour, NULL) == 0);
	return 0;
}
