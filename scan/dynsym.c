/* dynsym.c: reading a module's table of dynamic symbols.
 *
 * Reached from symbols.c. Everything is copied by peek() first: another thread may unload the module
 * meanwhile. dladdr() would take the loader's lock.
 */
#include "scan/dynsym.h"

#include "scan/peek.h"
#include "scan/scratch.h"

#include <link.h>
#include <string.h>

#define ENTRIES_MAX 512                         /* of the dynamic section */
#define SYMBOLS_MAX (1u << 20)
#define STRINGS_MAX MIB(64)

static struct scratch symbol_memory, string_memory;

struct tables {
	uintptr_t symbols, strings, hash, gnu_hash;
	size_t nstrings;                        /* bytes */
};

/* The loader has made addresses of these offsets, but not where the section is read-only. */
static uintptr_t address(const struct module *m, uintptr_t value)
{
	return value < m->base ? value + m->bias : value;
}

static void note(struct tables *t, const struct module *m, const ElfW(Dyn) *d)
{
	uintptr_t value = d->d_un.d_val;

	switch (d->d_tag) {
	case DT_SYMTAB: t->symbols = address(m, value); break;
	case DT_STRTAB: t->strings = address(m, value); break;
	case DT_HASH: t->hash = address(m, value); break;
	case DT_GNU_HASH: t->gnu_hash = address(m, value); break;
	case DT_STRSZ: t->nstrings = value; break;
	default: break;
	}
}

static bool find_tables(struct tables *t, const struct module *m)
{
	ElfW(Dyn) d;

	memset(t, 0, sizeof *t);
	for (unsigned i = 0; m->dynamic && i < ENTRIES_MAX; i++) {
		if (peek(&d, m->dynamic + i * sizeof d, sizeof d) != sizeof d || d.d_tag == DT_NULL)
			break;
		note(t, m, &d);
	}
	return t->symbols && t->strings && t->nstrings && t->nstrings < STRINGS_MAX;
}

static uint32_t word_at(uintptr_t p)
{
	uint32_t word;

	return peek(&word, p, sizeof word) == sizeof word ? word : 0;
}

/* The chain of the highest bucket ends with the last symbol: its word is odd. */
static uint32_t count_by_gnu_hash(uintptr_t table)
{
	uint32_t nbuckets = word_at(table), first = word_at(table + 4), nbloom = word_at(table + 8);
	uintptr_t buckets = table + 16 + nbloom * sizeof(ElfW(Addr));
	uintptr_t chains = buckets + (uintptr_t)nbuckets * 4;
	uint32_t got[256], last = 0;

	for (uint32_t i = 0; i < nbuckets && i < SYMBOLS_MAX; i += 256) {
		size_t n = nbuckets - i < 256 ? nbuckets - i : 256;

		n = peek(got, buckets + (uintptr_t)i * 4, n * 4) / 4;
		for (size_t k = 0; k < n; k++)
			last = got[k] > last ? got[k] : last;
	}
	if (last < first)
		return first;
	while (last < SYMBOLS_MAX) {
		uint32_t word = word_at(chains + (uintptr_t)(last - first) * 4);

		last++;
		if (!word || word & 1)
			break;
	}
	return last;
}

void dynsym_visit(const struct module *m, dynsym_fn *fn, void *arg)
{
	struct tables t;

	if (!find_tables(&t, m))
		return;

	uint32_t n = t.hash ? word_at(t.hash + 4) : t.gnu_hash ? count_by_gnu_hash(t.gnu_hash) : 0;
	ElfW(Sym) *symbols = scratch_take(&symbol_memory, (n + 1) * sizeof *symbols);
	char *strings = scratch_take(&string_memory, t.nstrings + 1);

	if (n > SYMBOLS_MAX || !symbols || !strings)
		return;
	n = (uint32_t)(peek(symbols, t.symbols, n * sizeof *symbols) / sizeof *symbols);
	t.nstrings = peek(strings, t.strings, t.nstrings);
	strings[t.nstrings] = '\0';
	for (uint32_t i = 0; i < n; i++) {
		const ElfW(Sym) *s = &symbols[i];
		unsigned type = s->st_info & 15;

		if ((type == STT_FUNC || type == STT_GNU_IFUNC) && s->st_shndx != SHN_UNDEF
		    && s->st_size && s->st_name < t.nstrings)
			fn(m->bias + s->st_value, m->bias + s->st_value + s->st_size,
			   strings + s->st_name, arg);
	}
}

void dynsym_drop(void)
{
	scratch_drop(&symbol_memory);
	scratch_drop(&string_memory);
}
