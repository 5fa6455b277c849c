/* central.h: spans that no thread owns, and allocation for threads without a cache.
 *
 * Spans come here from threads that ended or idle, and go to threads that need some of the class.
 * A thread that has no cache (yet, any more, or because a signal handler interrupted the very
 * code that uses it) takes single slots from here, and frees as a stranger.
 */
#ifndef CORE_CENTRAL_H
#define CORE_CENTRAL_H

#include "core/base.h"
#include "core/lock.h"
#include "core/spanset.h"

extern struct spanset central;
extern struct lock central_lock;

/* Moves a span with free slots of class c into `set`. False: none here.
 * ctx: alloc, lock of `set` */
bool central_lend(struct spanset *set, class_idx c);

/* Takes over all spans of `set` that have free slots. ctx: alloc, lock of `set` */
void central_adopt(struct spanset *set);

/* One slot of class c; NULL: no memory. ctx: any, signal */
void *central_alloc(class_idx c);

/* Collects what strangers freed. ctx: alloc */
void central_harvest(void);

/* Harvests and tidies; bytes advised. ctx: alloc */
size_t central_tidy(bool with_trim);

/* Shows the central set to `fn`, under its lock. ctx: alloc */
void central_visit(void (*fn)(const struct spanset *set, void *arg), void *arg);

/* ctx: fork */
void central_fork_prepare(void);
void central_fork_parent(void);
void central_fork_child(void);

#endif
