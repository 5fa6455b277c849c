/* imports.c: see imports.h.
 *
 * Reached from the constructor, and before a report, for what was loaded meanwhile. (Not
 * when it is loaded: dlopen() looks at its caller, and so is the last thing that our wrapper does.)
 * A lock of the loader's is held while a module is looked at, so that none goes away (but scan/loaded.h).
 * One that is being loaded may be among them: the loader writes to what it protects in the end, and must
 * not find it protected by us. Such a module is left alone until the next time. (A kernel before Linux
 * 5.14 can't tell.) A
 * word that still leads to the loader is one of a function that was not called yet; the loader may fill it at the
 * same time, and then that function stays libc's for this module.
 */
#include "preload/imports.h"

#include "core/lock.h"
#include "core/os.h"
#include "core/report.h"
#include "preload/preload.h"
#include "scan/loaded.h"
#include "scan/regs.h"

#include <link.h>
#include <string.h>

#define FORK_TRIES 100
#define NAP_NS 100000

/* What is known of one module. */
struct module {
	const struct dl_phdr_info *info;
	const ElfW(Sym) *symbols;
	const char *strings;
	const ElfW(Rela) *tables[2];            /* of calls; of everything else */
	size_t nbytes[2];
	uintptr_t text_from, text_to;
	struct { uintptr_t from, to; } relro;
	bool is_open;                           /* by us */
	bool is_early;                          /* the loader is still at it */
};

static struct {
	/* Constant after the constructor. */
	struct { struct import *import; size_t n; } table[IMPORTS_TABLES];
	unsigned ntables;
	bool has_name[256];                     /* that begins with the letter */

	struct lock lock;                       /* one redirection at a time; none during a fork */

	/* The lock. */
	unsigned long long nloaded;             /* modules loaded ever, as of the last time */
} imports = { .lock = LOCK_INIT(LOCK_IMPORTS) };

void imports_add(struct import *table, size_t n)
{
	check(imports.ntables < IMPORTS_TABLES);
	imports.table[imports.ntables].import = table;
	imports.table[imports.ntables++].n = n;
	for (size_t i = 0; i < n; i++) {
		table[i].real = init_find_next(table[i].name);
		if (!init_is_unclaimed(table[i].name, table[i].real))
			table[i].ours = NULL;
		imports.has_name[(unsigned char)*table[i].name] = true;
	}
}

/* The loader adds the base to the addresses of a section that it may write. */
static uintptr_t address_in(const struct dl_phdr_info *info, uintptr_t value)
{
	return value < info->dlpi_addr ? value + info->dlpi_addr : value;
}

static void read_dynamic(struct module *m, const ElfW(Dyn) *d)
{
	for (; d->d_tag != DT_NULL; d++) {
		uintptr_t at = address_in(m->info, d->d_un.d_ptr);

		switch (d->d_tag) {
		case DT_SYMTAB:
			m->symbols = (const void *)at;
			break;
		case DT_STRTAB:
			m->strings = (const void *)at;
			break;
		case DT_JMPREL:
			m->tables[0] = (const void *)at;
			break;
		case DT_PLTRELSZ:
			m->nbytes[0] = d->d_un.d_val;
			break;
		case DT_RELA:
			m->tables[1] = (const void *)at;
			break;
		case DT_RELASZ:
			m->nbytes[1] = d->d_un.d_val;
			break;
		}
	}
}

/* False: nothing to be changed there. */
static bool read_module(struct module *m, const struct dl_phdr_info *info)
{
	*m = (struct module){ .info = info };
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t from = info->dlpi_addr + ph->p_vaddr, to = from + ph->p_memsz;

		if (ph->p_type == PT_LOAD && (uintptr_t)&imports >= from
		    && (uintptr_t)&imports < to)
			return false;           /* we call libc itself */
		if (ph->p_type == PT_LOAD && (ph->p_flags & PF_X)) {
			m->text_from = from;
			m->text_to = to;
		} else if (ph->p_type == PT_GNU_RELRO) {
			m->relro.from = align_down(from, OS_PAGE_BYTES);
			m->relro.to = align_down(to, OS_PAGE_BYTES);
		} else if (ph->p_type == PT_DYNAMIC) {
			read_dynamic(m, (const void *)from);
		}
	}
	return m->symbols && m->strings;
}

