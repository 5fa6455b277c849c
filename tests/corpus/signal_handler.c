/* signal_handler.c: lost by a signal handler.
 *
 * leaks: direct 48/1 handler
 */
#include "tests/corpus/corpus.h"

static NOINLINE void lose(void)
{
	block(48);
}

static void handler(int signo)
{
	(void)signo;
	apart(lose);
}

int main(void)
{
	CHECK(signal(SIGUSR1, handler) != SIG_ERR);
	raise(SIGUSR1);
	return 0;
}
