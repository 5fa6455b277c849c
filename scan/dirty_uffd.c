/* dirty_uffd.c: dirty pages by userfaultfd's write protection that resolves by itself (Linux 6.7).
 *
 * Reached through dirty.h. The first write to a page that is armed takes 0.9 us, of the kernel's
 * alone: no signal, no mapping more than before, and its own writes into buffers count as well. Arming
 * 512 MiB takes 2.1 ms, 0.4 ms if most of it is armed still; collecting 0.4 ms with 1 % of the pages
 * dirty, 0.9 with all, 2.1 if they are armed again (2 vCPU; 2 GiB: four times as much; intact huge
 * pages: 0.06 ms, but the first write splits one, and it stays split).
 *
 * A page is armed if it has memory: what has none is all zero and is written for the first time by a
 * fault that makes it a page that is not armed. So sparse blocks stay sparse, and what the allocator
 * gives back (MADV_DONTNEED) in a window is simply gone. Huge pages are armed whole; khugepaged makes
 * none of armed small ones.
 *
 * Two descriptors, both the program's to close at any time. userfaultfd(2)'s, without which nothing
 * is armed any more: arm() opens another one. Between arm() and collect() that shows, for the kernel
 * then refuses (EPERM by PM_CHECK_WPASYNC), and every page that has memory is dirty. So it is where
 * the heap has mappings that are not registered. And pagemap's, which is opened again where it is
 * needed, but can't be by a process that may not be dumped, after setuid() for one: hence early. A
 * child of fork() is not registered and opens its own.
 *
 * Where a kernel left pages armed whose userfaultfd was closed, a write to them would not show: a new one
 * disarms everything first.
 *
 * Not seen: writes by a device or io_uring into pages that it holds pinned since before arm().
 */
#include "scan/dirty.h"

#include "core/heap.h"
#include "core/sigmask.h"
#include "scan/own_fd.h"
#include "scan/pagemap.h"
#include "scan/regs.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

/* <linux/userfaultfd.h> of Linux 6.7. */
struct uffd_api {
	uint64_t api, features, ioctls;
};

struct uffd_register {
	uint64_t start, nbytes, mode, ioctls;
};

struct uffd_protect {
	uint64_t start, nbytes, mode;
};

#define UFFD_API_VERSION 0xaa
#define UFFD_HANDSHAKE _IOWR(UFFD_API_VERSION, 0x3f, struct uffd_api)
#define UFFD_REGISTER _IOWR(UFFD_API_VERSION, 0x00, struct uffd_register)
#define UFFD_PROTECT _IOWR(UFFD_API_VERSION, 0x06, struct uffd_protect)
#define UFFD_USER_MODE 1                        /* a flag of userfaultfd(2) that needs no privilege */
#define UFFD_MODE_WP 2
#define UFFD_WP_ASYNC (1 << 15)

#define NREGIONS 512
#define NTRIES 8                                /* while the program closes what we open */
#define PIECE_BYTES MIB(64)                     /* the program's mmap() waits for one, 0.3 ms */

/* Of allocating threads: userfaultfd's number while something may be armed, or -1. Where the program has
 * another file there, the kernel refuses, or it is another userfaultfd that does the same. */
static _Atomic int armed_fd = -1;

/* One thread at a time. */
static struct {
	struct own_fd uffd, pagemap;
	uintptr_t armed_to;
	struct dirty_counts counts;
	struct pm_region region[NREGIONS];
} own = { .uffd = { .fd = -1 }, .pagemap = { .fd = -1 } };

static bool uffd_ioctl(unsigned long what, void *argument)
{
	return regs_syscall(SYS_ioctl, own.uffd.fd, (long)what, (long)argument, 0) == 0;
}

/* Every mapping in the range; without effect where it was done. */
static bool register_range(uintptr_t from, uintptr_t to)
{
	struct uffd_register range = { .start = from, .nbytes = to - from, .mode = UFFD_MODE_WP };

	return from == to || uffd_ioctl(UFFD_REGISTER, &range);
}

/* The heap that there is; where the addresses are ours, all that it can become. */
static bool register_heap(void)
{
	struct sigmask saved;

	heap_enter(&saved);

	/* relaxed: under the lock. */
	size_t nbytes = atomic_load_explicit(&heap.nbytes, memory_order_relaxed);
	size_t reserved = heap.region.is_mapped ? heap.region.nbytes : nbytes;

	heap_leave(&saved);

	struct uffd_protect none = { .start = heap.base, .nbytes = nbytes };

	return register_range(heap.base, heap.base + reserved)
	       && (!nbytes || uffd_ioctl(UFFD_PROTECT, &none));
}

static bool open_uffd(void)
{
	struct uffd_api api = { .api = UFFD_API_VERSION, .features = UFFD_WP_ASYNC };

	own.uffd = own_fd_take(regs_syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE, 0, 0, 0));
	if (own.uffd.fd >= 0 && uffd_ioctl(UFFD_HANDSHAKE, &api) && register_heap())
		return true;
	own_fd_close(&own.uffd);
	return false;
}

static bool open_pagemap(void)
{
	own.pagemap = own_fd_take(regs_syscall(SYS_openat, AT_FDCWD, (long)"/proc/self/pagemap",
	                                       O_RDONLY | O_CLOEXEC, 0));
	return own.pagemap.fd >= 0;
}

static bool has_pagemap(void)
{
	return own_fd_is_ours(&own.pagemap) || open_pagemap();
}

/* --- looking --- */

