/* cfi.c: a reader of .eh_frame.
 *
 * Reached from unwind.c, once for each return address. Depends on libc's _dl_find_object() (glibc
 * 2.35; without it nothing is known) and on regs.h for the numbers that registers have in the
 * tables. The tables are taken for what the linker makes: an index of 4-byte offsets from its own
 * start, sorted; entries with 4-byte lengths. Anything else is unknown.
 *
 * Invariants:
 *   F1  nothing outside of an entry is read for it, whatever it says (struct reader);
 *   F2  what is known is what libunwind finds as well (SPANGC_VERIFY=1 compares each stack).
 */
#include "scan/cfi.h"

#include "scan/regs.h"

#include <dlfcn.h>
#include <string.h>

#define WORD sizeof(uintptr_t)
#define NREMEMBERED 8
#define NUP_MAX ((1u << 20) - 1)
#define NSAVED_MAX ((1u << 10) - 1)

/* Encodings of pointers: the low half says how they are written, the rest what they count from. */
enum { PTR_ABSOLUTE = 0x00, PTR_U2 = 0x02, PTR_U4 = 0x03, PTR_U8 = 0x04, PTR_S2 = 0x0a, PTR_S4 = 0x0b,
       PTR_S8 = 0x0c, PTR_FROM_HERE = 0x10, PTR_FROM_INDEX = 0x30, PTR_NONE = 0xff };

/* Instructions; the first three have an operand in their low 6 bits. */
enum {
	CFA_ADVANCE = 0x40, CFA_OFFSET = 0x80, CFA_RESTORE = 0xc0,
	CFA_NOP = 0, CFA_SET_LOC, CFA_ADVANCE1, CFA_ADVANCE2, CFA_ADVANCE4, CFA_OFFSET_EXTENDED,
	CFA_RESTORE_EXTENDED, CFA_UNDEFINED, CFA_SAME, CFA_REGISTER, CFA_REMEMBER, CFA_RECALL,
	CFA_DEF, CFA_DEF_REGISTER, CFA_DEF_OFFSET, CFA_DEF_EXPRESSION, CFA_EXPRESSION,
	CFA_OFFSET_SIGNED, CFA_DEF_SIGNED, CFA_DEF_OFFSET_SIGNED, CFA_VALUE, CFA_VALUE_SIGNED,
	CFA_VALUE_EXPRESSION, CFA_ARGS_SIZE = 0x2e,
};

extern __typeof__(_dl_find_object) _dl_find_object __attribute__((weak));

/* What is left of an entry. Reading beyond its end gives zeroes and says so. */
struct reader {
	const uint8_t *at, *limit;
	bool is_over;
};

static void read_bytes(struct reader *r, void *to, size_t n)
{
	memset(to, 0, n);
	if ((size_t)(r->limit - r->at) < n) {
		r->is_over = true;
		r->at = r->limit;
		return;
	}
	memcpy(to, r->at, n);
	r->at += n;
}

static uint64_t read_number(struct reader *r, size_t n)
{
	uint64_t value = 0;

	read_bytes(r, &value, n);       /* little endian, as all CPUs this runs on */
	return value;
}

/* Seven bits a byte, the lowest first; how many there were, and the last byte. */
static uint64_t read_leb(struct reader *r, unsigned *nbits, uint64_t *last)
{
	uint64_t value = 0;

	*nbits = 0;
	do {
		*last = read_number(r, 1);
		if (*nbits < 64)
			value |= (*last & 0x7f) << *nbits;
		*nbits += 7;
	} while (*last & 0x80);
	return value;
}

static uint64_t read_uleb(struct reader *r)
{
	unsigned nbits;
	uint64_t last;

	return read_leb(r, &nbits, &last);
}

static int64_t read_sleb(struct reader *r)
{
	unsigned nbits;
	uint64_t last, value = read_leb(r, &nbits, &last);

	if (last & 0x40 && nbits < 64)
		value |= ~UINT64_C(0) << nbits;
	return (int64_t)value;
}

static void skip(struct reader *r, uint64_t n)
{
	if ((size_t)(r->limit - r->at) < n) {
		r->is_over = true;
		n = (size_t)(r->limit - r->at);
	}
	r->at += n;
}

