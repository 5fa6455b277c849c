/* loaded.h: what the loader has loaded, also where its lock is lost.
 *
 * libc gives a child of fork no new lock for dl_iterate_phdr(): if another thread of the parent was in
 * it, or in the midst of loading, nobody ever leaves it. Hence a child whose parent had threads, and
 * its own children, go through the loader's list without.
 */
#ifndef SCAN_LOADED_H
#define SCAN_LOADED_H

#include "core/base.h"

#include <link.h>

/* As dl_iterate_phdr(). Without the lock `dlpi_adds` is new each time, and a module that another thread
 * unloads meanwhile may be missing or shown. ctx: any but stw */
typedef int loaded_fn(struct dl_phdr_info *info, size_t size, void *arg);
int loaded_visit(loaded_fn *fn, void *arg);

/* Is the lock lost, as far as can be known? ctx: any */
bool loaded_is_lockless(void);

/* ctx: fork; fork child */
void loaded_fork_prepare(void);
void loaded_fork_child(void);

#endif
