/* kernel.c: see kernel.h.
 *
 * Reached from roots.c, and from snapshot.c around a copy. Depends on peek.c, maps.c and scratch.c.
 *
 * Among many descriptors few are epoll instances, and to find these takes a system call for each:
 * that is done before the world is stopped for a copy. An instance that was made between that look
 * and the stop is read by the copy itself, a moment later than the rest.
 */
#include "scan/kernel.h"

#include "core/marks.h"
#include "core/report.h"
#include "scan/maps.h"
#include "scan/peek.h"
#include "scan/regs.h"
#include "scan/scratch.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FDS_MAX KIB(64)
#define FEW_FDS 100
#define WORDS_MAX MIB(1)                        /* 16 MiB, touched as they are used */

struct word {
	uintptr_t value;
	const char *what;
};

static struct scratch fd_memory, word_memory;

static struct {
	unsigned *fds;                          /* epoll instances */
	size_t nfds;
	struct word *words;
	size_t nwords;
	bool is_kept;
	bool has_uring, is_uring_said;
	size_t nseen;                           /* descriptors, in kernel_visit() */
} kernel;

struct visit {
	scan_range_fn *fn;
	void *arg;
};

static void show(const struct visit *v, uintptr_t word, const char *what)
{
	v->fn((uintptr_t)&word, (uintptr_t)(&word + 1), what, v->arg);
}

/* "tfd: 5 events: 19 data: 7f0012345678 pos:..." */
static bool see_epoll_line(char *line, void *arg)
{
	const char *data = strncmp(line, "tfd:", 4) == 0 ? strstr(line, "data:") : NULL;

	if (data) {
		for (data += strlen("data:"); *data == ' '; data++)
			;
		show(arg, maps_hex(&data), "epoll");
	}
	return true;
}

static bool is_named(const char *target, size_t len, const char *name)
{
	return len == strlen(name) && memcmp(target, name, len) == 0;
}

static bool is_epoll(unsigned fd)
{
	char path[64], *end = path, target[32];

	peek_put(&end, "/proc/thread-self/fd/");
	peek_put_number(&end, fd);

	ssize_t len = readlink(path, target, sizeof target);

	if (len > 0 && is_named(target, (size_t)len, "anon_inode:[io_uring]"))
		kernel.has_uring = true;
	return len > 0 && is_named(target, (size_t)len, "anon_inode:[eventpoll]");
}

static void read_epoll(unsigned fd, void *arg)
{
	char path[64], *end = path;

	peek_put(&end, "/proc/thread-self/fdinfo/");
	peek_put_number(&end, fd);
	peek_lines(path, see_epoll_line, arg);
}

static bool was_kept(unsigned fd)
{
	for (size_t i = 0; i < kernel.nfds; i++) {
		if (kernel.fds[i] == fd)
			return true;
	}
	return false;
}

static void see_fd(unsigned fd, void *arg)
{
	kernel.nseen++;
	if (is_epoll(fd))
		read_epoll(fd, arg);
}

static void see_other_fd(unsigned fd, void *arg)
{
	if (!was_kept(fd))
		see_fd(fd, arg);
}

/* "signal: 14/000056789abcdef0": number and value. */
static bool see_timer_line(char *line, void *arg)
{
	const char *value = strncmp(line, "signal:", 7) == 0 ? strchr(line, '/') : NULL;

	if (value++)
		show(arg, maps_hex(&value), "timer");
	return true;
}

/* Changing how an instance watches what it does not watch is refused by ENOENT, by any other descriptor
 * for another reason. */
static bool is_quickly_epoll(unsigned fd, int stranger)
{
	struct epoll_event none = { 0 };

	return regs_syscall(SYS_epoll_ctl, fd, EPOLL_CTL_MOD, stranger, (long)&none) == -ENOENT;
}

struct again {
	struct visit v;
	int stranger;                           /* a descriptor that nobody watches */
};

static void see_fd_again(unsigned fd, void *arg)
{
	struct again *a = arg;

	if (is_quickly_epoll(fd, a->stranger))
		read_epoll(fd, &a->v);
}

