/* reclaimed.c: see reclaimed.h. Reached from core's report of misuse; reads what stacks.h and modules.h
 * keep, and takes no lock. */
#include "scan/reclaimed.h"

#include "core/report.h"
#include "scan/modules.h"
#include "scan/stacks.h"

#include <unistd.h>

#define NAME_BYTES 300

/* "    #1 0x55... (/usr/bin/app+0x1139)"; of a call the byte before the return address. */
static void tell_frame(unsigned number, uintptr_t word)
{
	const struct module *m = modules_find(word);
	uintptr_t pc = modules_pc(word) - (number > 0);
	struct text t = { 0 };

	text_str(&t, "    #");
	text_dec(&t, number);
	text_str(&t, " ");
	text_hex(&t, pc);
	if (m) {
		text_str(&t, " (");
		text_foreign(&t, m->name, NAME_BYTES);
		text_str(&t, "+");
		text_hex(&t, pc - m->bias);
		text_str(&t, ")");
	}
	text_newline(&t);
	text_flush(&t, STDERR_FILENO);
}

void reclaimed_tell_stack(uint32_t stack)
{
	uintptr_t pcs[1 + STACKS_DEPTH_MAX];
	unsigned n = stacks_read(stack, pcs);
	struct text t = { 0 };

	if (!n)
		return;
	text_str(&t, "  it was allocated from:\n");
	text_flush(&t, STDERR_FILENO);
	for (unsigned i = 0; i < n; i++)
		tell_frame(i, pcs[i]);
}
