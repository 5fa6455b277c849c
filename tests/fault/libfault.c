/* libfault.c: the n-th call of a memory system call fails with ENOMEM.
 *
 * Preloaded before libspangc.so, whose calls it takes. libc's own and ld.so's never come here,
 * as those do not pass by the dynamic symbol. What to spoil is set by the environment, from the
 * first call on, or by fault_arm(), which programs find by dlsym:
 *
 *   FAULT=mmap:3              the third mmap from now fails, once
 *   FAULT=madvise:every,mremap:every
 *
 * The table may be armed while other threads make calls: all fields are atomic, relaxed, since
 * a call counted under the old setting or the new is the same to a test.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EVERY = -1, NEVER = 0 };

static struct fault {
	const char  *name;
	_Atomic long calls;             /* since it was armed */
	_Atomic long nth;               /* 1 is the next call; EVERY; NEVER */
} faults[] = { { .name = "mmap" }, { .name = "munmap" }, { .name = "mprotect" },
	       { .name = "madvise" }, { .name = "mremap" } };
enum { MMAP, MUNMAP, MPROTECT, MADVISE, MREMAP, NFAULTS };

static _Atomic long hits;
static _Atomic bool is_read;            /* the environment was looked at */

/* Exported: from now on the `nth` call of `name` fails, or with -1 every one, with 0 none. */
void fault_arm(const char *name, long nth);
/* Exported: how many calls failed on purpose so far. */
long fault_hits(void);

void fault_arm(const char *name, long nth)
{
	for (int i = 0; i < NFAULTS; i++)
		if (strcmp(faults[i].name, name) == 0) {
			atomic_store_explicit(&faults[i].calls, 0, memory_order_relaxed);
			atomic_store_explicit(&faults[i].nth, nth, memory_order_relaxed);
		}
}

long fault_hits(void)
{
	return atomic_load_explicit(&hits, memory_order_relaxed);
}

/* NAME:N or NAME:every, several with commas. No libc parser: libc may be half alive. */
static void read_environment(void)
{
	const char *p = getenv("FAULT");

	while (p && *p) {
		size_t len = strcspn(p, ":");
		const char *value = p + len + (p[len] == ':');
		for (int i = 0; i < NFAULTS; i++)
			if (len == strlen(faults[i].name) && !memcmp(p, faults[i].name, len))
				fault_arm(faults[i].name, *value == 'e' ? EVERY : atol(value));
		p = value + strcspn(value, ",");
		p += *p == ',';
	}
}

static bool fails(int which)
{
	struct fault *f = &faults[which];
	long nth, call;

	if (!atomic_exchange_explicit(&is_read, true, memory_order_relaxed))
		read_environment();
	call = atomic_fetch_add_explicit(&f->calls, 1, memory_order_relaxed) + 1;
	nth = atomic_load_explicit(&f->nth, memory_order_relaxed);
	if (nth != EVERY && nth != call)
		return false;
	atomic_fetch_add_explicit(&hits, 1, memory_order_relaxed);
	errno = ENOMEM;
	return true;
}

void *mmap(void *addr, size_t nbytes, int prot, int flags, int fd, off_t offset)
{
	if (fails(MMAP))
		return MAP_FAILED;
	return (void *)syscall(SYS_mmap, addr, nbytes, prot, flags, fd, offset);
}

void *mmap64(void *addr, size_t nbytes, int prot, int flags, int fd, off_t offset)
{
	return mmap(addr, nbytes, prot, flags, fd, offset);
}

int munmap(void *addr, size_t nbytes)
{
	return fails(MUNMAP) ? -1 : (int)syscall(SYS_munmap, addr, nbytes);
}

int mprotect(void *addr, size_t nbytes, int prot)
{
	return fails(MPROTECT) ? -1 : (int)syscall(SYS_mprotect, addr, nbytes, prot);
}

int madvise(void *addr, size_t nbytes, int advice)
{
	return fails(MADVISE) ? -1 : (int)syscall(SYS_madvise, addr, nbytes, advice);
}

void *mremap(void *addr, size_t from, size_t to, int flags, ...)
{
	va_list rest;
	void *target;

	va_start(rest, flags);
	target = flags & MREMAP_FIXED || flags & 4 /* MREMAP_DONTUNMAP */ ? va_arg(rest, void *)
									    : NULL;
	va_end(rest);
	if (fails(MREMAP))
		return MAP_FAILED;
	return (void *)syscall(SYS_mremap, addr, from, to, flags, target);
}
