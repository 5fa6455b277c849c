/* control.c: a Unix socket on which `spangc ctl` asks the process for reports, or to collect.
 *
 * Reached from the reporter thread alone, but for the removal of the file at the end. One client
 * at a time: a line with a request, then the answer, a zero byte, and a line that says how it
 * ended: "ok", or "refused: REASON", after which the connection is closed. An answer without that
 * line is none.
 *
 *     stats                                 what SPANGC_STATS=1 prints
 *     in mode leaks
 *     leaks | diff | profile [FORMAT]       a report; FORMAT as in SPANGC_REPORT_FORMAT
 *     why ADDRESS | why STACK               what leads to a block; why:FORMAT ...: as FORMAT
 *     in mode gc
 *     collect                               a full cycle; when it is over, what it reclaimed
 *     trace on | trace off                  a line for each cycle, on the process's stderr
 *
 * The folder of `on` belongs to us and nobody else may look into it; the socket has mode 0600, and a
 * client is asked for its user: ours, or root. The descriptors are the program's to close, and
 * numbers are used again: each is looked at before it is used, and what we say goes by send(), which
 * writes into no file.
 */
#include "preload/preload.h"
#include "preload/reporter.h"

#include "core/knobs.h"
#include "core/os.h"
#include "core/report.h"
#include "core/report_file.h"
#include "scan/leaks_report.h"
#include "scan/trace.h"
#include "scan/own_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_S 10                           /* with a client */
#define OPEN_TRIES 100
#define OPEN_NS 1000000
#define END_MS 2000                             /* so long an end may take */
#define REQUEST_BYTES 256
#define BUSY_NS 100000000
#define FOLDER "/tmp/spangc-"

static struct {
	/* The reporter; the child of a fork, before it has one. */
	struct own_fd listener;
	char path[sizeof ((struct sockaddr_un *)0)->sun_path];
	ino_t ino;                              /* of the file */
	uid_t uid;                              /* that it was made for */
	bool has_failed;                        /* said; not tried again */

	/* Any thread, atomic: who removes the file. */
	_Atomic bool is_there;
	_Atomic bool is_opening;                /* the reporter is at it */
	_Atomic pid_t pid;                      /* whose it is: children of vfork() leave it alone */
	_Atomic uint64_t ended_ms;              /* when the process began to end; 0: it does not */
} control = { .listener.fd = -1 };

/* --- the name --- */

static void append(char *path, const char *text)
{
	strncat(path, text, KNOB_PATH_BYTES - 1 - strlen(path));
}

static void append_number(char *path, uint64_t n)
{
	struct text t = { 0 };

	text_dec(&t, n);                        /* the rest of the buffer is zero */
	append(path, t.buf);
}

/* Ours alone, or nothing is made in it. */
static const char *make_folder(const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) && errno != EEXIST)
		return "its folder can't be made";
	if (lstat(path, &st) || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 077)
		return "its folder is not ours alone";
	return NULL;
}

static const char *find_name(char *path)
{
	const char *why = NULL;

	if (knobs.control == KNOB_CONTROL_ON) {
		strcpy(path, FOLDER);
		append_number(path, geteuid());
		why = make_folder(path);
		append(path, "/");
		append_number(path, (uint64_t)getpid());
	} else if (!report_file_expand((const char *)(uintptr_t)knobs.control, path)) {
		why = "the name is too long";
	}
	return !why && strlen(path) >= sizeof control.path ? "the name is too long" : why;
}

/* --- the socket --- */

static const char was_closed[] = "the program closed it"; /* at once: there is another time */
static const char name_is_taken[] = "somebody else has that name";

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	strcpy(a.sun_path, path);
	return a;
}

/* Left by a process that was killed: nobody listens there. */
static void remove_stale(const char *path)
{
	struct sockaddr_un a = address_of(path);
	struct stat st;
	int fd;

	if (lstat(path, &st) || !S_ISSOCK(st.st_mode) || st.st_uid != geteuid())
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	if (syscall(SYS_connect, fd, &a, sizeof a) && errno == ECONNREFUSED)
		unlink(path);
	syscall(SYS_close, fd);
}

/* The mode is the socket's when it gets its name: the umask is the program's. */
static const char *listen_at(const struct own_fd *f, const char *path)
{
	struct sockaddr_un a = address_of(path);

	remove_stale(path);
	if (!own_fd_is_ours(f) || fchmod(f->fd, 0600) || bind(f->fd, (struct sockaddr *)&a, sizeof a))
		return errno == EADDRINUSE ? name_is_taken : "it can't be made there";
	return listen(f->fd, 8) ? "the kernel refuses" : NULL;
}

