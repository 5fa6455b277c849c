/* main_ended_argv.c: the first thread has ended; what it put among the arguments and the environment is
 * still held by these.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

static char **arguments;

static NOINLINE void keep(void)
{
	char *variable = (char *)block(48);

	arguments[0] = (char *)block(24);
	strcpy(variable, "CORPUS=held");
	CHECK(putenv(variable) == 0);
}

static void *end(void *arg)
{
	usleep(200000);
	wipe();
	exit(arg ? 1 : 0);
}

static NOINLINE void start(void)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, end, NULL) == 0);
}

int main(int argc, char **argv)
{
	(void)argc;
	arguments = argv;
	apart(keep);
	arguments = NULL;
	apart(start);
	pthread_exit(NULL);
}
