/* protects.c: a program that protects memory of its heap against reading, in mode gc.
 *
 * A marking that goes on may have noted a small block there that was freed since: it would read what is
 * protected now. So who does this for the first time waits for the end of the cycle, and from then on
 * everything is read by copies (scan/mark_drain.c). Reached through imports.h: not by system calls of the
 * program's own, nor by those inside libc, which protects mappings of its own.
 */
#include "preload/imports.h"
#include "preload/preload.h"

#include "core/heap.h"
#include "scan/cycle.h"

#include <sys/mman.h>

static int our_mprotect(void *addr, size_t nbytes, int prot);
static int our_pkey_mprotect(void *addr, size_t nbytes, int prot, int pkey);

#define FUNCTIONS(F) F(mprotect) F(pkey_mprotect)

enum { FUNCTIONS(IMPORT_NUMBER) NFUNCTIONS };

static struct import import[] = { FUNCTIONS(IMPORT_ROW) };

static void expect(const void *addr, size_t nbytes, bool is_closed)
{
	uintptr_t from = (uintptr_t)addr;

	if (is_closed && from < heap_end() && from + nbytes > heap.base)
		cycle_expect_protection();
}

static int our_mprotect(void *addr, size_t nbytes, int prot)
{
	expect(addr, nbytes, !(prot & PROT_READ));
	return IMPORT_REAL(import, mprotect)(addr, nbytes, prot);
}

/* A key may deny reading to threads, ours among them, whatever `prot` says. */
static int our_pkey_mprotect(void *addr, size_t nbytes, int prot, int pkey)
{
	expect(addr, nbytes, true);
	return IMPORT_REAL(import, pkey_mprotect)(addr, nbytes, prot, pkey);
}

void protects_start(void)
{
	imports_add(import, NFUNCTIONS);
}
