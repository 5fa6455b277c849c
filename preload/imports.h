/* imports.h: calls of libc's functions led to functions of ours, in the modes that need it.
 *
 * Not by exporting the names: then mode malloc would have them too, and each process would look them
 * up. Here the words that the loader filled are changed, in every module but ours. A call by an
 * address that dlsym() gave, and calls inside libc, go where they always went.
 */
#ifndef PRELOAD_IMPORTS_H
#define PRELOAD_IMPORTS_H

#include "core/base.h"

struct import {
	const char *name;
	void *ours;                             /* NULL: the calls stay where they are */
	void *real;                             /* libc's, or who else's stands behind us */
};

/* What a table FUNCTIONS(F), which is F(name) for each of our functions our_NAME, makes: their numbers in
 * an enum, their rows in an array, and libc's function of a name. */
#define IMPORT_NUMBER(name) NR_##name,
#define IMPORT_ROW(name) { #name, (void *)our_##name, NULL },
#define IMPORT_REAL(import, name) ((__typeof__(&name))(import)[NR_##name].real)

/* A table of them, of which there are at most IMPORTS_TABLES: fills `real` of all; what the program,
 * or another library, defines itself is not to be ours. ctx: constructor */
#define IMPORTS_TABLES 10
void imports_add(struct import *table, size_t n);

/* All tables take effect, also where modules were loaded since the last time. ctx: any, no lock held,
 * the world runs */
void imports_redirect(void);

/* No fork while a thread of ours is in the loader, whose lock would be held in the child for ever.
 * ctx: before fork; after it; fork child */
void imports_fork_prepare(void);
void imports_fork_parent(void);
void imports_fork_child(void);

#endif
