/* dynsym.h: the functions that a loaded module exports, from its own memory. */
#ifndef SCAN_DYNSYM_H
#define SCAN_DYNSYM_H

#include "scan/modules.h"

/* Shows functions with addresses [from, to); names last until the next call or dynsym_drop(). Memory
 * that is not there is left out. ctx: any */
typedef void dynsym_fn(uintptr_t from, uintptr_t to, const char *name, void *arg);
void dynsym_visit(const struct module *m, dynsym_fn *fn, void *arg);

void dynsym_drop(void);

#endif
