/* leaks_dontfork.c: a block that only memory kept from children points to (MADV_DONTFORK) is no leak,
 * though it would be missing from a copy of the process; one that is lost is found all the same.
 */
#include "tests/process/process.h"
#include "preload/spangc.h"

#include <sys/mman.h>

#define NBYTES 4096

static __attribute__((noinline)) void lose(size_t nbytes)
{
	hide(memset(hide(malloc(nbytes)), 0, nbytes));
}

static __attribute__((noinline)) bool keep(void)
{
	void **page = mmap(NULL, NBYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED || madvise(page, NBYTES, MADV_DONTFORK))
		return false;
	page[7] = memset(hide(malloc(4000)), 0, 4000);
	return true;
}

static __attribute__((noinline)) void wipe(void)
{
	char room[32768];

	memset(room, 0, sizeof room);
	hide(room);
}

static int report_twice(void)
{
	size_t before, after;

	if (!keep())
		return 1;
	wipe();
	before = spangc_leak_report();
	lose(300);
	wipe();
	after = spangc_leak_report();
	fprintf(stderr, "lost: %zu, then %zu\n", before, after);
	return 0;
}

static void set_leaks(void)
{
	setenv("SPANGC_MODE", "leaks", 1);
	setenv("SPANGC_REPORT", "/dev/null", 1);
}

int main(int argc, char **argv)
{
	struct outcome o;

	(void)argv;
	watchdog(100);
	if (argc > 1)
		return report_twice();
	run_self(&o, "child", set_leaks);
	CHECKF(ended_well(&o), "%x: %s", (unsigned)o.status, o.err);
	CHECKF(strcmp(o.err, "lost: 0, then 300\n") == 0, "%s", o.err);
	return 0;
}
