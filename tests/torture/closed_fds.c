/* closed_fds.c: a program closes all descriptors it did not open, and opens others in their place; what the
 * collector had open is lost, objects are not, and nobody writes into the program's files.
 *
 * also: SPANGC_VERIFY=1 | SPANGC_GC_FREE=ignore
 */
#include "tests/torture/torture.h"
#include "tests/torture/objects.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define NPLACES 500
#define NFILES 200

static uint64_t serial = 1;

static void churn(struct ref *place, uint64_t *rng, unsigned n)
{
	while (n--) {
		struct ref *r = &place[next_random(rng) % NPLACES];

		torture_count(object_walk(*r, next_random(rng) % 2));
		*r = object_make(serial++);
		make_garbage(rng);
	}
}

static int limit(void)
{
	struct rlimit l;

	CHECK(getrlimit(RLIMIT_NOFILE, &l) == 0);
	return l.rlim_cur > 65536 ? 65536 : (int)l.rlim_cur;
}

/* Every number that is open, and not ours, is the program's own file now. */
static void take_their_places(void)
{
	int file = memfd_create("torture", 0);

	CHECK(file >= 0);
	for (int fd = 3; fd < limit(); fd++) {
		if (fd != file && fcntl(fd, F_GETFD) != -1)
			CHECK(dup2(file, fd) == fd || errno == EBUSY);        /* just being opened */
	}
	sleep_ms(5);
	collect();

	struct stat s;

	CHECK(fstat(file, &s) == 0 && s.st_size == 0 && lseek(file, 0, SEEK_CUR) == 0);
	close(file);
}

static void close_all(void)
{
	if (syscall(SYS_close_range, 3, ~0U, 0) != 0) {
		for (int fd = 3; fd < limit(); fd++)
			close(fd);
	}
}

static void use_all(void)
{
	int fd[NFILES];

	for (unsigned i = 0; i < NFILES; i++)
		fd[i] = open("/dev/null", O_RDWR);
	collect();
	for (unsigned i = 0; i < NFILES; i++)
		CHECK(fd[i] < 0 || close(fd[i]) == 0);
}

int main(void)
{
	struct ref *place = calloc(NPLACES, sizeof *place);
	uint64_t rng;

	torture_begin();
	rng = torture.seed;
	for (unsigned i = 0; torture_goes_on() || i < 9; i++) {
		churn(place, &rng, 2000);
		collect();
		if (i % 3 == 0)
			close_all();
		else if (i % 3 == 1)
			take_their_places();
		else
			use_all();
	}
	for (unsigned i = 0; i < NPLACES; i++)
		torture_count(object_walk(place[i], true));
	free(place);
	return torture_end();
}
