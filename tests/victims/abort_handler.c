/* abort_handler.c: a program with its own SIGABRT handler that returns still ends.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in free\(\)
 */
#include "tests/victims/victims.h"

static void handler(int signo)
{
	(void)signo;
}

int main(void)
{
	char *p = hide(malloc(48));

	signal(SIGABRT, handler);
	free(p);
	misuse_of(p);
	free(p);
	return survived();
}
