/* present.c: see present.h.
 *
 * Reached from roots.c. /proc/self/pagemap tells which pages are there, so that an address range
 * that is mostly empty (a heap that is reserved in one piece) is not filled by reading it, and a
 * page of a private file mapping behind the end of the file, which would be a SIGBUS, is not touched.
 * Of shared mappings mincore(2) tells, which counts what another process wrote; a page of theirs that
 * is swapped out is not seen.
 */
#include "scan/present.h"

#include "scan/peek.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NPAGES 512                              /* looked up at a time */
#define COPY_BYTES KIB(64)
#define IS_PRESENT (UINT64_C(1) << 63)
#define IS_SWAPPED (UINT64_C(1) << 62)
#define IS_FILE (UINT64_C(1) << 61)             /* or shared */

static uint64_t entry[NPAGES];
static unsigned char is_there[NPAGES];
static _Alignas(OS_PAGE_BYTES) char copy[COPY_BYTES];

/* Neighbouring pages. */
struct run {
	uintptr_t from, to;
	const char *what;
	bool is_copied;
	scan_range_fn *fn;
	void *arg;
};

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void show_copies(uintptr_t from, uintptr_t to, const struct run *r)
{
	while (from < to) {
		size_t wanted = least(to - from, COPY_BYTES), n = peek(copy, from, wanted);

		if (n)
			r->fn((uintptr_t)copy, (uintptr_t)copy + n, r->what, r->arg);
		if (n < wanted)
			return;
		from += n;
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

/* False: the kernel does not tell. */
static bool look_up_private(int fd, uintptr_t page, size_t n, bool is_file)
{
	long nbytes = (long)(n * sizeof *entry);

	if (fd < 0 || peek_read(fd, entry, (size_t)nbytes, page * sizeof *entry) != nbytes)
		return false;
	for (size_t i = 0; i < n; i++)
		is_there[i] = (entry[i] & IS_SWAPPED)
		              || ((entry[i] & IS_PRESENT) && !(is_file && (entry[i] & IS_FILE)));
	return true;
}

static bool look_up_shared(uintptr_t page, size_t n)
{
	int kept = errno;
	long error = syscall(SYS_mincore, page << OS_PAGE_SHIFT, n << OS_PAGE_SHIFT, is_there);

	errno = kept;
	return !error;
}

/* If the kernel tells nothing, all pages may be there, and reading them must not fault. */
static void look_up(const struct mapping *m, int fd, uintptr_t page, size_t n, struct run *run)
{
	if (m->is_shared ? look_up_shared(page, n) : look_up_private(fd, page, n, m->inode != 0))
		return;
	memset(is_there, 1, n);
	end_run(run);
	run->is_copied = true;
}

void present_visit(const struct mapping *m, uintptr_t from, uintptr_t to, bool is_copied,
                   scan_range_fn *fn, void *arg)
{
	struct run run = { .what = *m->name ? m->name : "[anon]", .fn = fn, .arg = arg };
	int fd = m->is_shared ? -1 : peek_open("/proc/thread-self/pagemap", false);
	uintptr_t page = from >> OS_PAGE_SHIFT, end = (to + OS_PAGE_BYTES - 1) >> OS_PAGE_SHIFT;

	run.is_copied = is_copied || m->is_shared;
	while (page < end) {
		size_t n = least(end - page, NPAGES);

		look_up(m, fd, page, n, &run);
		for (size_t i = 0; i < n; i++, page++) {
			uintptr_t first = page << OS_PAGE_SHIFT;

			if (is_there[i])
				take_page(&run, first < from ? from : first,
				          least(first + OS_PAGE_BYTES, to));
		}
	}
	end_run(&run);
	if (fd >= 0)
		peek_close(fd);
}
