/* why.h: what leads to a block: a shortest path of pointers from a root to it.
 *
 * From variables, mappings and what the kernel keeps; only if there is none from a thread's stack
 * or registers, where what is read may be a left-over. Of the blocks of a stack the oldest one that
 * anything leads to is explained.
 */
#ifndef SCAN_WHY_H
#define SCAN_WHY_H

#include "core/base.h"
#include "core/record.h"
#include "scan/leaks_report.h"
#include "scan/out.h"
#include "scan/symbols.h"
#include "scan/thread_names.h"

#define WHY_SHOWN 10                            /* blocks of a path, at each of its ends */
#define WHY_HOLDERS 4                           /* leaked blocks that lead to a leaked one */

enum why_verdict {
	WHY_REACHABLE,
	WHY_LEAKED,                             /* allocated, and nothing leads to it */
	WHY_FREE,                               /* of the heap, and no block */
	WHY_OUTSIDE,                            /* an address elsewhere */
	WHY_NO_BLOCK,                           /* no block of such a stack */
	WHY_UNCLEAR,                            /* the question */
};

/* A block, and the pointer to it: `at` in the root or in the block before. */
struct why_step {
	uintptr_t block;
	struct record record;
	size_t at;                              /* bytes from the holder's start */
	size_t inside;                          /* of the block, where the pointer points to */
};

enum why_root_kind {
	WHY_ROOT_UNKNOWN,                       /* there were too many */
	WHY_ROOT_MEMORY,                        /* a mapping, of a module or not */
	WHY_ROOT_TLS,                           /* of a thread */
	WHY_ROOT_STACK, WHY_ROOT_REGISTERS, WHY_ROOT_ALTSTACK, WHY_ROOT_ARGUMENT,
	WHY_ROOT_EPOLL, WHY_ROOT_TIMER,
	WHY_ROOT_ADDED,                         /* by the program */
	WHY_ROOT_IGNORED,                       /* so the program said of the path's first block */
};

#define WHY_NAME_BYTES 256

struct why_root {
	enum why_root_kind kind;
	uintptr_t at;                           /* the pointer, a key for symbols.h too; 0: not there */
	int tid;                                /* 0: nobody's */
	char thread[THREAD_NAME_BYTES];         /* its name */
	uintptr_t from, to;                     /* of the mapping; 0: not known */
	uintptr_t tls_offset;                   /* of TLS of the program's own */
	bool has_tls_offset;
	char name[WHY_NAME_BYTES];              /* of the mapping */
};

struct why {
	/* The question. */
	bool is_address;
	uintptr_t address;
	uint8_t *stacks;                        /* one of each number: is it meant? */
	uint32_t nstacks;
	const char *unclear;                    /* what is wrong with it; NULL: nothing */

	/* The answer. */
	enum why_verdict verdict;
	uintptr_t block;                        /* that is explained; 0: none */
	struct record record;
	uint64_t nblocks, nbytes;               /* of such stacks */
	uint64_t nreachable;                    /* of these */
	struct why_root root;
	uint64_t length;                        /* blocks of the path, with the one explained */
	struct why_step head[WHY_SHOWN], tail[WHY_SHOWN]; /* the tail's last is the one explained */
	uint64_t nholders;
	uintptr_t holder[WHY_HOLDERS];
};

/* The answer. The reason why there is none, or NULL. One at a time. ctx: stw */
const char *why_find(struct why *w);

/* Of what roots.h calls `what`; fills in which mapping, or whose TLS. ctx: stw */
enum why_root_kind why_root_kind(const char *what);
void why_name_root(struct why_root *root);

/* Asks symbols.h for the variable there, and for the thread's name. ctx: any */
void why_look_up_root(struct why_root *root, uint64_t pid);

/* The memory goes back. ctx: any */
void why_drop(void);

/* The answer in words. After symbols_run(). ctx: any, or the copy */
void why_text(struct out *o, const struct why *w, const struct leaks_request *r);
void why_json(struct out *o, const struct why *w, const struct leaks_request *r);

/* What they share: the variable that the root is, NULL: none is known; a file's name without its
 * folder; a number with text around. */
const struct symbol *why_variable(const struct why *w);
const char *why_last_part(const char *path);
void why_say(struct out *o, const char *before, uint64_t n, const char *after);
void why_say_hex(struct out *o, const char *before, uint64_t n, const char *after);

/* Answers the request's question. The reason why there is no answer, or not all of it, or NULL.
 * ctx: any, no lock held, or the copy */
const char *why_report(const struct leaks_request *request);

#endif
