/* calls.c: see calls.h.
 *
 * Reached from dispatch.c's handler only. Touches no thread-local, takes no lock, calls nothing of
 * libc's. Depends on heap.h, to find what is around an address.
 */
#include "scan/calls.h"

#include "core/heap.h"
#include "scan/regs.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define NO_TSAN __attribute__((no_sanitize("thread")))

enum write_kind { NOTHING, BYTES, MANY, FIXED, LENGTH, VECTOR, MESSAGE, MESSAGES, BITS, BLOCK };

#define WRITES_MAX 5

struct call {
	bool is_known;
	struct write {
		uint8_t kind;                   /* enum write_kind */
		uint8_t at, by;                 /* arguments */
		uint16_t size;
	} write[WRITES_MAX];
};

#define BYTES(i, n)      { BYTES, i, n, 1 },
#define MANY(i, n, size) { MANY, i, n, size },
#define FIXED(i, size)   { FIXED, i, 0, size },
#define LENGTH(i, n)     { LENGTH, i, n, 0 },
#define VECTOR(i, n)     { VECTOR, i, n, 0 },
#define MESSAGE(i)       { MESSAGE, i, 0, 0 },
#define MESSAGES(i, n)   { MESSAGES, i, n, 0 },
#define BITS(i, n)       { BITS, i, n, 0 },
#define BLOCK(i)         { BLOCK, i, 0, 0 },
#define CALL(name, ...)  [SYS_##name] = { true, { __VA_ARGS__ } },

static const struct call calls[] = {
#include "scan/calls.def"
};

#define NCALLS ((long)(sizeof calls / sizeof *calls))
#define CHUNK 16                                /* entries of a vector read at once */
#define VECTOR_MAX 1024                         /* the kernel takes no more */
#define BLOCK_BYTES_MAX MIB(1)
#define BLOCK_WORDS 32                          /* of a structure that may be pointers */

typedef void written_fn(uintptr_t from, uintptr_t to);

NO_TSAN static void copy(char *to, const char *from, size_t nbytes)
{
	for (size_t i = 0; i < nbytes; i++)
		__asm__ volatile("" : : "r"(to[i] = from[i]));
}

/* Where that is forbidden it is read as it is: a pointer into nowhere, which the kernel would answer with
 * EFAULT, is the program's crash then. */
NO_TSAN size_t calls_read(void *to, uintptr_t from, size_t nbytes)
{
	struct iovec here = { to, nbytes }, there = { (void *)from, nbytes };
	long pid = regs_syscall(SYS_getpid, 0, 0, 0, 0);
	long n = regs_syscall6(SYS_process_vm_readv, pid, (long)&here, 1, (long)&there, 1, 0);

	if (n == -EPERM || n == -ENOSYS || n == -EACCES) {
		if (from < OS_PAGE_BYTES || from >> 47)
			return 0;
		copy(to, (const char *)from, nbytes);
		return nbytes;
	}
	return n > 0 ? (size_t)n : 0;
}

NO_TSAN static void show(uintptr_t from, size_t nbytes, written_fn *fn)
{
	if (nbytes && from + nbytes > from)
		fn(from, from + nbytes);
}

NO_TSAN static void show_vector(uintptr_t vector, size_t n, written_fn *fn)
{
	struct iovec part[CHUNK];

	if (n > VECTOR_MAX)
		n = VECTOR_MAX;
	while (n) {
		size_t want = n < CHUNK ? n : CHUNK;
		size_t got = calls_read(part, vector, want * sizeof *part) / sizeof *part;

		for (size_t i = 0; i < got; i++)
			show((uintptr_t)part[i].iov_base, part[i].iov_len, fn);
		if (got < want)
			return;
		vector += want * sizeof *part;
		n -= want;
	}
}

/* The header itself gets the lengths. */
NO_TSAN static void show_message(uintptr_t at, written_fn *fn)
{
	struct msghdr m;

	show(at, sizeof m, fn);
	if (calls_read(&m, at, sizeof m) < sizeof m)
		return;
	show((uintptr_t)m.msg_name, m.msg_namelen, fn);
	show((uintptr_t)m.msg_control, m.msg_controllen, fn);
	show_vector((uintptr_t)m.msg_iov, m.msg_iovlen, fn);
}

NO_TSAN static void show_messages(uintptr_t at, size_t n, written_fn *fn)
{
	if (n > VECTOR_MAX)
		n = VECTOR_MAX;
	show(at, n * sizeof(struct mmsghdr), fn);
	for (size_t i = 0; i < n; i++)
		show_message(at + i * sizeof(struct mmsghdr), fn);
}

NO_TSAN static void show_length(uintptr_t at, uintptr_t length_at, written_fn *fn)
{
	uint32_t length;

	show(length_at, sizeof length, fn);
	if (calls_read(&length, length_at, sizeof length) == sizeof length)
		show(at, length, fn);
}

