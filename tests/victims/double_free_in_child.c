/* double_free_in_child.c: freed before fork() and once more in the child, whose end is passed on.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: double free of 0x[0-9a-f]+ in free\(\)
 */
#include "tests/victims/victims.h"

#include <sys/wait.h>

int main(void)
{
	char *p = hide(malloc(48));
	int status;

	free(p);
	misuse_of(p);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		free(p);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	if (WIFSIGNALED(status))
		raise(WTERMSIG(status));
	return survived();
}
