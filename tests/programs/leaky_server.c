/* leaky_server.c: a server with threads that loses a session at each login, for leaky-server.
 *
 * usage: leaky_server SOCKET
 *
 * Lines on a Unix socket: "login NAME" makes a session that nobody remembers, "set KEY VALUE" and
 * "get KEY" use a table. Connections are line_server.h's.
 */
#define _GNU_SOURCE
#include "tests/line_server.h"

#include <pthread.h>
#include <sys/un.h>

#define NTHREADS 4
#define NBUCKETS 4096
#define NOINLINE __attribute__((noinline))

struct entry {
	struct entry *next;
	char *key, *value;
};

static struct {
	pthread_mutex_t lock;
	struct entry *bucket[NBUCKETS];
} table = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Lost once: more than the first sessions, less than what comes. */
NOINLINE void read_config(void)
{
	char *volatile config = malloc(20000);

	memset(config, 1, 20000);
	config = NULL;
}

NOINLINE void open_session(const char *name)
{
	char *volatile session = malloc(200);

	snprintf(session, 200, "session of %s", name);
	session = NULL;
}

static unsigned hash(const char *key)
{
	unsigned h = 5381;

	for (; *key; key++)
		h = h * 33 + (unsigned char)*key;
	return h % NBUCKETS;
}

static struct entry *find(const char *key)
{
	struct entry *e = table.bucket[hash(key)];

	while (e && strcmp(e->key, key))
		e = e->next;
	return e;
}

static void set(const char *key, const char *value)
{
	struct entry *e;

	pthread_mutex_lock(&table.lock);
	e = find(key);
	if (e) {
		free(e->value);
	} else {
		e = malloc(sizeof *e);
		e->key = strdup(key);
		e->next = table.bucket[hash(key)];
		table.bucket[hash(key)] = e;
	}
	e->value = strdup(value);
	pthread_mutex_unlock(&table.lock);
}

static void answer(struct connection *c, char *line)
{
	char *word = strtok_r(line, " ", &line), *key = strtok_r(NULL, " ", &line);
	char *value = strtok_r(NULL, " ", &line);
	char text[LINE_BYTES] = "ok\n";

	if (word && key && !strcmp(word, "login"))
		open_session(key);
	if (word && key && value && !strcmp(word, "set"))
		set(key, value);
	if (word && key && !strcmp(word, "get")) {
		pthread_mutex_lock(&table.lock);
		snprintf(text, sizeof text, "%.200s\n", find(key) ? find(key)->value : "none");
		pthread_mutex_unlock(&table.lock);
	}
	(void)!send(c->fd, text, strlen(text), MSG_NOSIGNAL);
}

int main(int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct epoll_event event = { .events = EPOLLIN };
	pthread_t thread;

	if (argc != 2)
		return 2;
	snprintf(a.sun_path, sizeof a.sun_path, "%s", argv[1]);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	epoll = epoll_create1(0);
	if (bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 100)
	    || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event))
		return 1;
	read_config();
	for (int i = 1; i < NTHREADS; i++) {
		if (pthread_create(&thread, NULL, serve_all, NULL))
			return 1;
	}
	serve_all(NULL);
	return 0;
}
