/* modules.h: which file the code at an address came from, also after it was unloaded.
 *
 * The list is ours, for the loader's can't be asked while the world is stopped, and forgets. It is
 * brought up to date at the start, around each dlclose(), and when an address is asked for that it
 * does not have; a library that libc loads and unloads by itself (for iconv, say) has no name then.
 *
 * A library may be loaded where another one was. Hence stacks keep addresses of code as words:
 * where something was unloaded before, the word says in its upper bits which module was there then.
 */
#ifndef SCAN_MODULES_H
#define SCAN_MODULES_H

#include "core/base.h"

#define MODULES_BUILD_ID_MAX 32

struct module {
	/* Constant. */
	uintptr_t base, limit;                  /* of its mapping */
	uintptr_t bias;                         /* base less its own numbering's */
	uintptr_t dynamic;                      /* its table for the loader; 0: none */
	const char *name;                       /* path, absolute as far as could be found out */
	uint8_t build_id[MODULES_BUILD_ID_MAX];
	unsigned build_id_nbytes;

	/* LOCK_MODULES. */
	uint32_t round;                         /* it was last seen in */

	/* Any thread, atomic. */
	_Atomic bool is_loaded;
	_Atomic bool has_gone;                  /* once or more often */
	_Atomic uint64_t occupant;              /* who is there: generation << 32 | number */
};

/* False: no memory; then no module is ever known. ctx: init */
bool modules_start(void);

/* Looks what is loaded: around dlclose(). Gives up where another thread, or the code that a signal
 * handler interrupted, is at it. ctx: any but alloc and stw */
void modules_look(void);

/* Before a report: the same where there is no other way to learn of new modules. Not in a child of
 * fork, where libc may have left the loader's lock taken for ever. ctx: any but alloc and stw */
void modules_note(void);

/* Raised each time something was unloaded; above 0. ctx: any, signal */
uint32_t modules_generation(void);

/* Addresses of code that is there become words. ctx: alloc */
void modules_words(uintptr_t *pcs, unsigned n);

/* Of a word: its address; its module, NULL: none is known. What is not in the list yet is learned from
 * the loader, which takes no lock for that. ctx: any, stw */
uintptr_t modules_pc(uintptr_t word);
const struct module *modules_find(uintptr_t word);

/* The child has one thread. ctx: fork child */
void modules_fork_child(void);

#endif
