/* cycle_verify.c: see cycle_verify.h.
 *
 * Reached from cycle.c, in its final stop. The second table of marks is mark.h's.
 */
#include "scan/cycle_verify.h"

#include "core/report.h"
#include "scan/mark.h"
#include "scan/roots.h"

#include <unistd.h>

#define LINES_MAX 10

static void see_thread(uintptr_t from, uintptr_t to, const char *what, void *arg)
{
	(void)what;
	(void)arg;
	mark_threads_range(from, to);
}

static void see_root(uintptr_t from, uintptr_t to, const char *what, void *arg)
{
	(void)what;
	(void)arg;
	mark_range(from, to);
}

static void note_unmarked(uintptr_t block, void *number)
{
	struct text t = { 0 };

	if (++*(unsigned *)number > LINES_MAX)
		return;
	text_str(&t, "spangc: a cycle would reclaim what is still in use: ");
	text_hex(&t, block);
	text_newline(&t);
	text_flush(&t, STDERR_FILENO);
}

void cycle_verify(void)
{
	unsigned n = 0;

	if (!mark_verify_begin())
		return;
	roots_visit_threads(see_thread, NULL);
	roots_visit_rest(false, see_root, NULL);
	mark_drain();
	mark_verify_end(note_unmarked, &n);
	check(!n);
}
