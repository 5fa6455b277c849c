/* report_file.c: opening the file for a report.
 *
 * Reached from preload/info.c; may run in a signal handler: takes no lock, allocates nothing, and
 * goes by syscall(2), because open() is a cancellation point. Depends on knobs and report.h.
 *
 * Who may write the directory can put something in our way: a symbolic link (ELOOP), a file of
 * another user's, who would read the report (refused), a FIFO that nobody reads (O_NONBLOCK:
 * ENXIO). A FIFO with a reader and a device like /dev/null are taken as they are.
 */
#define _GNU_SOURCE
#include "core/report_file.h"

#include "core/knobs.h"
#include "core/report.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NUMBER_MAX 100000                       /* reports of one name before we give up */

struct name {
	size_t len;
	bool   is_cut;
	char   buf[KNOB_PATH_BYTES];
};

static _Atomic uint32_t number;                 /* of the last report with a %n */
static uint64_t written_for;                    /* a process; 0: this one */

static void add(struct name *name, const char *s)
{
	size_t len = strlen(s);

	name->is_cut |= len >= sizeof name->buf - name->len;
	if (name->is_cut)
		return;
	memcpy(name->buf + name->len, s, len + 1);
	name->len += len;
}

static void add_number(struct name *name, uint64_t n)
{
	struct text t = { 0 };

	text_dec(&t, n);                        /* the rest of the buffer is zero */
	add(name, t.buf);
}

/* As the kernel found it: programs overwrite argv[0]. */
static const char *program_name(void)
{
	const char *path = (const char *)getauxval(AT_EXECFN);
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : path ? path : "unknown";
}

static void add_field(struct name *name, char letter, uint32_t n)
{
	if (letter == 'p')
		add_number(name, written_for ? written_for : (uint64_t)getpid());
	else if (letter == 'n')
		add_number(name, n);
	else
		add(name, letter == 'e' ? program_name() : "%");
}

static void expand(struct name *name, const char *pattern, uint32_t n)
{
	name->len = 0;
	name->is_cut = false;
	for (const char *p = pattern; *p; p++) {
		if (*p == '%')
			add_field(name, *++p, n);
		else
			add(name, (char[]){ *p, '\0' });
	}
}

bool report_file_is_pattern(const char *pattern)
{
	for (const char *p = pattern; (p = strchr(p, '%')); p += 2) {
		if (!p[1] || !strchr("pen%", p[1]))
			return false;
	}
	return *pattern && strlen(pattern) < KNOB_PATH_BYTES;
}

static bool is_numbered(const char *pattern)
{
	for (const char *p = pattern; (p = strchr(p, '%')); p += 2) {
		if (p[1] == 'n')
			return true;
	}
	return false;
}

static const char *reason(int error)
{
	switch (error) {
	case EACCES: return "permission denied";
	case EEXIST: return "too many reports of that name";
	case EISDIR: return "is a directory";
	case ELOOP: return "is a symbolic link";
	case EMFILE:
	case ENFILE: return "too many open files";
	case ENAMETOOLONG: return "the name is too long";
	case ENOENT:
	case ENOTDIR: return "no such directory";
	case ENOSPC:
	case EDQUOT: return "no space";
	case ENXIO: return "nobody reads this FIFO";
	case EPERM: return "belongs to another user";
	case EROFS: return "the file system is read-only";
	default: return "cannot be opened";
	}
}

static void say(const char *pattern, int error, int fd)
{
	struct text t = { 0 };

	text_str(&t, "spangc: SPANGC_REPORT=");
	text_foreign(&t, pattern, 300);
	text_str(&t, ": ");
	text_str(&t, reason(error));
	text_str(&t, "; the report follows here");
	text_newline(&t);
	text_flush(&t, fd);
}

/* 0 or an errno value: may a report be written there? */
static int inspect(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return errno;
	if (S_ISREG(st.st_mode) && st.st_uid != geteuid())
		return EPERM;
	/* From here on a reader that is slow is waited for. */
	fcntl(fd, F_SETFL, O_APPEND);
	return 0;
}

static int open_one(const char *path, int flags, int *error)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path,
	                      flags | O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC
	                      | O_NOCTTY | O_NONBLOCK, 0600);

	*error = fd < 0 ? errno : inspect(fd);
	if (fd >= 0 && *error)
		syscall(SYS_close, fd);
	return *error ? -1 : fd;
}

static int open_pattern(const char *pattern, int *error)
{
	bool is_own = is_numbered(pattern);
	struct name name;

	for (unsigned i = 0; i < NUMBER_MAX; i++) {
		/* relaxed: each number once is all there is to it. */
		uint32_t n = is_own ? 1 + atomic_fetch_add_explicit(&number, 1,
		                                                    memory_order_relaxed) : 0;

		expand(&name, pattern, n);
		if (name.is_cut) {
			*error = ENAMETOOLONG;
			return -1;
		}

		int fd = open_one(name.buf, is_own ? O_EXCL : 0, error);

		if (*error == EINTR || (is_own && *error == EEXIST))
			continue;
		return fd;
	}
	return -1;
}

bool report_file_expand(const char *pattern, char *to)
{
	struct name name;

	expand(&name, pattern, 0);
	if (!name.is_cut)
		memcpy(to, name.buf, name.len + 1);
	return !name.is_cut;
}

int report_file_open(int fallback)
{
	const char *pattern = (const char *)(uintptr_t)knobs.report;
	int error, kept = errno;

	if (!pattern)
		return fallback;

	int fd = open_pattern(pattern, &error);

	if (fd < 0)
		say(pattern, error, fallback);
	errno = kept;
	return fd < 0 ? fallback : fd;
}

void report_file_set_pid(uint64_t pid)
{
	written_for = pid;
}

uint32_t report_file_number(void)
{
	/* relaxed, here and below: a number is all there is to it. */
	return atomic_load_explicit(&number, memory_order_relaxed);
}

void report_file_set_number(uint32_t n)
{
	atomic_store_explicit(&number, n, memory_order_relaxed);
}

void report_file_close(int fd, int fallback)
{
	int kept = errno;

	if (fd != fallback)
		syscall(SYS_close, fd);
	errno = kept;
}
