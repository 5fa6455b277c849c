/* os.h: what the library asks of the kernel, and nothing else.
 *
 * One implementation is linked: os_linux.c. It is the only file that calls what <sys/mman.h> declares
 * (preload/protects.c stands in for two of its functions), and no other file tests __linux__. Every range is a whole number of os pages. Functions return 0 or
 * an errno value; they keep errno, print nothing and never abort: the caller knows whether
 * failure is fatal.
 */
#ifndef CORE_OS_H
#define CORE_OS_H

#include "core/base.h"

/* Address space that is ours to commit, at `base`. */
struct os_region {
	uintptr_t base;
	size_t    nbytes;
	bool      is_mapped;                    /* as PROT_NONE; else the addresses are merely chosen */
	/* Mapped too, for the sake of alignment: of no use, given up by os_unreserve(). */
	size_t    nbytes_below, nbytes_above;
};

/* Finds up to `nbytes` (halved until it fits, not below `min_bytes`), aligned. With a limit on
 * address space nothing is mapped: the region is a range that was found empty, far from where the
 * kernel places mappings, and os_commit() maps it piece by piece, so that the limit counts only
 * what is used. ctx: init */
int os_reserve(struct os_region *r, size_t nbytes, size_t min_bytes, size_t alignment);

/* [addr, addr + nbytes) of the region becomes readable, writable and zero. ENOMEM where a limit
 * forbids it, EEXIST where somebody else mapped it first. ctx: alloc */
int os_commit(const struct os_region *r, uintptr_t addr, size_t nbytes);

/* Unmaps what is behind the first `used` bytes of the region; os_commit() maps it again piece by
 * piece, if nobody else took the addresses. ctx: any */
void os_unreserve(struct os_region *r, size_t used);

/* Fresh zeroed memory anywhere. NULL: refused. ctx: alloc */
void *os_map(size_t nbytes);

/* Such memory is the kernel's again. ctx: any */
void os_unmap(uintptr_t addr, size_t nbytes);

/* May the os page be written to? It is not. False, too, where the kernel can't tell (before Linux 5.14).
 * ctx: any */
bool os_is_writable(uintptr_t addr);

/* What os_map() gives counts against this, touched or not: the smaller one of the limits on address
 * space and on data. SIZE_MAX: there is none. ctx: any */
size_t os_memory_limit(void);

/* The same, shared with every process that is copied from this one. os_renew_shared(): zero again at
 * the same address, and shared with nobody. ctx: any */
void *os_map_shared(size_t nbytes);
int os_renew_shared(uintptr_t addr, size_t nbytes);

/* Memory of others: it may be read, and written or not. ctx: any */
int os_protect(uintptr_t addr, size_t nbytes, bool is_writable);

/* Gives the memory behind the range back. After os_discard() it reads as zero; after
 * os_discard_lazily() the kernel takes it when it needs it (EINVAL: not on this kernel).
 * ctx: alloc */
int os_discard(uintptr_t addr, size_t nbytes);
int os_discard_lazily(uintptr_t addr, size_t nbytes);

/* Moves the pages of `from` to `to`; afterwards `from` reads as zero. Both ranges are committed
 * and do not overlap. What was at `to` is gone. On failure nothing has changed. ctx: alloc */
int os_move_pages(uintptr_t from, uintptr_t to, size_t nbytes);

/* Undoes what os_move_pages() did to the kernel's list of mappings around [addr, addr + nbytes):
 * the contents are dropped, and so are its name and advice on huge pages. ctx: alloc */
int os_renew(uintptr_t addr, size_t nbytes);

/* Transparent huge pages for the range: yes or no. ctx: alloc */
int os_advise_huge(uintptr_t addr, size_t nbytes, bool wanted);

/* The name /proc/PID/maps shows, where the kernel can (Linux 5.17). ctx: alloc */
void os_name(uintptr_t addr, size_t nbytes, const char *name);

/* Coarse monotonic clock: milliseconds, steps of 1 to 4 ms. No system call. ctx: any, signal */
uint64_t os_now_ms(void);

/* Monotonic clock, nanoseconds. No system call where the kernel has a vDSO. ctx: any, signal */
uint64_t os_now_ns(void);

/* About so long, unless a signal comes. No cancellation point. ctx: any */
void os_nap_ns(uint64_t ns);

/* CPU time of the calling thread, of the process; microseconds. ctx: any */
uint64_t os_thread_cpu_us(void);
uint64_t os_process_cpu_us(void);

/* A clock of the calling thread's CPU time that other threads may read while it lives. ctx: any */
int os_thread_clock(void);
uint64_t os_clock_us(int clock);

#endif