static void note_file(const char *path)
{
	struct stat st;

	strcpy(control.path, path);
	control.ino = lstat(path, &st) ? 0 : st.st_ino;
	control.uid = geteuid();
	/* release: pairs with the acquire in remove_file(). */
	atomic_store_explicit(&control.is_there, true, memory_order_release);
}

/* Programs that clean up /tmp take it for a forgotten file; then the name may be another process's.
 * No other file has its number while the listener is open. */
static bool has_file(void)
{
	struct stat st;

	return !lstat(control.path, &st) && S_ISSOCK(st.st_mode) && st.st_ino == control.ino;
}

static const char *open_at(const char *path)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct own_fd f;
	const char *why;

	if (fd < 0)
		return "the kernel refuses";
	f = own_fd_take(fd);
	why = listen_at(&f, path);
	if (why && !own_fd_is_ours(&f))
		return was_closed;
	if (why) {
		own_fd_close(&f);
		return why;
	}
	note_file(path);
	control.listener = f;
	return NULL;
}

static void remove_file(void)
{
	/* acq_rel: the name is whole; one thread removes it. */
	if (atomic_exchange_explicit(&control.is_there, false, memory_order_acq_rel) && has_file())
		unlink(control.path);
}

/* It comes back where the end was none: exec failed. */
static bool is_ending(void)
{
	/* relaxed: control_open() has a fence. */
	uint64_t ended = atomic_load_explicit(&control.ended_ms, memory_order_relaxed);

	return exits_are_over() || (ended && os_now_ms() - ended < END_MS);
}

static void open_new(void)
{
	char path[KNOB_PATH_BYTES];
	const char *why = find_name(path);

	if (!why)
		why = open_at(path);
	if (why == name_is_taken) {             /* by our parent, or a child's child */
		append(path, ".");
		append_number(path, (uint64_t)getpid());
		why = strlen(path) < sizeof control.path ? open_at(path) : "the name is too long";
	}
	if (why && why != was_closed) {
		control.has_failed = true;
		report_line("no socket for spangc ctl: ", path, ": ", why, NULL);
	}
}

void control_open(void)
{
	if (!knobs.control || control.has_failed
	    || (own_fd_is_ours(&control.listener) && control.uid == geteuid() && has_file()))
		return;
	/* relaxed: the fence. */
	atomic_store_explicit(&control.pid, getpid(), memory_order_relaxed);
	atomic_store_explicit(&control.is_opening, true, memory_order_relaxed);
	/* seq_cst: is_opening above, then whether the process ends. Pairs with the fence in
	 * control_remove(): one of both sees the other's. */
	atomic_thread_fence(memory_order_seq_cst);
	if (!is_ending()) {
		remove_file();
		own_fd_close(&control.listener);
		open_new();
	}
	/* release: the file has its name, and is there. */
	atomic_store_explicit(&control.is_opening, false, memory_order_release);
}

int control_fd(void)
{
	return control.listener.fd;
}

/* A file that is about to get its name gets it first. */
void control_remove(void)
{
	/* relaxed: the process's own, once there is one. */
	if (getpid() != atomic_load_explicit(&control.pid, memory_order_relaxed))
		return;
	/* relaxed: the fence. */
	atomic_store_explicit(&control.ended_ms, os_now_ms(), memory_order_relaxed);
	/* seq_cst: see control_open(). */
	atomic_thread_fence(memory_order_seq_cst);
	/* acquire: pairs with the release in control_open(). */
	for (unsigned tries = OPEN_TRIES; tries; tries--) {
		if (!atomic_load_explicit(&control.is_opening, memory_order_acquire))
			break;
		os_nap_ns(OPEN_NS);
	}
	remove_file();
}

void control_fork_child(void)
{
	/* relaxed: the child has one thread. */
	atomic_store_explicit(&control.is_there, false, memory_order_relaxed);
	own_fd_close(&control.listener);
	atomic_store_explicit(&control.is_opening, false, memory_order_relaxed);
	atomic_store_explicit(&control.ended_ms, 0, memory_order_relaxed);
	control.has_failed = false;
}

/* --- requests --- */

static void say(const struct own_fd *client, const char *first, const char *second)
{
	struct text t = { 0 };

	text_str(&t, first);
	text_str(&t, second);
	text_newline(&t);
	if (own_fd_is_ours(client))
		syscall(SYS_sendto, client->fd, t.buf, t.len, MSG_NOSIGNAL, NULL, 0);
}

static void end_answer(const struct own_fd *client, const char *refusal)
{
	if (own_fd_is_ours(client))
		syscall(SYS_sendto, client->fd, "", 1, MSG_NOSIGNAL | MSG_MORE, NULL, 0);
	say(client, refusal ? "refused: " : "ok", refusal ? refusal : "");
}

