/* gc_leaving.c: whoever leaves exec otherwise than by its failure does not keep the collector from stopping
 * threads: a handler's longjmp(), a thread that ends in a handler. And a thread is not cancelled in exec or
 * unshare, however the library waits in there.
 *   leaks: it sets the mode itself
 *   timeout: 120
 */
#include "tests/process/process.h"

#include "preload/spangc.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/time.h>

#define NLOST 3000
#define NJUMPS 300
#define NCALLS 300

static uintptr_t lost[NLOST];
static char path[PATH_MAX];                     /* what the kernel is long at, to find nothing */
static char *args[] = { path, NULL };
static sigjmp_buf here;
static _Atomic bool is_over;

static __attribute__((noinline)) void lose(void)
{
	for (unsigned i = 0; i < NLOST; i++)
		lost[i] = ~(uintptr_t)malloc(100);
}

static void collects(void)
{
	char room[KIB(16)];

	lose();
	memset(room, 0, sizeof room);
	hide(room);
	CHECK(spangc_collect() > NLOST * 50);
}

static void *collect_on(void *arg)
{
	while (!is_over)
		spangc_collect();
	return arg;
}

static void every_ms(int signo, void (*handler)(int signo))
{
	struct sigaction action = { .sa_handler = handler };
	struct itimerval ms = { { 0, 1000 }, { 0, 1000 } };

	CHECK(sigaction(signo, &action, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &ms, NULL) == 0);
}

static void jump(int signo)
{
	(void)signo;
	siglongjmp(here, 1);
}

static void jumps(void)
{
	volatile unsigned n = 0;

	if (sigsetjmp(here, 1))
		n++;
	else
		every_ms(SIGALRM, jump);
	while (n < NJUMPS)
		execv(path, args);
	every_ms(SIGALRM, SIG_IGN);
	collects();
}

static void end_thread(int signo)
{
	(void)signo;
	pthread_exit(NULL);
}

static void *become(void *arg)
{
	sigset_t alarm;

	free(malloc(10));
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
	for (;;)
		execv(path, args);
	return arg;
}

static void ends(void)
{
	sigset_t alarm;

	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	CHECK(sigprocmask(SIG_BLOCK, &alarm, NULL) == 0);
	every_ms(SIGALRM, end_thread);
	for (unsigned n = 0; n < NJUMPS; n++) {
		pthread_t t;

		CHECK(pthread_create(&t, NULL, become, NULL) == 0);
		CHECK(pthread_join(t, NULL) == 0);
	}
	every_ms(SIGALRM, SIG_IGN);
	collects();
}

static void *call_cancelled(void *arg)
{
	bool *has_come_back = arg;

	pthread_cancel(pthread_self());
	unshare(0);
	for (unsigned n = 0; n < NCALLS; n++)
		execv(path, args);
	*has_come_back = true;
	pthread_testcancel();
	return arg;
}

static void is_cancelled(void)
{
	bool has_come_back = false;
	pthread_t collector, t;
	void *result;

	CHECK(pthread_create(&collector, NULL, collect_on, NULL) == 0);
	CHECK(pthread_create(&t, NULL, call_cancelled, &has_come_back) == 0);
	CHECK(pthread_join(t, &result) == 0);
	CHECK(has_come_back && result == PTHREAD_CANCELED);
	is_over = true;
	pthread_join(collector, NULL);
	collects();
}

static const struct { const char *name; void (*run)(void); } ways[] = {
	{ "jumps", jumps }, { "ends", ends }, { "cancelled", is_cancelled },
};

int main(int argc, char **argv)
{
	if (!preloaded_library())
		SKIP("runs with the library only");
	watchdog(100);
	for (size_t i = 0; i + 1 < sizeof path; i += 2)
		memcpy(path + i, i + 12 < sizeof path ? "./" : "xx", 2);
	path[sizeof path - 1] = '\0';
	for (size_t i = 0; i < COUNT(ways); i++) {
		struct outcome o;

		if (argc > 1 && !strcmp(argv[1], ways[i].name)) {
			ways[i].run();
			return 0;
		}
		if (argc > 1)
			continue;
		CHECK(setenv("SPANGC_MODE", "gc", 1) == 0);
		run_self(&o, ways[i].name, NULL);
		CHECKF(ended_well(&o), "%s: %s", ways[i].name, o.err);
	}
	return 0;
}
