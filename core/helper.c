/* helper.c: the helper thread's state, a futex, and the free memory that makes it wanted.
 *
 * Reached from scavenge.c (pages wait), spanset*.c, depot.c and cache.c (free slots wait), from cold
 * calls (helper_start()), from preload (helper_stop(), helper_failed()) and from the helper itself.
 * Depends on knobs.h, delay.h and hooks.h; takes no lock.
 */
#include "core/helper.h"

#include "core/delay.h"
#include "core/hooks.h"
#include "core/knobs.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LOOSE_STEP_BYTES KIB(256)

enum helper_state { HELPER_NONE, HELPER_WANTED, HELPER_RUNNING, HELPER_STOPPING };

_Atomic bool helper_is_wanted;
_Atomic uint64_t helper_nstarted;

static _Atomic uint32_t helper;                 /* enum helper_state; a futex */
static _Atomic size_t loose_bytes;              /* see helper_note_loose() */

static void raise_wanted(void)
{
	/* relaxed: late is as good. */
	atomic_store_explicit(&helper_is_wanted, true, memory_order_relaxed);
}

static void want(void)
{
	uint32_t none = HELPER_NONE;

	/* relaxed: the state alone counts. */
	if (atomic_load_explicit(&helper, memory_order_relaxed) == HELPER_NONE
	    && atomic_compare_exchange_strong_explicit(&helper, &none, HELPER_WANTED,
	                                               memory_order_relaxed,
	                                               memory_order_relaxed))
		raise_wanted();
}

static bool may_help(void)
{
	return delay_ends() && knobs.release_delay_ms && knobs.background != KNOB_BACKGROUND_OFF;
}

void helper_expect(size_t nbytes)
{
	if (nbytes >= HELPER_BYTES && may_help())
		want();
}

void helper_note_loose(size_t from, size_t to)
{
	size_t change = to / LOOSE_STEP_BYTES - from / LOOSE_STEP_BYTES;

	if (likely(!change))
		return;
	change *= LOOSE_STEP_BYTES;             /* modulo 2^64: it may be negative */
	/* relaxed: a hint. */
	size_t all = atomic_fetch_add_explicit(&loose_bytes, change, memory_order_relaxed) + change;

	if (to > from)
		helper_expect(all);
}

bool helper_has_much_loose(void)
{
	/* relaxed: late is as good. */
	return atomic_load_explicit(&loose_bytes, memory_order_relaxed) >= HELPER_BYTES;
}

void helper_start(const void *caller)
{
	/* relaxed, both: late is as good; an exchange so that one thread acts. */
	if (atomic_load_explicit(&helper_is_wanted, memory_order_relaxed)
	    && atomic_exchange_explicit(&helper_is_wanted, false, memory_order_relaxed)
	    && hooks.start_helper && !hooks.start_helper(caller))
		raise_wanted();
}

void helper_failed(void)
{
	/* relaxed: nobody waits for a helper that was only wanted. */
	atomic_store_explicit(&helper, HELPER_NONE, memory_order_relaxed);
}

static void futex(_Atomic uint32_t *word, int op, uint32_t value, const struct timespec *t)
{
	int kept = errno;

	syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, t, NULL, 0);
	errno = kept;
}

void helper_begin(void)
{
	uint32_t wanted = HELPER_WANTED;

	count_add(&helper_nstarted, 1);
	/* relaxed: the state alone counts. */
	atomic_compare_exchange_strong_explicit(&helper, &wanted, HELPER_RUNNING,
	                                        memory_order_relaxed, memory_order_relaxed);
}

bool helper_is_running(void)
{
	/* relaxed: a moment later it may be otherwise. */
	return atomic_load_explicit(&helper, memory_order_relaxed) == HELPER_RUNNING;
}

bool helper_is_stopping(void)
{
	/* acquire: pairs with the exchange in helper_stop(). */
	return atomic_load_explicit(&helper, memory_order_acquire) == HELPER_STOPPING;
}

void helper_sleep(uint32_t ms)
{
	struct timespec t = { .tv_nsec = (long)ms * 1000000 };

	futex(&helper, FUTEX_WAIT, HELPER_RUNNING, &t);
}

void helper_end(void)
{
	/* release: pairs with the acquire in helper_stop(). */
	atomic_store_explicit(&helper, HELPER_NONE, memory_order_release);
	futex(&helper, FUTEX_WAKE, INT32_MAX, NULL);
}

void helper_stop(void)
{
	uint32_t running = HELPER_RUNNING, wanted = HELPER_WANTED, state;

	/* Running, or created and not so far. release: pairs with the acquire in
	 * helper_is_stopping(). */
	if (atomic_compare_exchange_strong_explicit(&helper, &running, HELPER_STOPPING,
	                                            memory_order_release, memory_order_relaxed)
	    || atomic_compare_exchange_strong_explicit(&helper, &wanted, HELPER_STOPPING,
	                                               memory_order_release,
	                                               memory_order_relaxed))
		futex(&helper, FUTEX_WAKE, INT32_MAX, NULL);
	/* acquire: what the helper did is done. */
	while ((state = atomic_load_explicit(&helper, memory_order_acquire)) == HELPER_STOPPING)
		futex(&helper, FUTEX_WAIT, state, NULL);
}

void helper_fork_child(void)
{
	/* relaxed, all: one thread. */
	atomic_store_explicit(&helper_nstarted, 0, memory_order_relaxed);
	atomic_store_explicit(&helper, HELPER_NONE, memory_order_relaxed);
	atomic_store_explicit(&helper_is_wanted, false, memory_order_relaxed);
}