/* `format` is a name, or empty: the knob's. */
static const char *answer_report(const struct own_fd *client, enum leaks_kind kind, const char *format,
                                 const char *argument)
{
	struct leaks_request r = { .kind = kind, .when = "demand", .fd = client->fd, .format = -1,
		                   .goes_on = true, .argument = argument };

	if (*format) {
		r.format = knobs_report_format(format);
		if (r.format < 0)
			return "no such format";
	}
	if (!own_fd_is_ours(client))
		return NULL;                    /* there is nobody to tell */
	return reports_write(&r) == REPORTS_FAILED ? "the report could not be made, or not be written"
	                                           : NULL;
}

/* Of `why`, or `why:FORMAT`. */
static const char *answer_why(const struct own_fd *client, const char *colon, const char *argument)
{
	if (!*argument)
		return "of which address, or which stack?";
	return answer_report(client, LEAKS_WHY, *colon ? colon + 1 : "", argument);
}

static const char *answer_stats(const struct own_fd *client, const char *argument)
{
	if (*argument)
		return "stats takes no argument";
	if (own_fd_is_ours(client))
		info_write(client->fd);
	return NULL;
}

static const char *answer_collect(const struct own_fd *client, const char *argument)
{
	struct text t = { 0 };
	struct cycle_last last;

	if (*argument)
		return "collect takes no argument";
	spangc_collect();
	last = cycle_last();
	if (last.failure)
		return last.failure;
	text_dec(&t, last.reclaimed_bytes);
	text_str(&t, " bytes reclaimed in ");
	text_dec(&t, last.reclaimed_blocks);
	say(client, t.buf, " blocks");
	return NULL;
}

static const char *answer_trace(const char *argument)
{
	bool is_on = !strcmp(argument, "on");

	if (!is_on && strcmp(argument, "off") != 0)
		return "trace on, or trace off";
	trace_set(is_on);
	return NULL;
}

static const char *answer_in_gc(const struct own_fd *client, const char *word, const char *argument)
{
	if (!strcmp(word, "collect"))
		return answer_collect(client, argument);
	if (!strcmp(word, "trace"))
		return answer_trace(argument);
	return "no such request in mode gc (there are: collect, trace, stats)";
}

/* NULL, or why not. */
static const char *answer(const struct own_fd *client, const char *word, const char *argument)
{
	if (!strcmp(word, "stats"))
		return answer_stats(client, argument);
	if (knobs.mode == KNOB_MODE_GC)
		return answer_in_gc(client, word, argument);
	if (!strcmp(word, "leaks"))
		return answer_report(client, LEAKS_REPORT, argument, "");
	if (!strcmp(word, "profile"))
		return answer_report(client, LEAKS_PROFILE, argument, "");
	if (!strcmp(word, "diff"))
		return answer_report(client, LEAKS_DIFF, argument, "");
	if (!strncmp(word, "why", 3) && (!word[3] || word[3] == ':'))
		return answer_why(client, word + 3, argument);
	if (!strcmp(word, "collect") || !strcmp(word, "trace"))
		return "this is for mode gc; the process is in mode leaks";
	return "no such request";
}

/* --- clients --- */

static bool is_allowed(const struct own_fd *client)
{
	struct ucred who;
	socklen_t len = sizeof who;

	return !getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &who, &len)
	       && (who.uid == 0 || who.uid == geteuid());
}

/* The line, without its newline. False: it did not come. */
static bool read_line(const struct own_fd *client, char *line)
{
	size_t len = 0;

	while (len < REQUEST_BYTES - 1 && own_fd_is_ours(client)) {
		long n = syscall(SYS_recvfrom, client->fd, line + len, REQUEST_BYTES - 1 - len, 0, NULL,
		                 NULL);
		char *newline;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		len += (size_t)n;
		newline = memchr(line, '\n', len);
		if (newline) {
			*newline = '\0';
			return true;
		}
	}
	return false;
}

static void serve_client(const struct own_fd *client)
{
	char line[REQUEST_BYTES], *argument;

	if (!is_allowed(client)) {
		end_answer(client, "another user's process");
		return;
	}
	if (!read_line(client, line)) {
		end_answer(client, "no request came");
		return;
	}
	argument = strchr(line, ' ');
	if (argument)
		*argument++ = '\0';
	end_answer(client, answer(client, line, argument ? argument : ""));
}

/* No more than a moment for a client that does not read or does not ask. */
static void limit_patience(int fd)
{
	const struct timeval longest = { .tv_sec = PATIENCE_S };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &longest, sizeof longest);
}

void control_serve(void)
{
	struct own_fd client;
	long fd;

	if (!own_fd_is_ours(&control.listener))
		return;
	fd = syscall(SYS_accept4, control.listener.fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR)  /* no descriptor is free: it comes again */
			os_nap_ns(BUSY_NS);
		return;
	}
	limit_patience((int)fd);
	client = own_fd_take(fd);
	serve_client(&client);
	own_fd_close(&client);
}
