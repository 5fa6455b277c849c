/* live.c: another process finds the library's counters by the note in its image and reads them
 * while the program runs or sleeps: they say what is in use, what went back, what was used again.
 * A forked child's begin at 0.
 *   leaks: a large block has a byte more
 */
#include "tests/process/process.h"

#include <elf.h>
#include <link.h>
#include <malloc.h>
#include <sys/uio.h>

#define BLOCK MIB(32)

enum { VERSION, HEAP, FREE, RELEASED, LAZY, CALLS, NS, REUSED, TABLE, TRIMMED, NFIELDS };

static void read_of(pid_t pid, uintptr_t at, void *to, size_t nbytes)
{
	struct iovec here = { to, nbytes }, there = { (void *)at, nbytes };

	if (process_vm_readv(pid, &here, 1, &there, 1, 0) != (ssize_t)nbytes)
		SKIP("process_vm_readv: %s", strerror(errno));
}

/* Where the library's first byte is mapped. */
static uintptr_t library_base(pid_t pid)
{
	char path[64], *line;

	snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	line = strstr((char *)(uintptr_t)proc_text(path), "libspangc.so");
	if (!line)
		SKIP("the library is not there");
	while (line[-1] != '\n')
		line--;
	return strtoull(line, NULL, 16);
}

static uintptr_t round4(uintptr_t n)
{
	return (n + 3) & ~(uintptr_t)3;
}

/* The address of the counters by the notes in [at, end), 0: another's notes. */
static uintptr_t search_notes(pid_t pid, uintptr_t at, uintptr_t end, uint32_t *nfields)
{
	while (at < end) {
		ElfW(Nhdr) note;
		char name[8] = "";
		int32_t desc[2];

		read_of(pid, at, &note, sizeof note);

		uintptr_t owner = at + sizeof note, place = owner + round4(note.n_namesz);

		at = place + round4(note.n_descsz);
		if (note.n_namesz != sizeof "spangc" || note.n_descsz != sizeof desc)
			continue;
		read_of(pid, owner, name, sizeof "spangc");
		if (strcmp(name, "spangc") != 0 || note.n_type != 1)
			continue;
		read_of(pid, place, desc, sizeof desc);
		*nfields = (uint32_t)desc[1];
		return place + (uintptr_t)(intptr_t)desc[0];
	}
	return 0;
}

static uintptr_t find_counters(pid_t pid)
{
	uintptr_t base = library_base(pid), found = 0;
	uint32_t nfields = 0;
	ElfW(Phdr) ph[32];
	ElfW(Ehdr) eh;

	read_of(pid, base, &eh, sizeof eh);
	CHECK(memcmp(eh.e_ident, ELFMAG, SELFMAG) == 0 && eh.e_phnum <= COUNT(ph));
	read_of(pid, base + eh.e_phoff, ph, eh.e_phnum * sizeof *ph);
	for (size_t i = 0; i < eh.e_phnum && !found; i++) {
		if (ph[i].p_type == PT_NOTE)
			found = search_notes(pid, base + ph[i].p_vaddr,
			                     base + ph[i].p_vaddr + ph[i].p_memsz, &nfields);
	}
	CHECK(found && nfields >= NFIELDS);
	return found;
}

static int in, out;                             /* pipes to the child and from it */

static void tell(int fd)
{
	CHECK(write(fd, "x", 1) == 1);
}

static void hear(int fd)
{
	char c;

	if (read(fd, &c, 1) != 1)
		_exit(1);
}

/* The child's steps, one for each word it hears. */
static void child(void)
{
	char *p;

	tell(out);
	hear(in);
	CHECK((p = hide(malloc(BLOCK))));
	memset(p, 1, BLOCK);
	tell(out);
	hear(in);
	free(p);
	tell(out);
	hear(in);
	malloc_trim(0);
	tell(out);
	hear(in);
	CHECK(hide(malloc(BLOCK / 2)));
	tell(out);
	hear(in);
	if (fork() == 0) {
		dprintf(out, "%d", (int)getpid());
		hear(in);
		_exit(0);
	}
	wait(NULL);
	_exit(0);
}

static void step(pid_t pid, uintptr_t at, uint64_t field[NFIELDS])
{
	tell(out);
	hear(in);
	read_of(pid, at, field, NFIELDS * sizeof *field);
}

static void figures_follow(pid_t pid, uintptr_t at, bool is_free)
{
	uint64_t a[NFIELDS], b[NFIELDS], gone;

	read_of(pid, at, a, sizeof a);
	CHECK(a[VERSION] == 1);
	step(pid, at, b);
	CHECKF(b[HEAP] == a[HEAP] + BLOCK, "%zu, %zu", (size_t)a[HEAP], (size_t)b[HEAP]);
	CHECK(b[RELEASED] + b[LAZY] + b[CALLS] == 0);
	step(pid, at, b);
	CHECKF(b[HEAP] == a[HEAP], "%zu, %zu", (size_t)a[HEAP], (size_t)b[HEAP]);
	CHECK(b[FREE] >= BLOCK);
	step(pid, at, b);
	gone = is_free ? b[LAZY] : b[RELEASED];
	CHECK(gone >= BLOCK && gone < BLOCK + MIB(2) && b[FREE] < MIB(1));
	CHECK((is_free ? b[RELEASED] : b[LAZY]) == 0);
	CHECK(b[CALLS] >= 2 && b[NS] > 1000 && b[NS] < 10000000000 && b[REUSED] < MIB(1));
	CHECK(b[TABLE] >= BLOCK / 16 - KIB(64) && b[TABLE] < BLOCK / 16 + KIB(256));
	step(pid, at, b);
	CHECKF(b[REUSED] >= BLOCK / 2 && b[REUSED] < BLOCK / 2 + MIB(1), "%zu",
	       (size_t)b[REUSED]);
}

static void a_fork_begins_at_0(uintptr_t at)
{
	uint64_t field[NFIELDS];
	char pid[20] = "";

	tell(out);
	CHECK(read(in, pid, sizeof pid - 1) > 0);
	read_of(atoi(pid), at, field, sizeof field);
	CHECK(field[VERSION] == 1 && field[HEAP] > BLOCK / 2);
	CHECK(!field[RELEASED] && !field[LAZY] && !field[CALLS] && !field[NS] && !field[TABLE]
	      && !field[REUSED]);
	tell(out);
}

/* This program again, with pipes to it and from it. */
static pid_t start(const char *policy)
{
	int to[2], from[2];
	char fd[2][12];
	pid_t pid;

	CHECK(pipe(to) == 0 && pipe(from) == 0);
	snprintf(fd[0], sizeof *fd, "%d", to[0]);
	snprintf(fd[1], sizeof *fd, "%d", from[1]);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		setenv("SPANGC_MADVISE", policy, 1);
		setenv("SPANGC_RELEASE_DELAY", "never", 1);
		execl("/proc/self/exe", "live", fd[0], fd[1], NULL);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	in = from[0];
	out = to[1];
	hear(in);
	return pid;
}

int main(int argc, char **argv)
{
	static const char *const policy[] = { "dontneed", "free" };
	int status;

	if (argc > 2) {
		in = atoi(argv[1]);
		out = atoi(argv[2]);
		child();
	}
	for (size_t i = 0; i < COUNT(policy); i++) {
		pid_t pid = start(policy[i]);
		uintptr_t at = find_counters(pid);

		figures_follow(pid, at, i == 1);
		a_fork_begins_at_0(at);
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
		close(in);
		close(out);
	}
	return 0;
}
