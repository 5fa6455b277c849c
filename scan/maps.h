/* maps.h: the mappings of the process, without allocating. From /proc/thread-self/maps: that of the
 * process is empty once its first thread has left. */
#ifndef SCAN_MAPS_H
#define SCAN_MAPS_H

#include "core/base.h"

struct mapping {
	uintptr_t from, to;
	bool is_readable, is_writable, is_executable, is_shared;
	uint64_t inode;                         /* 0: no file */
	const char *name;                       /* "" where there is none; valid during the call */
};

/* Shows one after the other, rising. `fn` returns false to end. What changes meanwhile may be
 * missing, nothing is shown twice. False: can't be read. ctx: stw */
bool maps_visit(bool (*fn)(const struct mapping *m, void *arg), void *arg);

/* Finds the mapping around `p`; its name is not kept. ctx: stw */
bool maps_find(uintptr_t p, struct mapping *found);

/* A line of /proc/self/maps. False: it is none. ctx: any */
bool maps_parse(const char *line, struct mapping *m);

/* Hexadecimal digits at *text, which moves behind them. ctx: any */
uintptr_t maps_hex(const char **text);

#endif
