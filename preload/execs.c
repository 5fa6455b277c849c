/* execs.c: a process that becomes another program reports before, in mode leaks; and no thread is stopped
 * from then on, in mode gc too.
 *
 * A thread can't be cancelled on the way there, as it can't in exec itself. A handler of the program's that
 * comes in between may leave by longjmp(): the functions of that name tell that it is back. Who leaves by an
 * exception or by setcontext() is not seen; nothing is stopped then until the thread ends.
 *
 * All of libc's exec functions, which call one another inside libc, through imports.h. Where the
 * program can't be found nothing is reported: shells try one directory after the other. Nothing is
 * changed by the report; if the call fails all the same, the process goes on, and reports again at
 * its end. posix_spawn() and children of vfork() are not the process that ends.
 */
#include "preload/imports.h"
#include "preload/preload.h"

#include "scan/threads.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

#define FUNCTIONS(F) \
	F(execve) F(execv) F(execvp) F(execvpe) F(execl) F(execlp) F(execle) F(fexecve) F(execveat)

enum { FUNCTIONS(IMPORT_NUMBER) NFUNCTIONS };

static struct import import[NFUNCTIONS];

#define REAL(name) IMPORT_REAL(import, name)

static void leave(bool is_there)
{
	int kept = errno, cancel;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	if (is_there)
		exits_before_exec();
	scan_threads_leave();
	pthread_setcancelstate(cancel, NULL);
	errno = kept;
}

static void before(const char *path)
{
	int kept = errno;
	bool is_there = path && !access(path, X_OK);

	errno = kept;
	leave(is_there);
}

/* Only a call that failed comes back. */
static int after(int result)
{
	int kept = errno;

	scan_threads_stay();
	errno = kept;
	return result;
}

static const char *variable(const char *name)
{
	size_t len = strlen(name);

	for (char **v = environ; v && *v; v++) {
		if (strncmp(*v, name, len) == 0 && (*v)[len] == '=')
			return *v + len + 1;
	}
	return NULL;
}

/* As execvp() finds it. */
static void before_search(const char *file)
{
	const char *at = variable("PATH");
	char path[PATH_MAX + NAME_MAX];
	size_t len = strlen(file);
	int kept = errno;
	bool is_there = false;

	if (strchr(file, '/') || !at || len > NAME_MAX) {
		before(file);
		return;
	}
	for (;; at++) {
		size_t n = strcspn(at, ":");

		if (n < PATH_MAX) {
			memcpy(path, at, n);
			path[n] = '/';
			memcpy(path + n + (n > 0), file, len + 1);
			is_there = !access(path, X_OK);
		}
		at += n;
		if (is_there || !*at)
			break;
	}
	errno = kept;
	leave(is_there);
}

static int our_execve(const char *path, char *const argv[], char *const env[])
{
	before(path);
	return after(REAL(execve)(path, argv, env));
}

static int our_execv(const char *path, char *const argv[])
{
	before(path);
	return after(REAL(execv)(path, argv));
}

static int our_execvp(const char *file, char *const argv[])
{
	before_search(file);
	return after(REAL(execvp)(file, argv));
}

static int our_execvpe(const char *file, char *const argv[], char *const env[])
{
	before_search(file);
	return after(REAL(execvpe)(file, argv, env));
}

static int our_fexecve(int fd, char *const argv[], char *const env[])
{
	leave(true);
	return after(REAL(fexecve)(fd, argv, env));
}

static int our_execveat(int fd, const char *path, char *const argv[], char *const env[], int flags)
{
	leave(true);
	return after(REAL(execveat)(fd, path, argv, env, flags));
}

static size_t count_arguments(va_list args)
{
	size_t n = 0;

	while (va_arg(args, char *))
		n++;
	return n;
}

/* argv[] of a call of execl(path, first, ...), on the caller's stack: libc has it there, too. */
#define WITH_ARGUMENTS(first, rest, n, argv) \
	va_list rest; \
	va_start(rest, first); \
	size_t n = first ? count_arguments(rest) + 1 : 0; \
	va_end(rest); \
	char *argv[n + 1]; \
	va_start(rest, first); \
	argv[0] = (char *)(uintptr_t)first; \
	for (size_t i_ = 1; i_ <= n; i_++) \
		argv[i_] = va_arg(rest, char *)

static int our_execl(const char *path, const char *first, ...)
{
	WITH_ARGUMENTS(first, rest, n, argv);
	va_end(rest);
	return our_execv(path, argv);
}

static int our_execlp(const char *file, const char *first, ...)
{
	WITH_ARGUMENTS(first, rest, n, argv);
	va_end(rest);
	return our_execvp(file, argv);
}

static int our_execle(const char *path, const char *first, ...)
{
	WITH_ARGUMENTS(first, rest, n, argv);

	char *const *env = va_arg(rest, char *const *);

	va_end(rest);
	return our_execve(path, argv, env);
}

static struct import import[NFUNCTIONS] = { FUNCTIONS(IMPORT_ROW) };

/* --- who comes back by longjmp() --- */

#define JUMPS(F) F(longjmp) F(_longjmp) F(siglongjmp) F(__longjmp_chk)

enum {
	JUMPS(IMPORT_NUMBER)
	NJUMPS
};

static struct import jump[NJUMPS];

typedef void jump_fn(struct __jmp_buf_tag *env, int value);

#define JUMP(name) \
	static void our_##name(struct __jmp_buf_tag *env, int value) \
	{ \
		scan_threads_come_back(); \
		((jump_fn *)jump[NR_##name].real)(env, value); \
	}
JUMPS(JUMP)

static struct import jump[NJUMPS] = {
	JUMPS(IMPORT_ROW)
};

void execs_start(void)
{
	imports_add(import, NFUNCTIONS);
	imports_add(jump, NJUMPS);
}