/* "FDSize:\t256": room for descriptors, of which no number is higher. */
static bool see_size(char *line, void *arg)
{
	size_t *n = arg;

	if (strncmp(line, "FDSize:\t", 8) != 0)
		return true;
	for (line += 8; *line >= '0' && *line <= '9'; line++)
		*n = *n * 10 + (size_t)(*line - '0');
	return false;
}

/* To be told a number takes the kernel ten times as long as to ask for one that is none. */
static void see_all_again(struct again *a)
{
	size_t n = 0;

	if (kernel.nseen >= FEW_FDS)
		peek_lines("/proc/thread-self/status", see_size, &n);
	for (unsigned fd = 0; fd < n && n <= 8 * kernel.nseen; fd++)
		see_fd_again(fd, a);
	if (!n || n > 8 * kernel.nseen)
		peek_numbers("/proc/thread-self/fd", see_fd_again, a);
}

void kernel_visit_again(scan_range_fn *fn, void *arg)
{
	struct again a = { .v = { fn, arg } };

	a.stranger = (int)regs_syscall(SYS_eventfd2, 0, EFD_CLOEXEC, 0, 0);
	if (kernel.is_kept || a.stranger < 0) {
		kernel_visit(fn, arg);
	} else {
		see_all_again(&a);
		peek_lines("/proc/self/timers", see_timer_line, &a.v);
	}
	if (a.stranger >= 0)
		regs_syscall(SYS_close, a.stranger, 0, 0, 0);
}

void kernel_visit(scan_range_fn *fn, void *arg)
{
	struct visit v = { fn, arg };

	for (size_t i = 0; kernel.is_kept && i < kernel.nwords; i++)
		show(&v, kernel.words[i].value, kernel.words[i].what);
	if (kernel.is_kept)
		return;
	kernel.nseen = 0;
	kernel.has_uring = false;
	peek_numbers("/proc/thread-self/fd", see_fd, &v);
	peek_lines("/proc/self/timers", see_timer_line, &v);
}

static void note_fd(unsigned fd, void *arg)
{
	(void)arg;
	if (kernel.nfds < FDS_MAX && is_epoll(fd))
		kernel.fds[kernel.nfds++] = fd;
}

bool kernel_look(void)
{
	kernel.nfds = kernel.nwords = 0;
	kernel.is_kept = kernel.has_uring = false;
	kernel.fds = scratch_take(&fd_memory, FDS_MAX * sizeof *kernel.fds);
	kernel.words = scratch_take(&word_memory, WORDS_MAX * sizeof *kernel.words);
	if (!kernel.fds || !kernel.words)
		return false;
	peek_numbers("/proc/thread-self/fd", note_fd, NULL);
	return true;
}

static void keep_word(uintptr_t from, uintptr_t to, const char *what, void *arg)
{
	(void)to;
	(void)arg;
	if (kernel.nwords < WORDS_MAX)
		kernel.words[kernel.nwords++] = (struct word){ *(uintptr_t *)from, what };
}

void kernel_keep(void)
{
	struct visit v = { keep_word, NULL };

	for (size_t i = 0; i < kernel.nfds; i++)
		read_epoll(kernel.fds[i], &v);
	peek_lines("/proc/self/timers", see_timer_line, &v);
	kernel.is_kept = true;
}

void kernel_keep_rest(void)
{
	struct visit v = { keep_word, NULL };

	peek_numbers("/proc/thread-self/fd", see_other_fd, &v);
}

bool kernel_has_uring(void)
{
	return kernel.has_uring;
}

void kernel_tell(void)
{
	if (!kernel.has_uring || kernel.is_uring_said || marks_are_on())        /* cycle.c tells */
		return;
	kernel.is_uring_said = true;
	report_line("io_uring is in use: what only its queues point to is taken for a leak", NULL);
}

void kernel_forget(void)
{
	kernel_tell();
	kernel.nfds = kernel.nwords = 0;
	kernel.is_kept = false;
	scratch_drop(&fd_memory);
	scratch_drop(&word_memory);
}
