/* protects.c: a program that protects itself, in mode gc.
 *
 * Memory of its heap against reading: a marking that goes on may have noted a small block there that was
 * freed since, and would read what is protected now. So who does this for the first time waits for the end
 * of the cycle, and from then on everything is read by copies (scan/mark_drain.c).
 *
 * The kernel against its threads, by a filter: they make no more system calls than any malloc (dirty.h).
 * What a filter for all threads forbids to the collector's own is not foreseen.
 *
 * Reached through imports.h, by libc's functions and by its syscall(): not by instructions of the program's
 * own, nor by calls inside libc, which protects mappings of its own.
 */
#include "preload/imports.h"
#include "preload/preload.h"

#include "core/heap.h"
#include "scan/cycle.h"
#include "scan/dirty.h"

#include <linux/seccomp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static int our_mprotect(void *addr, size_t nbytes, int prot);
static int our_pkey_mprotect(void *addr, size_t nbytes, int prot, int pkey);
static int our_prctl(int option, ...);

#define FUNCTIONS(F) F(mprotect) F(pkey_mprotect) F(prctl)

enum { FUNCTIONS(IMPORT_NUMBER) NFUNCTIONS };

static struct import import[] = { FUNCTIONS(IMPORT_ROW) };

static bool is_started;

static void expect(const void *addr, size_t nbytes, bool is_closed)
{
	uintptr_t from = (uintptr_t)addr;

	if (is_started && is_closed && from < heap_end() && from + nbytes > heap.base)
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

/* As libc's does: four arguments are read, however many there are. */
static int our_prctl(int option, ...)
{
	unsigned long a[4];
	va_list list;

	va_start(list, option);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(list, unsigned long);
	va_end(list);
	if (option == PR_SET_SECCOMP)
		dirty_expect_filter();
	return IMPORT_REAL(import, prctl)(option, a[0], a[1], a[2], a[3]);
}

void protects_expect_call(long number, long a, long b, long c)
{
	switch (number) {
	case SYS_mprotect: case SYS_pkey_mprotect:
		expect((const void *)a, (size_t)b, number == SYS_pkey_mprotect || !(c & PROT_READ));
		break;
	case SYS_prctl:
		if (a == PR_SET_SECCOMP)
			dirty_expect_filter();
		break;
	case SYS_seccomp:
		if (a == SECCOMP_SET_MODE_FILTER)
			dirty_expect_filter();
		break;
	}
}

void protects_start(void)
{
	is_started = true;
	imports_add(import, NFUNCTIONS);
}
