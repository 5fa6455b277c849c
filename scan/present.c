/* present.c: see present.h.
 *
 * Reached from roots.c. /proc/self/pagemap tells which pages are there, so that an address range
 * that is mostly empty (a heap that is reserved in one piece) is not filled by reading it, and a
 * page of a private file mapping behind the end of the file, which would be a SIGBUS, is not touched.
 * Its ioctl (Linux 6.7) passes over what is empty without a look at each page; older kernels are read
 * page by page. Of shared mappings mincore(2) tells, which counts what another process wrote; a page
 * of theirs that is swapped out is not seen. It also tells of private anonymous memory where pagemap
 * can't be opened (after setuid(), or PR_SET_DUMPABLE), if nothing of the process is swapped out.
 *
 * A guard page of MADV_GUARD_INSTALL (Linux 6.13) looks as if it were swapped, and reading it is a
 * fault: what is swapped is read by copy.
 */
#include "scan/present.h"

#include "scan/mark.h"
#include "scan/pagemap.h"
#include "scan/peek.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NPAGES 4096                             /* looked up at a time */
#define COPY_BYTES KIB(64)
_Static_assert(COPY_BYTES <= MARK_NOW_BYTES, "a copy is read before the next one is made");

#define IS_PRESENT (UINT64_C(1) << 63)
#define IS_SWAPPED (UINT64_C(1) << 62)
#define IS_FILE (UINT64_C(1) << 61)             /* or shared */

#define NREGIONS 256
#define THERE 1
#define THERE_SWAPPED 3

static struct pm_region region[NREGIONS];
static uint64_t entry[NPAGES];
static unsigned char is_there[NPAGES];          /* 0, THERE or THERE_SWAPPED */
static _Alignas(OS_PAGE_BYTES) char copy[COPY_BYTES];

/* Neighbouring pages. */
struct run {
	uintptr_t from, to;
	const char *what;
	bool is_copied, is_protected;
	scan_range_fn *fn;
	void *arg;
};

bool present_is_copy(uintptr_t p)
{
	return p - (uintptr_t)copy < sizeof copy;
}

/* Of one visit of all mappings. */
static struct {
	int pagemap;                            /* -1: can't be opened */
	bool has_no_swap;                       /* none of the process is there */
} kernel = { .pagemap = -1 };

/* As if the kernel were older, or less willing. */
static bool has_no_scan, has_no_pagemap;

void present_pretend_no_scan(bool pretended)
{
	has_no_scan = pretended;
}

void present_pretend_no_pagemap(bool pretended)
{
	has_no_pagemap = pretended;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Each piece but the first begins with the last word of the one before, but for its first byte: a
 * pointer that is not aligned may lie across the border. Addresses keep their alignment. */
static void show_copies(uintptr_t from, uintptr_t to, const struct run *r)
{
	char *at = copy + from % sizeof(uintptr_t);
	size_t nagain = 0;

	while (from < to) {
		size_t wanted = least(to - from, COPY_BYTES - 2 * sizeof(uintptr_t)) + nagain;
		size_t n = (r->is_protected ? peek_protected : peek)(at, from - nagain, wanted);

		if (n > nagain)
			r->fn((uintptr_t)at + (nagain > 0), (uintptr_t)at + n, r->what, r->arg);
		if (n == wanted) {
			from += wanted - nagain;
			nagain = sizeof(uintptr_t);
		} else {                        /* this page can't be read */
			from = align_down(from - nagain + n, OS_PAGE_BYTES) + OS_PAGE_BYTES;
			at = copy;
			nagain = 0;
		}
	}
}

static void end_run(struct run *r)
{
	if (r->from < r->to && r->is_copied)
		show_copies(r->from, r->to, r);
	else if (r->from < r->to)
		r->fn(r->from, r->to, r->what, r->arg);
	r->from = r->to = 0;
}

static void take_page(struct run *r, uintptr_t from, uintptr_t to)
{
	if (r->to != from) {
		end_run(r);
		r->from = from;
	}
	r->to = to;
}

static void take_copy(struct run *r, uintptr_t from, uintptr_t to)
{
	end_run(r);
	show_copies(from, to, r);
}

/* False: the kernel does not tell. */
static bool look_up_private(uintptr_t page, size_t n, bool is_file)
{
	long nbytes = (long)(n * sizeof *entry);

	if (kernel.pagemap < 0
	    || peek_read(kernel.pagemap, entry, (size_t)nbytes, page * sizeof *entry) != nbytes)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool is_files = is_file && (entry[i] & IS_FILE);

		is_there[i] = entry[i] & IS_SWAPPED ? THERE_SWAPPED
		              : (entry[i] & IS_PRESENT) && !is_files ? THERE : 0;
	}
	return true;
}

