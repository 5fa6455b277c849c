/* cell.h: blocks into which the kernel writes, beside references that nobody writes to.
 *
 * A row brings the bytes of a reference into a block by a call of the kernel, or has the kernel write
 * something else there, and looks whether it did. The program forgets the reference then: only what
 * the kernel wrote leads to the object, until the row has been looked at.
 */
#ifndef TESTS_TORTURE_CELL_H
#define TESTS_TORTURE_CELL_H

#include "tests/torture/torture.h"
#include "tests/torture/objects.h"

struct cell {
	struct ref before;
	size_t at;                              /* where in `space` the kernel writes */
	struct ref behind;
	_Alignas(16) unsigned char space[];
};

struct row {
	const char *name;
	/* Writes *r to p, which has room for nbytes; or anything else, and returns false. */
	bool (*write)(const struct ref *r, void *p, size_t nbytes);
};

static _Atomic uint64_t cell_serial = 1;

static inline struct ref cell_object(void)
{
	return object_make(atomic_fetch_add(&cell_serial, 1));
}

/* Up to some pages of room, the place anywhere in it. */
static inline struct cell *cell_make(uint64_t *rng, size_t nbytes)
{
	size_t before = next_random(rng) % 8 ? next_random(rng) % 16 * 16 : next_random(rng) % 512 * 16;
	struct cell *c = malloc(sizeof *c + before + nbytes);

	CHECK(c);
	memset(c, 0, sizeof *c + before + nbytes);
	c->at = before;
	c->before = cell_object();
	c->behind = cell_object();
	return c;
}

static inline void cell_drop(struct cell *c)
{
	torture_count(object_walk(c->before, true) + object_walk(c->behind, true));
	free(c);
}

#define CELL_BYTES 4096

static NOINLINE bool cell_write(const struct row *row, struct cell *c)
{
	struct ref r = cell_object();
	bool is_ref = row->write(&r, c->space + c->at, CELL_BYTES);

	if (!is_ref)
		object_walk(r, true);
	*(volatile uintptr_t *)&r.word = 0;
	return is_ref;
}

/* One row once. Some wait until a collection has passed. */
static inline void cell_run(const struct row *row, uint64_t *rng)
{
	struct cell *c = cell_make(rng, CELL_BYTES);
	struct ref *received = (struct ref *)(c->space + c->at);

	if (cell_write(row, c)) {
		if (next_random(rng) % 8 == 0)
			let_collections_pass(1);
		make_garbage(rng);
		CHECKF(received->word, "%s wrote nothing", row->name);
		torture_count(object_walk(*received, true));
	}
	cell_drop(c);
}

struct cell_rows {
	const struct row *row;
	size_t n;
	uint64_t number;
};

static inline void *cell_thread(void *arg)
{
	const struct cell_rows *rows = arg;
	uint64_t rng = torture.seed + rows->number * 2;

	while (torture_goes_on()) {
		for (size_t i = 0; i < rows->n; i++)
			cell_run(&rows->row[i], &rng);
	}
	return NULL;
}

/* Every row by several threads at once. */
static inline int cell_main(const struct row *row, size_t n)
{
	enum { NTHREADS = 3 };
	struct cell_rows rows[NTHREADS];
	pthread_t thread[NTHREADS];

	torture_begin();
	for (unsigned i = 0; i < NTHREADS; i++) {
		rows[i] = (struct cell_rows){ row, n, i + 1 };
		thread[i] = start_thread(cell_thread, &rows[i]);
	}
	for (unsigned i = 0; i < NTHREADS; i++)
		join_thread(thread[i]);
	return torture_end();
}

#endif