/* A pointer that is absolute or counts from where it stands. */
static uintptr_t read_pointer(struct reader *r, unsigned encoding)
{
	uintptr_t here = encoding & PTR_FROM_HERE ? (uintptr_t)r->at : 0;

	switch (encoding & 0x0f) {
	case PTR_ABSOLUTE:
	case PTR_U8:
	case PTR_S8:
		return here + read_number(r, 8);
	case PTR_U2:
		return here + read_number(r, 2);
	case PTR_U4:
		return here + read_number(r, 4);
	case PTR_S2:
		return here + (uintptr_t)(int16_t)read_number(r, 2);
	case PTR_S4:
		return here + (uintptr_t)(int32_t)read_number(r, 4);
	default:
		r->is_over = true;
		return 0;
	}
}

/* The entry at `at`, behind its length. */
static struct reader open_entry(const uint8_t *at)
{
	uint32_t nbytes;

	memcpy(&nbytes, at, sizeof nbytes);
	if (nbytes == UINT32_MAX)
		nbytes = 0;                     /* of 8 bytes: unknown */
	return (struct reader){ .at = at + sizeof nbytes, .limit = at + sizeof nbytes + nbytes };
}

/* --- rows: where things are at an address --- */

enum where { WHERE_SAME, WHERE_SAVED, WHERE_NOWHERE, WHERE_ODD };

struct place {
	enum where where;
	int64_t offset;                         /* of a saved one, from the canonical address */
};

struct row {
	uint64_t cfa_register;
	int64_t cfa_offset;
	bool is_odd;                            /* an expression */
	struct place frame, back;
};

struct entry {
	struct reader common, own;              /* instructions */
	uint64_t code_align;
	int64_t data_align;
	unsigned encoding;                      /* of the entry's addresses */
	bool has_augmentation, is_signal;
	uintptr_t from, nbytes;                 /* of code */
};

static void set_place(struct row *row, uint64_t reg, enum where where, int64_t offset)
{
	if (reg == regs_dwarf.frame)
		row->frame = (struct place){ where, offset };
	else if (reg == regs_dwarf.back)
		row->back = (struct place){ where, offset };
}

static void restore(struct row *row, const struct row *initial, uint64_t reg)
{
	if (reg == regs_dwarf.frame)
		row->frame = initial->frame;
	else if (reg == regs_dwarf.back)
		row->back = initial->back;
}

struct machine {
	const struct entry *entry;
	const struct row *initial;              /* NULL: the common instructions run */
	struct row row, remembered[NREMEMBERED];
	unsigned nremembered;
	uintptr_t at, target;
};

static void remember(struct machine *m, struct reader *r)
{
	if (m->nremembered == NREMEMBERED)
		r->is_over = true;
	else
		m->remembered[m->nremembered++] = m->row;
}

static void recall(struct machine *m, struct reader *r)
{
	if (m->nremembered)
		m->row = m->remembered[--m->nremembered];
	else
		r->is_over = true;
}

/* Instructions about the canonical address. */
static void define(struct machine *m, struct reader *r, unsigned op)
{
	int64_t align = m->entry->data_align;

	if (op == CFA_DEF || op == CFA_DEF_REGISTER || op == CFA_DEF_SIGNED) {
		m->row.cfa_register = read_uleb(r);
		m->row.is_odd = false;
	}
	if (op == CFA_DEF || op == CFA_DEF_OFFSET)
		m->row.cfa_offset = (int64_t)read_uleb(r);
	else if (op == CFA_DEF_SIGNED || op == CFA_DEF_OFFSET_SIGNED)
		m->row.cfa_offset = read_sleb(r) * align;
}

