/* report.c: the formatter, misuse reports, and the end after a failed check.
 *
 * Reached from everywhere, also from signal handlers and with locks held: takes no lock,
 * allocates nothing. One flush is one write(2) as long as the kernel takes it whole, so lines of
 * several threads and processes do not mix. By syscall(2), because write() is a cancellation
 * point and malloc() is none, and without SIGPIPE and SIGXFSZ: what we say must not end the program.
 *
 * Invariant: `len` never exceeds sizeof buf (tests/unit/report.c fills texts to the brim).
 */
#include <stdarg.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/knobs.h"
#include "core/report.h"
#include "core/sigmask.h"

static void text_char(struct text *t, char c)
{
	if (t->len < sizeof t->buf)
		t->buf[t->len++] = c;
}

static void text_bytes(struct text *t, const char *s, size_t nbytes)
{
	for (size_t i = 0; i < nbytes; i++)
		text_char(t, s[i]);
}

static void text_spaces(struct text *t, size_t n)
{
	while (n--)
		text_char(t, ' ');
}

void text_str(struct text *t, const char *s)
{
	text_bytes(t, s, strlen(s));
}

void text_foreign(struct text *t, const char *s, size_t max)
{
	for (size_t i = 0; i < max && s[i]; i++)
		text_char(t, s[i] >= ' ' && s[i] <= '~' ? s[i] : '?');
}

/* The digits of `n`, lowest last, at the end of `digits`; returns how many. */
static unsigned format(char digits[20], uint64_t n, unsigned base)
{
	unsigned len = 0;

	do {
		digits[20 - ++len] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n);
	return len;
}

void text_dec_width(struct text *t, uint64_t n, unsigned width)
{
	char digits[20];
	unsigned len = format(digits, n, 10);

	text_spaces(t, width > len ? width - len : 0);
	text_bytes(t, digits + 20 - len, len);
}

void text_dec(struct text *t, uint64_t n)
{
	text_dec_width(t, n, 0);
}

void text_hex(struct text *t, uint64_t n)
{
	char digits[20];
	unsigned len = format(digits, n, 16);

	text_str(t, "0x");
	text_bytes(t, digits + 20 - len, len);
}

void text_right(struct text *t, const char *s, unsigned width)
{
	size_t len = strlen(s);

	text_spaces(t, width > len ? width - len : 0);
	text_bytes(t, s, len);
}

void text_left(struct text *t, const char *s, unsigned width)
{
	size_t len = strlen(s);

	text_bytes(t, s, len);
	text_spaces(t, width > len ? width - len : 0);
}

void text_newline(struct text *t)
{
	if (t->len == sizeof t->buf)
		t->len--;
	text_char(t, '\n');
}

/* Whether it worked does not matter: there is nobody left to tell. */
void text_flush(struct text *t, int fd)
{
	sigmask_write(fd, t->buf, t->len);
	t->len = 0;
}

void report_line(const char *first, ...)
{
	struct text t = { 0 };
	va_list rest;

	text_str(&t, "spangc: ");
	va_start(rest, first);
	for (const char *s = first; s; s = va_arg(rest, const char *))
		text_str(&t, s);
	va_end(rest);
	text_newline(&t);
	text_flush(&t, STDERR_FILENO);
}

/* "==PID==ERROR: spangc: " */
static void text_head(struct text *t, const char *severity)
{
	text_str(t, "==");
	text_dec(t, (uint64_t)getpid());
	text_str(t, "==");
	text_str(t, severity);
	text_str(t, ": spangc: ");
}

/* ": interior pointer, 16 bytes into a block of 48 at 0xADDR" */
static void text_address(struct text *t, const void *p, const struct misuse_detail *d)
{
	if (!d->what)
		return;
	text_str(t, ": ");
	text_str(t, d->what);
	if (!d->block)
		return;
	text_str(t, ", ");
	text_dec(t, (uintptr_t)p - (uintptr_t)d->block);
	text_str(t, " bytes into a block of ");
	text_dec(t, d->block_bytes);
	text_str(t, " at ");
	text_hex(t, (uintptr_t)d->block);
}

/* ": 4096 given, block has 48" */
static void text_sizes(struct text *t, const struct misuse_detail *d)
{
	text_str(t, ": ");
	text_dec(t, d->given_bytes);
	text_str(t, " given, block has ");
	text_dec(t, d->block_bytes);
}

static void text_misuse(struct text *t, enum misuse what, const void *p, const char *call)
{
	static const char *const names[] = {
		[MISUSE_DOUBLE_FREE] = "double free of ",
		[MISUSE_INVALID_FREE] = "invalid free of ",
		[MISUSE_SIZE_MISMATCH] = "size mismatch of ",
		[MISUSE_RECLAIMED] = "free of reclaimed ",
	};

	text_str(t, names[what]);
	text_hex(t, (uintptr_t)p);
	text_str(t, " in ");
	text_str(t, call);
	text_str(t, "()");
}

void report_misuse(enum misuse what, const void *p, const char *call,
                   const struct misuse_detail *d)
{
	bool is_fatal = knobs.misuse == KNOB_MISUSE_ABORT;
	struct text t = { 0 };

	text_head(&t, is_fatal ? "ERROR" : "WARNING");
	text_misuse(&t, what, p, call);
	if (d && what == MISUSE_INVALID_FREE)
		text_address(&t, p, d);
	if (d && what == MISUSE_SIZE_MISMATCH)
		text_sizes(&t, d);
	if (what == MISUSE_RECLAIMED)
		text_str(&t, ": the collector found no pointer to it");
	text_newline(&t);
	text_flush(&t, STDERR_FILENO);
	if (d && d->stack && d->tell_stack)
		d->tell_stack(d->stack);
	if (is_fatal)
		abort();
}

void die(const char *what, const char *file, int line)
{
	struct text t = { 0 };

	text_head(&t, "ERROR");
	text_str(&t, what);
	text_str(&t, " at ");
	text_str(&t, file);
	text_str(&t, ":");
	text_dec(&t, (uint64_t)line);
	text_newline(&t);
	text_flush(&t, STDERR_FILENO);
	/* Locks may be held: a handler of the program's that allocates would wait for ever. */
	(void)signal(SIGABRT, SIG_DFL);
	abort();
}
