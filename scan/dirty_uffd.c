/* dirty_uffd.c: dirty pages by userfaultfd's write protection that resolves by itself (Linux 6.7).
 *
 * Reached through dirty.h. No signal, no mapping more than before, 0.9 us for the first write to a
 * page. The kernel's own writes are seen, but for pages that a device or io_uring holds pinned.
 */
#include "scan/dirty.h"

#include "core/heap.h"
#include "scan/regs.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

/* <linux/userfaultfd.h> */
struct uffd_api {
	uint64_t api, features, ioctls;
};

struct uffd_register {
	uint64_t start, nbytes, mode, ioctls;
};

#define UFFD_API_VERSION 0xaa
#define UFFD_USER_MODE 1                        /* a flag of userfaultfd(2) that needs no privilege */
#define UFFD_HANDSHAKE _IOWR(0xaa, 0x3f, struct uffd_api)
#define UFFD_REGISTER _IOWR(0xaa, 0x00, struct uffd_register)
#define UFFD_MODE_WP 2
#define UFFD_WP_UNPOPULATED (1 << 13)
#define UFFD_WP_ASYNC (1 << 15)

/* <linux/fs.h> of Linux 6.7. */
struct pm_region {
	uint64_t start, end, categories;
};

struct pm_scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define PM_SCAN _IOWR('f', 16, struct pm_scan)
#define PM_WP_MATCHING 1
#define PM_CHECK_WPASYNC 2
#define PM_WRITTEN 2
#define PM_PRESENT 8
#define PM_SWAPPED 16
#define PM_ZERO 32

#define NREGIONS 512
#define PIECE_BYTES MIB(64)

static struct {
	int uffd, pagemap;
	uintptr_t armed_from, armed_to;
	struct dirty_counts counts;
	struct pm_region region[NREGIONS];
} own = { .uffd = -1, .pagemap = -1 };

static bool register_range(uintptr_t from, uintptr_t to)
{
	struct uffd_register range = { .start = from, .nbytes = to - from, .mode = UFFD_MODE_WP };

	return regs_syscall(SYS_ioctl, own.uffd, (long)UFFD_REGISTER, (long)&range, 0) == 0;
}

static bool start(void)
{
	struct uffd_api api = { .api = UFFD_API_VERSION, .features = UFFD_WP_UNPOPULATED | UFFD_WP_ASYNC };

	if (own.pagemap >= 0)
		return true;
	own.uffd = (int)regs_syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE, 0, 0, 0);
	own.pagemap = (int)regs_syscall(SYS_openat, AT_FDCWD, (long)"/proc/self/pagemap",
	                                O_RDONLY | O_CLOEXEC, 0);
	return own.uffd >= 0 && own.pagemap >= 0
	       && regs_syscall(SYS_ioctl, own.uffd, (long)UFFD_HANDSHAKE, (long)&api, 0) == 0
	       && register_range(heap.region.base, heap.region.base + heap.region.nbytes);
}

/* False: the kernel refused. */
static bool scan(uintptr_t from, uintptr_t to, uint64_t flags, dirty_fn *fn, void *arg)
{
	struct pm_scan scan = {
		.size = sizeof scan, .flags = flags, .start = from, .end = to,
		.vec = (uintptr_t)own.region, .vec_len = NREGIONS, .category_mask = PM_WRITTEN,
		.category_anyof_mask = PM_PRESENT | PM_SWAPPED, .return_mask = PM_WRITTEN,
	};

	while (scan.start < to) {
		long n = regs_syscall(SYS_ioctl, own.pagemap, (long)PM_SCAN, (long)&scan, 0);

		if (n < 0 || scan.walk_end <= scan.start)
			return false;
		for (long i = 0; i < n && fn; i++) {
			own.counts.npages += (own.region[i].end - own.region[i].start) >> OS_PAGE_SHIFT;
			fn(own.region[i].start, own.region[i].end, arg);
		}
		scan.start = scan.walk_end;
	}
	return true;
}

static bool arm(uintptr_t from, uintptr_t to)
{
	own.armed_from = from;
	own.armed_to = to;
	return scan(from, to, PM_WP_MATCHING | PM_CHECK_WPASYNC, NULL, NULL);
}

static bool collect(uintptr_t from, uintptr_t to, bool rearm, dirty_fn *fn, void *arg)
{
	return scan(from, to, PM_CHECK_WPASYNC | (rearm ? PM_WP_MATCHING : 0), fn, arg);
}

static void fork_child(void)
{
	own.uffd = own.pagemap = -1;
}

static struct dirty_counts counts(void)
{
	return own.counts;
}

const struct dirty dirty_uffd = {
	.name = "uffd", .way = DIRTY_TRACKED, .stays_armed = true,
	.start = start, .arm = arm, .collect = collect, .fork_child = fork_child, .counts = counts,
};