/* Instructions about a register. */
static void place(struct machine *m, struct reader *r, unsigned op)
{
	int64_t align = m->entry->data_align;
	uint64_t reg = read_uleb(r);

	switch (op) {
	case CFA_OFFSET_EXTENDED:
		set_place(&m->row, reg, WHERE_SAVED, (int64_t)read_uleb(r) * align);
		break;
	case CFA_OFFSET_SIGNED:
		set_place(&m->row, reg, WHERE_SAVED, read_sleb(r) * align);
		break;
	case CFA_RESTORE_EXTENDED:
		if (m->initial)
			restore(&m->row, m->initial, reg);
		break;
	case CFA_UNDEFINED:
		set_place(&m->row, reg, WHERE_NOWHERE, 0);
		break;
	case CFA_SAME:
		set_place(&m->row, reg, WHERE_SAME, 0);
		break;
	case CFA_EXPRESSION:
	case CFA_VALUE_EXPRESSION:
		skip(r, read_uleb(r));
		set_place(&m->row, reg, WHERE_ODD, 0);
		break;
	default:                                /* CFA_REGISTER, CFA_VALUE, CFA_VALUE_SIGNED */
		read_uleb(r);
		set_place(&m->row, reg, WHERE_ODD, 0);
		break;
	}
}

/* One instruction; false: the row behind it is for addresses above the target. */
static bool run_one(struct machine *m, struct reader *r)
{
	unsigned op = (unsigned)read_number(r, 1), low = op & 0x3f;
	uint64_t ahead = 0;

	switch (op & 0xc0) {
	case CFA_ADVANCE:
		ahead = low;
		break;
	case CFA_OFFSET:
		set_place(&m->row, low, WHERE_SAVED, (int64_t)read_uleb(r) * m->entry->data_align);
		return true;
	case CFA_RESTORE:
		if (m->initial)
			restore(&m->row, m->initial, low);
		return true;
	default:
		if (op >= CFA_DEF && op <= CFA_DEF_OFFSET)
			define(m, r, op);
		else if (op == CFA_DEF_SIGNED || op == CFA_DEF_OFFSET_SIGNED)
			define(m, r, op);
		else if ((op >= CFA_OFFSET_EXTENDED && op <= CFA_REGISTER)
		         || (op >= CFA_EXPRESSION && op <= CFA_VALUE_EXPRESSION))
			place(m, r, op);
		else if (op >= CFA_ADVANCE1 && op <= CFA_ADVANCE4)
			ahead = read_number(r, (size_t)1 << (op - CFA_ADVANCE1));
		else if (op == CFA_REMEMBER)
			remember(m, r);
		else if (op == CFA_RECALL)
			recall(m, r);
		else if (op == CFA_ARGS_SIZE)
			read_uleb(r);
		else if (op == CFA_DEF_EXPRESSION) {
			skip(r, read_uleb(r));
			m->row.is_odd = true;
		} else if (op != CFA_NOP)
			r->is_over = true;
	}
	m->at += ahead * m->entry->code_align;
	return m->at <= m->target;
}

/* The row for the target; is_odd if there is none that can be told. */
static struct row run(const struct entry *e, uintptr_t target)
{
	struct machine m = { .entry = e, .at = e->from, .target = target };
	struct reader r = e->common;
	struct row initial;

	m.row.is_odd = true;                    /* until the canonical address is defined */
	while (r.at < r.limit)
		run_one(&m, &r);
	initial = m.row;
	m.initial = &initial;
	m.at = e->from;

	struct reader own = e->own;

	while (own.at < own.limit && run_one(&m, &own))
		;
	m.row.is_odd |= r.is_over || own.is_over;
	return m.row;
}

/* --- entries --- */

static bool read_augmentation(struct entry *e, struct reader *r, const char *text)
{
	struct reader data;
	uint64_t nbytes;

	if (!*text)
		return true;
	if (*text++ != 'z')
		return false;
	e->has_augmentation = true;
	nbytes = read_uleb(r);
	data = *r;
	skip(r, nbytes);
	data.limit = r->at;
	for (; *text; text++) {
		if (*text == 'R')
			e->encoding = (unsigned)read_number(&data, 1);
		else if (*text == 'L')
			read_number(&data, 1);
		else if (*text == 'P')
			read_pointer(&data, (unsigned)read_number(&data, 1) & 0x0f);
		else if (*text == 'S')
			e->is_signal = true;
		else
			return false;
	}
	return !data.is_over;
}

