/* helper_thread.c: no thread of ours in a short program; one after a lot was freed; it leaves
 * when it is idle; none at all with SPANGC_BACKGROUND=off. It blocks every signal.
 *   gc: there the thread that collects is another one
 *
 * variants: SPANGC_BACKGROUND=auto | SPANGC_BACKGROUND=off | SPANGC_RELEASE_DELAY=0 SPANGC_BACKGROUND=off
 */
#include "tests/process/process.h"

#include <dirent.h>

static void free_much(void)
{
	static char *block[6400];

	for (size_t i = 0; i < COUNT(block); i++) {
		CHECK((block[i] = malloc(10000)) != NULL);
		memset(block[i], 1, 10000);
	}
	for (size_t i = 0; i < COUNT(block); i++)
		free(block[i]);
}

/* The signal mask of the thread that is not the first, as in its /proc status. */
static uint64_t helper_mask(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;
	uint64_t mask = 0;
	char path[300];

	CHECK(tasks);
	while ((task = readdir(tasks)) != NULL)
		if (task->d_name[0] != '.' && atoi(task->d_name) != getpid()) {
			snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
			mask = strtoull(strstr(proc_text(path), "\nSigBlk:") + 8, NULL, 16);
		}
	closedir(tasks);
	return mask;
}

/* Everything that can be blocked: not SIGKILL, SIGSTOP, nor libc's own two. */
/* In mode leaks the helper, too, can be stopped. */
static uint64_t blockable(void)
{
	const char *mode = getenv("SPANGC_MODE");
	uint64_t stop = mode && !strcmp(mode, "leaks") ? UINT64_C(1) << (SIGRTMAX - 4 - 1) : 0;

	return ~(stop | UINT64_C(1) << (SIGKILL - 1) | UINT64_C(1) << (SIGSTOP - 1) |
		 UINT64_C(3) << (32 - 1));
}

int main(void)
{
	bool is_off = strcmp(getenv("SPANGC_BACKGROUND"), "off") == 0;

	watchdog(100);
	CHECK(thread_count() == 1);
	check_heap_works();
	CHECK(thread_count() == 1);
	free_much();
	if (is_off) {
		CHECK(!threads_become(2, 2));
		return 0;
	}
	CHECK(threads_become(2, 10));
	CHECKF((helper_mask() & blockable()) == blockable(), "%llx",
	       (unsigned long long)helper_mask());
	CHECK(threads_become(1, 30));
	free_much();
	CHECK(threads_become(2, 10));
	return 0;
}