/* For others than those of a file that is mapped privately. */
static bool look_up_resident(uintptr_t page, size_t n)
{
	int kept = errno;
	long error = syscall(SYS_mincore, page << OS_PAGE_SHIFT, n << OS_PAGE_SHIFT, is_there);

	errno = kept;
	return !error;
}

static long scan_pagemap(struct pm_scan *scan)
{
	int kept = errno;
	long n = syscall(SYS_ioctl, kernel.pagemap, PM_SCAN, scan);

	errno = kept;
	return n;
}

/* Of a private mapping. False: the kernel has no such call. */
static bool take_regions(uintptr_t from, uintptr_t to, bool is_file, struct run *run)
{
	struct pm_scan scan = {
		.size = sizeof scan, .start = align_down(from, OS_PAGE_BYTES),
		.end = align_up(to, OS_PAGE_BYTES), .vec = (uintptr_t)region, .vec_len = NREGIONS,
		.category_anyof_mask = PM_PRESENT | PM_SWAPPED,
		.return_mask = PM_FILE | PM_SWAPPED | PM_ZERO,
	};

	while (scan.start < scan.end) {
		long n = scan_pagemap(&scan);

		if (n < 0)
			return false;
		for (long i = 0; i < n; i++) {
			uintptr_t first = region[i].start < from ? from : region[i].start;
			uintptr_t end = least(region[i].end, to);
			bool is_files = is_file && (region[i].categories & PM_FILE);

			if (region[i].categories & PM_SWAPPED)
				take_copy(run, first, end);
			else if (!is_files && !(region[i].categories & PM_ZERO))
				take_page(run, first, end);
		}
		if (scan.walk_end <= scan.start)
			return false;
		scan.start = scan.walk_end;
	}
	return true;
}

/* If the kernel tells nothing, all pages may be there, and reading them must not fault. */
static void look_up(const struct mapping *m, uintptr_t page, size_t n, struct run *run)
{
	if (!m->is_shared && look_up_private(page, n, m->inode != 0))
		return;
	if ((m->is_shared || (m->inode == 0 && kernel.has_no_swap)) && look_up_resident(page, n))
		return;
	memset(is_there, 1, n);
	end_run(run);
	run->is_copied = true;
}

static void take_pages(const struct mapping *m, uintptr_t from, uintptr_t to, struct run *run)
{
	uintptr_t page = from >> OS_PAGE_SHIFT, end = (to + OS_PAGE_BYTES - 1) >> OS_PAGE_SHIFT;

	while (page < end) {
		size_t n = least(end - page, NPAGES);

		look_up(m, page, n, run);
		for (size_t i = 0; i < n; i++, page++) {
			uintptr_t first = page << OS_PAGE_SHIFT;
			uintptr_t end = least(first + OS_PAGE_BYTES, to);

			if (is_there[i] & THERE)
				(is_there[i] == THERE_SWAPPED ? take_copy : take_page)(
					run, first < from ? from : first, end);
		}
	}
}

/* "VmSwap:        0 kB" */
static bool see_swap(char *line, void *arg)
{
	bool *has_none = arg;

	if (strncmp(line, "VmSwap:", 7) != 0)
		return true;
	for (line += 7; *line == ' ' || *line == '\t'; line++)
		;
	*has_none = line[0] == '0';
	return false;
}

void present_begin(void)
{
	kernel.pagemap = has_no_pagemap ? -1 : peek_open("/proc/thread-self/pagemap", false);
	kernel.has_no_swap = false;
	if (kernel.pagemap < 0)
		peek_lines("/proc/thread-self/status", see_swap, &kernel.has_no_swap);
}

void present_end(void)
{
	if (kernel.pagemap >= 0)
		peek_close(kernel.pagemap);
	kernel.pagemap = -1;
}

bool present_tells_written(void)
{
	return kernel.pagemap >= 0;
}

/* It fails at the first call or not at all. */
static bool take_scanned(const struct mapping *m, uintptr_t from, uintptr_t to, struct run *run)
{
	if (m->is_shared || kernel.pagemap < 0 || has_no_scan)
		return false;
	has_no_scan = !take_regions(from, to, m->inode != 0, run);
	return !has_no_scan;
}

void present_visit(const struct mapping *m, uintptr_t from, uintptr_t to, bool is_copied,
                   scan_range_fn *fn, void *arg)
{
	struct run run = { .what = *m->name ? m->name : "[anon]", .fn = fn, .arg = arg };

	run.is_copied = is_copied || m->is_shared || !m->is_readable;
	run.is_protected = !m->is_readable;
	if (!take_scanned(m, from, to, &run) && m->is_readable)
		take_pages(m, from, to, &run);
	end_run(&run);
}
