/* spanset_lists.h: what spanset.c and spanset_put.c share: owners, the lists of spans with free slots, and
 * what counts as loose. Owner's lock, all but spanset_owner().
 */
#ifndef CORE_SPANSET_LISTS_H
#define CORE_SPANSET_LISTS_H

#include "core/helper.h"
#include "core/spanset.h"

/* A wholly free span, in no list. */
void spanset_keep(struct spanset *set, struct span *s);

static inline void spanset_set_owner(struct span *s, struct spanset *owner)
{
	/* release: a stranger that finds the owner, as notify() does, finds it initialised. */
	atomic_store_explicit(&s->owner, owner, memory_order_release);
}

static inline struct spanset *spanset_owner(const struct span *s)
{
	/* acquire: pairs with spanset_set_owner(). */
	return atomic_load_explicit(&s->owner, memory_order_acquire);
}

static inline void spanset_list_add(struct spanset *set, struct span *s)
{
	struct span *head = set->partial[s->class];

	s->place = SPAN_PARTIAL;
	s->prev = NULL;
	s->next = head;
	if (head)
		head->prev = s;
	set->partial[s->class] = s;
}

static inline void spanset_list_remove(struct spanset *set, struct span *s)
{
	if (s->prev)
		s->prev->next = s->next;
	else
		set->partial[s->class] = s->next;
	if (s->next)
		s->next->prev = s->prev;
}

static inline void spanset_set_loose(struct spanset *set, size_t nbytes)
{
	helper_note_loose(set->nbytes_loose, nbytes);
	set->nbytes_loose = nbytes;
}

#endif
