/* meta.h: memory for the library's own records: never from the heap, never freed.
 *
 * Records are zero when new and type-stable: whoever gives one back keeps
 * it in a list of its own kind. Tables are address space that becomes accessible from the front.
 */
#ifndef CORE_META_H
#define CORE_META_H

#include "core/base.h"
#include "core/os.h"

/* `alignment` is a power of two, at most OS_PAGE_BYTES. NULL: the kernel refused.
 * ctx: alloc, signals blocked; takes LOCK_META */
void *meta_alloc(size_t nbytes, size_t alignment);

/* Shows the blocks that records come from. No lock. ctx: any */
void meta_visit_blocks(void (*fn)(uintptr_t from, uintptr_t to, void *arg), void *arg);

/* An array that grows with the heap. */
struct meta_table {
	struct os_region region;
	size_t committed;                       /* bytes from the front */
};

/* Carves `nbytes` of address space from the front of `space`. ctx: init */
void meta_table_init(struct meta_table *t, struct os_region *space, size_t nbytes);

/* The first `nbytes` are accessible. False: the kernel refused. ctx: alloc, LOCK_PAGES */
bool meta_table_cover(struct meta_table *t, size_t nbytes, const char *name);

/* Gives up the addresses that are not covered yet: os_unreserve(). ctx: any, LOCK_PAGES */
void meta_table_unreserve(struct meta_table *t);

/* Bytes of metadata accessible so far. ctx: any */
size_t meta_bytes(void);

/* Around fork. ctx: fork */
void meta_fork_prepare(void);
void meta_fork_parent(void);
void meta_fork_child(void);

#endif