static void show_regions(long n, dirty_fn *fn, void *arg)
{
	for (long i = 0; i < n && fn; i++) {
		const struct pm_region *r = &own.region[i];

		own.counts.npages += (r->end - r->start) >> OS_PAGE_SHIFT;
		fn(r->start, r->end, arg);
	}
}

/* Pages of [*from, to) that have memory and `categories`; *from is how far it came. */
static bool look(uintptr_t *from, uintptr_t to, uint64_t flags, uint64_t categories, dirty_fn *fn,
                 void *arg)
{
	while (*from < to) {
		struct pm_scan scan = {
			.size = sizeof scan, .flags = flags, .start = *from, .end = to,
			.vec = (uintptr_t)own.region, .vec_len = NREGIONS, .category_mask = categories,
			.category_anyof_mask = PM_PRESENT | PM_SWAPPED, .return_mask = PM_WRITTEN,
		};
		long n = regs_syscall(SYS_ioctl, own.pagemap.fd, (long)PM_SCAN, (long)&scan, 0);

		if (n < 0 || scan.walk_end <= *from)
			return false;
		*from = scan.walk_end;
		show_regions(n, fn, arg);
	}
	return true;
}

/* Everything that has memory. */
static bool look_at_all(uintptr_t from, uintptr_t to, dirty_fn *fn, void *arg)
{
	for (unsigned i = 0; i < NTRIES; i++) {
		if (has_pagemap() && look(&from, to, 0, 0, fn, arg))
			return true;
	}
	return false;
}

/* What was written; or all, where the kernel can't tell. What the refused call had armed again is in
 * the part that is shown. */
static bool look_at_piece(uintptr_t from, uintptr_t to, uint64_t flags, dirty_fn *fn, void *arg)
{
	return look(&from, to, flags | PM_CHECK_WPASYNC, PM_WRITTEN, fn, arg)
	       || look_at_all(from, to, fn, arg);
}

static bool look_at_armed(uintptr_t from, uintptr_t to, uint64_t flags, dirty_fn *fn, void *arg)
{
	for (uintptr_t at = from; at < to; at += PIECE_BYTES) {
		uintptr_t end = to - at < PIECE_BYTES ? to : at + PIECE_BYTES;

		if (!look_at_piece(at, end, flags, fn, arg))
			return false;
	}
	return true;
}

/* --- dirty.h's --- */

static bool arm_range(uintptr_t from, uintptr_t to)
{
	while (from < to) {
		uintptr_t end = to - from < PIECE_BYTES ? to : from + PIECE_BYTES;

		if (!look(&from, end, PM_CHECK_WPASYNC | PM_WP_MATCHING, PM_WRITTEN, NULL, NULL))
			return false;
	}
	return true;
}

static bool is_started(void)
{
	return (own_fd_is_ours(&own.uffd) || open_uffd()) && has_pagemap();
}

/* The heap's first page tells whether the kernel knows how. */
static bool start(void)
{
	uintptr_t first = heap.base;

	return is_started()
	       && look(&first, first + OS_PAGE_BYTES, PM_CHECK_WPASYNC, PM_WRITTEN, NULL, NULL);
}

static void set_armed(int fd)
{
	/* relaxed: who reads it late makes a call in vain, or does without. */
	atomic_store_explicit(&armed_fd, fd, memory_order_relaxed);
}

static void stop(void)
{
	set_armed(-1);
	own_fd_close(&own.uffd);
	own_fd_close(&own.pagemap);
}

static bool arm(uintptr_t from, uintptr_t to)
{
	own.armed_to = to;
	for (unsigned i = 0; i < NTRIES; i++) {
		if (is_started() && register_range(from, to) && arm_range(from, to)) {
			set_armed(own.uffd.fd);
			return true;
		}
	}
	return false;
}

/* New pages of the heap: dirty as a whole. */
static bool collect_new(uintptr_t from, uintptr_t to, bool rearm, dirty_fn *fn, void *arg)
{
	if (from >= to)
		return true;
	if (!rearm || !own_fd_is_ours(&own.uffd) || !register_range(from, to))
		return look_at_all(from, to, fn, arg);
	own.armed_to = to;
	return look_at_armed(from, to, PM_WP_MATCHING, fn, arg);
}

static bool collect(uintptr_t from, uintptr_t to, bool rearm, dirty_fn *fn, void *arg)
{
	uintptr_t old_to = to < own.armed_to ? to : own.armed_to;
	uint64_t before = own.counts.npages;
	bool is_done;

	has_pagemap();
	is_done = look_at_armed(from, old_to, rearm ? PM_WP_MATCHING : 0, fn, arg);
	own.counts.nfaults += own.counts.npages - before;
	return is_done && collect_new(old_to, to, rearm, fn, arg);
}

static void expect(uintptr_t from, uintptr_t to)
{
	struct uffd_protect none = { .start = from, .nbytes = to - from };
	/* relaxed: see set_armed(). */
	int fd = atomic_load_explicit(&armed_fd, memory_order_relaxed);

	if (fd >= 0)
		regs_syscall(SYS_ioctl, fd, (long)UFFD_PROTECT, (long)&none, 0);
}

static void fork_child(void)
{
	stop();
	own.counts = (struct dirty_counts){ 0 };
}

static struct dirty_counts counts(void)
{
	return own.counts;
}

const struct dirty dirty_uffd = {
	.name = "uffd", .way = DIRTY_TRACKED, .stays_armed = true,
	.start = start, .arm = arm, .collect = collect, .expect = expect, .stop = stop,
	.fork_child = fork_child, .counts = counts,
};
