/* gc_syscall.c: what a system call costs while a window for writes is open, and while none is.
 *
 * usage: gc_syscall MIB SECONDS
 *
 * One thread makes batches of getppid() and of one-byte read() into a block of the heap; the first
 * thread forces cycles over MIB of linked blocks, half of the time. Prints the median batch, in ns a
 * call, when no cycle ran in it and when one did: getppid_ns, getppid_cycle_ns, read_ns,
 * read_cycle_ns. Without a collector the latter are 0.
 */
#include "tests/bench/gc_bench.h"

#include <fcntl.h>
#include <sys/syscall.h>

#define NCALLS 50

struct node {
	struct node *next;
	uint64_t other[6];
};

enum { GETPPID, READ, NKINDS };

static struct node *list;
static _Atomic unsigned ncycle;                 /* odd: one runs */
static _Atomic bool is_over;
static struct delays delays[NKINDS][2];

/* Not in a row: neighbours in the list are far from each other. */
static void build(size_t nbytes)
{
	size_t n = nbytes / 64;
	struct node *first = NULL;

	gc_pause_collector(true);
	for (size_t i = 0; i < n; i++) {
		struct node *b = gc_new(sizeof *b);

		memset(b, 0, sizeof *b);
		b->next = first;
		b->other[0] = (uint64_t)(i % 7 ? list : NULL);
		list = i % 7 ? list : b;
		first = b;
	}
	list = first;
	gc_pause_collector(false);
}

static void batch(int kind, int fd, char *buffer)
{
	unsigned before = ncycle;
	uint64_t started = now_ns(), took;

	for (int i = 0; i < NCALLS; i++) {
		if (kind == GETPPID)
			syscall(SYS_getppid);
		else if (read(fd, buffer, 1) != 1)
			fail("read");
	}
	took = now_ns() - started;
	if (ncycle == before)
		delay_note(&delays[kind][before % 2], took);
}

static void *call(void *arg)
{
	char *buffer = gc_new(100);
	int fd = open("/dev/zero", O_RDONLY);

	while (!is_over) {
		batch(GETPPID, fd, buffer);
		batch(READ, fd, buffer);
	}
	return arg;
}

static double per_call(int kind, int in_cycle)
{
	return (double)delay_quantile(&delays[kind][in_cycle], 0.5) / NCALLS;
}

int main(int argc, char **argv)
{
	uint64_t end;
	pthread_t thread;

	if (argc != 3)
		fail("usage: gc_syscall MIB SECONDS");
	gc_start();
	build(MIB(atol(argv[1])));
	if (pthread_create(&thread, NULL, call, NULL))
		fail("no thread");
	for (end = now_ns() + strtoull(argv[2], NULL, 10) * 1000000000; now_ns() < end;) {
		uint64_t started = now_ns();

		if (gc_can_collect()) {
			ncycle++;
			gc_collect();
			ncycle++;
		}
		sleep_ms((long)((now_ns() - started) / 1000000) + 10);
	}
	is_over = true;
	pthread_join(thread, NULL);
	printf("getppid_ns=%.0f getppid_cycle_ns=%.0f read_ns=%.0f read_cycle_ns=%.0f cycles=%u\n",
	       per_call(GETPPID, 0), per_call(GETPPID, 1), per_call(READ, 0), per_call(READ, 1), ncycle / 2);
	return 0;
}
