/* looking.c: what the modes that look for blocks nobody can reach need of the process: its threads can
 * be stopped, and do not notice; our own variables are no roots.
 *
 * Reached from the constructor, in modes leaks and gc.
 */
#include "preload/imports.h"
#include "preload/preload.h"

#include "core/heap.h"
#include "scan/roots.h"
#include "scan/threads.h"

#include <link.h>

static bool is_own(const struct dl_phdr_info *info)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_LOAD
		    && (uintptr_t)&heap - (info->dlpi_addr + ph->p_vaddr) < ph->p_memsz)
			return true;
	}
	return false;
}

/* Our own variables hold addresses of blocks. */
static int exclude_own(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	if (!is_own(info))
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t from = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type == PT_LOAD && ph->p_flags & PF_W)
			roots_exclude(from, from + ph->p_memsz);
	}
	return 1;
}

bool looking_start(void)
{
	if (!scan_threads_start())
		return false;
	eintr_start();
	rawcalls_start();
	signals_start();
	threads_start();
	imports_redirect();
	dl_iterate_phdr(exclude_own, NULL);
	return true;
}
