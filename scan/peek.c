/* peek.c: see peek.h.
 *
 * Reached from threads.c, maps.c and roots.c while the world is stopped, hence static buffers: one
 * file of lines and one directory at a time. Depends on the kernel only.
 */
#include "scan/peek.h"

#include "scan/regs.h"
#include "scan/regs_calls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <string.h>

#define DIRECTORY_BYTES KIB(32)

static char line_buffer[2 * PEEK_LINE + 1];
static _Alignas(8) char directory_buffer[DIRECTORY_BYTES];

static long call(long number, long a, long b, long c, long d)
{
	int kept = errno;
	long result = syscall(number, a, b, c, d);

	errno = kept;
	return result;
}

int peek_open(const char *path, bool is_directory)
{
	int flags = O_RDONLY | O_CLOEXEC | (is_directory ? O_DIRECTORY : 0);

	return (int)call(SYS_openat, AT_FDCWD, (long)path, flags, 0);
}

long peek_read(int fd, void *to, size_t nbytes, uint64_t offset)
{
	return call(SYS_pread64, fd, (long)to, (long)nbytes, (long)offset);
}

void peek_close(int fd)
{
	call(SYS_close, fd, 0, 0, 0);
}

size_t peek_protected(void *to, uintptr_t from, size_t nbytes)
{
	int fd = peek_open("/proc/thread-self/mem", false);
	long n = fd >= 0 ? peek_read(fd, to, nbytes, from) : 0;

	if (fd >= 0)
		peek_close(fd);
	return n > 0 ? (size_t)n : 0;
}

size_t peek(void *to, uintptr_t from, size_t nbytes)
{
	static bool is_denied;
	struct iovec here = { to, nbytes }, there = { (void *)from, nbytes };
	int kept = errno;
	ssize_t n = 0;

	if (!is_denied) {
		n = process_vm_readv(getpid(), &here, 1, &there, 1, 0);
		is_denied = n < 0 && (errno == EPERM || errno == ENOSYS || errno == EACCES);
		errno = kept;
	}
	if (is_denied)
		return peek_protected(to, from, nbytes);
	return n > 0 ? (size_t)n : 0;
}

static long copy_protected(void *to, uintptr_t from, size_t nbytes)
{
	long fd = regs_syscall(SYS_openat, AT_FDCWD, (long)"/proc/thread-self/mem",
	                       O_RDONLY | O_CLOEXEC, 0);
	long n = fd >= 0 ? regs_syscall(SYS_pread64, fd, (long)to, (long)nbytes, (long)from) : fd;

	if (fd >= 0)
		regs_syscall(SYS_close, fd, 0, 0, 0);
	return n;
}

size_t peek_bare(void *to, uintptr_t from, size_t nbytes)
{
	struct iovec here = { to, nbytes }, there = { (void *)from, nbytes };
	long pid = regs_syscall(SYS_getpid, 0, 0, 0, 0);
	long n = regs_syscall6(SYS_process_vm_readv, pid, (long)&here, 1, (long)&there, 1, 0);

	if (n <= 0)
		n = copy_protected(to, from, nbytes);
	return n > 0 ? (size_t)n : 0;
}

/* Shows the whole lines of text[0..n); what is left of them, moved to the front. -1: enough. */
static long show_lines(char *text, size_t n, bool (*fn)(char *, void *), void *arg)
{
	char *at = text, *end = text + n, *newline;

	while ((newline = memchr(at, '\n', (size_t)(end - at)))) {
		*newline = 0;
		if (!fn(at, arg))
			return -1;
		at = newline + 1;
	}
	memmove(text, at, (size_t)(end - at));
	return end - at;
}

bool peek_lines(const char *path, bool (*fn)(char *line, void *arg), void *arg)
{
	int fd = peek_open(path, false);
	long left = 0, n;

	if (fd < 0)
		return false;
	while (left >= 0
	       && (n = call(SYS_read, fd, (long)(line_buffer + left),
	                    (long)sizeof line_buffer - 1 - left, 0)) > 0) {
		left = show_lines(line_buffer, (size_t)(left + n), fn, arg);
		if (left > PEEK_LINE)           /* a path full of spaces: its head was what matters */
			left = PEEK_LINE;
	}
	peek_close(fd);
	return true;
}

static bool number_of(const char *name, unsigned *number)
{
	unsigned n = 0;

	for (; *name >= '0' && *name <= '9'; name++)
		n = n * 10 + (unsigned)(*name - '0');
	*number = n;
	return !*name;
}

bool peek_numbers(const char *path, void (*fn)(unsigned number, void *arg), void *arg)
{
	int fd = peek_open(path, true);
	long n;

	if (fd < 0)
		return false;
	while ((n = call(SYS_getdents64, fd, (long)directory_buffer, DIRECTORY_BYTES, 0)) > 0) {
		for (long at = 0; at < n;) {
			const struct dirent64 *entry = (void *)(directory_buffer + at);
			unsigned number;

			if (number_of(entry->d_name, &number))
				fn(number, arg);
			at += entry->d_reclen;
		}
	}
	peek_close(fd);
	return true;
}

void peek_put(char **end, const char *text)
{
	while (*text)
		*(*end)++ = *text++;
	**end = 0;
}

void peek_put_number(char **end, unsigned number)
{
	char digits[12], *d = digits + sizeof digits - 1;

	*d = 0;
	do
		*--d = (char)('0' + number % 10);
	while (number /= 10);
	peek_put(end, d);
}
