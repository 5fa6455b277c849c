/* gc_server.c: a server under load that loses memory all the time, and how much of it is resident.
 *
 * usage: gc_server LIVE_MIB LOST_KIB_PER_SECOND SECONDS
 *
 * Threads serve lines of a Unix socket, from a table of LIVE_MIB of strings: "set KEY" replaces a value
 * and frees the old one, "get KEY" reads it, "login NAME" makes a session, a buffer and a copy of the
 * name that point to each other and that nobody remembers. A child process is the client: each hundredth
 * of a second it sends what is due, SETS sets and gets a second and the logins that lose what was asked
 * for, and awaits the answers.
 *
 * Twice a second a line: seconds, resident KiB, KiB that the program knows to be live (as asked of
 * malloc), KiB lost so far, longest answer in microseconds since the line before.
 */
#include "tests/bench/gc_bench.h"
#include "tests/line_server.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <errno.h>
#include <signal.h>

#define NTHREADS 4
#define NCONNECTIONS 8
#define VALUE_BYTES 200                 /* on average */
#define SESSION_BYTES 200
#define BUFFER_BYTES 700
#define SETS 4000
#define TICKS_PER_SECOND 100

struct session {
	struct session **back;
	char *name;
	char other[SESSION_BYTES - 2 * sizeof(char *)];
};

static struct {
	pthread_mutex_t lock;
	char **value;
	size_t nkeys;
	size_t live_bytes;
} table = { .lock = PTHREAD_MUTEX_INITIALIZER };

static _Atomic size_t lost_bytes;

/* Between the two processes. */
static struct shared {
	_Atomic uint64_t longest_ns;
	_Atomic bool is_over;
} *shared;

/* ---- Server */

static void set(size_t key, size_t nbytes)
{
	char *value = malloc(nbytes), *old;

	memset(value, (int)key, nbytes);
	value[nbytes - 1] = '\0';
	pthread_mutex_lock(&table.lock);
	old = table.value[key];
	table.value[key] = value;
	table.live_bytes += nbytes - (old ? strlen(old) + 1 : 0);
	pthread_mutex_unlock(&table.lock);
	free(old);
}

static size_t length_of(size_t key)
{
	size_t length;

	pthread_mutex_lock(&table.lock);
	length = strlen(table.value[key]);
	pthread_mutex_unlock(&table.lock);
	return length;
}

static void lose_session(const char *name)
{
	struct session *s = malloc(sizeof *s);

	s->name = strdup(name);
	s->back = malloc(BUFFER_BYTES);
	memset(s->back, 0, BUFFER_BYTES);
	*s->back = s;
	lost_bytes += sizeof *s + BUFFER_BYTES + strlen(name) + 1;
}

static void answer(struct connection *c, char *line)
{
	const char *word = strchr(line, ' ');
	size_t key = word ? strtoul(word, NULL, 10) : 0, length = 0;
	char text[LINE_BYTES];

	if (!strncmp(line, "login", 5))
		lose_session(word);
	else if (!strncmp(line, "set", 3))
		set(key % table.nkeys, VALUE_BYTES / 2 + key * 7919 % VALUE_BYTES);
	else
		length = length_of(key % table.nkeys);
	snprintf(text, sizeof text, "%zu\n", length);
	if (send(c->fd, text, strlen(text), MSG_NOSIGNAL) < 0 && errno != EPIPE)
		fail("send");
}

/* ---- Client */

static void ask(int fd, const char *what, size_t number)
{
	char line[LINE_BYTES];
	int n = snprintf(line, sizeof line, "%s %zu\n", what, number);
	uint64_t started = now_ns(), took;

	if (send(fd, line, (size_t)n, MSG_NOSIGNAL) != n || read(fd, line, sizeof line) <= 0)
		_exit(1);
	took = now_ns() - started;
	if (took > shared->longest_ns)
		shared->longest_ns = took;
}

static void be_client(const int *fd, size_t lost_per_second)
{
	double logins = (double)lost_per_second / (sizeof(struct session) + BUFFER_BYTES + 8), owed = 0;
	uint64_t due = now_ns();

	for (size_t number = 0; !shared->is_over;) {
		for (owed += logins / TICKS_PER_SECOND; owed >= 1; owed--, number++)
			ask(fd[number % NCONNECTIONS], "login", number);
		for (int i = 0; i < SETS / TICKS_PER_SECOND; i++, number++)
			ask(fd[number % NCONNECTIONS], number % 4 ? "get" : "set", number * 7927);
		due += 1000000000 / TICKS_PER_SECOND;
		if (now_ns() < due)
			sleep_ms((long)((due - now_ns()) / 1000000) + 1);
		else
			due = now_ns();
	}
	_exit(0);
}

/* ---- Both */

static void fill(size_t nbytes)
{
	table.nkeys = nbytes / VALUE_BYTES;
	table.value = calloc(table.nkeys, sizeof *table.value);
	for (size_t i = 0; i < table.nkeys; i++)
		set(i, VALUE_BYTES / 2 + i * 7919 % VALUE_BYTES);
}

static void print_line(double at)
{
	printf("%.1f %zu %zu %zu %llu\n", at, status_kb("VmRSS:"),
	       (table.live_bytes + table.nkeys * sizeof *table.value) >> 10, (size_t)lost_bytes >> 10,
	       (unsigned long long)atomic_exchange(&shared->longest_ns, 0) / 1000);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int ends[NCONNECTIONS][2], fd[NCONNECTIONS];
	uint64_t started, seconds;
	pthread_t thread;

	if (argc != 4)
		fail("usage: gc_server LIVE_MIB LOST_KIB_PER_SECOND SECONDS");
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < NCONNECTIONS; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends[i]))
			fail("socketpair");
		fd[i] = ends[i][1];
	}
	if (fork() == 0)
		be_client(fd, strtoul(argv[2], NULL, 10) << 10);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	fill(MIB(atol(argv[1])));
	for (int i = 0; i < NCONNECTIONS; i++) {
		close(fd[i]);
		add_connection(ends[i][0]);
	}
	for (int i = 0; i < NTHREADS; i++) {
		if (pthread_create(&thread, NULL, serve_all, NULL))
			fail("no thread");
	}
	seconds = strtoull(argv[3], NULL, 10);
	started = now_ns();
	shared->longest_ns = 0;
	for (uint64_t half = 0; half <= 2 * seconds; half++) {
		while (now_ns() < started + half * 500000000)
			sleep_ms((long)((started + half * 500000000 - now_ns()) / 1000000) + 1);
		print_line((double)(now_ns() - started) / 1e9);
	}
	shared->is_over = true;
	wait(NULL);
	_exit(0);
}
