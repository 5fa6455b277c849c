/* leaks_torture.c: a report every 20 ms while threads allocate, start and end, fork, and load and unload a
 * library; nobody hangs, and every report is whole and tells of the one block that is lost.
 *
 * TORTURE_SECONDS: how long; 3.
 *
 * timeout: 120
 * variants: SPANGC_STACKS=off | SPANGC_STACK_DEPTH=4
 */
#include "tests/process/process.h"
#include "tests/wipe.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/stat.h>

#define NHELD 1000

static volatile bool is_over;
static uint64_t seed;

static NOINLINE void leak(size_t nbytes)
{
	memset(hide(malloc(nbytes)), 0, nbytes);
}

static NOINLINE void lose_48(void)
{
	leak(48);
	wipe();
}

static void *allocate(void *arg)
{
	void *held[NHELD] = { NULL };
	uint64_t state = seed + (uintptr_t)arg * 2;

	while (!is_over) {
		size_t i = next_random(&state) % NHELD;

		free(held[i]);
		held[i] = malloc(random_size(&state));
	}
	for (size_t i = 0; i < NHELD; i++)
		free(held[i]);
	return NULL;
}

static void *end_at_once(void *arg)
{
	free(hide(malloc(1000)));
	return arg;
}

static void *start_threads(void *arg)
{
	while (!is_over) {
		pthread_t thread;

		CHECK(pthread_create(&thread, NULL, end_at_once, NULL) == 0);
		CHECK(pthread_join(thread, NULL) == 0);
	}
	return arg;
}

static void *load(void *arg)
{
	char path[PATH_MAX];

	strcpy(path, arg);
	while (!is_over) {
		void *library = dlopen(path, RTLD_NOW);

		CHECK(library);
		CHECK(dlclose(library) == 0);
	}
	return NULL;
}

/* Its children end as a program's do that is about to exec: without a report. */
static void *fork_often(void *arg)
{
	while (!is_over) {
		pid_t child = fork();
		int status;

		CHECK(child >= 0);
		if (child == 0) {
			free(hide(malloc(100)));
			kill(getpid(), SIGKILL);
		}
		CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
		sleep_ms(5);
	}
	return arg;
}

static void torture(void)
{
	const char *text = getenv("TORTURE_SECONDS");
	pthread_t thread[6];
	unsigned n = 0;

	lose_48();
	for (; n < 2; n++)
		CHECK(pthread_create(&thread[n], NULL, allocate, (void *)(uintptr_t)n) == 0);
	CHECK(pthread_create(&thread[n++], NULL, start_threads, NULL) == 0);
	CHECK(pthread_create(&thread[n++], NULL, fork_often, NULL) == 0);
	CHECK(pthread_create(&thread[n++], NULL, load,
	                     (void *)(uintptr_t)beside("libplugin.so")) == 0);
	for (unsigned ms = text ? (unsigned)atoi(text) * 1000 : 3000; ms; ms -= 100) {
		watchdog(100);
		sleep_ms(100);
	}
	is_over = true;
	while (n--)
		CHECK(pthread_join(thread[n], NULL) == 0);
}

static char folder[PATH_MAX];

static void set_environment(void)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof path, "%s/%%p.%%n", folder);
	setenv("SPANGC_MODE", "leaks", 1);
	setenv("SPANGC_REPORT", path, 1);
	setenv("SPANGC_REPORT_FORMAT", "json", 1);
	setenv("SPANGC_REPORT_EVERY", "20ms", 1);
}

static void check_report(const char *name)
{
	char path[PATH_MAX + NAME_MAX];
	const char *text;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	text = proc_text(path);
	CHECKF(strstr(text, "]}\n"), "%s is not whole: %s", path, text);
	CHECKF(strstr(text, "\"direct_bytes\":48,\"direct_blocks\":1,\"indirect_bytes\":0,"), "%s: %s", path,
	       text);
}

/* Those of its own children, which had a thread for reports, may not be whole: they were killed. */
static unsigned check_reports(pid_t pid)
{
	struct dirent *entry;
	DIR *d = opendir(folder);
	unsigned n = 0;

	CHECK(d);
	while ((entry = readdir(d))) {
		if (atoi(entry->d_name) != pid)
			continue;
		check_report(entry->d_name);
		n++;
	}
	closedir(d);
	return n;
}

int main(int argc, char **argv)
{
	struct outcome o;
	pid_t child;
	unsigned n;

	seed = seed_from_env();
	if (argc > 1) {
		torture();
		exit(0);
	}
	scratch_template(folder, sizeof folder, "torture");
	CHECK(mkdtemp(folder));
	child = run_file(&o, "/proc/self/exe", (char *[]){ argv[0], "run", NULL }, set_environment);
	CHECKF(ended_well(&o) && !o.nlines, "%x: %s", (unsigned)o.status, o.err);
	n = check_reports(child);
	CHECKF(n > 0, "%u reports", n);
	printf("%u reports\n", n);
	run_program(&o, (char *[]){ "rm", "-r", folder, NULL }, NULL);
	return 0;
}
