/* meta.c: memory for the library's own records.
 *
 * Reached from heap.c (tables, span records), cache.c (caches) and depot.c (magazines). Lies outside
 * the heap, so that an overflow in the program can't reach it. Depends on os.h; LOCK_META guards the bump pointer.
 *
 * Invariant: everything handed out is zero and never handed out again; nothing is unmapped.
 */
#include "core/meta.h"

#include "core/lock.h"

#define META_BLOCK_BYTES KIB(256)               /* asked from the kernel at a time */
#define TABLE_STEP_BYTES KIB(64)

/* At the front of each; never unmapped. */
struct meta_block {
	struct meta_block *next;
	size_t nbytes;
};

static struct {
	struct lock lock;

	/* LOCK_META. */
	uintptr_t next, end;

	/* Any thread, atomic. */
	struct meta_block *_Atomic blocks;
	_Atomic size_t nbytes;
} meta = { .lock = LOCK_INIT(LOCK_META) };

static void count_bytes(size_t nbytes)
{
	/* relaxed: a figure for statistics. */
	atomic_fetch_add_explicit(&meta.nbytes, nbytes, memory_order_relaxed);
}

static bool more(size_t nbytes, size_t alignment)
{
	size_t most = nbytes + alignment + sizeof(struct meta_block);
	size_t block = most > META_BLOCK_BYTES ? align_up(most, OS_PAGE_BYTES) : META_BLOCK_BYTES;
	struct meta_block *b = os_map(block);

	if (!b)
		return false;
	os_name((uintptr_t)b, block, "spangc records");
	b->nbytes = block;
	/* relaxed: only the holder of the lock writes it. */
	b->next = atomic_load_explicit(&meta.blocks, memory_order_relaxed);
	/* release: meta_visit_blocks() finds the block complete. */
	atomic_store_explicit(&meta.blocks, b, memory_order_release);
	meta.next = align_up((uintptr_t)(b + 1), alignment);
	meta.end = (uintptr_t)b + block;
	count_bytes(block);
	return true;
}

void *meta_alloc(size_t nbytes, size_t alignment)
{
	void *p = NULL;

	lock_take(&meta.lock);
	meta.next = align_up(meta.next, alignment);
	if ((meta.next < meta.end && meta.end - meta.next >= nbytes) || more(nbytes, alignment)) {
		p = (void *)meta.next;
		meta.next += nbytes;
	}
	lock_drop(&meta.lock);
	return p;
}

void meta_visit_blocks(void (*fn)(uintptr_t from, uintptr_t to, void *arg), void *arg)
{
	/* acquire: pairs with the release in more(). */
	struct meta_block *b = atomic_load_explicit(&meta.blocks, memory_order_acquire);

	for (; b; b = b->next)
		fn((uintptr_t)b, (uintptr_t)b + b->nbytes, arg);
}

void meta_table_init(struct meta_table *t, struct os_region *space, size_t nbytes)
{
	nbytes = align_up(nbytes, TABLE_STEP_BYTES);
	check(nbytes <= space->nbytes);
	t->region = (struct os_region){ .base = space->base, .nbytes = nbytes,
	                                .is_mapped = space->is_mapped };
	t->committed = 0;
	space->base += nbytes;
	space->nbytes -= nbytes;
}

bool meta_table_cover(struct meta_table *t, size_t nbytes, const char *name)
{
	size_t wanted = align_up(nbytes, TABLE_STEP_BYTES);

	check(wanted <= t->region.nbytes);
	if (wanted <= t->committed)
		return true;

	uintptr_t from = t->region.base + t->committed;
	size_t more_bytes = wanted - t->committed;

	if (os_commit(&t->region, from, more_bytes))
		return false;
	os_name(from, more_bytes, name);
	t->committed = wanted;
	count_bytes(more_bytes);
	return true;
}

void meta_table_unreserve(struct meta_table *t)
{
	os_unreserve(&t->region, t->committed);
}

size_t meta_bytes(void)
{
	/* relaxed: a figure for statistics. */
	return atomic_load_explicit(&meta.nbytes, memory_order_relaxed);
}

void meta_fork_prepare(void)
{
	lock_take_for_fork(&meta.lock);
}

void meta_fork_parent(void)
{
	lock_drop(&meta.lock);
}

void meta_fork_child(void)
{
	lock_reset_after_fork(&meta.lock);
}
