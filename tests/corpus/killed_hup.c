/* killed_hup.c: ends by SIGHUP, for which it has no handler.
 *
 * leaks: direct 48/1 lose
 * status: SIGHUP
 */
#include "tests/corpus/corpus.h"

static NOINLINE void lose(void)
{
	block(48);
}

int main(void)
{
	apart(lose);
	kill(getpid(), SIGHUP);
	sleep_forever();
	return 1;
}