/* From `p` to the end of the slot or block around it; the span may be a stale one, then it is the rest
 * of the page. */
NO_TSAN static void show_block_at(uintptr_t p, written_fn *fn)
{
	if (!heap_contains(p))
		return;

	const struct span *s = heap_span_any(p);
	uintptr_t end = align_down(p, PAGE_BYTES) + PAGE_BYTES;

	if (s && p >= s->base && s->class == SIZECLASS_LARGE)
		end = s->base + ((uintptr_t)s->npages << PAGE_SHIFT);
	else if (s && p >= s->base && s->slot_bytes)
		end = p + s->slot_bytes;
	if (end <= p)
		end = align_down(p, PAGE_BYTES) + PAGE_BYTES;
	if (end - p > BLOCK_BYTES_MAX)
		end = p + BLOCK_BYTES_MAX;
	fn(p, end);
}

/* And what it may point to in turn. */
NO_TSAN static void show_block(uintptr_t at, written_fn *fn)
{
	uintptr_t words[BLOCK_WORDS];

	show_block_at(at, fn);
	if (at < OS_PAGE_BYTES || at >> 47)
		return;

	size_t n = calls_read(words, at, sizeof words) / sizeof *words;

	for (size_t i = 0; i < n; i++)
		show_block_at(words[i], fn);
}

NO_TSAN static void show_write(const struct regs_args *c, const struct write *w, written_fn *fn)
{
	uintptr_t at = c->arg[w->at], by = c->arg[w->by];

	switch (w->kind) {
	case BYTES: case MANY:
		show(at, by < SIZE_MAX / w->size ? by * w->size : 0, fn);
		return;
	case FIXED:
		show(at, w->size, fn);
		return;
	case LENGTH:
		show_length(at, by, fn);
		return;
	case VECTOR:
		show_vector(at, by, fn);
		return;
	case MESSAGE:
		show_message(at, fn);
		return;
	case MESSAGES:
		show_messages(at, by, fn);
		return;
	case BITS:
		show(at, (by + 63) / 64 * 8, fn);
		return;
	default:
		show_block(at, fn);
	}
}

/* Operations of which the kernel only reads the word, among threads of one process: for others it
 * refuses memory that can't be written. */
NO_TSAN static bool is_plain_futex(int operation)
{
	switch (operation & ~FUTEX_CLOCK_REALTIME) {
	case FUTEX_WAIT_PRIVATE: case FUTEX_WAKE_PRIVATE: case FUTEX_WAIT_BITSET_PRIVATE:
	case FUTEX_WAKE_BITSET_PRIVATE: case FUTEX_REQUEUE_PRIVATE: case FUTEX_CMP_REQUEUE_PRIVATE:
		return true;
	default:
		return false;
	}
}

NO_TSAN static void show_futex(const struct regs_args *c, written_fn *fn)
{
	if (is_plain_futex((int)c->arg[1]))
		return;
	show(c->arg[0], sizeof(uint32_t), fn);
	show(c->arg[4], sizeof(uint32_t), fn);
}

NO_TSAN void calls_written(const struct regs_args *c, written_fn *fn)
{
	if (c->number == SYS_futex) {
		show_futex(c, fn);
		return;
	}
	if (c->number < 0 || c->number >= NCALLS || !calls[c->number].is_known) {
		for (unsigned i = 0; i < REGS_NARGS; i++)
			show_block(c->arg[i], fn);
		return;
	}

	const struct call *call = &calls[c->number];

	for (unsigned i = 0; i < WRITES_MAX && call->write[i].kind; i++)
		show_write(c, &call->write[i], fn);
}

/* As <linux/futex.h> has it; the last word is an entry that is not in the list yet, or still. */
struct robust {
	uintptr_t next;
	long offset;
	uintptr_t pending;
};

#define ROBUST_MAX 2048

NO_TSAN void calls_ended(written_fn *fn)
{
	uintptr_t head = 0, at;
	size_t length;
	struct robust r;

	if (regs_syscall(SYS_get_robust_list, 0, (long)&head, (long)&length, 0)
	    || calls_read(&r, head, sizeof r) < sizeof r)
		return;
	if (r.pending)
		show((r.pending & ~(uintptr_t)1) + (uintptr_t)r.offset, sizeof(uint32_t), fn);
	at = r.next;
	for (unsigned n = 0; n < ROBUST_MAX && at && at != head; n++) {
		show((at & ~(uintptr_t)1) + (uintptr_t)r.offset, sizeof(uint32_t), fn);
		if (calls_read(&at, at & ~(uintptr_t)1, sizeof at) < sizeof at)
			return;
	}
}
