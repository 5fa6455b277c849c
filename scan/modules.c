/* modules.c: see modules.h.
 *
 * Reached from preload (dlclose), from leaks.c before a stop, from stacks.c for each stack, and from
 * symbols.c. LOCK_MODULES guards changes, and is taken by lock_try() only; readers take no lock:
 * records are complete before they are counted, and never go. Depends on peek.h, loaded.h and,
 * from malloc, the loader's _dl_find_object, which takes no lock.
 *
 * One that is loaded again at its old address is the same record. Of several at one address the
 * first one's words are plain addresses, the others' carry the record's number + 1.
 *
 * Between an unloading and the look after it another thread may load a module at that address: a
 * stack taken there in this instant names the old one.
 */
#include "scan/modules.h"

#include "core/lock.h"
#include "core/os.h"
#include "scan/loaded.h"
#include "scan/peek.h"
#include "scan/regs.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MODULES_MAX 4096
#define NAMES_BYTES MIB(1)
#define PATH_BYTES 4096
#define NUMBER_SHIFT 48
#define TRIES 200                               /* a millisecond each */
#define PHDRS_MAX 32
#define NOTES_BYTES 1024

static struct {
	struct lock lock;

	/* The lock. */
	uint32_t round;
	uint64_t nadded, nremoved;              /* by the loader, at the last look */
	bool is_looked_at;
	size_t names_nbytes;
	char path[PATH_BYTES];

	/* Constant after modules_start(). */
	struct module *table;                   /* MODULES_MAX; NULL: not started */
	char *names;

	/* Any thread, atomic. */
	_Atomic uint32_t n;
	_Atomic uint32_t generation;
	_Atomic uintptr_t gone_base, gone_limit; /* around all that ever went */
} modules = { .lock = LOCK_INIT(LOCK_MODULES), .generation = 1, .gone_base = UINTPTR_MAX };

/* Since libc 2.35. */
extern int _dl_find_object(void *p, struct dl_find_object *found) __attribute__((weak));

bool modules_start(void)
{
	if (modules.table)
		return true;
	modules.names = os_map(NAMES_BYTES);
	modules.table = os_map(align_up(MODULES_MAX * sizeof *modules.table, OS_PAGE_BYTES));
	if (!modules.names)
		modules.table = NULL;
	if (!modules.table)
		return false;
	os_name((uintptr_t)modules.names, NAMES_BYTES, "spangc modules");
	modules_note();
	return true;
}

static uint32_t count(void)
{
	/* acquire: pairs with the release in new_module(). */
	return atomic_load_explicit(&modules.n, memory_order_acquire);
}

uint32_t modules_generation(void)
{
	/* relaxed: who runs code of a module loaded since has seen the unloading before it. */
	return atomic_load_explicit(&modules.generation, memory_order_relaxed);
}

/* --- what a module says of itself --- */

/* The build-id among the notes at `at`. */
static void read_notes(struct module *m, uintptr_t at, size_t nbytes)
{
	_Alignas(4) char notes[NOTES_BYTES];
	size_t n = peek(notes, at, nbytes < sizeof notes ? nbytes : sizeof notes), i = 0;

	while (i + sizeof(ElfW(Nhdr)) <= n) {
		const ElfW(Nhdr) *note = (const void *)(notes + i);
		size_t name = i + sizeof *note, text = name + align_up(note->n_namesz, 4);

		if (note->n_namesz > n || note->n_descsz > n || text + note->n_descsz > n)
			return;
		if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4
		    && !memcmp(notes + name, "GNU", 4) && note->n_descsz <= MODULES_BUILD_ID_MAX) {
			memcpy(m->build_id, notes + text, note->n_descsz);
			m->build_id_nbytes = note->n_descsz;
			return;
		}
		i = text + align_up(note->n_descsz, 4);
	}
}

/* By its program headers, which lie in its first page. */
static void read_headers(struct module *m)
{
	ElfW(Ehdr) head;
	ElfW(Phdr) ph[PHDRS_MAX];

	if (peek(&head, m->base, sizeof head) != sizeof head
	    || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_phentsize != sizeof *ph)
		return;

	size_t n = head.e_phnum < PHDRS_MAX ? head.e_phnum : PHDRS_MAX;

	n = peek(ph, m->base + head.e_phoff, n * sizeof *ph) / sizeof *ph;
	for (size_t i = 0; i < n; i++) {
		if (ph[i].p_type == PT_DYNAMIC)
			m->dynamic = m->bias + ph[i].p_vaddr;
		if (ph[i].p_type == PT_NOTE && !m->build_id_nbytes)
			read_notes(m, m->bias + ph[i].p_vaddr, ph[i].p_memsz);
	}
}

