/* killed_int.c: ends by SIGINT, for which it has no handler.
 *
 * leaks: direct 48/1 lose
 * status: SIGINT
 */
#include "tests/corpus/corpus.h"

static NOINLINE void lose(void)
{
	block(48);
}

int main(void)
{
	apart(lose);
	kill(getpid(), SIGINT);
	sleep_forever();
	return 1;
}
