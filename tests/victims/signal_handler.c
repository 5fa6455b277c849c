/* signal_handler.c: the second free happens in a signal handler.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in free\(\)
 */
#include "tests/victims/victims.h"

static char *p;

static void handler(int signo)
{
	(void)signo;
	free(hide(p));
}

int main(void)
{
	p = hide(malloc(48));
	free(p);
	misuse_of(p);
	signal(SIGUSR1, handler);
	raise(SIGUSR1);
	return survived();
}