/* As it can be found again from another folder. The program's own name is empty for the loader;
 * /proc/self is too once the main thread has ended. ctx: LOCK_MODULES */
static const char *full_name(const char *name)
{
	char *path = modules.path;
	size_t len = strlen(name);
	long n;

	if (!*name) {
		n = readlink("/proc/thread-self/exe", path, PATH_BYTES - 1);
		path[n > 0 ? n : 0] = '\0';
		return path;
	}
	if (*name == '/' || !strchr(name, '/'))
		return name;
	n = syscall(SYS_getcwd, path, PATH_BYTES - 1);
	if (n <= 0 || (size_t)n + len >= PATH_BYTES)
		return name;
	path[n - 1] = '/';                      /* n counts the end of the string */
	memcpy(path + n, name, len + 1);
	return path;
}

static const char *keep(const char *name)
{
	size_t nbytes = strlen(name) + 1;
	char *to = modules.names + modules.names_nbytes;

	if (nbytes > NAMES_BYTES - modules.names_nbytes)
		return "";
	modules.names_nbytes += nbytes;
	return memcpy(to, name, nbytes);
}

/* --- the list --- */

static bool is_same(const struct module *a, const struct module *b)
{
	return a->base == b->base && a->bias == b->bias && !strcmp(a->name, b->name)
	       && a->build_id_nbytes == b->build_id_nbytes
	       && !memcmp(a->build_id, b->build_id, a->build_id_nbytes);
}

/* The record of what is mapped at m; a new one if need be. NULL: no room. ctx: LOCK_MODULES */
static struct module *know(struct module *m)
{
	uint32_t n = count();
	struct module *found = NULL;

	for (uint32_t i = 0; i < n && !found; i++) {
		struct module *old = &modules.table[i];

		/* relaxed, here and below: the lock is held. What was there and did not go needs
		 * no second look inside. */
		if (old->base == m->base && !strcmp(old->name, m->name)
		    && atomic_load_explicit(&old->is_loaded, memory_order_relaxed))
			return old;
	}
	read_headers(m);
	for (uint32_t i = 0; i < n && !found; i++) {
		if (is_same(&modules.table[i], m))
			found = &modules.table[i];
	}
	if (!found && n == MODULES_MAX)
		return NULL;
	if (!found) {
		found = &modules.table[n];
		memcpy(found, m, sizeof *found);
		found->name = keep(m->name);
		/* release: the record is complete. Pairs with the acquire in count(). */
		atomic_store_explicit(&modules.n, n + 1, memory_order_release);
	}
	atomic_store_explicit(&found->is_loaded, true, memory_order_relaxed);
	return found;
}

static bool is_unchanged(const struct dl_phdr_info *info)
{
	bool is_same_list = modules.is_looked_at && info->dlpi_adds == modules.nadded
	                    && info->dlpi_subs == modules.nremoved;

	modules.is_looked_at = true;
	modules.nadded = info->dlpi_adds;
	modules.nremoved = info->dlpi_subs;
	return is_same_list;
}

static int see(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct module m = { .base = UINTPTR_MAX, .bias = info->dlpi_addr };
	bool *is_first = arg;

	(void)size;
	if (*is_first && is_unchanged(info))
		return 1;
	*is_first = false;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t from = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type != PT_LOAD)
			continue;
		m.base = from < m.base ? align_down(from, OS_PAGE_BYTES) : m.base;
		m.limit = from + ph->p_memsz > m.limit ? from + ph->p_memsz : m.limit;
	}
	m.name = full_name(info->dlpi_name);

	struct module *known = m.limit ? know(&m) : NULL;

	if (known)
		known->round = modules.round;
	return 0;
}

static void note_gone(struct module *m)
{
	/* relaxed, all: the lock is held; readers see it by the generation at the latest. */
	uintptr_t base = atomic_load_explicit(&modules.gone_base, memory_order_relaxed);
	uintptr_t limit = atomic_load_explicit(&modules.gone_limit, memory_order_relaxed);

	atomic_store_explicit(&m->is_loaded, false, memory_order_relaxed);
	atomic_store_explicit(&m->has_gone, true, memory_order_relaxed);
	atomic_store_explicit(&modules.gone_base, m->base < base ? m->base : base,
	                      memory_order_relaxed);
	atomic_store_explicit(&modules.gone_limit, m->limit > limit ? m->limit : limit,
	                      memory_order_relaxed);
}