static const struct import *import_called(const char *name)
{
	if (!imports.has_name[(unsigned char)*name])
		return NULL;
	for (unsigned t = 0; t < imports.ntables; t++) {
		const struct import *i = imports.table[t].import, *end = i + imports.table[t].n;

		for (; i < end; i++) {
			if (i->ours && strcmp(i->name, name) == 0)
				return i;
		}
	}
	return NULL;
}

/* Ours for the word of `relocation`; NULL: it is to stay. */
static void *replacement(const struct module *m, const ElfW(Rela) *relocation, uintptr_t word)
{
	enum regs_import kind = regs_import((uint32_t)ELF64_R_TYPE(relocation->r_info));

	if (kind == REGS_IMPORT_NONE)
		return NULL;

	const ElfW(Sym) *symbol = &m->symbols[ELF64_R_SYM(relocation->r_info)];

	if (symbol->st_shndx != SHN_UNDEF)
		return NULL;

	const struct import *i = import_called(m->strings + symbol->st_name);
	bool is_unbound = kind == REGS_IMPORT_CALL && word >= m->text_from && word < m->text_to;

	return i && (word == (uintptr_t)i->real || is_unbound) ? i->ours : NULL;
}

/* Makes what the loader protected writable. False: it has not yet, or it can't be done. */
static bool open_relro(struct module *m)
{
	if (m->is_open)
		return true;
	m->is_early = os_is_writable(m->relro.from);
	m->is_open = !m->is_early && !os_protect(m->relro.from, m->relro.to - m->relro.from, true);
	return m->is_open;
}

static void redirect_table(struct module *m, const ElfW(Rela) *table, size_t nbytes)
{
	for (size_t i = 0; i < nbytes / sizeof *table; i++) {
		uintptr_t at = m->info->dlpi_addr + table[i].r_offset;
		_Atomic uintptr_t *word = (_Atomic uintptr_t *)at;
		bool is_relro = at >= m->relro.from && at < m->relro.to;
		/* relaxed: either function will do; and below. */
		void *ours = replacement(m, &table[i],
		                         atomic_load_explicit(word, memory_order_relaxed));

		if (!ours)
			continue;
		if (is_relro && !open_relro(m))
			return;
		atomic_store_explicit(word, (uintptr_t)ours, memory_order_relaxed);
	}
}

struct seen {
	unsigned long long nloaded;
	bool has_early;
};

static int redirect_module(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct seen *seen = arg;
	struct module m;

	(void)size;
	if (info->dlpi_adds == imports.nloaded)
		return 1;
	seen->nloaded = info->dlpi_adds;
	if (!read_module(&m, info))
		return 0;
	for (int i = 0; i < 2; i++)
		redirect_table(&m, m.tables[i], m.nbytes[i]);
	seen->has_early |= m.is_early;
	if (m.is_open)
		os_protect(m.relro.from, m.relro.to - m.relro.from, false);
	return 0;
}

void imports_redirect(void)
{
	struct seen seen = { 0 };

	if (!imports.ntables || lock_held(&imports.lock) || !lock_try(&imports.lock))
		return;
	loaded_visit(redirect_module, &seen);
	if (seen.nloaded && !seen.has_early)
		imports.nloaded = seen.nloaded;
	lock_drop(&imports.lock);
}

/* For a moment: who forks inside the loader holds up the thread that we wait for. */
void imports_fork_prepare(void)
{
	for (unsigned tries = imports.ntables ? FORK_TRIES : 0; tries && !lock_try(&imports.lock); tries--)
		os_nap_ns(NAP_NS);
}

void imports_fork_parent(void)
{
	if (lock_held(&imports.lock))
		lock_drop(&imports.lock);
}

void imports_fork_child(void)
{
	lock_reset_after_fork(&imports.lock);
}
