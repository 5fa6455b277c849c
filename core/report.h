/* report.h: what the library says, and how it dies.
 *
 * Everything is written with write(2) from a buffer on the stack: no stdio, no allocation, errno
 * kept, no cancellation point. Misuse is the program's mistake; die() and check() are ours.
 */
#ifndef CORE_REPORT_H
#define CORE_REPORT_H

#include "core/base.h"

/* A line under construction, empty when all zero; what does not fit is cut. */
struct text {
	size_t len;
	char   buf[500];
};

/* ctx of all text_*: any, signal */
void text_str(struct text *t, const char *s);
void text_dec(struct text *t, uint64_t n);
void text_hex(struct text *t, uint64_t n);      /* 0x... */
/* At most `max` bytes of `s`, unprintable ones as '?': for strings of the program's. */
void text_foreign(struct text *t, const char *s, size_t max);
/* Columns of at least `width` characters: numbers and their titles to the right, names left. */
void text_dec_width(struct text *t, uint64_t n, unsigned width);
void text_right(struct text *t, const char *s, unsigned width);
void text_left(struct text *t, const char *s, unsigned width);
void text_newline(struct text *t);              /* takes the last character's place if full */
void text_flush(struct text *t, int fd);        /* writes all of it, then empty */

/* "spangc: " and the strings (ended by NULL) and a newline on stderr. ctx: any, signal */
void report_line(const char *first, ...) __attribute__((sentinel));

enum misuse { MISUSE_DOUBLE_FREE, MISUSE_INVALID_FREE, MISUSE_SIZE_MISMATCH, MISUSE_RECLAIMED };

/* What is known about the address; what is not known is 0. */
struct misuse_detail {
	const char *what;                       /* of an invalid free: "stack address", ... */
	const void *block;                      /* the block that the address points into */
	size_t      block_bytes;                /* of that block, or of the block of wrong size */
	size_t      given_bytes;                /* of a size mismatch: what the program said */
	uint32_t    stack;                      /* of a reclaimed block: who asked for it, */
	void      (*tell_stack)(uint32_t stack);        /* to be told after the line */
};

/* One line on stderr, then abort(), unless SPANGC_MISUSE=warn: then it returns, and the caller
 * ignores the call. `call` is the function's name without (); `d` may be NULL.
 * The caller holds no lock: abort() may run the program's SIGABRT handler.
 * ctx: any, signal */
COLD void report_misuse(enum misuse what, const void *p, const char *call,
                        const struct misuse_detail *d);

/* ctx: any, signal */
_Noreturn COLD void die(const char *what, const char *file, int line);

#define check(x) ((void)(likely(x) || (die("check failed: " #x, __FILE__, __LINE__), 0)))
#ifdef SPANGC_DEBUG
#define dcheck(x) check(x)
#else
#define dcheck(x) ((void)sizeof(!(x)))
#endif
#endif
