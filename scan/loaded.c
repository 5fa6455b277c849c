/* loaded.c: see loaded.h. Depends on peek.h and the loader: dl_iterate_phdr or, where that may never
 * return, _dl_find_object, which takes no lock. */
#include "scan/loaded.h"

#include "scan/peek.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/single_threaded.h>

/* Since libc 2.35 and 2.32. */
extern int _dl_find_object(void *p, struct dl_find_object *found) __attribute__((weak));
extern char __libc_single_threaded __attribute__((weak));

static struct {
	bool is_lockless;                       /* changes in a child of fork only */

	/* Any thread, atomic. */
	_Atomic bool had_threads;               /* at the last fork */
	_Atomic uint64_t nvisits;
} loaded;

bool loaded_is_lockless(void)
{
	return loaded.is_lockless;
}

/* By its program headers, which lie in its first page. False: not to be found. */
static bool describe(const struct link_map *map, struct dl_phdr_info *info)
{
	struct dl_find_object found;
	ElfW(Ehdr) head;

	if (_dl_find_object(map->l_ld, &found))
		return false;

	uintptr_t base = (uintptr_t)found.dlfo_map_start;

	if (peek(&head, base, sizeof head) != sizeof head
	    || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_phentsize != sizeof(ElfW(Phdr)))
		return false;
	*info = (struct dl_phdr_info){
		.dlpi_addr = map->l_addr, .dlpi_name = map->l_name,
		.dlpi_phdr = (const ElfW(Phdr) *)(base + head.e_phoff), .dlpi_phnum = head.e_phnum,
	};
	return true;
}

/* Ours, and the list that it is in. */
static struct link_map *first_map(void)
{
	struct dl_find_object found;
	struct link_map *map;

	if (!&_dl_find_object || _dl_find_object(&loaded, &found))
		return NULL;
	for (map = found.dlfo_link_map; map && map->l_prev; map = map->l_prev)
		;
	return map;
}

static int visit_lockless(loaded_fn *fn, void *arg)
{
	/* relaxed: a number that was not there before. */
	uint64_t n = atomic_fetch_add_explicit(&loaded.nvisits, 1, memory_order_relaxed) + 1;
	struct link_map map, *next = first_map();
	struct dl_phdr_info info;
	int result = 0;

	for (; next && !result; next = map.l_next) {
		if (peek(&map, (uintptr_t)next, sizeof map) != sizeof map)
			break;
		if (!describe(&map, &info))
			continue;
		info.dlpi_adds = UINT64_MAX - n;
		result = fn(&info, sizeof info, arg);
	}
	return result;
}

int loaded_visit(loaded_fn *fn, void *arg)
{
	return loaded.is_lockless ? visit_lockless(fn, arg) : dl_iterate_phdr(fn, arg);
}

void loaded_fork_prepare(void)
{
	/* relaxed: the same thread reads it; another one that forks meanwhile stores the same. */
	atomic_store_explicit(&loaded.had_threads, !&__libc_single_threaded || !__libc_single_threaded,
	                      memory_order_relaxed);
}

void loaded_fork_child(void)
{
	/* relaxed: there is one thread. */
	loaded.is_lockless |= atomic_load_explicit(&loaded.had_threads, memory_order_relaxed);
}
