/* close_fds.c: a daemon closes every descriptor and opens its own in their place: the library
 * has none it needs, and never writes into the program's.
 *
 * variants: SPANGC_STATS=0 | SPANGC_STATS=1
 */
#include "tests/process/process.h"

#include <malloc.h>

int main(void)
{
	char path[PATH_MAX];
	struct rlimit r;
	off_t length;
	int fd;

	check_heap_works();
	CHECK(getrlimit(RLIMIT_NOFILE, &r) == 0);
	scratch_template(path, sizeof path, "close_fds");
	fd = mkstemp(path);
	CHECK(fd >= 0 && unlink(path) == 0);
	CHECK(dup2(fd, 0) == 0 && dup2(fd, 1) == 1);
	for (int other = 3; other < (int)(r.rlim_cur < 4096 ? r.rlim_cur : 4096); other++)
		close(other);
	for (int other = 3; other < 50; other++)
		CHECK(dup(0) == other);
	check_heap_works();
	free(malloc(MIB(64)));
	malloc_trim(0);
	check_heap_works();
	length = lseek(0, 0, SEEK_END);
	CHECKF(length == 0, "%ld bytes were written into the program's files", (long)length);
	return 0;
}
