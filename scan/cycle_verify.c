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
	uint64_t nbytes = 0;
	unsigned n = 0;

	if (!mark_verify_begin())
		return;
	roots_visit_threads(mark_see_thread, NULL);
	roots_visit_rest(false, mark_see_root, &nbytes);
	mark_drain();
	mark_verify_end(note_unmarked, &n);
	check(!n);
}
