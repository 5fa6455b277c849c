/* symbols.h: where an address of code is: module, function, file and line.
 *
 * The process itself knows modules and the functions they export. The rest a helper program finds
 * out, run apart from the program's environment; where it is missing, that is all that is known.
 */
#ifndef SCAN_SYMBOLS_H
#define SCAN_SYMBOLS_H

#include "core/base.h"

/* What is not known is NULL, or 0. Strings last until symbols_drop(). */
struct symbol {
	const char *function;
	const char *file;
	unsigned    line;
	const char *module;                     /* path */
	uintptr_t   pc;                         /* of the call: a byte of it */
	uintptr_t   offset;                     /* the same in the module's own numbering */
};

/* Looks up words (modules.h) of return addresses, or with `is_entry` of functions. Each is asked for
 * once, and before symbols_run(). ctx: any */
bool symbols_start(void);
void symbols_want(uintptr_t word, bool is_entry);

/* Looks up the variable at an address; in the TLS of the module around the address `module` that at
 * `offset` from its beginning, known as `key`. Of a frame's `function` is then its name, with "+0x.."
 * behind for an address inside. ctx: any */
void symbols_want_variable(uintptr_t at);
void symbols_want_tls(uintptr_t key, uintptr_t module, uintptr_t offset);

/* Modules, and the helper `path` (NULL: none) with the environment `env`, which is filtered.
 * Why files and lines are missing, or NULL. ctx: any */
const char *symbols_run(const char *path, char **env);

/* The frames of a word, innermost first: several where functions were inlined. How many, at least 1.
 * ctx: any, after symbols_run() */
unsigned symbols_get(uintptr_t word, const struct symbol **frames);

void symbols_drop(void);

#endif
