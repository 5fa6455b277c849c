/* killed_term.c: ends by SIGTERM, for which it has no handler.
 *
 * leaks: direct 48/1 lose
 * status: SIGTERM
 */
#include "tests/corpus/corpus.h"

static NOINLINE void lose(void)
{
	block(48);
}

int main(void)
{
	apart(lose);
	kill(getpid(), SIGTERM);
	sleep_forever();
	return 1;
}