/* What an entry has in common with others. */
static bool read_common(struct entry *e, const uint8_t *at)
{
	struct reader r = open_entry(at);
	uint64_t id = read_number(&r, 4), version = read_number(&r, 1);
	const uint8_t *text = r.at;

	if (id || (version != 1 && version != 3))
		return false;
	while (read_number(&r, 1))
		;
	e->code_align = read_uleb(&r);
	e->data_align = read_sleb(&r);
	if ((version == 1 ? read_number(&r, 1) : read_uleb(&r)) != regs_dwarf.back || r.is_over)
		return false;
	if (!read_augmentation(e, &r, (const char *)text) || r.is_over)
		return false;
	e->common = r;
	return true;
}

static bool read_entry(struct entry *e, const uint8_t *at)
{
	struct reader r = open_entry(at);
	const uint8_t *here = r.at;
	uint64_t back = read_number(&r, 4);

	*e = (struct entry){ .encoding = PTR_ABSOLUTE };
	if (r.is_over || !back || !read_common(e, here - back))
		return false;
	e->from = read_pointer(&r, e->encoding);
	e->nbytes = read_pointer(&r, e->encoding & 0x0f);
	if (e->has_augmentation)
		skip(&r, read_uleb(&r));
	e->own = r;
	return !r.is_over;
}

struct index_row {
	int32_t code, entry;                    /* from the start of the index */
};

/* The last entry of the index that begins at or below `pc`; NULL: none, or an index of a kind that no
 * linker makes. */
static const uint8_t *look_up(const uint8_t *index, uintptr_t pc)
{
	struct reader r = { .at = index + 4, .limit = index + 4 + 2 * WORD };
	struct index_row row;

	if (index[0] != 1 || index[2] != PTR_U4 || index[3] != (PTR_FROM_INDEX | PTR_S4))
		return NULL;
	read_pointer(&r, index[1]);

	size_t low = 0, high = read_number(&r, 4);
	const uint8_t *rows = r.at;
	intptr_t offset = (intptr_t)(pc - (uintptr_t)index);

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		memcpy(&row, rows + middle * sizeof row, sizeof row);
		if (row.code <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || r.is_over)
		return NULL;
	memcpy(&row, rows + (low - 1) * sizeof row, sizeof row);
	return index + row.entry;
}

static struct cfi_step step_of(const struct row *row)
{
	struct cfi_step step = { .is_from_frame = row->cfa_register == regs_dwarf.frame };
	bool is_up = row->cfa_offset > 0 && row->cfa_offset % (int64_t)WORD == 0
	             && row->cfa_offset / (int64_t)WORD <= NUP_MAX;
	bool is_saved = row->frame.where == WHERE_SAVED;

	if (row->back.where == WHERE_NOWHERE) {
		step.is_known = step.is_end = true;
		return step;
	}
	if (row->is_odd || !is_up || row->back.where != WHERE_SAVED || row->back.offset != -(int64_t)WORD)
		return step;
	if (!step.is_from_frame && row->cfa_register != regs_dwarf.stack)
		return step;
	if (row->frame.where == WHERE_ODD || row->frame.where == WHERE_NOWHERE)
		return step;
	if (is_saved && (row->frame.offset >= 0 || row->frame.offset % (int64_t)WORD
	                 || -row->frame.offset / (int64_t)WORD > NSAVED_MAX))
		return step;
	step.nup = (uint32_t)(row->cfa_offset / (int64_t)WORD);
	step.nsaved = is_saved ? (uint32_t)(-row->frame.offset / (int64_t)WORD) : 0;
	step.is_known = true;
	return step;
}

/* A call may be a function's last instruction: it is found by the byte before the return address. */
struct cfi_step cfi_find(uintptr_t pc)
{
	struct dl_find_object object;
	struct entry e;

	if (!_dl_find_object || _dl_find_object((void *)(pc - 1), &object) || !object.dlfo_eh_frame)
		return (struct cfi_step){ 0 };

	const uint8_t *at = look_up(object.dlfo_eh_frame, pc - 1);

	if (!at || !read_entry(&e, at) || e.is_signal || pc - 1 - e.from >= e.nbytes)
		return (struct cfi_step){ 0 };

	struct row row = run(&e, pc - 1);

	return step_of(&row);
}
