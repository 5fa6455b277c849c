/* central.c: the set of spans without an owner.
 *
 * Reached from spanset.c (a thread needs a span), cache.c (a thread ends; a thread has no cache)
 * and scavenge.c. LOCK_CENTRAL guards the set and is taken with signals blocked: a signal
 * handler that interrupted the holder may allocate here too.
 *
 * Invariant: outside the lock a class has its hint exactly if it has a partial span
 * (leave_after_many()).
 */
#include "core/central.h"

#include "core/sigmask.h"

/* Common, that is behind all other variables, which then share an os page: of its 4 KiB a process
 * with one thread touches the first line. */
__attribute__((common)) struct spanset central;
struct lock central_lock = LOCK_INIT(LOCK_CENTRAL);

/* A bit a class: central may have a partial span. Set under LOCK_CENTRAL, peeked at without. */
static _Atomic uint64_t hints[(SIZECLASS_NALL + 63) / 64];

static void enter(struct sigmask *saved)
{
	sigmask_block(saved);
	lock_take(&central_lock);
}

static void note_hint(unsigned c)
{
	uint64_t bit = UINT64_C(1) << c % 64;

	/* relaxed, all: a hint; who acts on it takes the lock, and only its holder changes it. */
	if (!!(atomic_load_explicit(&hints[c / 64], memory_order_relaxed) & bit)
	    == !!central.partial[c])
		return;
	if (central.partial[c])
		atomic_fetch_or_explicit(&hints[c / 64], bit, memory_order_relaxed);
	else
		atomic_fetch_and_explicit(&hints[c / 64], ~bit, memory_order_relaxed);
}

static void leave(const struct sigmask *saved)
{
	/* relaxed: the lock orders it. */
	void *twice = atomic_exchange_explicit(&central.twice, NULL, memory_order_relaxed);

	lock_drop(&central_lock);
	sigmask_restore(saved);
	if (unlikely(twice != NULL))
		report_misuse(MISUSE_DOUBLE_FREE, twice, "free", NULL);
}

/* Reading the news may have made spans of any class partial. */
static void leave_after_many(const struct sigmask *saved)
{
	for (unsigned c = 1; c < SIZECLASS_LARGE; c++)
		note_hint(c);
	leave(saved);
}

bool central_lend(struct spanset *set, class_idx c)
{
	struct sigmask saved;

	/* relaxed: a span missed here is found next time. */
	bool has_hint = atomic_load_explicit(&hints[c / 64], memory_order_relaxed) >> c % 64 & 1;
	bool has_news = atomic_load_explicit(&central.news, memory_order_relaxed) != NULL;

	if (set == &central || (!has_hint && !has_news))
		return false;
	enter(&saved);
	spanset_harvest(&central);

	bool is_found = spanset_move_one(&central, set, c);

	leave_after_many(&saved);
	return is_found;
}

void central_adopt(struct spanset *set)
{
	struct sigmask saved;

	enter(&saved);
	spanset_move(set, &central);
	spanset_harvest(&central);
	leave_after_many(&saved);
}

void *central_alloc(class_idx c)
{
	struct sigmask saved;
	void *p = NULL;

	enter(&saved);
	spanset_take(&central, c, &p, 1);
	leave_after_many(&saved);
	return p;
}

void central_harvest(void)
{
	struct sigmask saved;

	enter(&saved);
	spanset_harvest(&central);
	leave_after_many(&saved);
}

size_t central_tidy(bool with_trim)
{
	struct sigmask saved;

	enter(&saved);

	size_t nbytes = spanset_tidy(&central, with_trim);

	dcheck((spanset_verify(&central), true));
	leave_after_many(&saved);
	return nbytes;
}

void central_visit(void (*fn)(const struct spanset *set, void *arg), void *arg)
{
	struct sigmask saved;

	enter(&saved);
	fn(&central, arg);
	leave(&saved);
}

void central_fork_prepare(void)
{
	lock_take_for_fork(&central_lock);
}

void central_fork_parent(void)
{
	lock_drop(&central_lock);
}

void central_fork_child(void)
{
	lock_reset_after_fork(&central_lock);
}
