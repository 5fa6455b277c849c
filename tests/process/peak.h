/* peak.h: what a child with a SPANGC_MEMORY_LIMIT has resident at most; it says "peak N" on stderr. */
#ifndef TESTS_PROCESS_PEAK_H
#define TESTS_PROCESS_PEAK_H

#include "tests/process/process.h"

/* Of the child that starts next; what the test wants for it. */
static const char *limit;
static void set_limit(void);

/* RSS at its highest, of a child with that limit. */
static size_t peak_with(const char *value)
{
	struct outcome o;
	const char *said;

	limit = value;
	run_self(&o, "child", set_limit);
	CHECKF(ended_well(&o), "%s: %x %s", value, (unsigned)o.status, o.err);
	said = strstr(o.err, "peak ");
	CHECKF(said, "%s", o.err);
	return strtoull(said + 5, NULL, 10);
}

#endif
