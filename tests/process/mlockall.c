/* mlockall.c: a program that locks its memory, with privilege and without. Its heap goes on, and
 * locking does not make a small program large.
 *   leaks: the table of stacks is locked, too
 */
#include "tests/process/process.h"

#include <sys/mman.h>

/* Up to 64 MiB may be locked: more than a small program maps, less than a heap reserves. */
static void become_nobody(void)
{
	struct rlimit r;

	CHECK(getrlimit(RLIMIT_MEMLOCK, &r) == 0);
	r.rlim_cur = r.rlim_max < MIB(64) ? r.rlim_max : MIB(64);
	CHECK(setrlimit(RLIMIT_MEMLOCK, &r) == 0);
	CHECK(setgid(65534) == 0 && setuid(65534) == 0);
}

static void same_user(void)
{
}

static int child(bool must_lock)
{
	size_t before;
	int error;

	check_heap_works();
	before = rss_bytes();
	error = mlockall(MCL_CURRENT | MCL_FUTURE) ? errno : 0;
	CHECKF(!error || !must_lock, "errno %d", error);
	CHECKF(mlockall(MCL_FUTURE) == 0, "errno %d", errno);
	CHECKF(rss_bytes() < before + MIB(100), "RSS %zu, then %zu", before, rss_bytes());
	for (size_t nbytes = 1; nbytes < MIB(16); nbytes *= 2) {
		errno = 0;
		char *p = malloc(nbytes);
		CHECKF(p || errno == ENOMEM, "errno %d", errno);
		CHECKF(p || !must_lock, "%zu bytes", nbytes);
		free(p);
	}
	munlockall();
	check_heap_works();
	return 0;
}

int main(int argc, char **argv)
{
	struct outcome o;

	if (argc > 1)
		return child(strcmp(argv[1], "root") == 0);
	if (geteuid() != 0)
		SKIP("needs root, to drop its privilege");
	run_self(&o, "root", same_user);
	CHECKF(ended_well(&o), "as root: %x %s", (unsigned)o.status, o.err);
	run_self(&o, "nobody", become_nobody);
	CHECKF(ended_well(&o), "unprivileged: %x %s", (unsigned)o.status, o.err);
	return 0;
}
