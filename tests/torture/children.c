/* children.c: storms of fork, vfork and posix_spawn; the children allocate and collect, and find whole
 * what they inherited; so does the parent.
 *
 * also: SPANGC_VERIFY=1 | SPANGC_GC_FREE=ignore | SPANGC_STACKS=all
 */
#include "tests/torture/torture.h"
#include "tests/torture/objects.h"

#include <spawn.h>
#include <sys/wait.h>

#define NOBJECTS 300
#define NTHREADS 3

extern char **environ;

static void check_status(pid_t child, int status, const char *what)
{
	CHECKF(WIFEXITED(status) && WEXITSTATUS(status) == 7, "%s: %d ended with %x", what, (int)child,
	       (unsigned)status);
}

static void wait_for(pid_t child, const char *what)
{
	int status;
	pid_t got;

	CHECKF(child > 0, "%s: %s", what, strerror(errno));
	got = waitpid(child, &status, 0);
	CHECKF(got == child, "%s: waitpid: %s", what, strerror(errno));
	check_status(child, status, what);
}

/* Objects of the parent's that only this thread's block leads to. */
static void look_at(struct ref *list)
{
	for (unsigned i = 0; i < NOBJECTS; i++)
		torture_count(object_walk(list[i], false));
}

static void replace_some(struct ref *list, uint64_t *rng, uint64_t *serial)
{
	for (unsigned i = 0; i < 50; i++) {
		struct ref *r = &list[next_random(rng) % NOBJECTS];

		if (r->word && next_random(rng) % 2)
			object_walk(*r, true);
		*r = object_make((*serial)++);
		make_garbage(rng);
	}
}

static NOINLINE void live_as_child(struct ref *list, uint64_t rng, uint64_t serial)
{
	unsigned ncollections = (unsigned)(rng % 3);

	alarm(100);
	for (unsigned i = 0; i <= ncollections; i++) {
		look_at(list);
		replace_some(list, &rng, &serial);
		collect();
	}
	look_at(list);
	if (rng % 5 == 0) {                     /* a child of the child */
		pid_t child = fork();

		if (child == 0) {
			replace_some(list, &rng, &serial);
			collect();
			look_at(list);
			_exit(7);
		}
		wait_for(child, "fork in a child");
	}
	if (rng % 2)
		_exit(7);
	exit(7);
}

static void spawn(void)
{
	char *argv[] = { "/proc/self/exe", "child", NULL };
	pid_t child;
	int error = posix_spawn(&child, argv[0], NULL, NULL, argv, environ);

	CHECKF(error == 0, "posix_spawn: %s", strerror(error));
	wait_for(child, "posix_spawn");
}

static void run_by_vfork(void)
{
	char *argv[] = { "/proc/self/exe", "child", NULL };
	pid_t child = vfork();

	if (child == 0) {
		execve(argv[0], argv, environ);
		_exit(1);
	}
	wait_for(child, "vfork");
}

static void *storm(void *arg)
{
	uint64_t rng = torture.seed + (uintptr_t)arg * 2, serial = (uint64_t)(uintptr_t)arg << 32;
	struct ref *list = calloc(NOBJECTS, sizeof *list);

	while (torture_goes_on()) {
		uint64_t r = next_random(&rng) % 10;

		replace_some(list, &rng, &serial);
		if (r < 7) {
			pid_t child = fork();

			if (child == 0)
				live_as_child(list, rng, serial);
			wait_for(child, "fork");
		} else if (r == 7) {
			spawn();
		} else if (r == 8) {
			run_by_vfork();
		} else {
			int status = system("exit 7");

			check_status(0, status, "system");
		}
		look_at(list);
	}
	for (unsigned i = 0; i < NOBJECTS; i++)
		object_walk(list[i], true);
	free(list);
	return NULL;
}

static int be_spawned(void)
{
	uint64_t rng = (uint64_t)getpid() * 2 + 1, serial = 1;
	struct ref *list = calloc(NOBJECTS, sizeof *list);

	alarm(100);
	replace_some(list, &rng, &serial);
	collect();
	look_at(list);
	return 7;
}

int main(int argc, char **argv)
{
	pthread_t thread[NTHREADS];

	if (argc > 1 && strcmp(argv[1], "child") == 0)
		return be_spawned();
	torture_begin();
	for (unsigned i = 0; i < NTHREADS; i++)
		thread[i] = start_thread(storm, (void *)(uintptr_t)(i + 1));
	for (unsigned i = 0; i < NTHREADS; i++)
		join_thread(thread[i]);
	return torture_end();
}
