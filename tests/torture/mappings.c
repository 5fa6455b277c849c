/* mappings.c: the program's own mappings, private, shared, of files, moved, cut, protected and taken away,
 * and memory behind brk hold the only references.
 *
 * also: SPANGC_VERIFY=1
 */
#include "tests/torture/torture.h"
#include "tests/torture/objects.h"

#include <sys/mman.h>

#define NTHREADS 3
#define NBYTES ((size_t)64 << 10)
#define NREFS (NBYTES / sizeof(struct ref))

static _Atomic uint64_t next_serial = 1;

static struct ref *map(uint64_t *rng, bool *is_private)
{
	int fd = -1, flags = MAP_PRIVATE | MAP_ANONYMOUS;
	struct ref *p;

	*is_private = true;
	switch (next_random(rng) % 3) {
	case 0:
		flags = MAP_SHARED | MAP_ANONYMOUS;
		*is_private = false;
		break;
	case 1:
		fd = memfd_create("torture", MFD_CLOEXEC);
		CHECK(fd >= 0 && ftruncate(fd, NBYTES) == 0);
		flags = MAP_PRIVATE;
	}
	p = mmap(NULL, NBYTES, PROT_READ | PROT_WRITE, flags, fd, 0);
	CHECK(p != MAP_FAILED);
	if (fd >= 0)
		close(fd);
	return p;
}

static void fill(struct ref *p, uint64_t *rng)
{
	for (unsigned i = 0; i < 60; i++) {
		struct ref *r = &p[next_random(rng) % NREFS];

		if (r->word)
			torture_count(object_walk(*r, true));
		*r = object_make(next_serial++);
	}
}

static struct ref *move(struct ref *p)
{
	char *room = mmap(NULL, NBYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(room != MAP_FAILED);
	p = mremap(p, NBYTES, NBYTES, MREMAP_MAYMOVE | MREMAP_FIXED, room);
	CHECKF(p == (void *)room, "%s", strerror(errno));
	return p;
}

/* Half of the pages take the other half's place. */
static void drop_half(struct ref *p)
{
	for (size_t i = NREFS / 2; i < NREFS; i++)
		torture_count(object_walk(p[i], true));
	memset(p + NREFS / 2, 0, NBYTES / 2);
	CHECK(munmap((char *)p + NBYTES / 2, NBYTES / 2) == 0);
}

static void *work(void *arg)
{
	uint64_t rng = torture.seed + (uintptr_t)arg * 2;

	while (torture_goes_on()) {
		bool is_private;
		struct ref *p = map(&rng, &is_private);

		fill(p, &rng);
		make_garbage(&rng);
		p = move(p);
		fill(p, &rng);
		CHECK(mprotect(p, NBYTES, PROT_READ) == 0);
		let_collections_pass((unsigned)(next_random(&rng) % 3));
		make_garbage(&rng);
		CHECK(mprotect(p, NBYTES, PROT_READ | PROT_WRITE) == 0);
		p = move(p);
		drop_half(p);
		for (size_t i = 0; i < NREFS / 2; i++)
			torture_count(object_walk(p[i], true));
		CHECK(munmap(p, NBYTES / 2) == 0);
	}
	return NULL;
}

/* Where no other thread calls brk. */
static void *work_behind_brk(void *arg)
{
	uint64_t rng = torture.seed + (uintptr_t)arg * 2;
	struct ref *p = sbrk((intptr_t)NBYTES);

	if ((void *)p == (void *)-1)
		return NULL;
	p = (struct ref *)(((uintptr_t)p + 15) & ~(uintptr_t)15);
	while (torture_goes_on()) {
		for (unsigned i = 0; i < 20; i++) {
			struct ref *r = &p[next_random(&rng) % (NREFS - 1)];

			torture_count(object_walk(*r, true));
			*r = object_make(next_serial++);
		}
		make_garbage(&rng);
		usleep(50);
	}
	return NULL;
}

int main(void)
{
	pthread_t thread[NTHREADS];

	torture_begin();
	for (unsigned i = 0; i < NTHREADS; i++)
		thread[i] = start_thread(i ? work : work_behind_brk, (void *)(uintptr_t)(i + 1));
	for (unsigned i = 0; i < NTHREADS; i++)
		join_thread(thread[i]);
	return torture_end();
}