static void look(void)
{
	bool is_first = true, has_gone = false;

	modules.round++;
	loaded_visit(see, &is_first);
	if (is_first)                           /* nothing was loaded or unloaded */
		return;
	for (uint32_t i = 0; i < count(); i++) {
		struct module *m = &modules.table[i];

		/* relaxed: the lock. */
		if (m->round == modules.round
		    || !atomic_load_explicit(&m->is_loaded, memory_order_relaxed))
			continue;
		note_gone(m);
		has_gone = true;
	}
	if (has_gone)
		/* release: what went is known as gone before. */
		atomic_fetch_add_explicit(&modules.generation, 1, memory_order_release);
}

/* Not with signals blocked: the loader's lock may be held by a thread that is stopped while this one
 * waits for it. */
void modules_note(void)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	for (unsigned tries = TRIES; modules.table && tries; tries--) {
		if (lock_held(&modules.lock))
			return;
		if (lock_try(&modules.lock)) {
			look();
			lock_drop(&modules.lock);
			return;
		}
		regs_syscall(SYS_nanosleep, (long)&pause, 0, 0, 0);
	}
}

void modules_fork_child(void)
{
	lock_reset_after_fork(&modules.lock);
	modules.is_looked_at = false;           /* it may have been half done */
}

/* --- words --- */

uintptr_t modules_pc(uintptr_t word)
{
	return word & ((UINT64_C(1) << NUMBER_SHIFT) - 1);
}

/* The first of the list; NULL: none. */
static struct module *first_at(uintptr_t pc)
{
	for (uint32_t i = 0, n = count(); i < n; i++) {
		struct module *m = &modules.table[i];

		if (pc >= m->base && pc < m->limit)
			return m;
	}
	return NULL;
}

const struct module *modules_find(uintptr_t word)
{
	uintptr_t number = word >> NUMBER_SHIFT;

	if (number)
		return number <= count() ? &modules.table[number - 1] : NULL;
	return first_at(word);
}

/* Who is at `pc` now, the place of `first` once? NULL: can't be found out. */
static struct module *ask_loader(uintptr_t pc, struct module *first)
{
	struct dl_find_object found;

	if (!&_dl_find_object || _dl_find_object((void *)pc, &found) || !found.dlfo_link_map)
		return NULL;
	if (!lock_try(&modules.lock))
		return NULL;

	struct module m = { .base = (uintptr_t)found.dlfo_map_start,
	                    .limit = (uintptr_t)found.dlfo_map_end,
	                    .bias = found.dlfo_link_map->l_addr,
	                    .name = full_name(found.dlfo_link_map->l_name) };
	struct module *now = know(&m);

	if (now)
		/* relaxed: numbers of records that are complete. */
		atomic_store_explicit(&first->occupant, (uint64_t)modules_generation() << 32
		                      | (uint64_t)(now - modules.table), memory_order_relaxed);
	lock_drop(&modules.lock);
	return now;
}

static SLOW uintptr_t word_of(uintptr_t pc)
{
	struct module *first = first_at(pc), *now;

	/* relaxed, both: who runs code at the place of an unloaded module has seen it go. */
	if (!first || !atomic_load_explicit(&first->has_gone, memory_order_relaxed))
		return pc;

	uint64_t occupant = atomic_load_explicit(&first->occupant, memory_order_relaxed);

	if (occupant >> 32 == modules_generation())
		now = &modules.table[(uint32_t)occupant];
	else
		now = ask_loader(pc, first);
	if (!now || now == first)
		return pc;
	return pc | (uintptr_t)(now - modules.table + 1) << NUMBER_SHIFT;
}

void modules_words(uintptr_t *pcs, unsigned n)
{
	/* relaxed, both: as in word_of(). */
	uintptr_t base = atomic_load_explicit(&modules.gone_base, memory_order_relaxed);
	uintptr_t limit = atomic_load_explicit(&modules.gone_limit, memory_order_relaxed);

	if (likely(!limit))
		return;
	for (unsigned i = 0; i < n; i++) {
		if (pcs[i] >= base && pcs[i] < limit)
			pcs[i] = word_of(pcs[i]);
	}
}
